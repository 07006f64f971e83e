//! What a robot file asks for and the simulation cannot do is refused with a message, never ignored and never a panic.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use mbmpo_envs::{RobotDescription, Simulation};

/// A pendulum, with room for changes.
fn pendulum(option: &str, body: &str, joint: &str, end: &str) -> String {
    format!(
        r#"<mujoco model="pendulum">
             <compiler angle="radian"/>
             <option timestep="0.01" {option}/>
             <worldbody>
               <geom name="floor" type="plane" size="9 9 9" pos="0 0 -3"/>
               <body name="rod" pos="0 0 0" {body}>
                 <joint name="hinge" type="hinge" axis="0 1 0" {joint}/>
                 <geom name="rod" type="capsule" fromto="0 0 0 0 0 -1" size="0.05" contype="0"/>
                 {end}
               </body>
             </worldbody>
             <actuator><motor joint="hinge" gear="2" ctrlrange="-1 1"/></actuator>
           </mujoco>"#
    )
}

fn build(xml: &str) -> Result<Simulation, String> {
    RobotDescription::from_mjcf(xml)
        .and_then(|robot| Simulation::new(&robot, 1))
        .map_err(|error| error.to_string())
}

/// A small swing of a uniform rod has the period that mechanics gives it, to 1 %.
#[test]
fn pendulum_swings() {
    let mut simulation = build(&pendulum("", "", "", "")).unwrap();
    simulation.set_state(&[0.02], &[0.0]).unwrap();
    let mut previous = 0.02;
    let mut crossings = vec![];
    for t in 1..1000 {
        simulation.step(&[0.0]).unwrap();
        let position = simulation.positions()[0];
        if previous > 0.0 && position <= 0.0 {
            crossings.push(f64::from(t) * 0.01);
        }
        previous = position;
    }
    let swings = (crossings.len() - 1) as f64;
    let period = (crossings[crossings.len() - 1] - crossings[0]) / swings;
    let robot = RobotDescription::from_mjcf(&pendulum("", "", "", "")).unwrap();
    let rod = &robot.bodies[0];
    let inertia = rod.principal_inertia()[0] + rod.mass() * 0.5_f64.powi(2);
    let expected = std::f64::consts::TAU * (inertia / (rod.mass() * 9.81 * 0.5)).sqrt();
    assert!(
        (period / expected - 1.0).abs() < 0.01,
        "{period} {expected}"
    );
}

/// Each unsupported thing is named in the message.
#[test]
fn unsupported_is_refused() {
    for (xml, expected) in [
        ("not xml".to_owned(), "MJCF"),
        (String::new(), "MJCF"),
        ("<robot/>".to_owned(), "<robot>"),
        (pendulum("integrator=\"RK4\"", "", "", ""), "RK4"),
        (pendulum("viscosity=\"1\"", "", "", ""), "viscosity"),
        (pendulum("", "mocap=\"true\"", "", ""), "mocap"),
        (pendulum("", "", "frictionloss=\"1\"", ""), "frictionloss"),
        (pendulum("", "", "limited=\"true\"", ""), "range"),
        (pendulum("", "", "range=\"1 -1\"", ""), "range"),
        (pendulum("", "", "damping=\"much\"", ""), "not a float"),
        (
            pendulum("", "", "solreflimit=\"-100 -1\"", ""),
            "solreflimit",
        ),
        (pendulum("", "", "", "<freejoint/>"), "freejoint"),
        (
            pendulum("", "", "", "<joint name=\"b\" type=\"ball\"/>"),
            "Ball",
        ),
        (
            pendulum("", "", "", "<joint name=\"x\" axis=\"1 0 0\"/>"),
            "one hinge",
        ),
        (
            pendulum("", "", "", "<joint name=\"d\" axis=\"1 1 0\"/>"),
            "axes",
        ),
        (pendulum("", "", "", "<joint axis=\"1 0 0\"/>"), "name"),
        (
            pendulum("", "", "", "<geom type=\"box\" size=\"1 1 1\"/>"),
            "Box",
        ),
        (
            pendulum("", "", "", "<geom type=\"plane\" size=\"1 1 1\"/>"),
            "plane",
        ),
        (
            pendulum("", "", "", "<body name=\"massless\"/>"),
            "massless",
        ),
        (pendulum("", "", "", "<site name=\"tip\"/>"), "site"),
        (
            pendulum("", "", "", "").replace("joint=\"hinge\"", "joint=\"knee\""),
            "knee",
        ),
        (
            pendulum("", "", "", "").replace("ctrlrange", "forcerange"),
            "forcerange",
        ),
        ("<mujoco><worldbody/></mujoco>".to_owned(), "no body"),
    ] {
        let Err(message) = build(&xml) else {
            panic!("accepted, but should name {expected}: {xml}");
        };
        assert!(
            message.contains(expected),
            "{message} does not name {expected}"
        );
    }
}
