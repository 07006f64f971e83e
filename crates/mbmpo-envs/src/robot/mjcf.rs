//! From MJCF to [`RobotDescription`].

use super::{
    Actuator, Body, Geom, Joint, JointKind, RobotDescription, Shape, Softness, attributes,
};
use mbmpo_core::{Error, Result};
use mjcf_rs::Model;
use mjcf_rs::body::{self, GeomType, JointType};
use mjcf_rs::compiler::InertiaFromGeom;
use mjcf_rs::extras;
use mjcf_rs::glam::DVec3;
use rapier3d_f64::prelude::MassProperties;

/// MuJoCo's default density \[kg/m³\].
const DENSITY: f64 = 1000.0;

pub(super) fn parse(xml: &str) -> Result<RobotDescription> {
    let attributes = attributes::read(xml)?;
    let model = Model::from_str(xml, "").map_err(|error| unsupported(error.to_string()))?;
    if model.compiler.inertia_from_geom == InertiaFromGeom::False {
        return Err(unsupported("inertiafromgeom=\"false\" is not supported"));
    }
    let mut robot = RobotDescription {
        name: model.name.clone().unwrap_or_default(),
        time_step: model.option.timestep,
        integrator: super::Integrator::Euler,
        gravity: model.option.gravity,
        medium: super::Medium::default(),
        bodies: vec![],
        joints: vec![],
        actuators: vec![],
        geoms: vec![],
        sites: vec![],
    };
    // the parser counts the world as body 0
    for (id, entry) in model.bodies.iter().enumerate() {
        let body = id.checked_sub(1);
        let geoms = &entry.body.geoms;
        let shapes = geoms.iter().map(shape).collect::<Result<Vec<_>>>()?;
        if let Some(body) = body {
            let name = entry.body.name.clone().unwrap_or_default();
            let mass_properties = sum_masses(&name, geoms, &shapes)?;
            for joint in &entry.body.joints {
                robot.joints.push(read_joint(joint, body, &model)?);
            }
            robot.bodies.push(Body {
                name,
                parent: entry.parent.and_then(|parent| parent.checked_sub(1)),
                position: entry.body.pose.translation.to_array(),
                orientation: [1.0, 0.0, 0.0, 0.0],
                mass_properties,
            });
        }
        robot
            .geoms
            .extend(geoms.iter().zip(shapes).map(|(geom, shape)| Geom {
                body,
                shape,
                friction: geom.friction[0],
                rubs: true,
                margin: 0.0,
                softness: attributes.contact,
                contact_type: geom.contype,
                affinity: geom.conaffinity,
            }));
    }
    for joint in &mut robot.joints {
        if let Some(&limit) = attributes.limits.get(&joint.name) {
            joint.limit = limit;
        }
    }
    robot.actuators = model
        .actuators
        .iter()
        .map(|motor| read_actuator(motor, &robot.joints))
        .collect::<Result<_>>()?;
    rescale_masses(&mut robot, model.compiler.set_total_mass);
    Ok(robot)
}

fn unsupported(what: impl Into<String>) -> Error {
    Error::Description(format!("MJCF: {}", what.into()))
}

fn read_joint(joint: &body::Joint, body: usize, model: &Model) -> Result<Joint> {
    let name = joint.name.clone().unwrap_or_default();
    if name.is_empty() {
        return Err(unsupported("every joint needs a name"));
    }
    let kind = match joint.type_ {
        JointType::Slide => JointKind::Slide,
        JointType::Hinge => JointKind::Hinge,
        other => {
            return Err(unsupported(format!(
                "joint `{name}`: type {other:?} is not supported"
            )));
        }
    };
    let limited = joint
        .limited
        .resolve(model.compiler.autolimits, joint.range.is_some());
    let range = joint.range.filter(|_| limited);
    if limited && range.is_none_or(|[low, high]| low >= high) {
        return Err(unsupported(format!(
            "joint `{name}`: it is limited but has no range"
        )));
    }
    Ok(Joint {
        name,
        body,
        kind,
        position: joint.pos,
        axis: joint.axis,
        reference: 0.0,
        range,
        stiffness: joint.stiffness,
        spring_rest: joint.springref,
        damping: joint.damping,
        armature: joint.armature,
        limit: Softness::default(),
    })
}

fn read_actuator(motor: &extras::Actuator, joints: &[Joint]) -> Result<Actuator> {
    let target = motor.joint.clone().unwrap_or_default();
    let joint = joints
        .iter()
        .position(|joint| joint.name == target)
        .ok_or_else(|| unsupported(format!("a motor drives `{target}`, which is not a joint")))?;
    let control_range = motor
        .ctrl_range
        .ok_or_else(|| unsupported(format!("the motor of `{target}` has no ctrlrange")))?;
    Ok(Actuator {
        joint,
        gear: motor.gear[0],
        control_range,
    })
}

fn shape(geom: &body::Geom) -> Result<Shape> {
    let pose = geom.pose;
    match geom.type_ {
        GeomType::Capsule => {
            let (a, b) = match geom.fromto {
                Some([ax, ay, az, bx, by, bz]) => ([ax, ay, az], [bx, by, bz]),
                None => {
                    let half = pose.rotation * DVec3::Z * geom.size[1];
                    let center = pose.translation;
                    ((center - half).to_array(), (center + half).to_array())
                }
            };
            let radius = geom.size[0];
            Ok(Shape::Capsule { a, b, radius })
        }
        GeomType::Plane if pose.rotation * DVec3::Z == DVec3::Z => Ok(Shape::Floor {
            height: pose.translation.z,
        }),
        other => Err(unsupported(format!(
            "geom type {other:?} is not supported (a plane must be level)"
        ))),
    }
}

fn sum_masses(name: &str, geoms: &[body::Geom], shapes: &[Shape]) -> Result<MassProperties> {
    let parts = geoms.iter().zip(shapes).map(|(geom, shape)| match *shape {
        Shape::Capsule { a, b, radius } => Ok(MassProperties::from_capsule(
            geom.density.unwrap_or(DENSITY),
            a.into(),
            b.into(),
            radius,
        )),
        _ => Err(unsupported(format!("body `{name}` carries a plane"))),
    });
    let parts = parts.collect::<Result<Vec<_>>>()?;
    let total = match parts.as_slice() {
        [part] => *part,
        _ => parts.into_iter().sum(),
    };
    if total.mass() > 0.0 {
        return Ok(total);
    }
    Err(unsupported(format!("body `{name}` has no mass")))
}

/// `settotalmass`: masses and inertias scale together.
fn rescale_masses(robot: &mut RobotDescription, total: f64) {
    if total <= 0.0 {
        return;
    }
    let factor = total / robot.total_mass();
    for body in &mut robot.bodies {
        body.mass_properties.inv_mass /= factor;
        body.mass_properties.inv_principal_inertia /= factor;
    }
}
