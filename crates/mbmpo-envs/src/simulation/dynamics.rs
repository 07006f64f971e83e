//! From a state to accelerations: MuJoCo's forward dynamics on Rapier's kinematics.

use super::Vector;
use super::constraints::Constraints;
use super::contacts::{Collisions, Contact};
use super::fluid::Drag;
use super::kinematics::{Attachment, Kinematics};
use crate::robot::{JointKind, Medium, RobotDescription, Softness};
use mbmpo_core::{Error, Result};
use rapier3d_f64::math::{Matrix, Pose};
use rapier3d_f64::na::{Cholesky, DMatrix, DVector, Dyn};

/// A slide or a hinge with a spring.
struct Spring {
    coordinate: usize,
    dof: usize,
    stiffness: f64,
    rest: f64,
}

/// A slide or a hinge with limits.
struct Limit {
    coordinate: usize,
    dof: usize,
    range: [f64; 2],
    softness: Softness,
}

/// A motor.
pub(super) struct Motor {
    pub dof: usize,
    pub gear: f64,
    pub range: [f64; 2],
}

/// A body in a fluid.
struct Immersed {
    attachment: Attachment,
    /// Of the body's principal axes, in the link's frame.
    axes: Pose,
    drag: Drag,
}

/// What never changes: shared by all copies of a simulation.
pub(super) struct Model {
    pub gravity: Vector,
    medium: Medium,
    pub motors: Vec<Motor>,
    springs: Vec<Spring>,
    limits: Vec<Limit>,
    /// Of every degree of freedom.
    pub damping: DVector<f64>,
    armature: DVector<f64>,
    immersed: Vec<Immersed>,
    collisions: Collisions,
    /// Mean inverse mass that a force at a body's centre of mass feels in the initial pose.
    body_inverse_masses: Vec<f64>,
    /// Inverse inertia that each degree of freedom feels in the initial pose.
    dof_inverse_inertias: Vec<f64>,
}

/// Forward dynamics, with what it works on.
#[derive(Clone)]
pub(super) struct Dynamics {
    pub kinematics: Kinematics,
    constraints: Constraints,
    /// Inertia of every joint on every other, with the rotors.
    pub mass: DMatrix<f64>,
    row: Vec<f64>,
}

/// Every degree of freedom and its joint's part in the description.
fn per_dof(robot: &RobotDescription, value: impl Fn(&crate::robot::Joint) -> f64) -> DVector<f64> {
    let values: Vec<_> = robot
        .joints
        .iter()
        .flat_map(|joint| std::iter::repeat_n(value(joint), joint.kind.dofs()))
        .collect();
    DVector::from_vec(values)
}

impl Model {
    /// The model of a robot, and the dynamics to run it.
    pub fn new(robot: &RobotDescription) -> Result<(Self, Dynamics, Vec<Attachment>)> {
        let (kinematics, attachments) = Kinematics::new(robot)?;
        let dofs = kinematics.dofs();
        let (mut springs, mut limits, mut first_dofs) = (vec![], vec![], vec![]);
        let (mut coordinate, mut dof) = (0, 0);
        for joint in &robot.joints {
            if joint.kind != JointKind::Free {
                springs.push(Spring {
                    coordinate,
                    dof,
                    stiffness: joint.stiffness,
                    rest: joint.spring_rest,
                });
                let mut softness = joint.limit;
                softness.keep_stable(robot.time_step);
                limits.extend(joint.range.map(|range| Limit {
                    coordinate,
                    dof,
                    range,
                    softness,
                }));
            }
            first_dofs.push(dof);
            coordinate += joint.kind.coordinates();
            dof += joint.kind.dofs();
        }
        springs.retain(|spring| spring.stiffness != 0.0);
        let motors = robot.actuators.iter().map(|motor| Motor {
            dof: first_dofs[motor.joint],
            gear: motor.gear,
            range: motor.control_range,
        });
        let immersed = robot
            .bodies
            .iter()
            .zip(&attachments)
            .map(|(body, attachment)| {
                let mass_properties = &body.mass_properties;
                Immersed {
                    attachment: *attachment,
                    axes: attachment.pose
                        * Pose::from_parts(
                            mass_properties.local_com,
                            mass_properties.principal_inertia_local_frame,
                        ),
                    drag: Drag::new(mass_properties),
                }
            });
        let fluid = robot.medium != Medium::default();
        let mut model = Self {
            gravity: robot.gravity.into(),
            medium: robot.medium,
            motors: motors.collect(),
            springs,
            limits,
            damping: per_dof(robot, |joint| joint.damping),
            armature: per_dof(robot, |joint| joint.armature),
            immersed: immersed
                .filter(|body| fluid && body.attachment.link.is_some())
                .collect(),
            collisions: Collisions::new(robot, &attachments),
            body_inverse_masses: vec![],
            dof_inverse_inertias: vec![],
        };
        let mut dynamics = Dynamics {
            kinematics,
            constraints: Constraints::default(),
            mass: DMatrix::zeros(dofs, dofs),
            row: vec![0.0; dofs],
        };
        dynamics.weigh(&mut model, robot, &attachments)?;
        Ok((model, dynamics, attachments))
    }
}

impl Dynamics {
    /// Accelerations of the degrees of freedom, and leaves the mass matrix of this state. `controls` are in range.
    pub fn accelerate(
        &mut self,
        model: &Model,
        positions: &[f64],
        velocities: &[f64],
        controls: &[f64],
    ) -> DVector<f64> {
        self.kinematics.update(positions, velocities);
        let mut force = self.weights_and_inertias(model);
        self.drag(model, &mut force);
        for spring in &model.springs {
            force[spring.dof] -= spring.stiffness * (positions[spring.coordinate] - spring.rest);
        }
        for ((force, damping), velocity) in force.iter_mut().zip(&model.damping).zip(velocities) {
            *force -= damping * velocity;
        }
        for (motor, control) in model.motors.iter().zip(controls) {
            force[motor.dof] += motor.gear * control;
        }
        let Some(factors) = self.factorize() else {
            return nowhere(force.len());
        };
        factors.solve_mut(&mut force);
        self.constrain(model, positions, velocities);
        if self.constraints.is_empty() {
            return force;
        }
        let dofs = force.len();
        let constrained = self.constraints.solve(&self.mass, &force);
        constrained.unwrap_or_else(|| nowhere(dofs))
    }

    fn factorize(&self) -> Option<Cholesky<f64, Dyn>> {
        Cholesky::new(self.mass.clone())
    }

    /// Assembles the mass matrix, and gives the generalised forces of gravity and of inertia (Coriolis, centrifugal
    /// and gyroscopic).
    fn weights_and_inertias(&mut self, model: &Model) -> DVector<f64> {
        let Kinematics {
            links,
            motions,
            jacobians,
            ..
        } = &self.kinematics;
        let mut force = DVector::zeros(model.armature.len());
        self.mass.fill(0.0);
        self.mass.set_diagonal(&model.armature);
        for ((link, motion), columns) in links.iter().zip(motions).zip(jacobians) {
            let mass = link.mass_properties.mass();
            if mass == 0.0 {
                continue;
            }
            let axes = Matrix::from_quat(motion.pose.rotation);
            let inertia = axes * link.inertia * axes.transpose();
            let push = mass * (model.gravity - motion.linear_bias);
            let spin = inertia * motion.angular;
            let twist = -(inertia * motion.angular_bias) - motion.angular.cross(spin);
            for (k, (column, &row)) in columns.iter().zip(&link.dofs).enumerate() {
                force[row] += column.linear.dot(push) + column.angular.dot(twist);
                let linear = mass * column.linear;
                let angular = inertia * column.angular;
                for (other, &col) in columns.iter().zip(&link.dofs).take(k + 1) {
                    let entry = linear.dot(other.linear) + angular.dot(other.angular);
                    self.mass[(row, col)] += entry;
                    if row != col {
                        self.mass[(col, row)] += entry;
                    }
                }
            }
        }
        force
    }

    fn drag(&self, model: &Model, force: &mut DVector<f64>) {
        for body in &model.immersed {
            let Some(link) = body.attachment.link else {
                continue;
            };
            let motion = &self.kinematics.motions[link];
            let axes = motion.pose * body.axes;
            let center = axes.translation;
            let linear = motion.linear + motion.angular.cross(center - motion.center);
            let (push, twist) = body.drag.force(
                &model.medium,
                axes.rotation.inverse() * linear,
                axes.rotation.inverse() * motion.angular,
            );
            let (push, twist) = (axes.rotation * push, axes.rotation * twist);
            for (dof, moved) in self.kinematics.point_jacobian(link, center) {
                force[dof] += moved.dot(push);
            }
            let columns = self.kinematics.jacobians[link].iter();
            for (column, &dof) in columns.zip(&self.kinematics.links[link].dofs) {
                force[dof] += column.angular.dot(twist);
            }
        }
    }

    /// Collects the limits and contacts that may push.
    fn constrain(&mut self, model: &Model, positions: &[f64], velocities: &[f64]) {
        self.constraints.clear();
        for limit in &model.limits {
            let position = positions[limit.coordinate];
            let [low, high] = limit.range;
            for (violation, inward) in [(low - position, 1.0), (position - high, -1.0)] {
                if violation > 0.0 {
                    self.row.fill(0.0);
                    self.row[limit.dof] = inward;
                    let velocity = inward * velocities[limit.dof];
                    let reference = limit.softness.reference(violation, velocity);
                    let inverse_inertia = model.dof_inverse_inertias[limit.dof];
                    let regularization = limit.softness.regularization(violation, inverse_inertia);
                    self.constraints.push(&self.row, reference, regularization);
                }
            }
        }
        let Self {
            kinematics,
            constraints,
            row,
            ..
        } = self;
        model.collisions.each(
            |link| kinematics.motions[link].pose,
            |contact| push_contact(model, kinematics, constraints, row, velocities, &contact),
        );
    }

    /// Measures the inverse inertias in the initial pose.
    fn weigh(
        &mut self,
        model: &mut Model,
        robot: &RobotDescription,
        attachments: &[Attachment],
    ) -> Result<()> {
        let dofs = model.armature.len();
        self.kinematics
            .update(&robot.initial_positions(), &vec![0.0; dofs]);
        self.weights_and_inertias(model);
        let inverse = self.factorize().map(|factors| factors.inverse());
        let Some(inverse) = inverse else {
            return Err(Error::Description(format!(
                "robot `{}`: a joint moves nothing that has mass",
                robot.name
            )));
        };
        let mut first = 0;
        for joint in &robot.joints {
            // the three directions of a free joint share their mean, and so do its three axes
            let group = joint.kind.dofs().min(3);
            for start in (first..first + joint.kind.dofs()).step_by(group) {
                let mean = (start..start + group).map(|i| inverse[(i, i)]).sum::<f64>();
                let mean = mean / group as f64;
                model
                    .dof_inverse_inertias
                    .extend(std::iter::repeat_n(mean, group));
            }
            first += joint.kind.dofs();
        }
        for (body, attachment) in robot.bodies.iter().zip(attachments) {
            let mean = attachment.link.map_or(0.0, |link| {
                let pose = self.kinematics.motions[link].pose * attachment.pose;
                let center = pose * body.mass_properties.local_com;
                let moved: Vec<_> = self.kinematics.point_jacobian(link, center).collect();
                let mut trace = 0.0;
                for (i, a) in &moved {
                    for (j, b) in &moved {
                        trace += inverse[(*i, *j)] * a.dot(*b);
                    }
                }
                trace / 3.0
            });
            model.body_inverse_masses.push(mean);
        }
        Ok(())
    }
}

/// Adds the rows of a contact: along the normal, or the edges of MuJoCo's friction pyramid.
fn push_contact(
    model: &Model,
    kinematics: &Kinematics,
    constraints: &mut Constraints,
    row: &mut [f64],
    velocities: &[f64],
    contact: &Contact,
) {
    let inverse_mass: f64 = contact
        .bodies
        .iter()
        .flatten()
        .map(|&body| model.body_inverse_masses[body])
        .sum();
    let mut push = |direction: Vector, inverse_mass: f64, factor: f64| {
        row.fill(0.0);
        for (link, sign) in contact.links.iter().zip([-1.0, 1.0]) {
            if let Some(link) = *link {
                for (dof, moved) in kinematics.point_jacobian(link, contact.point) {
                    row[dof] += sign * moved.dot(direction);
                }
            }
        }
        let velocity: f64 = row.iter().zip(velocities).map(|(j, v)| j * v).sum();
        let Contact {
            softness,
            violation,
            ..
        } = contact;
        let reference = softness.reference(*violation, velocity);
        let regularization = factor * softness.regularization(*violation, inverse_mass);
        constraints.push(row, reference, regularization);
    };
    match contact.friction {
        None | Some(0.0) => push(contact.normal, inverse_mass, 1.0),
        Some(friction) => {
            let squared = friction * friction;
            for tangent in contact.tangents {
                for side in [friction, -friction] {
                    let edge = contact.normal + side * tangent;
                    push(edge, (1.0 + squared) * inverse_mass, 2.0 * squared);
                }
            }
        }
    }
}

/// Accelerations that the guard against divergence will see.
fn nowhere(dofs: usize) -> DVector<f64> {
    DVector::from_element(dofs, f64::NAN)
}
