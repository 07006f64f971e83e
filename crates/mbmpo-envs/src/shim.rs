//! Stands in for the coming `Simulation` until it is merged: then this file goes, and `use crate::shim::Simulation`
//! becomes `use crate::Simulation`.

use crate::robot::{JointKind, RobotDescription};
use crate::simulation::{ContactModel, Simulation as Old};
use mbmpo_core::{Error, Result};

/// The API of the coming simulation, on the present one where that can do the robot, else on made-up dynamics.
#[derive(Clone)]
pub struct Simulation {
    old: Option<Old>,
    robot: RobotDescription,
    frame_skip: usize,
    positions: Vec<f64>,
    velocities: Vec<f64>,
}

#[allow(missing_docs)]
impl Simulation {
    pub fn new(robot: &RobotDescription, frame_skip: usize) -> Result<Self> {
        let mut new = Self {
            old: Old::new(robot, ContactModel::default()).ok(),
            robot: robot.clone(),
            frame_skip,
            positions: vec![],
            velocities: vec![],
        };
        new.set_state(&robot.initial_positions(), &vec![0.0; robot.dofs()])?;
        Ok(new)
    }

    pub fn positions(&self) -> &[f64] {
        &self.positions
    }

    pub fn velocities(&self) -> &[f64] {
        &self.velocities
    }

    pub fn set_state(&mut self, positions: &[f64], velocities: &[f64]) -> Result<()> {
        Error::check_shape("qpos", self.robot.coordinates(), positions.len())?;
        Error::check_shape("qvel", self.robot.dofs(), velocities.len())?;
        self.positions = positions.to_vec();
        self.velocities = velocities.to_vec();
        match &mut self.old {
            Some(old) => old.set_state(positions, velocities),
            None => {
                self.normalize();
                Ok(())
            }
        }
    }

    pub fn step(&mut self, controls: &[f64]) -> Result<()> {
        Error::check_shape("controls", self.robot.actuators.len(), controls.len())?;
        for _ in 0..self.frame_skip {
            if let Some(old) = &mut self.old {
                let outcome = old.step(controls);
                (self.positions, self.velocities) = old.state();
                outcome?;
            } else {
                self.make_up(controls);
            }
        }
        Ok(())
    }

    fn make_up(&mut self, controls: &[f64]) {
        let mut push = vec![0.0; self.robot.joints.len()];
        for (motor, control) in self.robot.actuators.iter().zip(controls) {
            let [low, high] = motor.control_range;
            push[motor.joint] += control.max(low).min(high);
        }
        let (mut q, mut v) = (0, 0);
        for (joint, push) in self.robot.joints.iter().zip(push) {
            for i in 0..joint.kind.dofs() {
                let speed = &mut self.velocities[v + i];
                *speed = 0.99 * *speed + self.robot.time_step * (push - 0.1);
                let offset = if joint.kind == JointKind::Free && i >= 3 {
                    1
                } else {
                    0
                };
                self.positions[q + i + offset] += self.robot.time_step * *speed;
            }
            q += joint.kind.coordinates();
            v += joint.kind.dofs();
        }
        self.normalize();
    }

    fn normalize(&mut self) {
        let mut q = 0;
        for joint in &self.robot.joints {
            if joint.kind == JointKind::Free {
                let quaternion = &mut self.positions[q + 3..q + 7];
                let norm = quaternion.iter().map(|x| x * x).sum::<f64>().sqrt();
                if (norm - 1.0).abs() > 1e-14 {
                    quaternion.iter_mut().for_each(|x| *x /= norm);
                }
            }
            q += joint.kind.coordinates();
        }
    }

    pub fn site(&self, index: usize) -> [f64; 3] {
        let offset = self.robot.sites[index].position;
        std::array::from_fn(|i| offset[i] + self.positions.get(i).unwrap_or(&0.0))
    }

    pub fn control_time_step(&self) -> f64 {
        self.robot.time_step * self.frame_skip as f64
    }
}
