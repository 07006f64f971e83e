//! Robots as SVG: a portrait, or a strip of frames side by side.

mod draw;
mod scene;
mod stage;
mod view;

use crate::Simulation;
use crate::robot::RobotDescription;
use draw::{escape, px};
use rapier3d_f64::math::{Pose, Rotation};
use scene::{Limbs, Scene};
use stage::Stage;
use view::View;

/// Space around a frame \[px\].
const MARGIN: f64 = 12.0;
/// Height of the captions below a strip \[px\].
const CAPTION: f64 = 16.0;
/// Colour of everything but the robot: readable on white and on black.
const GREY: &str = "#868b92";

/// The poses of a robot at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// Time \[s\].
    pub time: f64,
    /// World position \[m\] and orientation (quaternion w, x, y, z) of every body, as of
    /// [`Simulation::body_pose`].
    pub poses: Vec<([f64; 3], [f64; 4])>,
    /// Points to show beside the robot, such as a goal: world positions \[m\].
    pub markers: Vec<[f64; 3]>,
}

impl Frame {
    /// The present state of a simulation, at `time` \[s\].
    pub fn of(simulation: &Simulation, time: f64) -> Self {
        let bodies = 0..simulation.robot().bodies.len();
        Self {
            time,
            poses: bodies.map(|body| simulation.body_pose(body)).collect(),
            markers: vec![],
        }
    }

    /// The initial pose of the description, at time 0.
    pub fn at_rest(robot: &RobotDescription) -> Self {
        let mut poses: Vec<Pose> = vec![];
        for body in &robot.bodies {
            let parent = body.parent.and_then(|parent| poses.get(parent));
            let local = pose(body.position, body.orientation);
            poses.push(parent.map_or(local, |parent| *parent * local));
        }
        let plain = |pose: Pose| {
            let Rotation { x, y, z, w } = pose.rotation;
            (pose.translation.to_array(), [w, x, y, z])
        };
        Self {
            time: 0.0,
            poses: poses.into_iter().map(plain).collect(),
            markers: vec![],
        }
    }
}

fn pose(position: [f64; 3], [w, x, y, z]: [f64; 4]) -> Pose {
    Pose::from_parts(position.into(), Rotation::from_xyzw(x, y, z, w).normalize())
}

/// A standalone SVG document: a portrait for one frame, a strip for several, the robot at rest for
/// none.
///
/// A robot whose hinges all turn about y is seen from its right side, about z from above, any other
/// one from the front right and somewhat above. Frames share one scale and are labelled with their
/// time. A robot that can move away is centred in every frame, and the floor has marks at whole
/// metres. Sites are small crosses, markers rings.
///
/// The SVG is valid for any description and frames: parts without a finite position are left out.
pub fn picture(robot: &RobotDescription, frames: &[Frame]) -> String {
    let rest = [Frame::at_rest(robot)];
    let frames = if frames.is_empty() { &rest } else { frames };
    let view = View::of(robot);
    let limbs = Limbs::of(robot);
    let mut scenes: Vec<_> = frames
        .iter()
        .map(|frame| Scene::of(robot, frame, &view, &limbs))
        .collect();
    let stage = Stage::of(robot, view, &mut scenes);

    let [width, height] = stage.size();
    let strip = frames.len() > 1;
    let total = width * frames.len() as f64;
    let height = height + if strip { CAPTION } else { 0.0 };
    let name = escape(&robot.name);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {w} {h}\" width=\"{w}\" height=\"{h}\" role=\"img\" \
         font-family=\"sans-serif\" font-size=\"11\" text-anchor=\"middle\" stroke-linecap=\"round\" \
         stroke-linejoin=\"round\" fill=\"none\">\n<title>{name}</title>\n",
        w = px(total),
        h = px(height),
    );
    for (index, (scene, frame)) in scenes.iter().zip(frames).enumerate() {
        let left = px(width * index as f64);
        svg += &format!("<g class=\"frame\" transform=\"translate({left} 0)\">\n");
        stage.draw(scene, &mut svg);
        if strip && frame.time.is_finite() {
            let (x, y) = (px(width / 2.0), px(height - 8.0));
            let time = frame.time;
            svg += &format!(
                "<text class=\"time\" x=\"{x}\" y=\"{y}\" fill=\"{GREY}\">{time:.2} s</text>\n"
            );
        }
        svg += "</g>\n";
    }
    svg + "</svg>\n"
}
