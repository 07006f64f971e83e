//! The half-cheetah of the MJCF file has MuJoCo's masses, inertias, joints and motors, to a millionth.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{numbers, reference};
use mbmpo_envs::HalfCheetah;
use mbmpo_envs::robot::JointKind;

fn assert_close(ours: f64, theirs: f64, what: &str) {
    let tolerance = 1e-6 * theirs.abs().max(1e-6);
    assert!(
        (ours - theirs).abs() <= tolerance,
        "{what}: {ours} is not {theirs}"
    );
}

fn assert_all_close(ours: &[f64], theirs: &[f64], what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_close(*ours, *theirs, what);
    }
}

/// Bodies: parents, offsets, masses, centres of mass, principal moments of inertia.
#[test]
fn bodies() {
    let robot = HalfCheetah::robot().unwrap();
    let model = &reference()["model"];
    // MuJoCo's body 0 is the world
    let bodies = &model["bodies"].as_array().unwrap()[1..];
    assert_eq!(robot.bodies.len(), bodies.len());
    for (ours, theirs) in robot.bodies.iter().zip(bodies) {
        let name = ours.name.as_str();
        assert_eq!(name, theirs["name"]);
        let parent = ours.parent.map_or(0, |parent| parent as u64 + 1);
        assert_eq!(Some(parent), theirs["parent"].as_u64(), "{name}");
        assert_all_close(&ours.position, &numbers(&theirs["pos"]), name);
        assert_close(ours.mass(), theirs["mass"].as_f64().unwrap(), name);
        assert_all_close(&ours.center_of_mass(), &numbers(&theirs["com"]), name);
        assert_all_close(
            &ours.principal_inertia(),
            &numbers(&theirs["inertia"]),
            name,
        );
    }
    assert_close(robot.total_mass(), 14.0, "total mass");
    assert_eq!(robot.time_step, model["timestep"].as_f64().unwrap());
    assert_eq!(robot.gravity.to_vec(), numbers(&model["gravity"]));
}

/// Joints: order, kind, axis, range, stiffness, damping, armature, softness of the limits.
#[test]
fn joints() {
    let robot = HalfCheetah::robot().unwrap();
    let reference = reference();
    let joints = reference["model"]["joints"].as_array().unwrap();
    assert_eq!(robot.joints.len(), joints.len());
    for (ours, theirs) in robot.joints.iter().zip(joints) {
        let name = ours.name.as_str();
        assert_eq!(name, theirs["name"]);
        let kind = match ours.kind {
            JointKind::Slide => "slide",
            JointKind::Hinge => "hinge",
            JointKind::Free => "free",
        };
        assert_eq!(kind, theirs["type"], "{name}");
        assert_eq!(
            Some(ours.body as u64 + 1),
            theirs["body"].as_u64(),
            "{name}"
        );
        assert_eq!(numbers(&theirs["axis"]), ours.axis, "{name}");
        assert_eq!(
            ours.range.is_some(),
            theirs["limited"].as_bool().unwrap(),
            "{name}"
        );
        if let Some(range) = ours.range {
            assert_all_close(&range, &numbers(&theirs["range"]), name);
        }
        for (ours, key) in [
            (ours.stiffness, "stiffness"),
            (ours.damping, "damping"),
            (ours.armature, "armature"),
        ] {
            assert_close(ours, theirs[key].as_f64().unwrap(), key);
        }
        let limit = ours.limit;
        let solref = [limit.time_constant, limit.damping_ratio];
        assert_all_close(&solref, &numbers(&theirs["solref"]), name);
        let solimp = [
            limit.impedance_min,
            limit.impedance_max,
            limit.width,
            limit.midpoint,
            limit.power,
        ];
        assert_all_close(&solimp, &numbers(&theirs["solimp"]), name);
    }
}

/// Motors: the joint, the gear and the range of each.
#[test]
fn motors() {
    let robot = HalfCheetah::robot().unwrap();
    let reference = reference();
    let motors = reference["model"]["actuators"].as_array().unwrap();
    assert_eq!(robot.actuators.len(), motors.len());
    for (ours, theirs) in robot.actuators.iter().zip(motors) {
        assert_eq!(
            robot.joints[ours.joint].name,
            theirs["joint"].as_str().unwrap()
        );
        assert_close(ours.gear, theirs["gear"].as_f64().unwrap(), "gear");
        assert_all_close(
            &ours.control_range,
            &numbers(&theirs["ctrlrange"]),
            "ctrlrange",
        );
    }
}
