//! Changed physics has the effects that mechanics predicts, and factors of 1 have none.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::{stream, uniform};
use mbmpo_core::{Check, Checked};
use mbmpo_envs::{NAMES, Physics, RobotDescription, RobotEnvironment, Simulation, Variant};

const KINDS: [&str; 3] = ["mass", "motor", "friction"];

fn physics(kind: &str, factors: &[(&str, f64)]) -> Physics {
    let factors = factors
        .iter()
        .map(|(name, factor)| ((*name).into(), *factor));
    let mut physics = Physics::default();
    *match kind {
        "mass" => &mut physics.mass,
        "motor" => &mut physics.motor,
        _ => &mut physics.friction,
    } = factors.collect();
    physics
}

fn checked(kind: &str, factors: &[(&str, f64)]) -> Checked<Physics> {
    physics(kind, factors).check().unwrap()
}

/// A robot of this crate with changed physics.
fn changed(name: &str, physics: &Checked<Physics>) -> RobotEnvironment {
    RobotEnvironment::by_name_with(name, Variant::Paper, physics).unwrap()
}

/// A robot in MJCF with changed physics.
fn simulation(xml: &str, kind: &str, factors: &[(&str, f64)]) -> Simulation {
    let robot = RobotDescription::from_mjcf(xml).unwrap();
    Simulation::new(&robot.with_physics(&checked(kind, factors)).unwrap(), 1).unwrap()
}

fn robots() -> impl Iterator<Item = &'static str> {
    NAMES.iter().copied().filter(|name| *name != "point-2d")
}

#[track_caller]
fn assert_close(ours: f64, expected: f64) {
    let error = (ours - expected).abs();
    assert!(error <= 1e-12 * expected.abs(), "{ours}, not {expected}");
}

/// A ball of 0.4 kg and radius 0.1 m, half a metre above a cart of 1 kg that a motor of 10 N
/// pushes.
const CART: &str = r#"<mujoco>
    <option timestep="0.01"/>
    <default><geom contype="0" conaffinity="0"/></default>
    <worldbody>
        <body name="cart">
            <joint name="slider" type="slide" axis="1 0 0"/>
            <geom type="box" size=".1 .1 .1" mass="1"/>
            <body name="ball">
                <joint name="hinge" type="hinge" axis="0 1 0"/>
                <geom type="sphere" pos="0 0 .5" size=".1" mass=".4"/>
            </body>
        </body>
    </worldbody>
    <actuator>
        <motor joint="slider" gear="10" ctrllimited="true" ctrlrange="-1 1"/>
        <motor joint="hinge" gear="2" ctrllimited="true" ctrlrange="-1 1"/>
    </actuator>
</mujoco>"#;

/// Accelerations of the cart and the ball above it under a force and a torque, worked by hand:
/// `[[M + m, m l], [m l, m l² + 2/5 m r²]] [x'', θ''] = [F, τ]`.
fn accelerations(cart: f64, ball: f64, force: f64, torque: f64) -> [f64; 2] {
    let (length, radius) = (0.5, 0.1);
    let moment = ball * (length * length + 0.4 * radius * radius);
    let (total, coupling) = (cart + ball, ball * length);
    let determinant = total * moment - coupling * coupling;
    [
        (moment * force - coupling * torque) / determinant,
        (total * torque - coupling * force) / determinant,
    ]
}

/// Fails when inertia does not scale with mass, the factor goes to another body, or `all` and a
/// name do not multiply.
#[test]
fn mass() {
    for (factors, cart, ball) in [
        (&[][..], 1.0, 0.4),
        (&[("cart", 2.0)], 2.0, 0.4),
        (&[("ball", 3.0)], 1.0, 1.2),
        (&[("all", 0.5)], 0.5, 0.2),
        (&[("all", 0.5), ("ball", 10.0)], 0.5, 2.0),
    ] {
        let mut cartpole = simulation(CART, "mass", factors);
        cartpole.step(&[1.0, 0.5]).unwrap();
        let expected = accelerations(cart, ball, 10.0, 1.0);
        for (velocity, acceleration) in cartpole.velocities().iter().zip(expected) {
            assert_close(*velocity, 0.01 * acceleration);
        }
    }
}

/// Free fall does not depend on mass: fails when masses and inertias do not scale together, or not
/// all of them.
#[test]
fn all_masses_together_do_not_change_a_fall() {
    let fall = |factors: &[_]| {
        let mut cart = simulation(CART, "mass", factors);
        cart.set_state(&[0.0, 1.0], &[0.0, 0.0]).unwrap();
        for _ in 0..100 {
            cart.step(&[0.0, 0.0]).unwrap();
        }
        cart.positions()[1]
    };
    let usual = fall(&[]);
    assert!(usual > 2.0, "it falls: {usual}");
    assert!((fall(&[("all", 7.0)]) - usual).abs() < 1e-9);
    assert!((fall(&[("ball", 7.0)]) - usual).abs() > 1e-2);
}

/// A ball that coasts in a fluid: fails when a factor on its mass changes its size, and so the
/// drag.
#[test]
fn drag_does_not_grow_with_mass() {
    let xml = r#"<mujoco>
        <option timestep="0.01" gravity="0 0 0" density="1000" viscosity="1"/>
        <worldbody><body name="ball">
            <joint name="x" type="slide" axis="1 0 0"/>
            <geom type="sphere" size=".1" mass="4" contype="0" conaffinity="0"/>
        </body></worldbody>
    </mujoco>"#;
    let lost = |factor| {
        let mut ball = simulation(xml, "mass", &[("ball", factor)]);
        ball.set_state(&[0.0], &[1.0]).unwrap();
        ball.step(&[]).unwrap();
        1.0 - ball.velocities()[0]
    };
    assert!((lost(1.0) / lost(4.0) - 4.0).abs() < 1e-9);
}

/// Fails when a factor misses a motor or reaches another one: weaker motors equal smaller controls,
/// bit for bit.
#[test]
fn motor() {
    let usual = RobotEnvironment::by_name("half-cheetah", Variant::Paper).unwrap();
    let joints = ["bthigh", "bshin", "bfoot", "fthigh", "fshin", "ffoot"];
    let names = std::iter::once("all").chain(joints);
    for (weak, name) in names.enumerate() {
        let mut weaker = changed("half-cheetah", &checked("motor", &[(name, 0.5)]))
            .simulation()
            .clone();
        let mut usual = usual.simulation().clone();
        let mut stream = stream(0);
        for _ in 0..50 {
            let controls: Vec<f64> = uniform(6, &mut stream).into_iter().map(f64::from).collect();
            weaker.step(&controls).unwrap();
            let share = |i| if weak == 0 || weak == i + 1 { 0.5 } else { 1.0 };
            let controls: Vec<_> = (0..6).map(|i| share(i) * controls[i]).collect();
            usual.step(&controls).unwrap();
            assert_eq!(weaker.positions(), usual.positions(), "{name}");
        }
    }
}

/// A ball that slides over the floor without turning decelerates by μ times its acceleration of
/// gravity, plus μ times the upward acceleration by the floor beyond its weight. The larger of two
/// coefficients, 0.3 of the ball and 0.1 of the floor, counts. Fails when the factor is not linear
/// in μ, or is applied to the wrong side of the contact.
#[test]
fn friction() {
    let xml = r#"<mujoco>
        <option timestep="0.001" gravity="0 0 -10"/>
        <worldbody>
            <geom type="plane" size="9 9 9" friction=".1"/>
            <body name="ball" pos="0 0 .1">
                <joint name="x" type="slide" axis="1 0 0"/>
                <joint name="z" type="slide" axis="0 0 1"/>
                <geom type="sphere" size=".1" friction=".3"/>
            </body>
        </worldbody>
    </mujoco>"#;
    for (factors, expected) in [
        (&[][..], 0.3),
        (&[("ball", 2.0)], 0.6),
        (&[("ball", 0.5)], 0.15),
        (&[("ball", 0.1)], 0.1),
        (&[("floor", 2.0)], 0.3),
        (&[("floor", 5.0)], 0.5),
        (&[("all", 0.5)], 0.15),
        (&[("all", 2.0), ("floor", 4.0)], 0.8),
    ] {
        let mut ball = simulation(xml, "friction", factors);
        ball.set_state(&[0.0, 0.0], &[20.0, 0.0]).unwrap();
        for _ in 0..1000 {
            ball.step(&[]).unwrap();
        }
        let &[along, up] = ball.velocities() else {
            panic!()
        };
        let measured = (20.0 - along) / (10.0 + up);
        assert!(
            (measured - expected).abs() < 1e-9,
            "{factors:?}: {measured}"
        );
    }
}

/// Fails when a robot without factors, or with factors of 1, differs in any bit from the robot of
/// the file.
#[test]
fn no_factor_changes_nothing() {
    let one = Physics {
        mass: [("all".into(), 1.0)].into(),
        motor: [("all".into(), 1.0)].into(),
        friction: Physics::default().friction,
    };
    let assets = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets");
    for file in [
        "half_cheetah",
        "swimmer",
        "hopper",
        "walker2d",
        "ant",
        "pr2",
    ] {
        let xml = std::fs::read_to_string(format!("{assets}/{file}.xml")).unwrap();
        let robot = RobotDescription::from_mjcf(&xml).unwrap();
        let walk = |robot: &RobotDescription| {
            let mut simulation = Simulation::new(robot, 1).unwrap();
            let mut stream = stream(1);
            let mut bits = vec![];
            for _ in 0..100 {
                let controls = uniform(robot.actuators.len(), &mut stream);
                let controls: Vec<_> = controls.into_iter().map(f64::from).collect();
                simulation.step(&controls).unwrap();
                let state = simulation.positions().iter().chain(simulation.velocities());
                bits.extend(state.map(|x| x.to_bits()));
            }
            bits
        };
        let expected = walk(&robot);
        for physics in [Physics::default(), one.clone()] {
            let same = robot.clone().with_physics(&physics.check().unwrap());
            assert_eq!(walk(&same.unwrap()), expected, "{file}");
        }
    }
}

/// Fails when a mistyped name is ignored, or the message does not help.
#[test]
fn unknown_names() {
    let refused = |robot, kind, name| {
        let physics = checked(kind, &[(name, 2.0)]);
        let made = RobotEnvironment::by_name_with(robot, Variant::Paper, &physics);
        made.err().unwrap().to_string()
    };
    assert_eq!(
        refused("hopper", "mass", "tors"),
        "physics.mass: there is no body `tors`, did you mean `torso`? (there are `all`, `torso`, `thigh`, `leg`, `foot`)"
    );
    assert_eq!(
        refused("hopper", "motor", "thigh"),
        "physics.motor: there is no joint with a motor `thigh`, did you mean `thigh_joint`? \
         (there are `all`, `thigh_joint`, `leg_joint`, `foot_joint`)"
    );
    assert!(refused("hopper", "motor", "rootx").contains("there is no joint with a motor `rootx`"));
    assert!(refused("hopper", "friction", "flor").contains("did you mean `floor`?"));
    assert!(refused("hopper", "mass", "floor").contains("no body `floor`"));
    assert_eq!(
        refused("swimmer", "friction", "all"),
        "physics.friction: the robot has no body that touches anything"
    );
}

/// Fails when an invalid factor is accepted, or its key is not named.
#[test]
fn factors_out_of_range() {
    for kind in KINDS {
        for factor in [f64::NAN, 0.0, -1.0, f64::INFINITY, 0.009, 101.0] {
            let violations = physics(kind, &[("all", 1.0), ("torso", factor)]).check();
            assert_eq!(
                violations.unwrap_err().to_string(),
                format!("`{kind}.torso` is {factor}, allowed is 0.01 to 100")
            );
        }
        assert!(
            physics(kind, &[("all", 0.01), ("torso", 100.0)])
                .check()
                .is_ok()
        );
    }
}

/// Fails when the table of names in docs/environments.md differs from the names of the robots.
#[test]
fn documented_names() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/environments.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    let mut missing = vec![];
    for robot in robots() {
        let names = KINDS.map(|kind| {
            let physics = checked(kind, &[("?", 2.0)]);
            let made = RobotEnvironment::by_name_with(robot, Variant::Paper, &physics);
            let message = made.err().unwrap().to_string();
            let list = message.split_once("(there are `all`, ");
            list.map_or("none".to_owned(), |(_, list)| list.replace(')', ""))
        });
        let row = format!("| `{robot}` | {} |", names.join(" | "));
        if !docs.contains(&row) {
            missing.push(row);
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
