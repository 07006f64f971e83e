//! Converts MJCF to [`RobotDescription`].

use super::attributes::{self, MINIMUM, refusal};
use super::shape::{self, wxyz};
use super::{
    Actuator, Body, Geom, Integrator, Joint, JointKind, Medium, RobotDescription, Shape, Site,
};
use mbmpo_core::{Error, Result};
use mjcf_rs::body::{self, InertiaSpec, Inertial, JointType};
use mjcf_rs::compiler::{Compiler, InertiaFromGeom};
use mjcf_rs::extras;
use mjcf_rs::glam::DVec3;
use mjcf_rs::{BodyEntry, Model, Tristate};
use rapier3d_f64::prelude::MassProperties;
use roxmltree::Node;

pub(super) fn parse(xml: &str) -> Result<RobotDescription> {
    let document = attributes::read(xml)?;
    let model =
        Model::from_str(xml, "").map_err(|error| Error::Description(format!("MJCF: {error}")))?;
    let root = document.root_element();
    let mut robot = without_parts(&model, root)?;
    // the parser also has the bodies in the order of the document, after the world
    let nodes: Vec<Node> = root
        .descendants()
        .filter(|node| node.has_tag_name("worldbody") || node.has_tag_name("body"))
        .collect();
    for (id, (entry, node)) in model.bodies.iter().zip(&nodes).enumerate() {
        read_body(&mut robot, id.checked_sub(1), entry, *node, &model.compiler)?;
    }
    if robot.bodies.is_empty() {
        return Err(refusal(root, "there is no body"));
    }
    let motors = children(root, &["actuator"]).flat_map(|node| children(node, &["motor"]));
    for (node, motor) in motors.zip(&model.actuators) {
        let actuator = read_actuator(motor, node, &robot.joints, &model.compiler)?;
        robot.actuators.push(actuator);
    }
    refuse_massless(&robot, &nodes[1..])?;
    rescale_masses(&mut robot, model.compiler.set_total_mass);
    Ok(robot)
}

fn without_parts(model: &Model, root: Node) -> Result<RobotDescription> {
    let mut robot = RobotDescription {
        name: model.name.clone().unwrap_or_default(),
        time_step: model.option.timestep,
        integrator: Integrator::default(),
        gravity: model.option.gravity,
        medium: Medium::default(),
        bodies: vec![],
        joints: vec![],
        actuators: vec![],
        geoms: vec![],
        sites: vec![],
    };
    // the parser reads only the time step and gravity
    for option in children(root, &["option"]) {
        if option.attribute("integrator") == Some("RK4") {
            robot.integrator = Integrator::RungeKutta4;
        }
        let number = |name| attributes::numbers(option, name).first().copied();
        robot.medium = Medium {
            density: number("density").unwrap_or_default(),
            viscosity: number("viscosity").unwrap_or_default(),
        };
        let Medium { density, viscosity } = robot.medium;
        refuse_negative(option, &[("density", density), ("viscosity", viscosity)])?;
        if robot.time_step <= 0.0 {
            return Err(refusal(option, "`timestep` must be above 0"));
        }
    }
    Ok(robot)
}

/// Elements of these names directly within `node`.
fn children<'a, 'input>(
    node: Node<'a, 'input>,
    names: &'static [&'static str],
) -> impl Iterator<Item = Node<'a, 'input>> {
    node.children()
        .filter(|child| names.contains(&child.tag_name().name()))
}

fn refuse_negative(node: Node, values: &[(&str, f64)]) -> Result<()> {
    match values.iter().find(|(_, value)| *value < 0.0) {
        Some((name, _)) => Err(refusal(node, &format!("`{name}` must not be negative"))),
        None => Ok(()),
    }
}

/// Adds a body with its joints, geoms and sites to the robot; `index` is `None` for the world.
fn read_body(
    robot: &mut RobotDescription,
    index: Option<usize>,
    entry: &BodyEntry,
    node: Node,
    compiler: &Compiler,
) -> Result<()> {
    let body = &entry.body;
    let mut parts = vec![];
    for (node, geom) in children(node, &["geom"]).zip(&body.geoms) {
        let read = read_geom(geom, node, index)?;
        parts.push(shape::mass_properties(geom, &read.shape));
        robot.geoms.push(read);
    }
    for (node, site) in children(node, &["site"]).zip(&body.sites) {
        robot.sites.push(Site {
            name: named(&site.name, node)?,
            body: index,
            position: site.pose.translation.to_array(),
        });
    }
    let Some(index) = index else {
        return Ok(());
    };
    let parent = entry.parent.and_then(|parent| parent.checked_sub(1));
    for (node, joint) in children(node, &["joint", "freejoint"]).zip(&body.joints) {
        let joint = read_joint(joint, node, index, compiler)?;
        if joint.kind == JointKind::Free && (parent.is_some() || body.joints.len() > 1) {
            let what =
                "a free joint must be the only one of its body, and that a child of the world";
            return Err(refusal(node, what));
        }
        robot.joints.push(joint);
    }
    let inertial = children(node, &["inertial"]).zip(&body.inertial).next();
    let mass_properties = match (compiler.inertia_from_geom, inertial) {
        (InertiaFromGeom::False, None) => MassProperties::default(),
        (InertiaFromGeom::True, _) if !parts.is_empty() => sum(parts),
        (_, Some((node, inertial))) => read_inertial(inertial, node)?,
        (_, None) => sum(parts),
    };
    robot.bodies.push(Body {
        name: body.name.clone().unwrap_or_default(),
        parent,
        position: body.pose.translation.to_array(),
        orientation: wxyz(body.pose.rotation),
        mass_properties,
    });
    Ok(())
}

fn named(name: &Option<String>, node: Node) -> Result<String> {
    let name = name.clone().filter(|name| !name.is_empty());
    name.ok_or_else(|| refusal(node, "needs a name"))
}

fn read_geom(geom: &body::Geom, node: Node, body: Option<usize>) -> Result<Geom> {
    let shape = shape::read(geom, node)?;
    let touches = geom.contype != 0 || geom.conaffinity != 0;
    match shape {
        Shape::Floor { .. } if body.is_some() => {
            return Err(refusal(node, "a plane must be part of the world"));
        }
        Shape::Box { .. } | Shape::Cylinder { .. } if touches => {
            let what = "boxes and cylinders cannot touch anything here: declare it with `contype=\"0\" conaffinity=\"0\"`, \
                        or make it of capsules and spheres";
            return Err(refusal(node, what));
        }
        _ => {}
    }
    let has_friction = match geom.condim {
        1 => false,
        3 => true,
        _ => return Err(refusal(node, "`condim` must be 1 or 3")),
    };
    refuse_negative(
        node,
        &[
            ("friction", geom.friction[0]),
            ("margin", geom.margin),
            ("mass", geom.mass.unwrap_or_default()),
            ("density", geom.density.unwrap_or_default()),
        ],
    )?;
    Ok(Geom {
        body,
        shape,
        friction: geom.friction[0],
        has_friction,
        margin: geom.margin,
        softness: attributes::softness(node, "solref", "solimp")?,
        contact_type: geom.contype,
        affinity: geom.conaffinity,
    })
}

fn read_joint(joint: &body::Joint, node: Node, body: usize, compiler: &Compiler) -> Result<Joint> {
    let name = named(&joint.name, node)?;
    let kind = match joint.type_ {
        JointType::Slide => JointKind::Slide,
        JointType::Hinge => JointKind::Hinge,
        JointType::Free => JointKind::Free,
        JointType::Ball => return Err(refusal(node, "type ball is not supported")),
    };
    let mut absent = vec![
        ("margin", joint.margin),
        ("frictionloss", joint.frictionloss),
    ];
    if kind == JointKind::Free {
        absent.extend([
            ("stiffness", joint.stiffness),
            ("damping", joint.damping),
            ("armature", joint.armature),
        ]);
    }
    if let Some((what, _)) = absent.iter().find(|(_, value)| *value != 0.0) {
        let what = format!("`{what}` other than 0 is not supported for this joint");
        return Err(refusal(node, &what));
    }
    refuse_negative(
        node,
        &[
            ("stiffness", joint.stiffness),
            ("damping", joint.damping),
            ("armature", joint.armature),
        ],
    )?;
    let free = kind == JointKind::Free;
    Ok(Joint {
        name,
        body,
        kind,
        // MuJoCo also ignores these attributes of a free joint
        position: if free { [0.0; 3] } else { joint.pos },
        axis: if free {
            DVec3::Z.to_array()
        } else {
            DVec3::from_array(joint.axis).normalize().to_array()
        },
        reference: if free { 0.0 } else { joint.ref_ },
        range: read_range(joint, node, compiler)?,
        stiffness: joint.stiffness,
        spring_rest: joint.springref,
        damping: joint.damping,
        armature: joint.armature,
        limit: attributes::softness(node, "solreflimit", "solimplimit")?,
    })
}

fn read_range(joint: &body::Joint, node: Node, compiler: &Compiler) -> Result<Option<[f64; 2]>> {
    if joint.range.is_some() && joint.limited == Tristate::Auto && !compiler.autolimits {
        return Err(refusal(
            node,
            "has a `range`, but does not say whether it is `limited`",
        ));
    }
    let limited = joint
        .limited
        .resolve(compiler.autolimits, joint.range.is_some());
    if !limited {
        return Ok(None);
    }
    match joint.range {
        _ if joint.type_ == JointType::Free => Err(refusal(
            node,
            "a free joint cannot be limited: `limited=\"false\"`",
        )),
        Some([low, high]) if low < high => Ok(Some([low, high])),
        _ => Err(refusal(
            node,
            "it is limited, but has no range from low to high",
        )),
    }
}

fn read_actuator(
    motor: &extras::Actuator,
    node: Node,
    joints: &[Joint],
    compiler: &Compiler,
) -> Result<Actuator> {
    let target = motor.joint.clone().unwrap_or_default();
    let joint = joints
        .iter()
        .position(|joint| joint.name == target && joint.kind != JointKind::Free)
        .ok_or_else(|| {
            let what = format!("it drives `{target}`, which is not a slide or a hinge");
            refusal(node, &what)
        })?;
    let limited = motor
        .ctrl_limited
        .resolve(compiler.autolimits, motor.ctrl_range.is_some());
    match motor.ctrl_range {
        Some([low, high]) if limited && low < high => Ok(Actuator {
            joint,
            gear: motor.gear[0],
            control_range: [low, high],
        }),
        _ => Err(refusal(
            node,
            "needs a `ctrlrange` from low to high, and to be limited to it",
        )),
    }
}

fn sum(mut parts: Vec<MassProperties>) -> MassProperties {
    parts.retain(|part| part.mass() > 0.0);
    match parts.as_slice() {
        // adding to nothing would turn the principal axes by rounding
        [part] => *part,
        [] => MassProperties::default(),
        _ => parts.into_iter().sum(),
    }
}

fn read_inertial(inertial: &Inertial, node: Node) -> Result<MassProperties> {
    let InertiaSpec::Diagonal(moments) = inertial.inertia else {
        return Err(refusal(node, "`fullinertia` is not supported"));
    };
    if [inertial.mass, moments[0], moments[1], moments[2]]
        .iter()
        .any(|&value| value <= MINIMUM)
    {
        return Err(refusal(node, "`mass` and `diaginertia` must be above 0"));
    }
    let largest = moments.into_iter().fold(0.0, f64::max);
    if moments.iter().sum::<f64>() < 2.0 * largest {
        let what = "`diaginertia`: no body has a moment of inertia above the sum of the other two";
        return Err(refusal(node, what));
    }
    Ok(MassProperties::with_principal_inertia_frame(
        inertial.pose.translation,
        inertial.mass,
        moments.into(),
        inertial.pose.rotation,
    ))
}

/// Refuses a joint that moves no mass: neither its body nor a body welded to it has any.
fn refuse_massless(robot: &RobotDescription, nodes: &[Node]) -> Result<()> {
    let has_mass = |body: &Body| {
        body.mass() > MINIMUM && body.principal_inertia().iter().all(|&i| i > MINIMUM)
    };
    let mut heavy: Vec<bool> = robot.bodies.iter().map(has_mass).collect();
    let moves = |body: usize| robot.joints.iter().any(|joint| joint.body == body);
    // children come after their parents
    for (index, body) in robot.bodies.iter().enumerate().rev() {
        match body.parent {
            _ if moves(index) && !heavy[index] => {
                let what = "it has a joint, but neither it nor a body welded to it has mass";
                return Err(refusal(nodes[index], what));
            }
            Some(parent) if !moves(index) => heavy[parent] |= heavy[index],
            _ => {}
        }
    }
    Ok(())
}

/// `settotalmass`: masses and inertias scale together.
fn rescale_masses(robot: &mut RobotDescription, total: f64) {
    let now = robot.total_mass();
    if total <= 0.0 || now <= 0.0 {
        return;
    }
    let factor = total / now;
    for body in &mut robot.bodies {
        body.scale_mass(factor);
    }
}
