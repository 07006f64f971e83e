//! Validates a document, and reads the attributes that `mjcf-rs` does not.
//!
//! The parser ignores unknown elements, attributes and classes, and does not read the softness of
//! limits and contacts. A file must be refused where it has something that would silently not be
//! simulated, so every element and attribute is compared with lists of those that are honoured.

use super::Softness;
use mbmpo_core::{Error, Result};
use roxmltree::{Document, Node};
use std::collections::HashSet;

/// Parent element, element, and its attributes that are honoured or have no effect on the physics.
///
/// Defaults have no poses: the parser ignores a default `pos` where the element itself has a
/// `quat`.
const KNOWN: &[(&str, &str, &[&[&str]])] = &[
    ("", "mujoco", &[&["model"]]),
    (
        "mujoco",
        "compiler",
        &[&[
            "angle",
            "autolimits",
            "coordinate",
            "inertiafromgeom",
            "settotalmass",
        ]],
    ),
    (
        "mujoco",
        "option",
        &[&["timestep", "gravity", "integrator", "density", "viscosity"]],
    ),
    ("mujoco", "default", &[&["class"]]),
    ("default", "default", &[&["class"]]),
    ("default", "joint", &[JOINT]),
    ("default", "geom", &[GEOM, LOOKS]),
    ("default", "site", &[SITE, LOOKS]),
    ("default", "motor", &[MOTOR]),
    ("mujoco", "asset", &[]),
    (
        "asset",
        "material",
        &[
            &["name", "emission", "specular", "shininess", "reflectance"],
            LOOKS,
        ],
    ),
    ("mujoco", "worldbody", &[]),
    (
        "worldbody",
        "geom",
        &[NAMED, POSE, GEOM, LOOKS, &["fromto"]],
    ),
    ("worldbody", "site", &[NAMED, SITE, LOOKS, &["pos"]]),
    ("worldbody", "body", &[BODY, POSE]),
    ("body", "body", &[BODY, POSE]),
    ("body", "inertial", &[POSE, &["mass", "diaginertia"]]),
    ("body", "joint", &[NAMED, JOINT]),
    ("body", "freejoint", &[&["name"]]),
    ("body", "geom", &[NAMED, POSE, GEOM, LOOKS, &["fromto"]]),
    ("body", "site", &[NAMED, SITE, LOOKS, &["pos"]]),
    ("mujoco", "actuator", &[]),
    ("actuator", "motor", &[NAMED, MOTOR, &["joint"]]),
];

const NAMED: &[&str] = &["name", "class"];
const POSE: &[&str] = &["pos", "quat", "axisangle", "euler"];
const LOOKS: &[&str] = &["rgba", "material", "group"];
const BODY: &[&str] = &["name", "childclass"];
const JOINT: &[&str] = &[
    "type",
    "pos",
    "axis",
    "range",
    "limited",
    "ref",
    "armature",
    "damping",
    "frictionloss",
    "margin",
    "stiffness",
    "springref",
    "solreflimit",
    "solimplimit",
];
const GEOM: &[&str] = &[
    "type",
    "size",
    "mass",
    "density",
    "contype",
    "conaffinity",
    "condim",
    "friction",
    "margin",
    "solref",
    "solimp",
];
const SITE: &[&str] = &["type", "size"];
const MOTOR: &[&str] = &["gear", "ctrlrange", "ctrllimited"];

/// Elements that may occur several times within their parent. A second one of the others would have
/// to be merged.
const MANY: &[&str] = &["body", "joint", "geom", "site", "motor", "material"];

/// MuJoCo's bound on absolute values.
const LARGEST: f64 = 1e10;

/// Values below this count as 0 in MuJoCo (`mjMINVAL`).
pub(super) const MINIMUM: f64 = 1e-15;

/// Deepest nesting of elements; robots have a dozen or two levels, and the parsers recurse.
const DEEPEST: usize = 100;

/// Most tags; they bound the nesting before the document is parsed.
const MOST_TAGS: usize = 1000;

/// Most attributes: the parser compares each with all others of its element.
const MOST_ATTRIBUTES: usize = 10_000;

/// The form of an attribute's value.
enum Form {
    Text,
    OneOf(&'static [&'static str]),
    Integer,
    /// This many numbers, at least and at most.
    Numbers(usize, usize),
}

fn form(element: &str, attribute: &str) -> Form {
    match attribute {
        "name" | "class" | "childclass" | "model" | "joint" | "material" => Form::Text,
        "angle" => Form::OneOf(&["degree", "radian"]),
        "autolimits" => Form::OneOf(&["true", "false"]),
        "coordinate" => Form::OneOf(&["local"]),
        "inertiafromgeom" | "limited" | "ctrllimited" => Form::OneOf(&["true", "false", "auto"]),
        "integrator" => Form::OneOf(&["Euler", "RK4"]),
        "type" if element == "joint" => Form::OneOf(&["slide", "hinge", "free"]),
        "type" => Form::OneOf(&["plane", "sphere", "capsule", "box", "cylinder"]),
        "contype" | "conaffinity" | "condim" | "group" => Form::Integer,
        "range" | "ctrlrange" => Form::Numbers(2, 2),
        "pos" | "axis" | "euler" | "gravity" | "diaginertia" => Form::Numbers(3, 3),
        "quat" | "axisangle" | "rgba" => Form::Numbers(4, 4),
        "fromto" => Form::Numbers(6, 6),
        "solref" | "solreflimit" => Form::Numbers(1, 2),
        "size" | "friction" => Form::Numbers(1, 3),
        "solimp" | "solimplimit" => Form::Numbers(1, 5),
        "gear" => Form::Numbers(1, 6),
        _ => Form::Numbers(1, 1),
    }
}

/// Parses the document, and checks that all elements and attributes are in [`KNOWN`] and every
/// value has its form.
pub(super) fn read(xml: &str) -> Result<Document<'_>> {
    let unusable = |what: String| Error::Description(format!("not a valid MJCF document: {what}"));
    if xml.matches('<').count() > MOST_TAGS {
        return Err(unusable(format!("it has more than {MOST_TAGS} tags")));
    }
    if xml.matches('=').count() > MOST_ATTRIBUTES {
        return Err(unusable(format!(
            "it has more than {MOST_ATTRIBUTES} attributes"
        )));
    }
    let document = Document::parse(xml).map_err(|error| unusable(error.to_string()))?;
    require_known(&document)?;
    Ok(document)
}

/// An error about `node`, with its line and name.
pub(super) fn refusal(node: Node, what: &str) -> Error {
    let line = node.document().text_pos_at(node.range().start).row;
    let tag = node.tag_name().name();
    let name = node.attribute("name");
    let name = name.map_or_else(String::new, |name| format!(" name=\"{name}\""));
    Error::Description(format!("MJCF, line {line}, <{tag}{name}>: {what}"))
}

fn require_known(document: &Document) -> Result<()> {
    let mut names = HashSet::new();
    for node in document.descendants().filter(Node::is_element) {
        refuse_unknown(node)?;
        refuse_repeated(node)?;
        refuse_malformed(node)?;
        refuse_unknown_class(node)?;
        let tag = node.tag_name().name();
        let kind = if tag == "freejoint" { "joint" } else { tag };
        let name = match tag {
            "default" => Some(class(node)),
            _ => node.attribute("name"),
        };
        if let Some(name) = name
            && !names.insert((kind, name))
        {
            let what = format!("another {kind} is also called `{name}`");
            return Err(refusal(node, &what));
        }
    }
    Ok(())
}

fn refuse_unknown(node: Node) -> Result<()> {
    if node.ancestors().count() > DEEPEST {
        return Err(refusal(node, "the elements are nested too deeply"));
    }
    let name = node.tag_name().name();
    let parent = node.parent_element();
    let parent = parent.map_or("", |parent| parent.tag_name().name());
    let Some((_, _, attributes)) = KNOWN
        .iter()
        .find(|(within, element, _)| *within == parent && *element == name)
    else {
        let place = match parent {
            "" => "as a document".to_owned(),
            parent => format!("inside <{parent}>"),
        };
        return Err(refusal(
            node,
            &format!("this element is not supported {place}"),
        ));
    };
    let known = |attribute: &str| attributes.iter().any(|list| list.contains(&attribute));
    match node.attributes().find(|given| !known(given.name())) {
        Some(attribute) => Err(refusal(
            node,
            &format!("attribute `{}` is not supported", attribute.name()),
        )),
        None => Ok(()),
    }
}

fn refuse_repeated(node: Node) -> Result<()> {
    let name = node.tag_name().name();
    let in_default = |node: &Node| {
        node.parent_element()
            .is_some_and(|p| p.has_tag_name("default"))
    };
    let many = match name {
        "default" => in_default(&node),
        name => MANY.contains(&name) && !in_default(&node),
    };
    let mut before = node.prev_siblings().skip(1);
    if !many && before.any(|other| other.has_tag_name(name)) {
        return Err(refusal(node, "a second one is not supported"));
    }
    Ok(())
}

fn refuse_malformed(node: Node) -> Result<()> {
    for attribute in node.attributes() {
        let (name, text) = (attribute.name(), attribute.value());
        let complain = |what: &str| Err(refusal(node, &format!("`{name}=\"{text}\"`: {what}")));
        match form(node.tag_name().name(), name) {
            Form::Text => {}
            Form::OneOf(words) => {
                if !words.contains(&text) {
                    return complain(&format!("not supported; what is: {}", words.join(", ")));
                }
            }
            Form::Integer => {
                if text.parse::<u32>().is_err() {
                    return complain("not a whole number");
                }
            }
            Form::Numbers(fewest, most) => {
                let count = text.split_whitespace().count();
                let numbers = numbers(node, name);
                if numbers.len() < count {
                    return complain("not numbers within ±1e10");
                }
                if !(fewest..=most).contains(&count) {
                    return complain(&format!("needs {fewest} to {most} numbers"));
                }
                let direction = match name {
                    "quat" | "axis" => &numbers[..],
                    "axisangle" => &numbers[..3],
                    _ => &[1.0],
                };
                if direction.iter().all(|value| value.abs() < MINIMUM) {
                    return complain("a direction is needed");
                }
            }
        }
    }
    let rotations = ["quat", "axisangle", "euler"];
    if rotations.iter().filter(|r| node.has_attribute(**r)).count() > 1 {
        return Err(refusal(node, "more than one orientation"));
    }
    Ok(())
}

fn refuse_unknown_class(node: Node) -> Result<()> {
    if node.has_tag_name("default") {
        let nested = node
            .parent_element()
            .is_some_and(|p| p.has_tag_name("default"));
        return match nested {
            true if !node.has_attribute("class") => Err(refusal(node, "needs a class")),
            false if class(node) != "main" => {
                Err(refusal(node, "the outermost class must be called `main`"))
            }
            _ => Ok(()),
        };
    }
    let named = [node.attribute("class"), node.attribute("childclass")];
    for class in named.into_iter().flatten() {
        if class != "main" && default_of_class(node, class).is_none() {
            return Err(refusal(node, &format!("there is no class `{class}`")));
        }
    }
    Ok(())
}

/// The class of a `<default>`.
fn class<'a>(default: Node<'a, '_>) -> &'a str {
    default.attribute("class").unwrap_or("main")
}

fn default_of_class<'a, 'input>(node: Node<'a, 'input>, name: &str) -> Option<Node<'a, 'input>> {
    let mut defaults = node.document().descendants();
    defaults.find(|node| node.has_tag_name("default") && class(*node) == name)
}

/// The elements that give `node` its attributes: defaults, the most general first, and `node`
/// itself.
fn sources<'a, 'input>(node: Node<'a, 'input>) -> Vec<Node<'a, 'input>> {
    let inherited = || {
        node.ancestors()
            .find_map(|above| above.attribute("childclass"))
    };
    let class = node.attribute("class").or_else(inherited);
    let default = default_of_class(node, class.unwrap_or("main"));
    let mut sources = vec![node];
    for default in default.iter().flat_map(|default| default.ancestors()) {
        let same = |child: &Node| child.has_tag_name(node.tag_name());
        sources.extend(default.children().find(same));
    }
    sources.reverse();
    sources
}

/// The softness of `node`, from the attributes with the names `solref` and `solimp`.
pub(super) fn softness(node: Node, solref: &str, solimp: &str) -> Result<Softness> {
    let mut softness = Softness::default();
    for source in sources(node) {
        let reference = numbers(source, solref);
        let impedance = numbers(source, solimp);
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
    }
    if softness.time_constant <= 0.0 || softness.damping_ratio <= 0.0 {
        let what = format!("`{solref}`: only the form (time constant, damping ratio) is supported");
        return Err(refusal(node, &what));
    }
    let impedances = [softness.impedance_min, softness.impedance_max];
    let in_range = impedances.iter().all(|d| (0.0..=1.0).contains(d))
        && softness.width > 0.0
        && softness.midpoint > 0.0
        && softness.midpoint < 1.0
        && softness.power >= 1.0;
    if !in_range {
        let what = format!(
            "`{solimp}`: needs impedances from 0 to 1, a width above 0, a midpoint within 0 and 1, a power from 1"
        );
        return Err(refusal(node, &what));
    }
    Ok(softness)
}

/// The numbers of an attribute of `node` itself, which [`read`] has checked.
pub(super) fn numbers(node: Node, attribute: &str) -> Vec<f64> {
    let text = node.attribute(attribute).unwrap_or_default();
    let words = text.split_whitespace();
    let numbers = words.filter_map(|word| word.parse().ok());
    numbers
        .filter(|number: &f64| number.abs() <= LARGEST)
        .collect()
}
