//! Simulates a robot with MuJoCo's equations.
//!
//! Rapier's multibody gives the kinematics, parry the contacts between shapes; the equations of
//! motion, the soft constraints and the integrators are MuJoCo's.

mod constraints;
mod contacts;
mod dynamics;
mod fluid;
mod kinematics;
mod symmetric;

use crate::robot::{Integrator, JointKind, RobotDescription};
use dynamics::{Dynamics, Model};
use mbmpo_core::{Error, Result};
use rapier3d_f64::math::{Pose, Rotation, Vector};
use std::sync::Arc;

/// Speed beyond which the simulation counts as diverged \[m/s or rad/s\]: under the most violent
/// actions MuJoCo's robots stay below 110.
const MAX_SPEED: f64 = 1e3;

/// Tolerance on the length of a quaternion that counts as normalised.
const NORMALIZED: f64 = 1e-12;

/// Most degrees of freedom: several times those of a humanoid with hands. The cost of a time step
/// is cubic in them.
const MOST_DOFS: usize = 200;

/// The constant part, shared by all copies of a simulation.
struct Plan {
    robot: RobotDescription,
    frame_skip: usize,
    model: Model,
    attachments: Vec<kinematics::Attachment>,
}

/// A simulated robot and its world.
///
/// The state is `qpos` and `qvel`, in MuJoCo's order and conventions, and nothing else: the steps
/// from a state do not depend on how it was reached, bit for bit.
#[derive(Clone)]
pub struct Simulation {
    plan: Arc<Plan>,
    state: State,
    /// Control steps since the state was last set.
    steps: usize,
    dynamics: Dynamics,
}

/// `qpos` and `qvel`.
#[derive(Debug, Clone)]
struct State {
    positions: Vec<f64>,
    velocities: Vec<f64>,
}

impl Simulation {
    /// The robot at rest in the pose of its description. A control step takes `frame_skip` MuJoCo
    /// time steps.
    ///
    /// # Errors
    /// When the robot has no degree of freedom, more than 200 of them or more than 10,000 pairs of
    /// geoms that can touch, a joint moves no mass, an index of the description is invalid, or
    /// `frame_skip` is 0.
    pub fn new(robot: &RobotDescription, frame_skip: usize) -> Result<Self> {
        robot.require_valid()?;
        if robot.dofs() > MOST_DOFS {
            return Err(Error::Description(format!(
                "robot `{}` has {} degrees of freedom, allowed are at most {MOST_DOFS}",
                robot.name,
                robot.dofs()
            )));
        }
        if frame_skip == 0 {
            let what = "frame_skip is 0, allowed is at least 1";
            return Err(Error::Description(what.to_owned()));
        }
        let (model, dynamics, attachments) = Model::new(robot)?;
        Ok(Self {
            state: State {
                positions: robot.initial_positions(),
                velocities: vec![0.0; robot.dofs()],
            },
            steps: 0,
            plan: Arc::new(Plan {
                robot: robot.clone(),
                frame_skip,
                model,
                attachments,
            }),
            dynamics,
        })
    }

    /// The simulated robot.
    pub fn robot(&self) -> &RobotDescription {
        &self.plan.robot
    }

    /// `qpos`: slides \[m\] and hinges \[rad\] one component each, a free joint x, y, z and the
    /// quaternion w, x, y, z.
    pub fn positions(&self) -> &[f64] {
        &self.state.positions
    }

    /// `qvel`: of a free joint first in the world's frame, then about the body's axes.
    pub fn velocities(&self) -> &[f64] {
        &self.state.velocities
    }

    /// Length of a control step \[s\].
    pub fn control_time_step(&self) -> f64 {
        self.plan.robot.time_step * self.plan.frame_skip as f64
    }

    /// Sets the state; quaternions are normalised.
    ///
    /// # Errors
    /// When a length is wrong.
    pub fn set_state(&mut self, positions: &[f64], velocities: &[f64]) -> Result<()> {
        Error::check_shape("qpos", self.state.positions.len(), positions.len())?;
        Error::check_shape("qvel", self.state.velocities.len(), velocities.len())?;
        self.state.positions.copy_from_slice(positions);
        self.state.velocities.copy_from_slice(velocities);
        for (joint, coordinate, _) in self.plan.robot.layout() {
            if joint == JointKind::Free {
                let quaternion = &mut self.state.positions[coordinate + 3..coordinate + 7];
                let norm = quaternion.iter().map(|x| x * x).sum::<f64>().sqrt();
                // a normalised quaternion keeps its bits
                if (norm - 1.0).abs() > NORMALIZED {
                    quaternion.iter_mut().for_each(|x| *x /= norm);
                }
            }
        }
        self.steps = 0;
        Ok(())
    }

    /// Advances by one control step under `controls`, one per motor in its own units, clipped to
    /// the motor's range.
    ///
    /// # Errors
    /// When `controls` has the wrong length; [`Error::Diverged`] when a coordinate is not finite or
    /// a speed exceeds 1000.
    pub fn step(&mut self, controls: &[f64]) -> Result<()> {
        // not `Arc::clone`: threads would contend for the reference count that copies of a
        // simulation share
        let plan = &*self.plan;
        let motors = &plan.model.motors;
        Error::check_shape("controls", motors.len(), controls.len())?;
        let clip = |(control, range): (&f64, [f64; 2])| control.max(range[0]).min(range[1]);
        let ranges = motors.iter().map(|motor| motor.range);
        let controls: Vec<_> = controls.iter().zip(ranges).map(clip).collect();
        for _ in 0..plan.frame_skip {
            match plan.robot.integrator {
                Integrator::Euler => self.state.euler(plan, &mut self.dynamics, &controls),
                Integrator::RungeKutta4 => {
                    self.state.runge_kutta(plan, &mut self.dynamics, &controls);
                }
            }
        }
        self.steps += 1;
        self.guard()
    }

    /// World position of `robot.sites[index]` \[m\].
    ///
    /// # Panics
    /// When there is no such site.
    pub fn site(&self, index: usize) -> [f64; 3] {
        let site = &self.plan.robot.sites[index];
        let point = Vector::from(site.position);
        let pose = site.body.map_or(Pose::IDENTITY, |body| self.pose(body));
        (pose * point).to_array()
    }

    /// World position \[m\] and orientation (quaternion w, x, y, z) of `robot.bodies[index]`.
    ///
    /// # Panics
    /// When there is no such body.
    pub fn body_pose(&self, index: usize) -> ([f64; 3], [f64; 4]) {
        let pose = self.pose(index);
        let Rotation { x, y, z, w } = pose.rotation;
        (pose.translation.to_array(), [w, x, y, z])
    }

    fn pose(&self, body: usize) -> Pose {
        let attachment = &self.plan.attachments[body];
        let link = attachment.link.and_then(|link| {
            let poses = self.dynamics.kinematics.poses(&self.state.positions);
            poses.get(link).copied()
        });
        link.unwrap_or(Pose::IDENTITY) * attachment.pose
    }

    fn guard(&self) -> Result<()> {
        let robot = &self.plan.robot;
        for ((kind, coordinate, dof), joint) in robot.layout().zip(&robot.joints) {
            let positions = &self.state.positions[coordinate..coordinate + kind.coordinates()];
            let velocities = &self.state.velocities[dof..dof + kind.dofs()];
            // a NaN is not below the bound either
            let sound = positions.iter().all(|x| x.is_finite())
                && velocities.iter().all(|v| v.abs() < MAX_SPEED);
            if !sound {
                return Err(Error::Diverged {
                    environment: robot.name.clone(),
                    step: self.steps,
                    what: format!(
                        "joint `{}` is at {positions:?} and moves at {velocities:?}",
                        joint.name
                    ),
                });
            }
        }
        Ok(())
    }
}

impl State {
    /// Semi-implicit Euler, implicit in joint damping.
    fn euler(&mut self, plan: &Plan, dynamics: &mut Dynamics, controls: &[f64]) {
        let time_step = plan.robot.time_step;
        dynamics.accelerate(&plan.model, &self.positions, &self.velocities, controls);
        dynamics.damp(&plan.model, time_step);
        add(&mut self.velocities, time_step, &dynamics.acceleration);
        displace(
            &plan.robot,
            &mut self.positions,
            &self.velocities,
            time_step,
        );
    }

    /// Classical fourth-order Runge-Kutta, on rotations in Munthe-Kaas's generalisation (1998).
    fn runge_kutta(&mut self, plan: &Plan, dynamics: &mut Dynamics, controls: &[f64]) {
        let time_step = plan.robot.time_step;
        let (start, initial) = (self.positions.clone(), self.velocities.clone());
        let mut rates = initial.clone();
        let mut mean_rates = vec![0.0; initial.len()];
        let mut mean_acceleration = mean_rates.clone();
        for (share, next) in [(1.0, 0.5), (2.0, 0.5), (2.0, 1.0), (1.0, 0.0)] {
            dynamics.accelerate(&plan.model, &self.positions, &self.velocities, controls);
            add(&mut mean_rates, share / 6.0, &rates);
            add(&mut mean_acceleration, share / 6.0, &dynamics.acceleration);
            self.positions.copy_from_slice(&start);
            displace(&plan.robot, &mut self.positions, &rates, next * time_step);
            self.velocities.copy_from_slice(&initial);
            add(
                &mut self.velocities,
                next * time_step,
                &dynamics.acceleration,
            );
            rates_from_start(&plan.robot, &mut rates, next * time_step, &self.velocities);
        }
        self.positions.copy_from_slice(&start);
        displace(&plan.robot, &mut self.positions, &mean_rates, time_step);
        self.velocities.copy_from_slice(&initial);
        add(&mut self.velocities, time_step, &mean_acceleration);
    }
}

/// `sum += factor * vector`
fn add(sum: &mut [f64], factor: f64, vector: &[f64]) {
    for (sum, entry) in sum.iter_mut().zip(vector) {
        *sum += factor * entry;
    }
}

/// Replaces the rates that led to a stage of an integration step by those of the stage. Rates are
/// velocities, except for rotations: there they are the rates of the rotation vector `u` from the
/// start of the step, `ω + u × ω / 2 + u × (u × ω) / 12`.
fn rates_from_start(robot: &RobotDescription, rates: &mut [f64], time: f64, velocities: &[f64]) {
    for (kind, _, dof) in robot.layout() {
        let here = dof..dof + kind.dofs();
        let (rates, velocities) = (&mut rates[here.clone()], &velocities[here]);
        if kind == JointKind::Free {
            let rotation = time * Vector::from_slice(&rates[3..]);
            let angular = Vector::from_slice(&velocities[3..]);
            let turning = rotation.cross(angular);
            let rate = angular + turning / 2.0 + rotation.cross(turning) / 12.0;
            rates[..3].copy_from_slice(&velocities[..3]);
            rates[3..].copy_from_slice(&rate.to_array());
        } else {
            rates.copy_from_slice(velocities);
        }
    }
}

/// Integrates `positions` over `time` with constant `velocities`.
fn displace(robot: &RobotDescription, positions: &mut [f64], velocities: &[f64], time: f64) {
    for (kind, coordinate, dof) in robot.layout() {
        let (positions, velocities) = (&mut positions[coordinate..], &velocities[dof..]);
        match kind {
            JointKind::Slide | JointKind::Hinge => positions[0] += time * velocities[0],
            JointKind::Free => {
                for (position, velocity) in positions.iter_mut().zip(&velocities[..3]) {
                    *position += time * velocity;
                }
                let old =
                    Rotation::from_xyzw(positions[4], positions[5], positions[6], positions[3]);
                let turn = Rotation::from_scaled_axis(time * Vector::from_slice(&velocities[3..]));
                let Rotation { x, y, z, w } = (old * turn).normalize();
                positions[3..7].copy_from_slice(&[w, x, y, z]);
            }
        }
    }
}
