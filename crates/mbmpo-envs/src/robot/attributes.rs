//! What `mjcf-rs` leaves out: it ignores unknown elements and attributes, and the softness of limits is among them.
//!
//! A file that asks for something that we would silently not simulate must be refused, so this goes over the
//! document once more, with lists of what is honoured.

use super::LimitSoftness;
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
/// The softness of contacts is a setting of the whole simulation (see `ContactSoftness`), not of a geom.
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

/// Refuses what is not in [`KNOWN`], and reads the softness of every named joint's limits.
pub(super) fn limits(xml: &str) -> Result<HashMap<String, LimitSoftness>> {
    let document = Document::parse(xml)
        .map_err(|error| Error::Description(format!("not a valid MJCF document: {error}")))?;
    let root = document.root_element();
    for node in root.descendants().filter(Node::is_element) {
        refuse_unknown(node)?;
    }
    let default = match root
        .descendants()
        .find(|node| node.has_tag_name("joint") && is_in_default(*node))
    {
        Some(node) => softness(node, LimitSoftness::default())?,
        None => LimitSoftness::default(),
    };
    root.descendants()
        .filter(|node| node.has_tag_name("joint") && !is_in_default(*node))
        .map(|node| {
            let name = node.attribute("name").unwrap_or_default().to_owned();
            Ok((name, softness(node, default)?))
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

fn softness(node: Node, default: LimitSoftness) -> Result<LimitSoftness> {
    let mut softness = default;
    let values = numbers(node, "solreflimit")?;
    if values.iter().any(|&value| value <= 0.0) {
        return Err(Error::Description(
            "MJCF attribute `solreflimit`: only the (time constant, damping ratio) form is supported"
                .to_owned(),
        ));
    }
    let targets = [&mut softness.time_constant, &mut softness.damping_ratio];
    targets
        .into_iter()
        .zip(values)
        .for_each(|(to, from)| *to = from);
    let values = numbers(node, "solimplimit")?;
    let targets = [
        &mut softness.impedance_min,
        &mut softness.impedance_max,
        &mut softness.width,
        &mut softness.midpoint,
        &mut softness.power,
    ];
    targets
        .into_iter()
        .zip(values)
        .for_each(|(to, from)| *to = from);
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
