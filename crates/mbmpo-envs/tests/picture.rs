//! Pictures of robots have each shape at the pixels that geometry predicts, near shapes over far
//! ones, frames side by side, in the view that fits the robot's hinges. For any input they are
//! valid SVG.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use mbmpo_envs::robot::{Geom, Joint, JointKind, Shape, Site};
use mbmpo_envs::{Frame, RobotDescription, Simulation, picture};
use roxmltree::{Document, Node};

fn cheetah() -> RobotDescription {
    RobotDescription::from_mjcf(include_str!("../../../assets/half_cheetah.xml")).unwrap()
}

/// The half-cheetah reduced to its torso, at the origin, free to slide along x.
fn torso() -> RobotDescription {
    let mut robot = cheetah();
    robot.bodies.truncate(1);
    robot.bodies[0].position = [0.0; 3];
    robot.joints.truncate(3);
    robot.geoms.clear();
    robot.actuators.clear();
    robot
}

fn with(mut robot: RobotDescription, shapes: &[Shape]) -> RobotDescription {
    let geom = cheetah().geoms[0].clone();
    robot.geoms.extend(shapes.iter().map(|&shape| Geom {
        body: (!matches!(shape, Shape::Floor { .. })).then_some(0),
        shape,
        ..geom.clone()
    }));
    robot
}

/// A robot with hinges about this axis only.
fn about(axis: [f64; 3]) -> RobotDescription {
    let mut robot = torso();
    let hinge = robot.joints[2].clone();
    robot.joints = vec![Joint { axis, ..hinge }];
    robot
}

fn capsule(a: [f64; 3], b: [f64; 3]) -> Shape {
    Shape::Capsule { a, b, radius: 0.1 }
}

fn nodes<'a>(document: &'a Document<'_>, tag: &str) -> Vec<Node<'a, 'a>> {
    let all = document.descendants();
    all.filter(|node| node.has_tag_name(tag)).collect()
}

/// The elements of the robot's group.
fn shapes<'a>(document: &'a Document<'_>) -> Vec<Node<'a, 'a>> {
    let all = document.descendants();
    let robots = all.filter(|node| node.attribute("class") == Some("robot"));
    robots
        .flat_map(|robot| robot.children().filter(Node::is_element))
        .collect()
}

/// The numbers in an attribute.
fn numbers(node: Node, attribute: &str) -> Vec<f64> {
    let text = node.attribute(attribute).unwrap();
    let parts = text.split(|c: char| c.is_alphabetic() || c == ' ' || c == '(' || c == ')');
    let parts = parts.filter(|part| !part.is_empty());
    parts.map(|part| part.parse().unwrap()).collect()
}

/// Compares up to the rounding of pixels to tenths, for a difference of two.
fn close(found: &[f64], expected: &[f64]) {
    let near = |(a, b): (&f64, &f64)| (a - b).abs() < 0.11;
    assert!(
        found.len() == expected.len() && found.iter().zip(expected).all(near),
        "{found:?} instead of {expected:?}"
    );
}

fn moved(robot: &RobotDescription, time: f64, x: f64) -> Frame {
    let mut frame = Frame {
        time,
        ..Frame::at_rest(robot)
    };
    for (position, _) in &mut frame.poses {
        position[0] += x;
    }
    frame
}

/// A capsule from (0, 0) to (2, 1) of radius 0.1 fills 2.2 m × 1.2 m (rounding up to 0.8 of half
/// the width is not needed), so 400 px are 2.2 m: 181.8 px/m. Its lower left end is 0.1 m from the
/// left and the bottom of that.
#[test]
fn capsules_are_where_geometry_says() {
    let robot = with(torso(), &[capsule([0.0; 3], [2.0, 0.0, 1.0])]);
    let svg = picture(&robot, &[]);
    let document = Document::parse(&svg).unwrap();
    let (left, bottom) = (12.0 + 18.18, 12.0 + 1.1 * 181.82);
    let ends = [left, bottom, left + 363.64, bottom - 181.82];
    let [outline, fill] = shapes(&document)[..] else {
        panic!("{svg}")
    };
    close(&numbers(outline, "d"), &ends);
    close(&numbers(fill, "d"), &ends);
    close(&numbers(outline, "stroke-width"), &[36.36]);
    // the height of the marks below is added to 1.2 m
    close(&numbers(document.root_element(), "width"), &[424.0]);
    close(
        &numbers(document.root_element(), "height"),
        &[24.0 + 218.18 + 24.0],
    );
}

/// Fails when the orientation of a body is ignored: a capsule along x that is rotated by -90° about
/// y points up.
#[test]
fn bodies_turn_their_shapes() {
    let robot = with(torso(), &[capsule([0.0; 3], [1.0, 0.0, 0.0])]);
    let mut frame = Frame::at_rest(&robot);
    let half = std::f64::consts::FRAC_1_SQRT_2;
    frame.poses[0].1 = [half, 0.0, -half, 0.0];
    let svg = picture(&robot, &[frame]);
    let document = Document::parse(&svg).unwrap();
    let [x, y, u, v] = numbers(shapes(&document)[0], "d")[..] else {
        panic!("{svg}")
    };
    close(&[u], &[x]);
    // 1.2 m are 400 px
    close(&[y - v], &[333.33]);
}

/// A box seen from the side is a rectangle, one that stands on an edge a square on its corner; a
/// cylinder across the line of sight is a rectangle, one along it a disc.
#[test]
fn boxes_and_cylinders_are_their_hulls() {
    let half = [0.5, 0.2, 0.5];
    let corners = |shape: Shape| {
        let svg = picture(&with(torso(), &[shape]), &[]);
        let document = Document::parse(&svg).unwrap();
        numbers(shapes(&document)[0], "d").len() / 2
    };
    let angle = std::f64::consts::FRAC_PI_8;
    for orientation in [[1.0, 0.0, 0.0, 0.0], [angle.cos(), 0.0, angle.sin(), 0.0]] {
        let center = [0.0; 3];
        let shape = Shape::Box {
            center,
            orientation,
            half,
        };
        assert_eq!(corners(shape), 4);
    }
    let cylinder = |b: [f64; 3]| Shape::Cylinder {
        a: [0.0; 3],
        b,
        radius: 0.3,
    };
    assert_eq!(corners(cylinder([0.0, 0.0, 1.0])), 4);
    assert_eq!(corners(cylinder([0.0, 1.0, 0.0])), 24);
}

/// Seen from the side a smaller y is nearer, from above a larger z, in any order of the shapes.
#[test]
fn near_shapes_cover_far_ones() {
    let ball = |at: f64, radius: f64, axis: usize| {
        let mut center = [0.0; 3];
        center[axis] = at;
        Shape::Sphere { center, radius }
    };
    for (axis, sign, of) in [(1, -1.0, [0.0, 1.0, 0.0]), (2, 1.0, [0.0, 0.0, 1.0])] {
        let (near, far) = (ball(sign, 0.1, axis), ball(-sign, 0.4, axis));
        for order in [[near, far], [far, near]] {
            let svg = picture(&with(about(of), &order), &[]);
            let document = Document::parse(&svg).unwrap();
            let radii: Vec<_> = nodes(&document, "circle")
                .into_iter()
                .map(|circle| numbers(circle, "r")[0])
                .collect();
            let last = radii.iter().copied().fold(0.0, f64::max);
            assert!(radii.last().unwrap() < &(0.5 * last), "{radii:?}");
        }
    }
}

/// Of two legs in one plane, the first is behind the trunk and the second in front of it, in
/// different tones.
#[test]
fn legs_have_a_side() {
    let robot = cheetah();
    let svg = picture(&robot, &[]);
    let document = Document::parse(&svg).unwrap();
    let mut tones: Vec<_> = shapes(&document)
        .iter()
        .map(|node| node.attribute("stroke").unwrap())
        .filter(|&color| color != "#2f5275")
        .collect();
    assert_eq!(tones.len(), robot.geoms.len() - 1);
    tones.dedup();
    assert_eq!(tones.len(), 3, "{tones:?}");
}

/// Frames have one size and scale; a robot that can move away is centred, and the floor moves:
/// after 0.4 m the tick at 0 m is that much further left.
#[test]
fn strips_follow_the_robot() {
    let robot = with(
        torso(),
        &[
            Shape::Floor { height: -0.1 },
            capsule([-0.9, 0.0, 0.0], [0.9, 0.0, 0.0]),
        ],
    );
    let frames: Vec<_> = (0..3)
        .map(|i| moved(&robot, 0.5 * f64::from(i), 0.4 * f64::from(i)))
        .collect();
    let svg = picture(&robot, &frames);
    let document = Document::parse(&svg).unwrap();
    let lefts: Vec<_> = nodes(&document, "g")
        .into_iter()
        .filter(|node| node.attribute("class") == Some("frame"))
        .map(|node| numbers(node, "transform")[0])
        .collect();
    // 240 px for the 2 m, and margins
    close(&lefts, &[0.0, 264.0, 528.0]);
    close(&numbers(document.root_element(), "width"), &[792.0]);
    let drawn: Vec<_> = shapes(&document)
        .iter()
        .map(|&node| numbers(node, "d"))
        .collect();
    assert_eq!(drawn.len(), 6);
    assert!(drawn.iter().all(|ends| ends == &drawn[0]));
    let text = |tick: bool| -> Vec<(String, f64)> {
        nodes(&document, "text")
            .into_iter()
            .filter(|node| node.attribute("class").is_none() == tick)
            .map(|node| (node.text().unwrap().into(), numbers(node, "x")[0]))
            .collect()
    };
    let times: Vec<_> = text(false).into_iter().map(|(time, _)| time).collect();
    assert_eq!(times, ["0.00 s", "0.50 s", "1.00 s"]);
    let zero: Vec<_> = text(true)
        .into_iter()
        .filter_map(|(label, x)| (label == "0 m").then_some(x))
        .collect();
    close(&zero, &[132.0, 84.0, 36.0]);
}

/// A robot on a rail with ends is not centred: the rail is.
#[test]
fn strips_of_fixed_robots_stay() {
    let mut robot = with(torso(), &[capsule([-0.5, 0.0, 0.0], [0.5, 0.0, 0.0])]);
    robot.joints[0].range = Some([-1.0, 1.0]);
    robot.joints.remove(1);
    let frames = [moved(&robot, 0.0, 0.0), moved(&robot, 1.0, 1.0)];
    let svg = picture(&robot, &frames);
    let document = Document::parse(&svg).unwrap();
    let shapes = shapes(&document);
    // 2.2 m in all
    let moved = numbers(shapes[2], "d")[0] - numbers(shapes[0], "d")[0];
    close(&[moved], &[240.0 / 2.2]);
}

/// The view is from the side for hinges about ±y, from above for ±z, else oblique: the unit vectors
/// show it.
#[test]
fn views_suit_the_hinges() {
    let arrows = |robot: RobotDescription| {
        let unit = |axis: usize| {
            let mut end = [0.0; 3];
            end[axis] = 1.0;
            capsule([0.0; 3], end)
        };
        let svg = picture(&with(robot, &[unit(0), unit(1), unit(2)]), &[]);
        let document = Document::parse(&svg).unwrap();
        let mut ends: Vec<_> = shapes(&document)
            .iter()
            .map(|&node| numbers(node, "d"))
            .map(|d| (d[2] - d[0], d[1] - d[3]))
            .collect();
        ends.sort_by(|a, b| a.partial_cmp(b).unwrap());
        ends.dedup();
        ends
    };
    // along the line of sight a vector has no length: two remain, one to the right and one upwards
    for axis in [
        [0.0, 1.0, 0.0],
        [0.0, -1.0, 0.0],
        [0.0, 0.0, 1.0],
        [0.0, 0.0, -1.0],
    ] {
        let [seen_on, upwards, rightwards] = arrows(about(axis))[..] else {
            panic!()
        };
        assert_eq!(seen_on, (0.0, 0.0));
        assert!(upwards.0 == 0.0 && upwards.1 > 100.0);
        assert!(rightwards.1 == 0.0 && rightwards.0 > 100.0);
    }
    let mut free = torso();
    free.joints.truncate(1);
    free.joints[0].kind = JointKind::Free;
    for robot in [about([1.0, 0.0, 0.0]), free] {
        // z up, y to the right and away, x further to the right and towards the viewer
        let arrows = arrows(robot);
        let [z, y, x] = arrows[..] else { panic!() };
        assert!(z.0 == 0.0 && y.0 > 0.0 && x.0 > y.0, "{arrows:?}");
        assert!(z.1 > y.1 && y.1 > 0.0 && x.1 < 0.0, "{arrows:?}");
    }
}

/// Sites are crosses, markers rings, both at their positions.
#[test]
fn points_are_marked() {
    let mut robot = about([1.0, 0.0, 0.0]);
    robot.joints[0].axis = [0.0, 1.0, 0.0];
    let mut robot = with(robot, &[capsule([0.0; 3], [1.0, 0.0, 0.0])]);
    robot.sites.push(Site {
        name: "tip".into(),
        body: Some(0),
        position: [1.0, 0.0, 0.0],
    });
    let mut frame = Frame::at_rest(&robot);
    frame.markers.push([1.0, 0.0, 1.0]);
    let svg = picture(&robot, &[frame]);
    let document = Document::parse(&svg).unwrap();
    let class = |name: &str| {
        let mut all = document.descendants();
        all.find(|node| node.attribute("class") == Some(name))
            .unwrap()
    };
    let end = numbers(shapes(&document)[0], "d");
    let cross = numbers(class("site"), "d");
    close(&[cross[0] + 4.0, cross[1] + 4.0], &end[2..]);
    let ring = class("marker");
    close(&numbers(ring, "cx"), &end[2..3]);
    close(&[end[3] - numbers(ring, "cy")[0]], &[end[2] - end[0]]);
}

/// A robot without shapes is drawn as a skeleton: a line for every body that moves.
#[test]
fn bodies_without_shapes_are_lines() {
    let mut robot = cheetah();
    robot.geoms.clear();
    let svg = picture(&robot, &[]);
    let document = Document::parse(&svg).unwrap();
    // the torso has a line to each leg; every other body has one; each is outline and fill
    assert_eq!(shapes(&document).len(), 2 * (2 + 6));
}

/// Fails when a name is not in the title, or is taken for markup.
#[test]
fn names_are_escaped() {
    let mut robot = torso();
    robot.name = "a<b & \"c\"\u{0}</title>".into();
    let svg = picture(&robot, &[]);
    let document = Document::parse(&svg).unwrap();
    let title = nodes(&document, "title")[0].text().unwrap();
    assert_eq!(title, "a<b & \"c\"</title>");
}

/// Robots without bodies, NaN and huge numbers: fails when the picture has NaN or infinity, or a
/// size that cannot be shown.
#[test]
fn odd_input_gives_valid_pictures() {
    let bad = [f64::NAN, f64::INFINITY, -1e300, 1e300, 0.0, 1e7, -3.0];
    let mut robots = vec![torso(), about([f64::NAN; 3]), about([0.0; 3])];
    let mut bare = torso();
    bare.bodies.clear();
    bare.joints.clear();
    robots.push(bare);
    for x in bad {
        let orientation = [x; 4];
        let (center, half) = ([x, 0.0, 0.0], [x; 3]);
        let all = [
            Shape::Floor { height: x },
            Shape::Sphere { center, radius: x },
            capsule([x; 3], [0.0; 3]),
            Shape::Cylinder {
                a: [0.0; 3],
                b: [x; 3],
                radius: x,
            },
            Shape::Box {
                center,
                orientation,
                half,
            },
        ];
        for axis in [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]] {
            robots.extend(all.map(|shape| with(about(axis), &[shape])));
            robots.push(with(about(axis), &all));
        }
        let mut free = with(torso(), &all);
        free.joints[0].kind = JointKind::Free;
        robots.push(free);
    }
    for robot in robots {
        let rest = Frame::at_rest(&robot);
        let broken = Frame {
            time: f64::NAN,
            poses: vec![([f64::NAN; 3], [0.0; 4]); robot.bodies.len()],
            markers: vec![[f64::INFINITY; 3], [1e5; 3]],
        };
        let missing = Frame {
            poses: vec![],
            ..rest.clone()
        };
        for frames in [
            vec![],
            vec![broken.clone()],
            vec![missing.clone()],
            vec![rest, broken, missing],
        ] {
            let svg = picture(&robot, &frames);
            let document = Document::parse(&svg).unwrap();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
            assert!(svg.len() < 40_000, "{} bytes", svg.len());
            let height = numbers(document.root_element(), "height")[0];
            assert!((1.0..1000.0).contains(&height), "{svg}");
        }
    }
}

/// The first frame of a simulation is the robot at rest; eight frames of a fall are a small file.
#[test]
fn simulations_are_shown() {
    let robot = cheetah();
    let mut simulation = Simulation::new(&robot, 5).unwrap();
    let portrait = picture(&robot, &[Frame::of(&simulation, 0.0)]);
    assert_eq!(portrait, picture(&robot, &[]));
    let mut frames = vec![];
    for index in 0..8 {
        frames.push(Frame::of(&simulation, 0.05 * f64::from(index)));
        simulation.step(&[0.5; 6]).unwrap();
    }
    let strip = picture(&robot, &frames);
    assert!(strip.len() < 20_000, "{} bytes", strip.len());
    let document = Document::parse(&strip).unwrap();
    assert_eq!(shapes(&document).len(), 8 * 2 * 8);
}
