//! From a [`RobotDescription`] to a Rapier world.

use super::{ContactModel, Dof, Limit, Plan, World};
use crate::robot::{Joint, JointKind, RobotDescription, Shape};
use mbmpo_core::{Error, Result};
use rapier3d_f64::prelude::*;

/// Sweeps over the contacts per step. Two feet at most touch the ground: more do not change the errors.
const SWEEPS: usize = 4;

/// Frequency of a contact spring that is as good as rigid \[Hz\].
const RIGID: f64 = 1e6;

/// Distance at which Rapier begins to see a contact \[m\]; it acts from 0 on only.
const PREDICTION: f64 = 0.002;

pub(super) fn plan(robot: &RobotDescription, contact_model: ContactModel) -> Result<Plan> {
    let mut bodies = RigidBodySet::new();
    let mut colliders = ColliderSet::new();
    let mut joints = MultibodyJointSet::new();

    let ground = bodies.insert(RigidBodyBuilder::fixed());
    let mut handles = vec![];
    let mut dofs = vec![];
    for (i, body) in robot.bodies.iter().enumerate() {
        let handle = bodies.insert(
            RigidBodyBuilder::dynamic()
                .additional_mass_properties(body.mass_properties)
                .can_sleep(false)
                .allow_fast_rotation(true),
        );
        let own: Vec<_> = robot
            .joints
            .iter()
            .filter(|joint| joint.body == i)
            .collect();
        let parent = body.parent.map_or(ground, |parent| handles[parent]);
        let joint = connect(&body.name, body.position, &own)?;
        joints.insert(parent, handle, joint, true);
        // links are numbered from the ground, which is link 0
        dofs.extend(own.into_iter().map(|joint| dof(joint, i + 1)));
        handles.push(handle);
    }
    for geom in &robot.geoms {
        let groups = InteractionGroups::new(
            Group::from_bits_truncate(geom.contact_type),
            Group::from_bits_truncate(geom.affinity),
            InteractionTestMode::Or,
        );
        let shape = match geom.shape {
            Shape::Capsule { a, b, radius } => SharedShape::capsule(a.into(), b.into(), radius),
            _ => SharedShape::halfspace(Vector::Z),
        };
        let collider = ColliderBuilder::new(shape)
            .density(0.0)
            .friction(geom.friction)
            .friction_combine_rule(CoefficientCombineRule::Max)
            .collision_groups(groups)
            .active_hooks(ActiveHooks::MODIFY_SOLVER_CONTACTS);
        match (geom.body, geom.shape) {
            (Some(body), _) => {
                colliders.insert_with_parent(collider, handles[body], &mut bodies);
            }
            (None, Shape::Floor { height }) => {
                colliders.insert(collider.translation(Vector::new(0.0, 0.0, height)));
            }
            (None, _) => {
                colliders.insert(collider);
            }
        }
    }
    let Some(multibody) = handles
        .first()
        .and_then(|&body| joints.rigid_body_link(body))
        .map(|link| link.multibody)
    else {
        return Err(Error::Description(format!(
            "robot `{}` has no body",
            robot.name
        )));
    };
    let mut world = World {
        islands: IslandManager::new(),
        broad_phase: BroadPhaseBvh::new(),
        narrow_phase: NarrowPhase::new(),
        bodies,
        colliders,
        impulse_joints: ImpulseJointSet::new(),
        multibody_joints: joints,
        soft_bodies: SoftBodySet::new(),
        multibody,
    };
    settle(&mut world, &mut dofs, robot)?;

    let motors = robot.actuators.iter();
    Ok(Plan {
        name: robot.name.clone(),
        template: world,
        gravity: robot.gravity.into(),
        parameters: parameters(robot),
        softness: robot.geoms[0].softness,
        contact_model,
        dofs,
        motors: motors.cloned().collect(),
    })
}

fn dof(joint: &Joint, link: usize) -> Dof {
    Dof {
        name: joint.name.clone(),
        link,
        axis: spatial_axis(joint),
        stiffness: joint.stiffness,
        spring_rest: joint.spring_rest,
        armature: joint.armature,
        limit: joint.range.map(|range| Limit {
            range,
            softness: joint.limit,
            inverse_inertia: 0.0,
        }),
    }
}

fn spatial_axis(joint: &Joint) -> usize {
    let axis = joint.axis.iter().position(|&x| x == 1.0).unwrap_or(0);
    match joint.kind {
        JointKind::Slide => axis,
        JointKind::Hinge | JointKind::Free => 3 + axis,
    }
}

/// All joints between a body and its parent as one Rapier joint. Slides first, then at most one hinge: Rapier
/// turns last, and panics where a joint has two free angles. Frames are not rotated, so they are exact.
fn connect(body: &str, position: [f64; 3], joints: &[&Joint]) -> Result<GenericJoint> {
    let axes: Vec<_> = joints.iter().map(|joint| spatial_axis(joint)).collect();
    let hinges = axes.iter().filter(|&&axis| axis >= 3).count();
    if !axes.is_sorted_by(|a, b| a < b) || hinges > 1 {
        return Err(Error::Description(format!(
            "body `{body}`: only slides along x, y, z (in this order) followed by one hinge are supported"
        )));
    }
    let mut locked = JointAxesMask::all();
    for axis in axes {
        locked.remove(JointAxesMask::from_bits_truncate(1 << axis));
    }
    let hinge = joints.iter().find(|joint| joint.kind == JointKind::Hinge);
    let anchor: Vector = hinge.map_or([0.0; 3], |joint| joint.position).into();
    Ok(GenericJointBuilder::new(locked)
        .local_anchor1(Vector::from(position) + anchor)
        .local_anchor2(anchor)
        .contacts_enabled(false)
        .build())
}

/// The first kinematics, which drops the ground's degrees of freedom; only then do vectors have their final size.
fn settle(world: &mut World, dofs: &mut [Dof], robot: &RobotDescription) -> Result<()> {
    let World {
        bodies,
        colliders,
        multibody_joints,
        multibody,
        ..
    } = world;
    for (_, body) in bodies.iter_mut() {
        body.recompute_mass_properties_from_colliders(colliders);
    }
    let Some(multibody) = multibody_joints.get_multibody_mut(*multibody) else {
        return Ok(());
    };
    multibody.forward_kinematics(bodies, false);
    multibody.update_rigid_bodies(bodies, true);
    Error::check_shape(
        &format!("degrees of freedom of robot `{}`", robot.name),
        dofs.len(),
        multibody.ndofs(),
    )?;
    // Rapier damps every hinge by default
    multibody.damping_mut().fill(0.0);
    for (i, joint) in robot.joints.iter().enumerate() {
        multibody.damping_mut()[i] = joint.damping;
        multibody.armature_mut()[i] = joint.armature;
    }
    let inverse_inertia = multibody.dof_inverse_inertia(bodies);
    for (dof, &inverse_inertia) in dofs.iter_mut().zip(inverse_inertia.iter()) {
        if let Some(limit) = &mut dof.limit {
            limit.inverse_inertia = inverse_inertia;
        }
    }
    Ok(())
}

/// One step of one iteration per MuJoCo time step: finer steps would be more exact, and less like MuJoCo.
fn parameters(robot: &RobotDescription) -> IntegrationParameters {
    let rigid = SpringCoefficients::new(RIGID, 1.0);
    IntegrationParameters {
        dt: robot.time_step,
        contact_softness: rigid,
        static_contact_softness: rigid,
        // contacts owe nothing to the past, as in MuJoCo
        warmstart_coefficient: 0.0,
        contact_recycling: false,
        contact_clustering: false,
        num_solver_iterations: 1,
        num_internal_pgs_iterations: SWEEPS,
        // a stabilization pass would undo the softness of contacts
        num_internal_stabilization_iterations: 0,
        // nothing here is fast and thin enough to need it
        max_ccd_substeps: 0,
        normalized_allowed_linear_error: 0.0,
        normalized_max_corrective_velocity: 1e9,
        normalized_max_linear_velocity: f64::MAX,
        normalized_prediction_distance: PREDICTION,
        ..IntegrationParameters::default()
    }
}
