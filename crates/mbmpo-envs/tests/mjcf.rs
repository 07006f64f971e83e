//! Robots have the properties in their file, by numbers worked by hand; unsupported features are
//! refused with a message, never ignored, and never a panic.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use mbmpo_envs::robot::{Integrator, JointKind, Medium, Shape, Softness};
use mbmpo_envs::{RobotDescription, Simulation};
use std::f64::consts::{FRAC_1_SQRT_2, PI, TAU};

/// A pendulum, which the tests modify.
const PENDULUM: &str = "<mujoco model='pendulum'>
    <compiler angle='radian'/>
    <option timestep='0.01'/>
    <default><joint damping='0'/><default class='other'><joint damping='0.5'/></default></default>
    <worldbody>
      <geom name='floor' type='plane' size='9 9 9' pos='0 0 -3'/>
      <body name='rod' pos='0 0 0'>
        <joint name='hinge' type='hinge' axis='0 1 0'/>
        <geom name='rod' type='capsule' fromto='0 0 0 0 0 -1' size='0.05' contype='0'/>
      </body>
    </worldbody>
    <actuator><motor joint='hinge' gear='2' ctrlrange='-1 1'/></actuator>
  </mujoco>";

/// [`PENDULUM`] with the first `from` replaced by `to`.
fn changed(from: &str, to: &str) -> String {
    assert!(PENDULUM.contains(from), "{from}");
    PENDULUM.replacen(from, to, 1)
}

fn robot(xml: &str) -> RobotDescription {
    RobotDescription::from_mjcf(xml).unwrap()
}

fn assert_close(ours: &[f64], expected: &[f64]) {
    let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-12 * (1.0 + b.abs());
    assert!(
        ours.len() == expected.len() && ours.iter().zip(expected).all(close),
        "{ours:?} is not {expected:?}"
    );
}

/// The period of small swings of a uniform rod is that of mechanics, to 1 %.
#[test]
fn pendulum_swings() {
    let robot = robot(PENDULUM);
    let mut simulation = Simulation::new(&robot, 1).unwrap();
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
    let rod = &robot.bodies[0];
    let inertia = rod.principal_inertia()[0] + rod.mass() * 0.5_f64.powi(2);
    let expected = TAU * (inertia / (rod.mass() * 9.81 * 0.5)).sqrt();
    assert!(
        (period / expected - 1.0).abs() < 0.01,
        "{period} {expected}"
    );
}

/// Each unsupported feature is named in the message, with its line: text, its replacement, expected
/// message.
#[test]
fn unsupported_is_refused() {
    let end = "</body>";
    for (from, to, expected) in [
        (PENDULUM, "not xml", &["MJCF"][..]),
        (PENDULUM, "", &["MJCF"]),
        (PENDULUM, "<robot/>", &["<robot>"]),
        (PENDULUM, "<mujoco><worldbody/></mujoco>", &["no body"]),
        (PENDULUM, "<mujoco/>", &["no body"]),
        // elements and attributes
        (
            "<option",
            "<size/><option",
            &["line 3", "<size>", "<mujoco>"],
        ),
        ("<option", "<option viscocity='1'", &["line 3", "viscocity"]),
        (
            "<body ",
            "<body mocap='true' ",
            &["line 7", "name=\"rod\"", "mocap"],
        ),
        ("<joint name", "<joint group='1' name", &["line 8", "group"]),
        (
            "<geom name='rod'",
            "<geom gap='1' name='rod'",
            &["line 9", "gap"],
        ),
        ("ctrlrange", "forcerange", &["line 12", "forcerange"]),
        (end, "<plugin/></body>", &["<plugin>", "<body>"]),
        (end, "<include file='x'/></body>", &["<include>"]),
        ("<motor", "<position", &["<position>"]),
        ("<option", "<option/><option", &["second"]),
        (
            end,
            "<inertial mass='1'/><inertial mass='1'/></body>",
            &["second"],
        ),
        (end, "<body name='rod'/></body>", &["another body", "rod"]),
        (
            end,
            "<freejoint name='hinge'/></body>",
            &["another joint", "hinge"],
        ),
        (
            end,
            "<site name='a'/><site name='a'/></body>",
            &["another site"],
        ),
        (end, "<site/></body>", &["<site>", "name"]),
        (end, "<joint axis='1 0 0'/></body>", &["<joint>", "name"]),
        // values
        ("'radian'", "'grad'", &["angle", "grad"]),
        (
            "<compiler",
            "<compiler coordinate='global'",
            &["coordinate", "global"],
        ),
        (
            "<compiler",
            "<compiler inertiafromgeom='yes'",
            &["inertiafromgeom"],
        ),
        (
            "<option",
            "<option integrator='implicit'",
            &["integrator", "implicit"],
        ),
        ("'0.01'", "'0'", &["timestep"]),
        ("<option", "<option density='-1'", &["density"]),
        ("'0.01'", "'soon'", &["line 3", "timestep", "soon"]),
        ("'0.01'", "'0.01 0.01'", &["timestep", "1"]),
        ("'0.01'", "''", &["timestep"]),
        ("'0 1 0'", "'0 nan 0'", &["line 8", "axis", "nan"]),
        ("'0 1 0'", "'0 1e11 0'", &["axis", "1e11"]),
        ("'0 1 0'", "'0 1'", &["axis", "3"]),
        ("'0 1 0'", "'0 1e-300 0'", &["axis", "direction"]),
        ("'0 1 0'", "'0 0 0'", &["axis", "direction"]),
        ("contype='0'", "contype='-1'", &["contype", "whole"]),
        // classes
        ("<default>", "<default class='x'>", &["main"]),
        (" class='other'", "", &["<default>", "class"]),
        (
            "name='hinge'",
            "name='hinge' class='soft'",
            &["hinge", "class", "soft"],
        ),
        (
            "name='rod'",
            "name='rod' childclass='soft'",
            &["rod", "class", "soft"],
        ),
        (
            "<joint damping='0'/>",
            "<joint pos='1 0 0'/><geom pos='1 0 0'/>",
            &["<geom>", "pos"],
        ),
        // bodies
        (
            "pos='0 0 0'",
            "quat='0 0 0 0'",
            &["rod", "quat", "direction"],
        ),
        (
            "pos='0 0 0'",
            "quat='1 0 0 0' euler='0 0 0'",
            &["rod", "orientation"],
        ),
        ("contype='0'", "density='0'", &["line 7", "rod", "mass"]),
        (
            end,
            "<body name='a'><joint name='a'/></body></body>",
            &["<body name=\"a\">", "mass"],
        ),
        (
            end,
            "<inertial diaginertia='1 1 1'/></body>",
            &["<inertial>", "mass"],
        ),
        (
            end,
            "<inertial mass='1'/></body>",
            &["<inertial>", "diaginertia"],
        ),
        (
            end,
            "<inertial mass='1' fullinertia='1 1 1 0 0 0'/></body>",
            &["fullinertia"],
        ),
        (
            end,
            "<inertial mass='1' diaginertia='1 1 5'/></body>",
            &["diaginertia", "sum"],
        ),
        // joints
        ("'hinge' axis", "'ball' axis", &["hinge", "type", "ball"]),
        (
            "axis=",
            "frictionloss='1' axis=",
            &["hinge", "frictionloss"],
        ),
        ("axis=", "margin='1' axis=", &["hinge", "margin"]),
        ("axis=", "damping='-1' axis=", &["hinge", "damping"]),
        ("axis=", "limited='true' axis=", &["hinge", "range"]),
        ("axis=", "range='1 -1' axis=", &["hinge", "range"]),
        (
            "axis=",
            "solreflimit='-100 -1' axis=",
            &["hinge", "solreflimit"],
        ),
        (
            "axis=",
            "solimplimit='0.9 2' axis=",
            &["hinge", "solimplimit"],
        ),
        (
            end,
            "<freejoint name='f'/></body>",
            &["<freejoint name=\"f\">", "only"],
        ),
        (
            end,
            "<body><freejoint name='f'/></body></body>",
            &["<freejoint name=\"f\">", "world"],
        ),
        (
            "'hinge' axis='0 1 0'",
            "'free' damping='1'",
            &["hinge", "damping"],
        ),
        (
            "'hinge' axis='0 1 0'",
            "'free' limited='true'",
            &["hinge", "limited"],
        ),
        // geoms
        ("'capsule'", "'mesh'", &["rod", "type", "mesh"]),
        ("'capsule'", "'box'", &["rod", "fromto"]),
        ("size='0.05'", "", &["rod", "size"]),
        ("0 0 0 0 0 -1'", "0 0 1 0 0 1'", &["rod", "ends"]),
        ("0 0 0 0 0 -1'", "0 0 0 0 0 1e-300'", &["rod", "ends"]),
        ("size='0.05'", "size='0.05' condim='6'", &["rod", "condim"]),
        (
            "size='0.05'",
            "size='0.05' friction='-1'",
            &["rod", "friction"],
        ),
        (
            "size='0.05'",
            "size='0.05' solref='-1 -1'",
            &["rod", "solref"],
        ),
        (
            "size='0.05'",
            "size='0.05' solimp='0.9 0.9 0'",
            &["rod", "solimp"],
        ),
        (
            end,
            "<geom type='box' size='1 1 1'/></body>",
            &["boxes", "contype=\"0\""],
        ),
        (
            end,
            "<geom type='cylinder' size='1 1' contype='0'/></body>",
            &["cylinders", "conaffinity=\"0\""],
        ),
        (
            end,
            "<geom type='box' size='1 1' contype='0' conaffinity='0'/></body>",
            &["size", "3"],
        ),
        (end, "<geom type='plane'/></body>", &["plane", "world"]),
        ("pos='0 0 -3'", "euler='1 0 0'", &["floor", "level"]),
        // motors
        ("joint='hinge'", "joint='knee'", &["motor", "knee"]),
        ("'hinge' axis='0 1 0'", "'free'", &["motor", "hinge"]),
        ("ctrlrange='-1 1'", "", &["motor", "ctrlrange"]),
        (
            "ctrlrange='-1 1'",
            "ctrlrange='-1 1' ctrllimited='false'",
            &["motor", "ctrlrange"],
        ),
    ] {
        let xml = changed(from, to);
        let Err(error) = RobotDescription::from_mjcf(&xml) else {
            panic!("accepted, but should name {expected:?}: {xml}");
        };
        let message = error.to_string();
        for words in expected {
            assert!(message.contains(words), "{message} does not name {words}");
        }
    }
}

/// Fails when, without `autolimits`, a range alone limits a joint.
#[test]
fn ranges_without_autolimits_are_refused() {
    let xml = changed("<compiler", "<compiler autolimits='false'");
    let message = |xml: &str| RobotDescription::from_mjcf(xml).unwrap_err().to_string();
    assert!(message(&xml).contains("ctrlrange"), "{}", message(&xml));
    let xml = xml.replace("axis=", "range='-1 1' axis=");
    assert!(message(&xml).contains("limited"), "{}", message(&xml));
    let xml = xml.replace("ctrlrange", "ctrllimited='true' ctrlrange");
    let xml = xml.replace("axis=", "limited='true' axis=");
    assert_eq!(robot(&xml).joints[0].range, Some([-1.0, 1.0]));
}

/// Fails when a value of any attribute of our robots, or a truncated file, causes a panic.
#[test]
fn nothing_panics() {
    let assets = concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets");
    for file in ["half_cheetah", "hopper", "ant", "pr2", "inverted_pendulum"] {
        let xml = std::fs::read_to_string(format!("{assets}/{file}.xml")).unwrap();
        let quotes: Vec<_> = xml.match_indices('"').map(|(index, _)| index).collect();
        for quote in quotes.chunks(2) {
            let _ = RobotDescription::from_mjcf(&xml[..quote[1]]);
            for value in [
                "", "x", "nan", "-1", "1e9", "1e-300", "0 0 0", "main", "true",
            ] {
                let changed = [&xml[..=quote[0]], value, &xml[quote[1]..]].concat();
                if let Ok(robot) = RobotDescription::from_mjcf(&changed) {
                    assert!(robot.total_mass().is_finite(), "{changed}");
                    let inertia = robot.bodies.iter().flat_map(|body| body.inertia());
                    assert!(inertia.flatten().all(f64::is_finite), "{changed}");
                }
            }
        }
    }
    for (levels, expected) in [(480, "deep"), (100_000, "tags")] {
        let deep = ["<body>".repeat(levels), "</body>".repeat(levels)].concat();
        let error = RobotDescription::from_mjcf(&changed("</body>", &format!("{deep}</body>")));
        assert!(error.unwrap_err().to_string().contains(expected));
        let error = RobotDescription::from_mjcf(&"<body>".repeat(2 * levels));
        assert!(error.unwrap_err().to_string().contains("MJCF"));
    }
}

/// A file of a few kilobytes cannot take hours or gigabytes: fails when attributes, degrees of
/// freedom or pairs that can touch are not bounded.
#[test]
fn sizes_are_bounded() {
    let attributes: String = (0..10_001).map(|i| format!(" a{i}=''")).collect();
    let error = RobotDescription::from_mjcf(&format!("<mujoco{attributes}/>"));
    assert!(error.unwrap_err().to_string().contains("10000 attributes"));
    let refused = |bodies: &str| {
        let robot = robot(&changed("<body", &format!("{bodies}<body")));
        Simulation::new(&robot, 1).err().unwrap().to_string()
    };
    let balls = (0..34).map(|i| {
        format!("<body><freejoint name='{i}'/><geom size='1' contype='0' conaffinity='0'/></body>")
    });
    let message = refused(&balls.collect::<String>());
    assert!(message.contains("205 degrees of freedom"), "{message}");
    let spheres = "<geom size='1'/>".repeat(101);
    let bodies = ["a", "b"].map(|name| format!("<body><freejoint name='{name}'/>{spheres}</body>"));
    let message = refused(&bodies.concat());
    assert!(message.contains("pairs of geoms"), "{message}");
}

/// Degrees apply to hinges, also to their `ref` and `springref`; slides are in metres.
#[test]
fn degrees() {
    let xml = changed("'radian'", "'degree'")
        .replace(
            "'hinge' axis",
            "'hinge' range='-90 45' ref='30' springref='60' axis",
        )
        .replace(
            "<geom name='rod'",
            "<joint name='slide' type='slide' axis='0 3 4' range='-2 2' ref='1.5'/><geom name='rod'",
        );
    let robot = robot(&xml);
    let [hinge, slide] = robot.joints.as_slice() else {
        panic!()
    };
    assert_close(&hinge.range.unwrap(), &[-PI / 2.0, PI / 4.0]);
    assert_close(&[hinge.reference, hinge.spring_rest], &[PI / 6.0, PI / 3.0]);
    assert_eq!(slide.kind, JointKind::Slide);
    assert_close(&slide.axis, &[0.0, 0.6, 0.8]);
    assert_eq!(slide.range, Some([-2.0, 2.0]));
    assert_close(&robot.initial_positions(), &[PI / 6.0, 1.5]);
}

/// The three notations for the orientation of a body.
#[test]
fn orientations() {
    let quarter = [FRAC_1_SQRT_2, 0.0, 0.0, FRAC_1_SQRT_2];
    for (orientation, expected) in [
        ("quat='2 0 0 2'", quarter),
        ("axisangle='0 0 3 90'", quarter),
        ("euler='0 0 90'", quarter),
        // about x, then about the z axis of the rotated body
        ("euler='90 0 90'", [0.5, 0.5, -0.5, 0.5]),
    ] {
        let xml = changed("'radian'", "'degree'").replace("pos='0 0 0'", orientation);
        assert_close(&robot(&xml).bodies[0].orientation, &expected);
    }
}

/// Explicit inertia, and the settings under which it counts.
#[test]
fn inertial() {
    let inertial = "<inertial pos='1 2 3' mass='2' diaginertia='1 2 2.5' quat='1 0 0 1'/>";
    let xml = |choice: &str| {
        changed("</body>", &format!("{inertial}</body>")).replace(
            "<compiler",
            &format!("<compiler inertiafromgeom='{choice}'"),
        )
    };
    for choice in ["auto", "false"] {
        let body = &robot(&xml(choice)).bodies[0];
        assert_close(&[body.mass()], &[2.0]);
        assert_close(&body.center_of_mass(), &[1.0, 2.0, 3.0]);
        let [x, y, z] = body.inertia();
        assert_close(&x, &[2.0, 0.0, 0.0]);
        assert_close(&y, &[0.0, 1.0, 0.0]);
        assert_close(&z, &[0.0, 0.0, 2.5]);
    }
    let rod = robot(PENDULUM).bodies[0].mass();
    assert_eq!(robot(&xml("true")).bodies[0].mass(), rod);
}

/// Mass and inertia along the axes of each shape, by the formulas of textbooks.
#[test]
fn masses() {
    let capsule = {
        let (r, l) = (0.5, 3.0);
        let (tube, balls) = (PI * r * r * l, 4.0 / 3.0 * PI * r * r * r);
        let along = tube * r * r / 2.0 + balls * r * r * 0.4;
        let across = tube * (r * r / 4.0 + l * l / 12.0)
            + balls * (r * r * 0.4 + l * l / 4.0 + 3.0 / 8.0 * l * r);
        (tube + balls, [across, across, along])
    };
    let ball = 4.0 / 3.0 * PI * 8.0;
    let cylinder = PI * 4.0 * 6.0;
    for (geom, (volume, inertia)) in [
        ("type='capsule' size='0.5 1.5'", capsule),
        ("type='sphere' size='2'", (ball, [0.4 * 4.0 * ball; 3])),
        (
            "type='box' size='1 2 3'",
            (48.0, [16.0 * 13.0, 16.0 * 10.0, 16.0 * 5.0]),
        ),
        (
            "type='cylinder' size='2 3'",
            (cylinder, [4.0 * cylinder, 4.0 * cylinder, 2.0 * cylinder]),
        ),
    ] {
        for (heaviness, mass) in [
            ("", 1000.0 * volume),
            ("density='7'", 7.0 * volume),
            ("density='7' mass='5'", 5.0),
        ] {
            let geom =
                format!("<geom {geom} {heaviness} pos='1 2 3' conaffinity='0' contype='0'/>");
            let (start, end) = (PENDULUM.find("<geom name='rod'"), PENDULUM.find("</body>"));
            let body = &robot(&changed(&PENDULUM[start.unwrap()..end.unwrap()], &geom)).bodies[0];
            assert_close(&[body.mass() / mass], &[1.0]);
            assert_close(&body.center_of_mass(), &[1.0, 2.0, 3.0]);
            let moments = inertia.map(|moment| moment / volume);
            let diagonal = [0, 1, 2].map(|axis| body.inertia()[axis][axis] / mass);
            assert_close(&diagonal, &moments);
        }
    }
}

/// Fails when the axis of a cylinder is not between its two points, or a box is not rotated by its
/// quaternion.
#[test]
fn shapes() {
    let xml = changed(
        "</body>",
        "<geom type='cylinder' fromto='1 0 0 3 0 0' size='0.1' mass='6' contype='0' conaffinity='0'/>
         <geom type='box' size='1 2 3' quat='1 0 0 1' mass='0' contype='0' conaffinity='0'/>
         <geom type='sphere' size='2' pos='1 2 3' mass='0'/>
         <geom type='capsule' size='0.1 2' euler='1.5707963267948966 0 0' mass='0'/></body>",
    )
    .replace("contype='0'/>\n", "density='0'/>\n");
    let robot = robot(&xml);
    let shapes: Vec<_> = robot.geoms.iter().map(|geom| geom.shape).collect();
    assert_eq!(shapes[0], Shape::Floor { height: -3.0 });
    let (a, b, radius) = ([1.0, 0.0, 0.0], [3.0, 0.0, 0.0], 0.1);
    assert_eq!(shapes[2], Shape::Cylinder { a, b, radius });
    let Shape::Box { orientation, .. } = shapes[3] else {
        panic!("{shapes:?}")
    };
    assert_close(&orientation, &[FRAC_1_SQRT_2, 0.0, 0.0, FRAC_1_SQRT_2]);
    let (center, radius) = ([1.0, 2.0, 3.0], 2.0);
    assert_eq!(shapes[4], Shape::Sphere { center, radius });
    let Shape::Capsule { a, b, .. } = shapes[5] else {
        panic!("{shapes:?}")
    };
    assert_close(&[a, b].concat(), &[0.0, 2.0, 0.0, 0.0, -2.0, 0.0]);
    // only the cylinder has mass
    let rod = &robot.bodies[0];
    assert_close(&rod.center_of_mass(), &[2.0, 0.0, 0.0]);
    let across = 6.0 * (3.0 * 0.01 + 4.0) / 12.0;
    assert_close(&rod.principal_inertia(), &[across, across, 0.03]);
    assert_close(&[rod.inertia()[0][0]], &[0.03]);
}

/// Fails when `settotalmass` does not scale masses and inertias together, also those of welded
/// bodies.
#[test]
fn total_mass() {
    let twin = "<body name='twin'><geom type='sphere' size='0.1' density='0.5'/></body></body>";
    let xml = changed("</body>", twin);
    let before = robot(&xml);
    let after = robot(&xml.replace("<compiler", "<compiler settotalmass='3'"));
    assert_close(&[after.total_mass()], &[3.0]);
    let factor = 3.0 / before.total_mass();
    for (before, after) in before.bodies.iter().zip(&after.bodies) {
        assert_close(&[after.mass()], &[factor * before.mass()]);
        let inertia = before.principal_inertia().map(|moment| factor * moment);
        assert_close(&after.principal_inertia(), &inertia);
    }
}

/// Fails when a massless body with a joint is refused although a body welded to it has mass.
#[test]
fn welded() {
    let heavy = "<body name='frame'><body name='weight'><geom size='1'/></body></body></body>";
    let xml = changed("</body>", heavy).replace("size='0.05'", "size='0.05' mass='0'");
    let robot = robot(&xml);
    let parents: Vec<_> = robot.bodies.iter().map(|body| body.parent).collect();
    assert_eq!(parents, [None, Some(0), Some(1)]);
    let masses: Vec<_> = robot.bodies.iter().map(|body| body.mass() > 0.0).collect();
    assert_eq!(masses, [false, false, true]);
}

/// Nested classes and those of bodies: fails when attributes that `mjcf-rs` does not read are
/// inherited otherwise than those that it reads.
#[test]
fn classes() {
    let xml = "<mujoco>
        <default>
          <geom solimp='0.5 0.6 0.7' friction='3' condim='1' margin='0.1'/>
          <joint solreflimit='0.1 0.2' damping='1'/>
          <default class='leg'>
            <geom solimp='0.1' solref='0.3' friction='2'/>
            <default class='foot'><geom solimp='0.2' condim='3'/><joint damping='2'/></default>
          </default>
        </default>
        <worldbody>
          <body name='hip'>
            <joint name='hip'/><geom size='1' solref='0.9 0.8'/>
            <body name='leg' childclass='leg'>
              <joint name='leg'/><geom size='1'/>
              <body name='foot'><joint name='foot' class='foot'/><geom size='1' class='foot'/></body>
            </body>
          </body>
        </worldbody>
      </mujoco>";
    let robot = robot(xml);
    let softness = |time_constant, damping_ratio, impedance_min| Softness {
        time_constant,
        damping_ratio,
        impedance_min,
        impedance_max: 0.6,
        width: 0.7,
        ..Softness::default()
    };
    let expected = [
        (softness(0.9, 0.8, 0.5), 3.0, false, 1.0),
        (softness(0.3, 1.0, 0.1), 2.0, false, 1.0),
        (softness(0.3, 1.0, 0.2), 2.0, true, 2.0),
    ];
    for (index, (softness, friction, has_friction, damping)) in expected.into_iter().enumerate() {
        let (geom, joint) = (&robot.geoms[index], &robot.joints[index]);
        assert_eq!(geom.softness, softness, "{index}");
        assert_eq!(
            (geom.friction, geom.has_friction, geom.margin),
            (friction, has_friction, 0.1)
        );
        assert_eq!(joint.damping, damping, "{index}");
        let limit = [joint.limit.time_constant, joint.limit.damping_ratio];
        assert_eq!(limit, [0.1, 0.2], "{index}");
    }
}

/// The options, a rotated free root, and sites.
#[test]
fn free_root() {
    let xml = changed(
        "<option",
        "<option integrator='RK4' density='1000' viscosity='0.5' gravity='0 0 -1'",
    )
    .replace("type='hinge' axis='0 1 0'", "type='free'")
    .replace("pos='0 0 0'", "pos='1 2 3' quat='0 1 0 0'")
    .replace(
        "</body>",
        "<site name='end' pos='0 0 -1'/></body><site name='mark'/>",
    )
    .replace("<motor joint='hinge' gear='2' ctrlrange='-1 1'/>", "");
    let robot = robot(&xml);
    assert_eq!(robot.integrator, Integrator::RungeKutta4);
    let (density, viscosity) = (1000.0, 0.5);
    assert_eq!(robot.medium, Medium { density, viscosity });
    assert_eq!(robot.gravity, [0.0, 0.0, -1.0]);
    assert_eq!(robot.joints[0].kind, JointKind::Free);
    assert_eq!((robot.coordinates(), robot.dofs()), (7, 6));
    let pose = [1.0, 2.0, 3.0, 0.0, 1.0, 0.0, 0.0];
    assert_close(&robot.initial_positions(), &pose);
    let sites: Vec<_> = robot
        .sites
        .iter()
        .map(|s| (s.name.as_str(), s.body, s.position))
        .collect();
    let origin = [0.0; 3];
    assert_eq!(
        sites,
        [("mark", None, origin), ("end", Some(0), [0.0, 0.0, -1.0])]
    );
}
