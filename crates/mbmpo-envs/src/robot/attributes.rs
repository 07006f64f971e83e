//! What `mjcf-rs` leaves out: it ignores unknown elements and attributes, and the softness of limits is among them.
//!
//! A file that asks for something that we would silently not simulate must be refused, so this goes over the
//! document once more, with lists of what is honoured.

use super::Softness;
use mbmpo_core::{Error, Result};
use roxmltree::{Document, Node};
use std::collections::HashMap;

/// Parent element, element, attributes that are honoured or make no difference to the physics.
const KNOWN: &[(&str, &str, &[&str])] = &[
    ("", "mujoco", &["model"]),
    (
        "mujoco",
        "compiler",
        &["angle", "inertiafromgeom", "settotalmass"],
    ),
    ("mujoco", "option", &["timestep", "gravity", "integrator"]),
    ("mujoco", "default", &[]),
    ("mujoco", "worldbody", &[]),
    ("mujoco", "actuator", &[]),
    ("default", "joint", JOINT),
    ("default", "geom", GEOM),
    ("default", "motor", MOTOR),
    ("worldbody", "geom", GEOM),
    ("worldbody", "body", BODY),
    ("body", "body", BODY),
    ("body", "geom", GEOM),
    ("body", "joint", JOINT),
    ("actuator", "motor", MOTOR),
];

const BODY: &[&str] = &["name", "pos"];
const JOINT: &[&str] = &[
    "name",
    "type",
    "pos",
    "axis",
    "range",
    "limited",
    "armature",
    "damping",
    "stiffness",
    "springref",
    "solreflimit",
    "solimplimit",
];
const GEOM: &[&str] = &[
    "name",
    "type",
    "pos",
    "axisangle",
    "quat",
    "size",
    "fromto",
    "contype",
    "conaffinity",
    "condim",
    "friction",
    "density",
    "solref",
    "solimp",
    "rgba",
];
const MOTOR: &[&str] = &["name", "joint", "gear", "ctrlrange", "ctrllimited"];

/// What `mjcf-rs` does not read.
pub(super) struct Attributes {
    /// Softness of the limits of each joint, by name.
    pub limits: HashMap<String, Softness>,
    /// Softness of all contacts.
    pub contact: Softness,
}

/// Refuses what is not in [`KNOWN`], and reads the softness of limits and contacts.
pub(super) fn read(xml: &str) -> Result<Attributes> {
    let document = Document::parse(xml)
        .map_err(|error| Error::Description(format!("not a valid MJCF document: {error}")))?;
    let root = document.root_element();
    for node in root.descendants().filter(Node::is_element) {
        refuse_unknown(node)?;
    }
    let limits = all(root, "joint", "solreflimit", "solimplimit")?;
    let contacts = all(root, "geom", "solref", "solimp")?;
    let contact = contacts
        .first()
        .map_or_else(Softness::default, |first| first.1);
    if contacts.iter().any(|(_, softness)| *softness != contact) {
        return Err(Error::Description(
            "MJCF: geoms with different `solref` or `solimp` are not supported".to_owned(),
        ));
    }
    Ok(Attributes {
        limits: limits.into_iter().collect(),
        contact,
    })
}

/// Name and softness of every `element` that is not a default.
fn all(root: Node, element: &str, solref: &str, solimp: &str) -> Result<Vec<(String, Softness)>> {
    let nodes = || root.descendants().filter(|node| node.has_tag_name(element));
    let default = match nodes().find(|node| is_in_default(*node)) {
        Some(node) => softness(node, solref, solimp, Softness::default())?,
        None => Softness::default(),
    };
    nodes()
        .filter(|node| !is_in_default(*node))
        .map(|node| {
            let name = node.attribute("name").unwrap_or_default().to_owned();
            Ok((name, softness(node, solref, solimp, default)?))
        })
        .collect()
}

fn is_in_default(node: Node) -> bool {
    node.ancestors().any(|node| node.has_tag_name("default"))
}

fn refuse_unknown(node: Node) -> Result<()> {
    let name = node.tag_name().name();
    let parent = node
        .parent_element()
        .map_or("", |parent| parent.tag_name().name());
    let Some((_, _, attributes)) = KNOWN
        .iter()
        .find(|(within, element, _)| *within == parent && *element == name)
    else {
        return Err(Error::Description(format!(
            "MJCF element <{name}> inside <{parent}> is not supported"
        )));
    };
    if let Some(integrator) = node.attribute("integrator")
        && integrator != "Euler"
    {
        return Err(Error::Description(format!(
            "MJCF attribute `integrator`: {integrator} is not supported, Euler is"
        )));
    }
    match node
        .attributes()
        .find(|attribute| !attributes.contains(&attribute.name()))
    {
        Some(attribute) => Err(Error::Description(format!(
            "MJCF attribute `{}` of <{name}> is not supported",
            attribute.name()
        ))),
        None => Ok(()),
    }
}

fn softness(node: Node, solref: &str, solimp: &str, default: Softness) -> Result<Softness> {
    let mut softness = default;
    let reference = numbers(node, solref)?;
    let impedance = numbers(node, solimp)?;
    if reference.iter().any(|&value| value <= 0.0) {
        return Err(Error::Description(format!(
            "MJCF attribute `{solref}`: only the form (time constant, damping ratio) is supported"
        )));
    }
    let targets = [&mut softness.time_constant, &mut softness.damping_ratio];
    for (to, from) in targets.into_iter().zip(reference) {
        *to = from;
    }
    let targets = [
        &mut softness.impedance_min,
        &mut softness.impedance_max,
        &mut softness.width,
        &mut softness.midpoint,
        &mut softness.power,
    ];
    for (to, from) in targets.into_iter().zip(impedance) {
        *to = from;
    }
    Ok(softness)
}

fn numbers(node: Node, attribute: &str) -> Result<Vec<f64>> {
    let text = node.attribute(attribute).unwrap_or_default();
    text.split_whitespace()
        .map(|word| {
            word.parse().map_err(|_| {
                Error::Description(format!(
                    "MJCF attribute `{attribute}`: `{word}` is not a number"
                ))
            })
        })
        .collect()
}
