//! MuJoCo's soft contacts, on Rapier's contact solver.
//!
//! Rapier's own contact springs have one stiffness for all penetrations. MuJoCo's are nearly absent at first touch
//! and hard a centimetre in. So Rapier is told to solve contacts rigidly, for a velocity that is computed here from
//! MuJoCo's rule; it keeps the coupling between contacts, the friction cone and the one-sidedness.

use super::ContactModel;
use crate::robot::Softness;
use rapier3d_f64::prelude::*;

/// How a link moves now. (Rapier's own velocities of links are those of the step before.)
#[derive(Debug, Clone)]
pub(super) struct Motion {
    pub body: RigidBodyHandle,
    pub center: Vector,
    pub linear: Vector,
    pub angular: Vector,
}

/// Gives Rapier the velocity that each contact shall have after the step.
pub(super) struct SoftContacts<'a> {
    pub motions: &'a [Motion],
    pub time_step: f64,
    pub gravity: Vector,
    pub softness: &'a Softness,
    pub model: &'a ContactModel,
}

impl SoftContacts<'_> {
    /// Velocity and free acceleration of a body's point; none for the ground.
    fn motion(&self, body: Option<RigidBodyHandle>, point: Vector) -> (Vector, Vector) {
        self.motions
            .iter()
            .find(|motion| Some(motion.body) == body)
            .map_or((Vector::ZERO, Vector::ZERO), |motion| {
                let turning = motion.angular.cross(point - motion.center);
                (motion.linear + turning, self.gravity)
            })
    }

    /// The separating velocity after the step.
    ///
    /// MuJoCo's contact leaves a velocity between that of free motion and that which it asks for, weighted by the
    /// ratio of the contact's regularisation to the inverse inertia that it feels.
    fn target(&self, penetration: f64, velocity: f64, acceleration: f64) -> f64 {
        let impedance = self.softness.impedance(penetration);
        let weight = 1.0 / (1.0 + self.model.regularization * (1.0 - impedance) / impedance);
        let reference = self.softness.reference(penetration, velocity);
        velocity + self.time_step * (weight * reference + (1.0 - weight) * acceleration)
    }
}

impl PhysicsHooks for SoftContacts<'_> {
    fn modify_solver_contacts(&self, context: &mut ContactModificationContext) {
        let bodies = (context.rigid_body1, context.rigid_body2);
        let Some(manifold) = context.rigid_mut() else {
            return;
        };
        let normal = *manifold.normal;
        let mut slip: f64 = 0.0;
        manifold.solver_contacts.retain_mut(|contact| {
            // Rapier also predicts contacts, MuJoCo only knows those that touch
            if contact.dist >= 0.0 {
                return false;
            }
            let point = contact.anchor1.midpoint(contact.anchor2);
            let (velocity1, acceleration1) = self.motion(bodies.0, point);
            let (velocity2, acceleration2) = self.motion(bodies.1, point);
            let velocity = velocity2 - velocity1;
            let separating = velocity.dot(normal);
            let acceleration = (acceleration2 - acceleration1).dot(normal);
            slip = slip.max((velocity - separating * normal).length());
            // a rigid contact at this distance leaves this velocity
            contact.dist = -self.time_step * self.target(-contact.dist, separating, acceleration);
            true
        });
        *manifold.friction *= self.model.friction_share(slip);
    }
}
