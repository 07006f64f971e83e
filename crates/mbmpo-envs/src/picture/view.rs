use super::{Frame, pose};
use crate::robot::{JointKind, RobotDescription};
use rapier3d_f64::math::Vector;

/// An orthographic view.
///
/// View coordinates of a point \[m\]: to the right on the floor, away from the viewer on the floor,
/// up.
pub(super) struct View {
    /// Direction to the right, in x and y.
    pub(super) right: [f64; 2],
    /// Sine and cosine of the viewer's elevation.
    pub(super) elevation: [f64; 2],
}

impl View {
    pub(super) fn of(robot: &RobotDescription) -> Self {
        let rest = Frame::at_rest(robot);
        let hinges = robot
            .joints
            .iter()
            .filter(|joint| joint.kind != JointKind::Slide);
        let axes: Vec<_> = hinges
            .map(|joint| match (joint.kind, rest.poses.get(joint.body)) {
                (JointKind::Hinge, Some(&(_, orientation))) => {
                    let turn = pose([0.0; 3], orientation);
                    (turn * Vector::from(joint.axis)).to_array()
                }
                // a free joint turns about any axis
                _ => [0.0; 3],
            })
            .collect();
        let about = |axis: usize| {
            !axes.is_empty() && axes.iter().all(|vector| vector[axis].abs() > 1.0 - 1e-6)
        };
        // exact zeros, by which the views are distinguished
        let (right, elevation) = if about(1) {
            ([1.0, 0.0], [0.0, 1.0])
        } else if about(2) {
            ([1.0, 0.0], [1.0, 0.0])
        } else {
            let (azimuth, elevation) = (28_f64.to_radians(), 24_f64.to_radians());
            (
                [azimuth.cos(), azimuth.sin()],
                [elevation.sin(), elevation.cos()],
            )
        };
        Self { right, elevation }
    }

    pub(super) fn sideways(&self) -> bool {
        self.elevation[0] == 0.0
    }

    pub(super) fn overhead(&self) -> bool {
        self.elevation[1] == 0.0
    }

    pub(super) fn oblique(&self) -> bool {
        !self.sideways() && !self.overhead()
    }

    /// View coordinates of a point in the world.
    pub(super) fn turn(&self, [x, y, z]: [f64; 3]) -> [f64; 3] {
        let [c, s] = self.right;
        [c * x + s * y, c * y - s * x, z]
    }

    /// Position on the screen, to the right and up \[m\].
    pub(super) fn project(&self, [right, away, up]: [f64; 3]) -> [f64; 2] {
        let [sin, cos] = self.elevation;
        [right, sin * away + cos * up]
    }

    /// Closeness to the viewer \[m\].
    pub(super) fn nearness(&self, [_, away, up]: [f64; 3]) -> f64 {
        let [sin, cos] = self.elevation;
        sin * up - cos * away
    }
}
