//! The robots of the MJCF files have MuJoCo's masses, inertias, joints and motors, to a relative
//! 1e-6.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{numbers, read};
use mbmpo_envs::RobotDescription;
use mbmpo_envs::robot::{Integrator, JointKind, Softness};
use serde_json::Value;

/// The paper's robots: the MJCF file, and the file of MuJoCo's model of it.
const ROBOTS: &[(&str, &str)] = &[
    ("half_cheetah", "halfcheetah"),
    ("swimmer", "swimmer"),
    ("hopper", "hopper"),
    ("walker2d", "walker2d"),
    ("ant", "ant"),
    ("pr2", "pr2"),
];

fn robot(file: &str) -> RobotDescription {
    let assets = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets");
    let xml = std::fs::read_to_string(format!("{assets}/{file}.xml")).unwrap();
    RobotDescription::from_mjcf(&xml).unwrap()
}

/// Every robot of the paper with MuJoCo's `model`.
fn pairs() -> impl Iterator<Item = (RobotDescription, Value)> {
    ROBOTS.iter().map(|(file, reference)| {
        (
            robot(file),
            read(&format!("{reference}.json"))["model"].take(),
        )
    })
}

fn assert_close(ours: &[f64], theirs: &[f64], what: &str) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for (our, their) in ours.iter().zip(theirs) {
        assert!(
            (our - their).abs() <= 1e-6 * their.abs() + 1e-12,
            "{what}: {ours:?} is not {theirs:?}"
        );
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap()
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn solref(softness: &Softness) -> [f64; 2] {
    [softness.time_constant, softness.damping_ratio]
}

fn solimp(softness: &Softness) -> [f64; 5] {
    [
        softness.impedance_min,
        softness.impedance_max,
        softness.width,
        softness.midpoint,
        softness.power,
    ]
}

/// The inertia tensor with these principal moments, whose axes are rotated by a quaternion (w, x,
/// y, z).
fn inertia(moments: &[f64], quaternion: &[f64]) -> Vec<f64> {
    let &[w, x, y, z] = quaternion else { panic!() };
    let axes = [
        [
            1.0 - 2.0 * (y * y + z * z),
            2.0 * (x * y - w * z),
            2.0 * (x * z + w * y),
        ],
        [
            2.0 * (x * y + w * z),
            1.0 - 2.0 * (x * x + z * z),
            2.0 * (y * z - w * x),
        ],
        [
            2.0 * (x * z - w * y),
            2.0 * (y * z + w * x),
            1.0 - 2.0 * (x * x + y * y),
        ],
    ];
    let entry = |i: usize, j: usize| (0..3).map(|k| axes[i][k] * moments[k] * axes[j][k]).sum();
    (0..9).map(|index| entry(index / 3, index % 3)).collect()
}

/// Time step, integrator, gravity, fluid, and the sizes of the state and of actions.
#[test]
fn options() {
    for (robot, model) in pairs() {
        let name = robot.name.as_str();
        assert_eq!(robot.time_step, number(&model["timestep"]), "{name}");
        let integrator = match robot.integrator {
            Integrator::Euler => 0,
            Integrator::RungeKutta4 => 1,
        };
        assert_eq!(model["integrator"], integrator, "{name}");
        assert_eq!(robot.gravity.to_vec(), numbers(&model["gravity"]), "{name}");
        assert_eq!(robot.medium.density, number(&model["density"]), "{name}");
        assert_eq!(
            robot.medium.viscosity,
            number(&model["viscosity"]),
            "{name}"
        );
        assert_eq!(model["nq"], robot.coordinates(), "{name}");
        assert_eq!(model["nv"], robot.dofs(), "{name}");
        assert_eq!(model["nu"], robot.actuators.len(), "{name}");
    }
}

/// Bodies: parents, poses, masses, centres of mass, inertia.
#[test]
fn bodies() {
    for (robot, model) in pairs() {
        // MuJoCo's body 0 is the world
        let bodies = &rows(&model["bodies"])[1..];
        assert_eq!(robot.bodies.len(), bodies.len(), "{}", robot.name);
        for (index, (ours, theirs)) in robot.bodies.iter().zip(bodies).enumerate() {
            let name = format!("{} of {}: {}", index, robot.name, ours.name);
            assert_eq!(theirs["name"], ours.name, "{name}");
            let parent = ours.parent.map_or(0, |parent| parent + 1);
            assert_eq!(theirs["parent"], parent, "{name}");
            assert_close(&ours.position, &numbers(&theirs["pos"]), &name);
            assert_close(&ours.orientation, &numbers(&theirs["quat"]), &name);
            assert_close(&[ours.mass()], &[number(&theirs["mass"])], &name);
            if ours.mass() == 0.0 {
                continue;
            }
            assert_close(&ours.center_of_mass(), &numbers(&theirs["com"]), &name);
            let mut moments = numbers(&theirs["inertia"]);
            let tensor = inertia(&moments, &numbers(&theirs["iquat"]));
            assert_close(&ours.inertia().concat(), &tensor, &name);
            moments.sort_by(|a, b| b.total_cmp(a));
            assert_close(&ours.principal_inertia(), &moments, &name);
        }
        let total = number(&model["total_mass"]);
        assert_close(&[robot.total_mass()], &[total], &robot.name);
    }
}

/// Joints: order, kind, body, anchor, axis, range, stiffness, damping, armature, softness of the
/// limits.
#[test]
fn joints() {
    for (robot, model) in pairs() {
        let joints = rows(&model["joints"]);
        assert_eq!(robot.joints.len(), joints.len(), "{}", robot.name);
        for (ours, theirs) in robot.joints.iter().zip(joints) {
            let name = format!("{} of {}", ours.name, robot.name);
            assert_eq!(theirs["name"], ours.name, "{name}");
            let kind = match ours.kind {
                JointKind::Slide => "slide",
                JointKind::Hinge => "hinge",
                JointKind::Free => "free",
            };
            assert_eq!(theirs["type"], kind, "{name}");
            assert_eq!(theirs["body"], ours.body + 1, "{name}");
            assert_close(&ours.position, &numbers(&theirs["pos"]), &name);
            assert_close(&ours.axis, &numbers(&theirs["axis"]), &name);
            assert_eq!(theirs["limited"], ours.range.is_some(), "{name}");
            if let Some(range) = ours.range {
                assert_close(&range, &numbers(&theirs["range"]), &name);
            }
            for (ours, key) in [
                (ours.stiffness, "stiffness"),
                (ours.damping, "damping"),
                (ours.armature, "armature"),
            ] {
                assert_close(&[ours], &[number(&theirs[key])], &format!("{key}, {name}"));
            }
            assert_close(&solref(&ours.limit), &numbers(&theirs["solref"]), &name);
            assert_close(&solimp(&ours.limit), &numbers(&theirs["solimp"]), &name);
        }
    }
}

/// `qpos` of the file's pose, with the `ref` of joints. The authors start the ant from another one.
#[test]
fn initial_positions() {
    for (robot, model) in pairs() {
        let mut expected = numbers(&model["init_qpos"]);
        if robot.name == "ant" {
            expected = [vec![0.0, 0.0, 0.75, 1.0], vec![0.0; 11]].concat();
        }
        assert_eq!(robot.initial_positions(), expected, "{}", robot.name);
    }
}

/// Motors: the joint, the gear and the range of each.
#[test]
fn motors() {
    for (robot, model) in pairs() {
        let motors = rows(&model["actuators"]);
        assert_eq!(robot.actuators.len(), motors.len(), "{}", robot.name);
        for (ours, theirs) in robot.actuators.iter().zip(motors) {
            let name = &robot.joints[ours.joint].name;
            assert_eq!(theirs["joint"], name.as_str());
            assert_close(&[ours.gear], &[number(&theirs["gear"])], name);
            assert_close(&ours.control_range, &numbers(&theirs["ctrlrange"]), name);
        }
    }
}

/// Contacts of the foot with the floor (the authors' models): friction of the
/// two, whether either has friction, margin, highest impedance, and whether they touch at all.
#[test]
fn contacts() {
    for (file, floor_friction, foot_friction, foot_has_friction, margin, impedance, touch) in [
        ("half_cheetah", 0.4, 0.4, true, 0.0, 0.8, true),
        ("swimmer", 1.0, 1.0, false, 0.0, 0.95, false),
        ("hopper", 1.0, 2.0, false, 0.001, 0.8, true),
        ("walker2d", 0.7, 1.9, true, 0.0, 0.95, true),
        ("ant", 1.0, 1.0, true, 0.01, 0.95, true),
    ] {
        let geoms = robot(file).geoms;
        let (floor, foot) = (&geoms[0], &geoms[geoms.len() - 1]);
        assert_eq!(floor.friction, floor_friction, "{file}");
        assert_eq!(foot.friction, foot_friction, "{file}");
        assert!(floor.has_friction, "{file}");
        assert_eq!(foot.has_friction, foot_has_friction, "{file}");
        assert_eq!(floor.margin, 0.0, "{file}");
        assert_eq!(foot.margin, margin, "{file}");
        assert_eq!(foot.softness, floor.softness, "{file}");
        assert_eq!(foot.softness.impedance_max, impedance, "{file}");
        let touches = foot.contact_type & floor.affinity | floor.contact_type & foot.affinity;
        assert_eq!(touches != 0, touch, "{file}");
    }
}

/// The tip of the arm, which MuJoCo's `model` does not have.
#[test]
fn tip_of_the_arm() {
    let robot = robot("pr2");
    let [tip] = robot.sites.as_slice() else {
        panic!("{:?}", robot.sites)
    };
    assert_eq!(tip.name, "tip");
    assert_eq!(robot.bodies[tip.body.unwrap()].name, "r_finger");
    assert_eq!(tip.position, [0.0; 3]);
}

/// The example robot, which is not one of the paper's.
#[test]
fn inverted_pendulum() {
    let robot = robot("inverted_pendulum");
    let kinds: Vec<_> = robot.joints.iter().map(|joint| joint.kind).collect();
    assert_eq!(kinds, [JointKind::Slide, JointKind::Hinge]);
    assert_eq!(robot.joints[0].range, Some([-1.0, 1.0]));
    assert_eq!(robot.actuators.len(), 1);
    assert_close(&[robot.total_mass()], &[1.2], "mass");
    assert_close(&robot.bodies[1].center_of_mass(), &[0.0, 0.0, 0.3], "pole");
    assert!(
        robot
            .geoms
            .iter()
            .all(|geom| geom.contact_type | geom.affinity == 0)
    );
}
