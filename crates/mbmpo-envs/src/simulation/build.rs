//! From a [`RobotDescription`] to a Rapier world.

use super::{Dof, Limit, Numerics, Plan, World};
use crate::robot::{Joint, JointKind, RobotDescription, Shape};
use mbmpo_core::{Error, Result};
use rapier3d_f64::prelude::*;

/// Half the length and width of the floor \[m\]; its thickness too, so that nothing falls through.
const FLOOR: f64 = 1e3;

pub(super) fn plan(robot: &RobotDescription, numerics: Numerics) -> Result<Plan> {
    let mut bodies = RigidBodySet::new();
    let mut colliders = ColliderSet::new();
    let mut joints = MultibodyJointSet::new();

    let ground = bodies.insert(RigidBodyBuilder::fixed());
    let mut handles = vec![];
    let mut dofs = vec![];
    let mut last = None;
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
        last = joints.insert(parent, handle, joint, true);
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
            Shape::Floor { .. } => SharedShape::halfspace(Vector::Z),
        };
        let collider = ColliderBuilder::new(shape)
            .density(0.0)
            .friction(geom.friction)
            .friction_combine_rule(CoefficientCombineRule::Max)
            .collision_groups(groups);
        match (geom.body, geom.shape) {
            (Some(body), _) => {
                colliders.insert_with_parent(collider, handles[body], &mut bodies);
            }
            (None, Shape::Floor { height }) => {
                colliders.insert(collider.translation(Vector::new(0.0, 0.0, height)));
            }
            (None, Shape::Capsule { .. }) => {
                colliders.insert(collider);
            }
        }
    }
    let _ = FLOOR;

    let Some(multibody) = last.and_then(|_| {
        joints
            .rigid_body_link(*handles.last().unwrap_or(&ground))
            .map(|link| link.multibody)
    }) else {
        return Err(Error::Description(format!(
            "robot `{}` has no joints",
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
        parameters: parameters(robot, &numerics),
        numerics,
        dofs,
        motors: motors.map(|motor| (motor.joint, motor.gear)).collect(),
    })
}

fn dof(joint: &Joint, link: usize) -> Dof {
    Dof {
        name: joint.name.clone(),
        link,
        axis: spatial_axis(joint),
        stiffness: joint.stiffness,
        spring_rest: joint.spring_rest,
        damping: joint.damping,
        armature: joint.armature,
        limit: joint.range.map(|range| Limit {
            range,
            softness: joint.limit,
            inverse_inertia: 0.0,
        }),
    }
}

fn spatial_axis(joint: &Joint) -> usize {
    match joint.kind {
        JointKind::Slide => joint.axis,
        JointKind::Hinge => 3 + joint.axis,
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
    for (i, dof) in dofs.iter().enumerate() {
        multibody.armature_mut()[i] = dof.armature;
    }
    let inverse_inertia = multibody.dof_inverse_inertia(bodies);
    for (dof, &inverse_inertia) in dofs.iter_mut().zip(inverse_inertia.iter()) {
        if let Some(limit) = &mut dof.limit {
            limit.inverse_inertia = inverse_inertia;
        }
    }
    Ok(())
}

fn parameters(robot: &RobotDescription, numerics: &Numerics) -> IntegrationParameters {
    let softness = SpringCoefficients::new(numerics.contact_frequency, numerics.contact_damping);
    IntegrationParameters {
        dt: robot.time_step / numerics.substeps as f64,
        contact_softness: softness,
        static_contact_softness: softness,
        warmstart_coefficient: numerics.warmstart,
        num_solver_iterations: numerics.solver_iterations,
        num_internal_pgs_iterations: numerics.sweeps,
        // a stabilization pass would make contacts rigid
        num_internal_stabilization_iterations: numerics.stabilization,
        // nothing here is fast and thin enough to need it
        max_ccd_substeps: 0,
        // old contact points would depend on history
        contact_recycling: false,
        contact_clustering: false,
        normalized_allowed_linear_error: 0.0,
        normalized_max_corrective_velocity: 1e9,
        normalized_max_linear_velocity: f64::MAX,
        normalized_prediction_distance: numerics.prediction,
        ..IntegrationParameters::default()
    }
}
