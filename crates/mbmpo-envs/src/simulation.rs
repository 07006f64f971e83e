//! A robot on Rapier multibodies, stepped the way MuJoCo's Euler integrator does it.

mod build;
mod contacts;
mod limits;

use crate::robot::{Actuator, RobotDescription, Softness};
use limits::Limit;
use mbmpo_core::{Error, Result};
use rapier3d_f64::prelude::*;
use std::sync::Arc;

/// A speed beyond this means that the simulation has blown up \[m/s or rad/s\]: under the most violent actions
/// MuJoCo's half-cheetah stays below 40.
const MAX_SPEED: f64 = 1e3;

/// Stiffness of the spring through which forces enter a joint: far too small to be felt \[N/m or N m/rad\].
const CARRIER: f64 = 1e-6;

/// How far MuJoCo's contacts give way, in terms that Rapier's solver understands.
///
/// The defaults are the values at which half-cheetah comes closest to MuJoCo.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ContactModel {
    /// MuJoCo's regularisation of a contact at impedance 0.5, over the inverse inertia that the contact feels.
    pub regularization: f64,
    /// Share of the friction coefficient that acts where nothing slides yet. MuJoCo's friction cone is a pyramid of
    /// four soft edges. When sliding begins, the one that resists bears as much load as each of the two across the
    /// plane of motion, which give no friction: a third. The faster the motion, the more of the load it bears.
    pub static_share: f64,
    /// Sliding speed from which the whole friction coefficient acts \[m/s\].
    pub sliding_speed: f64,
}

impl Default for ContactModel {
    fn default() -> Self {
        Self {
            regularization: 0.1,
            static_share: 1.0 / 3.0,
            sliding_speed: 0.6,
        }
    }
}

impl ContactModel {
    /// Share of the friction coefficient that acts at this sliding speed \[m/s\].
    fn friction_share(&self, speed: f64) -> f64 {
        let sliding = (speed / self.sliding_speed).min(1.0);
        self.static_share + (1.0 - self.static_share) * sliding
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
    armature: f64,
    limit: Option<Limit>,
}

/// What never changes: shared by all copies of a simulation.
struct Plan {
    name: String,
    template: World,
    gravity: Vector,
    parameters: IntegrationParameters,
    softness: Softness,
    contact_model: ContactModel,
    dofs: Vec<Dof>,
    motors: Vec<Actuator>,
}

/// A robot in a world with a floor.
///
/// Copies continue bit for bit like the original; a reset leaves no trace of what was before.
pub struct Simulation {
    plan: Arc<Plan>,
    world: World,
    /// Generalised velocity before the last Rapier step, from which limits know the last acceleration.
    previous: Option<Vec<f64>>,
    /// Since the last reset.
    steps: usize,
    pipeline: PhysicsPipeline,
    ccd: CCDSolver,
}

impl Clone for Simulation {
    fn clone(&self) -> Self {
        // the pipeline and the CCD solver are workspaces: fresh ones give the same bits
        Self {
            plan: self.plan.clone(),
            world: self.world.clone(),
            previous: self.previous.clone(),
            steps: self.steps,
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
    pub fn new(robot: &RobotDescription, contact_model: ContactModel) -> Result<Self> {
        let plan = build::plan(robot, contact_model)?;
        Ok(Self {
            world: plan.template.clone(),
            plan: Arc::new(plan),
            previous: None,
            steps: 0,
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
        self.steps = 0;
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

    /// Advances by one MuJoCo time step under `controls`, one per motor, clipped to the motor's range.
    ///
    /// # Errors
    /// When a coordinate is not finite or a speed is beyond 1000: [`Error::Diverged`].
    pub fn step(&mut self, controls: &[f64]) -> Result<()> {
        Error::check_shape("controls", self.plan.motors.len(), controls.len())?;
        let mut torques = vec![0.0; self.dofs()];
        for (motor, control) in self.plan.motors.iter().zip(controls) {
            let [low, high] = motor.control_range;
            torques[motor.joint] += motor.gear * control.max(low).min(high);
        }
        self.steps += 1;
        self.apply(&torques);
        self.advance();
        self.guard()
    }

    /// Hands motors, springs and limits to Rapier.
    ///
    /// MuJoCo's Euler integrator is implicit in joint damping and explicit in everything else, and with a time step
    /// of 0.01 s that makes a difference of 10 %. Rapier has a spring that is implicit and no input for forces, but a
    /// spring so weak that nobody feels it can carry any force, if its rest is far enough away.
    fn apply(&mut self, torques: &[f64]) {
        let time_step = self.plan.parameters.dt;
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
            let acceleration = self
                .previous
                .as_ref()
                .map_or(0.0, |previous| (velocity - previous[i]) / time_step);
            let limit = dof.limit.as_ref();
            let push = limit.and_then(|limit| limit.push(position, velocity, acceleration));
            let spring = -dof.stiffness * (position - dof.spring_rest);
            let force = torque + spring + push.map_or(0.0, |push| push.force);
            // Rapier's force is -CARRIER * (position + time_step * velocity - rest)
            let rest = position + time_step * velocity + force / CARRIER;
            link.joint.set_spring(dof.axis, CARRIER, rest);
            multibody.armature_mut()[i] = dof.armature + push.map_or(0.0, |push| push.inertia);
        }
        self.previous = Some(velocities);
    }

    fn advance(&mut self) {
        let motions = self.motions();
        let hooks = contacts::SoftContacts {
            motions: &motions,
            time_step: self.plan.parameters.dt,
            gravity: self.plan.gravity,
            softness: &self.plan.softness,
            model: &self.plan.contact_model,
        };
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
            &hooks,
            &(),
        );
    }

    /// How each link moves.
    fn motions(&self) -> Vec<contacts::Motion> {
        let Some(multibody) = self.world.multibody() else {
            return vec![];
        };
        let velocities = multibody.generalized_velocity();
        (1..multibody.num_links())
            .filter_map(|id| {
                let link = multibody.link(id)?;
                let body = link.rigid_body_handle();
                let local = self
                    .world
                    .bodies
                    .get(body)?
                    .mass_properties()
                    .local_mprops
                    .local_com;
                let motion = multibody.body_jacobian(id) * velocities;
                Some(contacts::Motion {
                    body,
                    center: *link.local_to_world() * local,
                    linear: Vector::new(motion[0], motion[1], motion[2]),
                    angular: Vector::new(motion[3], motion[4], motion[5]),
                })
            })
            .collect()
    }

    /// Rapier's own quarantine does not see a multibody that explodes.
    fn guard(&self) -> Result<()> {
        let (positions, velocities) = self.state();
        for ((dof, position), velocity) in self.plan.dofs.iter().zip(positions).zip(velocities) {
            // a NaN is not below the bound either
            if !(velocity.abs() < MAX_SPEED && position.is_finite()) {
                return Err(Error::Diverged {
                    environment: self.plan.name.clone(),
                    step: self.steps,
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
