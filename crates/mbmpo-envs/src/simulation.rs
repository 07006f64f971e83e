//! A robot on Rapier multibodies, stepped the way MuJoCo's Euler integrator does it.

mod build;
mod limits;

use crate::robot::RobotDescription;
use limits::Limit;
use mbmpo_core::{Error, Result};
use rapier3d_f64::prelude::*;
use std::sync::Arc;

/// A speed beyond this means that the simulation has blown up \[m/s or rad/s\]: under the most violent actions
/// MuJoCo's half-cheetah stays below 40.
const MAX_SPEED: f64 = 1e3;

/// Stiffness of the spring through which forces enter a joint: far too small to be felt \[N/m or N m/rad\].
const CARRIER: f64 = 1e-6;

/// How time is discretised and how hard contacts are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Numerics {
    /// Rapier steps per MuJoCo time step.
    pub substeps: usize,
    /// Rapier solver iterations (its own substeps) per step.
    pub solver_iterations: usize,
    /// Gauss-Seidel sweeps over contacts per solver iteration.
    pub sweeps: usize,
    /// Rapier stabilization.
    pub stabilization: usize,
    /// Implicit springs.
    pub implicit_springs: bool,
    /// Implicit limit damping.
    pub implicit_limits: bool,
    /// Natural frequency of a contact \[Hz\].
    pub contact_frequency: f64,
    /// Damping ratio of a contact.
    pub contact_damping: f64,
    /// Distance at which a contact begins to act \[m\].
    pub prediction: f64,
    /// Warm start.
    pub warmstart: f64,
}

impl Default for Numerics {
    fn default() -> Self {
        Self {
            substeps: 1,
            solver_iterations: 1,
            sweeps: 4,
            stabilization: 0,
            implicit_springs: false,
            implicit_limits: false,
            contact_frequency: 25.0,
            contact_damping: 0.7,
            prediction: 0.002,
            warmstart: 1.0,
        }
    }
}

/// Everything that changes from step to step, apart from workspaces.
#[derive(Clone)]
struct World {
    islands: IslandManager,
    broad_phase: BroadPhaseBvh,
    narrow_phase: NarrowPhase,
    bodies: RigidBodySet,
    colliders: ColliderSet,
    impulse_joints: ImpulseJointSet,
    multibody_joints: MultibodyJointSet,
    soft_bodies: SoftBodySet,
    multibody: MultibodyIndex,
}

/// A degree of freedom: where Rapier keeps it, and the forces that act on it.
#[derive(Debug, Clone)]
struct Dof {
    name: String,
    /// Link of the multibody.
    link: usize,
    /// Component of the link's spatial coordinates, 0 to 5.
    axis: usize,
    stiffness: f64,
    spring_rest: f64,
    damping: f64,
    armature: f64,
    limit: Option<Limit>,
}

/// What never changes: shared by all copies of a simulation.
struct Plan {
    name: String,
    template: World,
    gravity: Vector,
    parameters: IntegrationParameters,
    numerics: Numerics,
    dofs: Vec<Dof>,
    /// Degree of freedom and gear of each motor.
    motors: Vec<(usize, f64)>,
}

/// A robot in a world with a floor.
///
/// Copies continue bit for bit like the original; a reset leaves no trace of what was before.
pub struct Simulation {
    plan: Arc<Plan>,
    world: World,
    /// Generalised velocity before the last Rapier step, from which limits know the last acceleration.
    previous: Option<DVec>,
    pipeline: PhysicsPipeline,
    ccd: CCDSolver,
}

type DVec = Vec<f64>;

impl Clone for Simulation {
    fn clone(&self) -> Self {
        // the pipeline and the CCD solver are workspaces: fresh ones give the same bits
        Self {
            plan: self.plan.clone(),
            world: self.world.clone(),
            previous: self.previous.clone(),
            pipeline: PhysicsPipeline::new(),
            ccd: CCDSolver::new(),
        }
    }
}

impl Simulation {
    /// Builds the world.
    ///
    /// # Errors
    /// When the robot has a combination of joints that Rapier cannot do.
    pub fn new(robot: &RobotDescription, numerics: Numerics) -> Result<Self> {
        let plan = build::plan(robot, numerics)?;
        Ok(Self {
            world: plan.template.clone(),
            plan: Arc::new(plan),
            previous: None,
            pipeline: PhysicsPipeline::new(),
            ccd: CCDSolver::new(),
        })
    }

    /// Number of degrees of freedom.
    pub fn dofs(&self) -> usize {
        self.plan.dofs.len()
    }

    /// Generalised coordinates and velocities, each `[dofs]`, in MuJoCo's order (`qpos`, `qvel`).
    pub fn state(&self) -> (Vec<f64>, Vec<f64>) {
        let Some(multibody) = self.world.multibody() else {
            return (vec![], vec![]);
        };
        let positions = self
            .plan
            .dofs
            .iter()
            .map(|dof| {
                multibody
                    .link(dof.link)
                    .map_or(f64::NAN, |link| link.joint.coords()[dof.axis])
            })
            .collect();
        let velocities = multibody.generalized_velocity().iter().copied().collect();
        (positions, velocities)
    }

    /// Starts afresh in a state: `qpos` and `qvel`, each `[dofs]`. What happened before leaves no trace, as the
    /// world is a copy of one that was never stepped.
    ///
    /// # Errors
    /// When a length is wrong.
    pub fn set_state(&mut self, positions: &[f64], velocities: &[f64]) -> Result<()> {
        Error::check_shape("qpos", self.dofs(), positions.len())?;
        Error::check_shape("qvel", self.dofs(), velocities.len())?;
        self.place(positions, velocities);
        Ok(())
    }

    /// [`Self::set_state`] for states of the right size.
    pub(crate) fn place(&mut self, positions: &[f64], velocities: &[f64]) {
        self.world.clone_from(&self.plan.template);
        self.previous = None;
        let World {
            bodies,
            multibody_joints,
            multibody,
            ..
        } = &mut self.world;
        let Some(multibody) = multibody_joints.get_multibody_mut(*multibody) else {
            return;
        };
        // the template is at zero, so displacements are positions
        multibody.apply_displacements(positions);
        multibody
            .generalized_velocity_mut()
            .copy_from_slice(velocities);
        multibody.forward_kinematics(bodies, false);
        multibody.update_rigid_bodies(bodies, true);
    }

    /// Advances by one MuJoCo time step under `controls`, one per motor, each in the motor's range.
    ///
    /// # Errors
    /// When a speed is not finite or beyond 1000: [`Error::Diverged`] (with a step of 0, for whoever counts steps to
    /// fill in).
    pub fn step(&mut self, controls: &[f64]) -> Result<()> {
        Error::check_shape("controls", self.plan.motors.len(), controls.len())?;
        let mut torques = vec![0.0; self.dofs()];
        for (&(dof, gear), control) in self.plan.motors.iter().zip(controls) {
            torques[dof] += gear * control;
        }
        for _ in 0..self.plan.numerics.substeps {
            self.apply(&torques);
            self.advance();
        }
        self.guard()
    }

    /// Hands forces, limits, springs and dampers to Rapier.
    fn apply(&mut self, torques: &[f64]) {
        let dt = self.plan.parameters.dt;
        let numerics = self.plan.numerics;
        let Some(multibody) = self
            .world
            .multibody_joints
            .get_multibody_mut(self.world.multibody)
        else {
            return;
        };
        let velocities: Vec<f64> = multibody.generalized_velocity().iter().copied().collect();
        for (i, (dof, torque)) in self.plan.dofs.iter().zip(torques).enumerate() {
            let Some(link) = multibody.link_mut(dof.link) else {
                continue;
            };
            let position = link.joint.coords()[dof.axis];
            let velocity = velocities[i];
            let mut force = *torque;
            let mut damping = dof.damping;
            let mut armature = dof.armature;
            let mut stiffness = CARRIER;
            let mut rest = position + dt * velocity;
            if numerics.implicit_springs && dof.stiffness > 0.0 {
                stiffness = dof.stiffness;
                rest = dof.spring_rest;
            } else {
                force -= dof.stiffness * (position - dof.spring_rest);
            }
            let acceleration = self
                .previous
                .as_ref()
                .map_or(0.0, |previous| (velocity - previous[i]) / dt);
            if let Some(push) = dof
                .limit
                .as_ref()
                .and_then(|limit| limit.push(position, velocity, acceleration))
            {
                armature += push.inertia;
                if numerics.implicit_limits {
                    force += push.force + push.damping * velocity;
                    damping += push.damping;
                } else {
                    force += push.force;
                }
            }
            link.joint
                .set_spring(dof.axis, stiffness, rest + force / stiffness);
            multibody.damping_mut()[i] = damping;
            multibody.armature_mut()[i] = armature;
        }
        self.previous = Some(velocities);
    }

    fn advance(&mut self) {
        let world = &mut self.world;
        self.pipeline.step(
            self.plan.gravity,
            &self.plan.parameters,
            &mut world.islands,
            &mut world.broad_phase,
            &mut world.narrow_phase,
            &mut world.bodies,
            &mut world.colliders,
            &mut world.impulse_joints,
            &mut world.multibody_joints,
            &mut world.soft_bodies,
            &mut self.ccd,
            &(),
            &(),
        );
    }

    /// Rapier's own quarantine does not see a multibody that explodes.
    fn guard(&self) -> Result<()> {
        let (positions, velocities) = self.state();
        for ((dof, position), velocity) in self.plan.dofs.iter().zip(positions).zip(velocities) {
            // a NaN is not below the bound either
            if !(velocity.abs() < MAX_SPEED && position.is_finite()) {
                return Err(Error::Diverged {
                    environment: self.plan.name.clone(),
                    step: 0,
                    what: format!(
                        "joint `{}` is at {position} and moves at {velocity}",
                        dof.name
                    ),
                });
            }
        }
        Ok(())
    }
}

impl World {
    fn multibody(&self) -> Option<&Multibody> {
        self.multibody_joints.get_multibody(self.multibody)
    }
}
