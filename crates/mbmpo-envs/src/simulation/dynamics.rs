//! MuJoCo's forward dynamics (accelerations of a state) on Rapier's kinematics.

use super::Vector;
use super::constraints::Constraints;
use super::contacts::{Collisions, Contact};
use super::fluid::Drag;
use super::kinematics::{Attachment, Kinematics};
use super::symmetric::{Symmetric, dot};
use crate::robot::{Joint, JointKind, Medium, RobotDescription, Softness};
use mbmpo_core::{Error, Result};
use rapier3d_f64::math::{Matrix, Pose};

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
    /// Frame of the body's principal axes of inertia, in the link's frame.
    axes: Pose,
    drag: Drag,
}

/// The constant part, shared by all copies of a simulation.
pub(super) struct Model {
    pub gravity: Vector,
    medium: Medium,
    pub motors: Vec<Motor>,
    springs: Vec<Spring>,
    limits: Vec<Limit>,
    /// For every degree of freedom.
    pub damping: Vec<f64>,
    armature: Vec<f64>,
    immersed: Vec<Immersed>,
    collisions: Collisions,
    /// Mean inverse effective mass at each body's centre of mass in the initial pose.
    body_inverse_masses: Vec<f64>,
    /// Inverse effective inertia of each degree of freedom in the initial pose.
    dof_inverse_inertias: Vec<f64>,
}

/// Forward dynamics and its buffers.
#[derive(Clone)]
pub(super) struct Dynamics {
    pub kinematics: Kinematics,
    constraints: Constraints,
    /// Joint-space mass matrix, rotors included.
    pub mass: Symmetric,
    /// Accelerations of the degrees of freedom; forces while they are computed.
    pub acceleration: Vec<f64>,
    factor: Symmetric,
    row: Vec<f64>,
}

/// A value of the joint for each of its degrees of freedom.
fn per_dof(robot: &RobotDescription, value: impl Fn(&Joint) -> f64) -> Vec<f64> {
    robot
        .joints
        .iter()
        .flat_map(|joint| std::iter::repeat_n(value(joint), joint.kind.dofs()))
        .collect()
}

impl Model {
    /// The model of a robot, its dynamics, and the attachments of its bodies.
    pub fn new(robot: &RobotDescription) -> Result<(Self, Dynamics, Vec<Attachment>)> {
        let (kinematics, attachments) = Kinematics::new(robot)?;
        let dofs = kinematics.dofs();
        let (mut springs, mut limits, mut first_dofs) = (vec![], vec![], vec![]);
        for (joint, (_, coordinate, dof)) in robot.joints.iter().zip(robot.layout()) {
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
            collisions: Collisions::new(robot, &attachments)?,
            body_inverse_masses: vec![],
            dof_inverse_inertias: vec![],
        };
        let mut dynamics = Dynamics {
            kinematics,
            constraints: Constraints::default(),
            mass: Symmetric::zeros(dofs),
            acceleration: vec![0.0; dofs],
            factor: Symmetric::zeros(dofs),
            row: vec![0.0; dofs],
        };
        dynamics.weigh(&mut model, robot, &attachments)?;
        Ok((model, dynamics, attachments))
    }
}

impl Dynamics {
    /// Computes `acceleration` and the mass matrix of a state. `controls` are in range. Where the
    /// mass matrix is singular all accelerations are NaN, which
    /// [`Simulation::step`](super::Simulation::step) reports as divergence.
    pub fn accelerate(
        &mut self,
        model: &Model,
        positions: &[f64],
        velocities: &[f64],
        controls: &[f64],
    ) {
        self.kinematics.update(positions, velocities);
        self.weights_and_inertias(model);
        self.drag(model);
        let force = &mut self.acceleration;
        for spring in &model.springs {
            force[spring.dof] -= spring.stiffness * (positions[spring.coordinate] - spring.rest);
        }
        for ((force, damping), velocity) in force.iter_mut().zip(&model.damping).zip(velocities) {
            *force -= damping * velocity;
        }
        for (motor, control) in model.motors.iter().zip(controls) {
            force[motor.dof] += motor.gear * control;
        }
        self.factor.clone_from(&self.mass);
        let mut sound = self.factor.factorize();
        if sound {
            self.factor.solve(&mut self.acceleration);
            self.constrain(model, positions, velocities);
            sound = self.constraints.solve(&self.mass, &mut self.acceleration);
        }
        if !sound {
            self.acceleration.fill(f64::NAN);
        }
    }

    /// Replaces the acceleration by that of an integrator which is implicit in damping over a time
    /// step: `(M + h D) a' = M a`.
    pub fn damp(&mut self, model: &Model, time_step: f64) {
        if model.damping.iter().all(|&damping| damping == 0.0) {
            return;
        }
        self.factor.clone_from(&self.mass);
        for (i, damping) in model.damping.iter().enumerate() {
            self.factor[(i, i)] += time_step * damping;
        }
        self.mass.multiply(&self.acceleration, &mut self.row);
        if self.factor.factorize() {
            self.factor.solve(&mut self.row);
        } else {
            self.row.fill(f64::NAN);
        }
        self.acceleration.copy_from_slice(&self.row);
    }

    /// Assembles the mass matrix, and the forces of gravity and of inertia (Coriolis, centrifugal
    /// and gyroscopic).
    fn weights_and_inertias(&mut self, model: &Model) {
        let Kinematics {
            links,
            motions,
            jacobians,
            ..
        } = &self.kinematics;
        let force = &mut self.acceleration;
        force.fill(0.0);
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
                    self.mass[(row, col)] += linear.dot(other.linear) + angular.dot(other.angular);
                }
            }
        }
    }

    fn drag(&mut self, model: &Model) {
        let force = &mut self.acceleration;
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

    /// Collects the limits and contacts that may be active.
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

    /// Computes the inverse inertias in the initial pose.
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
        if !self.mass.factorize() {
            return Err(Error::Description(format!(
                "robot `{}`: a joint moves nothing that has mass",
                robot.name
            )));
        }
        let inverse: Vec<Vec<f64>> = (0..dofs)
            .map(|dof| {
                let mut column = vec![0.0; dofs];
                column[dof] = 1.0;
                self.mass.solve(&mut column);
                column
            })
            .collect();
        for (kind, _, first) in robot.layout() {
            // the three translations of a free joint share their mean, and so do its three
            // rotations
            let group = kind.dofs().min(3);
            for start in (first..first + kind.dofs()).step_by(group) {
                let mean = (start..start + group).map(|i| inverse[i][i]).sum::<f64>();
                let mean = mean / group as f64;
                model
                    .dof_inverse_inertias
                    .extend(std::iter::repeat_n(mean, group));
            }
        }
        for (body, attachment) in robot.bodies.iter().zip(attachments) {
            let mean = attachment.link.map_or(0.0, |link| {
                let pose = self.kinematics.motions[link].pose * attachment.pose;
                let center = pose * body.mass_properties.local_com;
                let moved: Vec<_> = self.kinematics.point_jacobian(link, center).collect();
                let mut trace = 0.0;
                for (i, a) in &moved {
                    for (j, b) in &moved {
                        trace += inverse[*i][*j] * a.dot(*b);
                    }
                }
                trace / 3.0
            });
            model.body_inverse_masses.push(mean);
        }
        Ok(())
    }
}

/// Adds the rows of a contact: the normal without friction, else the edges of MuJoCo's friction
/// pyramid.
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
        let velocity = dot(row, velocities);
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
        None => push(contact.normal, inverse_mass, 1.0),
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
