//! The robot as a Rapier multibody: poses, velocities and Jacobians of its links.

use super::Vector;
use crate::robot::{Joint, JointKind, RobotDescription};
use mbmpo_core::{Error, Result};
use rapier3d_f64::math::{Matrix, Pose, Rotation};
use rapier3d_f64::prelude::{
    GenericJoint, GenericJointBuilder, JointAxesMask, MassProperties, MultibodyIndex,
    MultibodyJoint, MultibodyJointSet, RigidBodyBuilder, RigidBodySet,
};

/// A link: it is moved by one joint. Where a body has several joints, all but the last one move
/// links without mass.
#[derive(Debug, Clone)]
pub(super) struct Link {
    /// Parent link; `None` is the ground.
    parent: Option<usize>,
    kind: JointKind,
    /// First component of `qpos`.
    coordinate: usize,
    /// First component of `qvel`.
    dof: usize,
    /// `qpos` at which Rapier's coordinate is zero.
    reference: f64,
    /// Anchor of the joint in the link's frame.
    anchor: Vector,
    /// Axis of the joint in the link's frame.
    axis: Vector,
    /// The free axis of Rapier's joint.
    rapier_axis: usize,
    /// Includes the bodies that are welded to it; in the link's frame.
    pub mass_properties: MassProperties,
    /// Inertia tensor of `mass_properties` about the centre of mass, along the link's axes.
    pub inertia: Matrix,
    /// The degrees of freedom that move it, ascending.
    pub dofs: Vec<usize>,
}

/// Pose, velocity and bias acceleration of a link, in the world's frame.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Motion {
    pub pose: Pose,
    /// Centre of mass.
    pub center: Vector,
    /// Velocity of the centre of mass.
    pub linear: Vector,
    pub angular: Vector,
    /// Acceleration of the centre of mass at zero joint accelerations.
    pub linear_bias: Vector,
    /// Angular acceleration at zero joint accelerations.
    pub angular_bias: Vector,
}

/// Column of a link's Jacobian: its velocity per velocity of a degree of freedom.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Column {
    /// Velocity of the centre of mass.
    pub linear: Vector,
    pub angular: Vector,
}

/// The link of a body of the description, and the body's pose in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attachment {
    /// `None` is the ground.
    pub link: Option<usize>,
    pub pose: Pose,
}

/// A robot's links and their motion in the state of the last [`Kinematics::update`].
#[derive(Clone)]
pub(super) struct Kinematics {
    bodies: RigidBodySet,
    joints: MultibodyJointSet,
    multibody: MultibodyIndex,
    pub links: Vec<Link>,
    pub motions: Vec<Motion>,
    /// For each link one column for each of its `dofs`.
    pub jacobians: Vec<Vec<Column>>,
}

impl Kinematics {
    /// Builds the multibody; also returns the attachment of each body.
    pub fn new(robot: &RobotDescription) -> Result<(Self, Vec<Attachment>)> {
        let mut attachments = vec![];
        let mut links: Vec<Link> = vec![];
        let mut generic_joints = vec![];
        let (mut coordinate, mut dof) = (0, 0);
        for (i, body) in robot.bodies.iter().enumerate() {
            let parent = body.parent.map_or(
                Attachment {
                    link: None,
                    pose: Pose::IDENTITY,
                },
                |parent| attachments[parent],
            );
            let mut attachment = Attachment {
                link: parent.link,
                pose: parent.pose * pose(body.position, body.orientation),
            };
            for joint in robot.joints.iter().filter(|joint| joint.body == i) {
                let (rapier_axis, data) = generic_joint(joint, attachment.pose);
                let mut dofs = attachment
                    .link
                    .map_or(vec![], |parent: usize| links[parent].dofs.clone());
                dofs.extend(dof..dof + joint.kind.dofs());
                links.push(Link {
                    parent: attachment.link,
                    kind: joint.kind,
                    coordinate,
                    dof,
                    reference: joint.reference,
                    anchor: joint.position.into(),
                    axis: joint.axis.into(),
                    rapier_axis,
                    mass_properties: MassProperties::default(),
                    inertia: Matrix::ZERO,
                    dofs,
                });
                generic_joints.push(data);
                coordinate += joint.kind.coordinates();
                dof += joint.kind.dofs();
                attachment = Attachment {
                    link: Some(links.len() - 1),
                    pose: Pose::IDENTITY,
                };
            }
            if let Some(link) = attachment.link {
                let own = body.mass_properties.transform_by(&attachment.pose);
                let total = &mut links[link].mass_properties;
                // adding to nothing would cost an eigendecomposition and its rounding
                *total = if total.inv_mass == 0.0 {
                    own
                } else {
                    *total + own
                };
            }
            attachments.push(attachment);
        }
        for link in &mut links {
            link.inertia = link.mass_properties.reconstruct_inertia_matrix();
        }
        let (bodies, joints, multibody) = assemble(robot, &links, &generic_joints)?;
        let jacobians = links
            .iter()
            .map(|link| vec![Column::default(); link.dofs.len()])
            .collect();
        let motions = vec![Motion::default(); links.len()];
        let kinematics = Self {
            bodies,
            joints,
            multibody,
            links,
            motions,
            jacobians,
        };
        Ok((kinematics, attachments))
    }

    /// Computes poses, motions and Jacobians of a state.
    pub fn update(&mut self, positions: &[f64], velocities: &[f64]) {
        let Some(multibody) = self.joints.get_multibody_mut(self.multibody) else {
            return;
        };
        for (link, rapier) in self.links.iter().zip(multibody.links_mut().skip(1)) {
            link.place(&mut rapier.joint, positions);
        }
        multibody.forward_kinematics(&self.bodies, false);
        for (i, link) in self.links.iter().enumerate() {
            let Some(rapier) = multibody.link(i + 1) else {
                continue;
            };
            let pose = *rapier.local_to_world();
            let parent = link
                .parent
                .map_or(Motion::default(), |parent| self.motions[parent]);
            self.motions[i] = link.motion(&parent, pose, velocities);
            let jacobian = multibody.body_jacobian(i + 1);
            for (column, &dof) in self.jacobians[i].iter_mut().zip(&link.dofs) {
                let entries = jacobian.column(dof);
                *column = Column {
                    linear: Vector::new(entries[0], entries[1], entries[2]),
                    angular: Vector::new(entries[3], entries[4], entries[5]),
                };
            }
        }
        // angular velocities of a free joint are about the world's axes in Rapier, about the body's
        // in MuJoCo
        let free = |link: &Link| (link.kind == JointKind::Free).then_some(link.dof + 3);
        for (i, link) in self.links.iter().enumerate() {
            if let Some(first) = free(link) {
                let axes = self.motions[i].pose.rotation;
                for (columns, link) in self.jacobians.iter_mut().zip(&self.links) {
                    if let Some(k) = link.dofs.iter().position(|&dof| dof == first) {
                        turn(&mut columns[k..k + 3], axes);
                    }
                }
            }
        }
    }

    /// Poses of the links in the world.
    pub fn poses(&self, positions: &[f64]) -> Vec<Pose> {
        let mut poses: Vec<Pose> = vec![];
        let Some(multibody) = self.joints.get_multibody(self.multibody) else {
            return poses;
        };
        for (link, rapier) in self.links.iter().zip(multibody.links().skip(1)) {
            let mut joint = rapier.joint;
            link.place(&mut joint, positions);
            let parent = link.parent.map_or(Pose::IDENTITY, |parent| poses[parent]);
            poses.push(parent * joint.body_to_parent());
        }
        poses
    }

    /// Number of degrees of freedom.
    pub fn dofs(&self) -> usize {
        self.links
            .last()
            .map_or(0, |link| link.dof + link.kind.dofs())
    }

    /// Velocity of the point of a link that is at `point` in the world, per velocity of each of the
    /// link's `dofs`.
    pub fn point_jacobian(
        &self,
        link: usize,
        point: Vector,
    ) -> impl Iterator<Item = (usize, Vector)> {
        let arm = point - self.motions[link].center;
        let columns = self.jacobians[link].iter();
        let dofs = self.links[link].dofs.iter();
        dofs.zip(columns)
            .map(move |(&dof, column)| (dof, column.linear + column.angular.cross(arm)))
    }
}

impl Link {
    /// Sets a Rapier joint to `qpos`; the result does not depend on its state.
    fn place(&self, joint: &mut MultibodyJoint, positions: &[f64]) {
        if self.kind == JointKind::Free {
            let [x, y, z, rotation @ ..] = &positions[self.coordinate..] else {
                return;
            };
            let turn = quaternion([rotation[0], rotation[1], rotation[2], rotation[3]]);
            let turn = turn.to_scaled_axis();
            *joint = MultibodyJoint::new(joint.data, false);
            joint.apply_displacement(&[*x, *y, *z, turn.x, turn.y, turn.z]);
        } else {
            let present = joint.coords()[self.rapier_axis];
            if present.is_finite() {
                // back to zero first, which makes the coordinate exact
                joint.apply_displacement(&[-present]);
            } else {
                *joint = MultibodyJoint::new(joint.data, false);
            }
            joint.apply_displacement(&[positions[self.coordinate] - self.reference]);
        }
    }

    fn motion(&self, parent: &Motion, pose: Pose, velocities: &[f64]) -> Motion {
        let center = pose * self.mass_properties.local_com;
        let rates = &velocities[self.dof..self.dof + self.kind.dofs()];
        // velocity and bias acceleration of a point that moves with the parent
        let carried = |point: Vector| {
            let arm = point - parent.center;
            let turning = parent.angular.cross(arm);
            (
                parent.linear + turning,
                parent.linear_bias + parent.angular_bias.cross(arm) + parent.angular.cross(turning),
            )
        };
        let (hub, linear, linear_bias, angular, angular_bias) = match (self.kind, rates) {
            (JointKind::Slide, &[rate]) => {
                let slip = pose.rotation * self.axis * rate;
                let (linear, bias) = carried(center);
                (
                    center,
                    linear + slip,
                    bias + 2.0 * parent.angular.cross(slip),
                    parent.angular,
                    parent.angular_bias,
                )
            }
            (JointKind::Hinge, &[rate]) => {
                let hub = pose * self.anchor;
                let spin = pose.rotation * self.axis * rate;
                let (linear, bias) = carried(hub);
                (
                    hub,
                    linear,
                    bias,
                    parent.angular + spin,
                    parent.angular_bias + parent.angular.cross(spin),
                )
            }
            (_, rates) => (
                pose.translation,
                Vector::from_slice(rates),
                Vector::ZERO,
                pose.rotation * Vector::from_slice(&rates[3..]),
                Vector::ZERO,
            ),
        };
        let arm = center - hub;
        let turning = angular.cross(arm);
        Motion {
            pose,
            center,
            linear: linear + turning,
            angular,
            linear_bias: linear_bias + angular_bias.cross(arm) + angular.cross(turning),
            angular_bias,
        }
    }
}

/// Converts columns about the world's axes to columns about a body's axes.
fn turn(columns: &mut [Column], axes: Rotation) {
    let [x, y, z] = columns else {
        return;
    };
    let old = [*x, *y, *z];
    for (new, axis) in [(x, Vector::X), (y, Vector::Y), (z, Vector::Z)] {
        let axis = axes * axis;
        let mix = |part: fn(&Column) -> Vector| {
            part(&old[0]) * axis.x + part(&old[1]) * axis.y + part(&old[2]) * axis.z
        };
        *new = Column {
            linear: mix(|column| column.linear),
            angular: mix(|column| column.angular),
        };
    }
}

pub(super) fn quaternion([w, x, y, z]: [f64; 4]) -> Rotation {
    Rotation::from_xyzw(x, y, z, w)
}

pub(super) fn pose(position: [f64; 3], orientation: [f64; 4]) -> Pose {
    Pose::from_parts(position.into(), quaternion(orientation))
}

/// Rapier's joint, and its free axis. `frame` is the pose of the body in the parent link where the
/// coordinate is 0.
fn generic_joint(joint: &Joint, frame: Pose) -> (usize, GenericJoint) {
    if joint.kind == JointKind::Free {
        return (0, GenericJointBuilder::new(JointAxesMask::empty()).build());
    }
    let (axis, turn) = joint_frame(joint.axis.into());
    let offset = if joint.kind == JointKind::Hinge { 3 } else { 0 };
    let mut locked = JointAxesMask::all();
    locked.remove(JointAxesMask::from_bits_truncate(1 << (offset + axis)));
    let anchor = Pose::from_parts(joint.position.into(), turn);
    let data = GenericJointBuilder::new(locked)
        .local_frame1(frame * anchor)
        .local_frame2(anchor)
        .build();
    (offset + axis, data)
}

/// The axis of Rapier's joint, and the rotation of the joint frame that brings it onto `axis`.
/// Coordinate axes need no rotation, and so no rounding.
fn joint_frame(axis: Vector) -> (usize, Rotation) {
    for (i, unit) in [Vector::X, Vector::Y, Vector::Z].into_iter().enumerate() {
        if axis == unit {
            return (i, Rotation::IDENTITY);
        }
        if axis == -unit {
            let half_turn = if i == 0 { Vector::Y } else { Vector::X };
            return (
                i,
                Rotation::from_xyzw(half_turn.x, half_turn.y, half_turn.z, 0.0),
            );
        }
    }
    (0, Rotation::from_rotation_arc(Vector::X, axis))
}

fn assemble(
    robot: &RobotDescription,
    links: &[Link],
    generic_joints: &[GenericJoint],
) -> Result<(RigidBodySet, MultibodyJointSet, MultibodyIndex)> {
    let mut bodies = RigidBodySet::new();
    let mut joints = MultibodyJointSet::new();
    let ground = bodies.insert(RigidBodyBuilder::fixed());
    let mut handles = vec![];
    let mut multibody = None;
    for (link, &joint) in links.iter().zip(generic_joints) {
        let builder = RigidBodyBuilder::dynamic().additional_mass_properties(link.mass_properties);
        let handle = bodies.insert(builder);
        let parent = link.parent.map_or(ground, |parent| handles[parent]);
        joints.insert(parent, handle, joint, true);
        handles.push(handle);
        multibody = joints.rigid_body_link(handle).map(|link| link.multibody);
    }
    for (_, body) in bodies.iter_mut() {
        body.recompute_mass_properties_from_colliders(&rapier3d_f64::prelude::ColliderSet::new());
    }
    let Some(multibody) = multibody else {
        return Err(Error::Description(format!(
            "robot `{}` has no joint: nothing of it can move",
            robot.name
        )));
    };
    // removes the ground's degrees of freedom; only then do the Jacobians have their final size
    if let Some(multibody) = joints.get_multibody_mut(multibody) {
        multibody.forward_kinematics(&bodies, false);
    }
    Ok((bodies, joints, multibody))
}
