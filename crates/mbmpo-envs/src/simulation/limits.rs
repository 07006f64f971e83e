//! MuJoCo's soft joint limits.
//!
//! MuJoCo pushes a joint that is `r` beyond its limit with `f = (a_ref - a) / R`, where `a` is the joint's
//! acceleration, `a_ref` what [`Softness::reference`] asks for, `R = (1 - d) / d * A`, `d` the impedance and `A` the
//! inverse inertia of the joint in the initial pose. The term in `a` is an inertia `1 / R`, the rest a force: both
//! are things that Rapier can add to a joint.

use crate::robot::Softness;

/// The two limits of a joint.
#[derive(Debug, Clone)]
pub(super) struct Limit {
    pub range: [f64; 2],
    pub softness: Softness,
    /// `A`.
    pub inverse_inertia: f64,
}

/// What a violated limit does to its joint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Push {
    pub force: f64,
    pub inertia: f64,
}

impl Limit {
    /// `None` where no limit is violated, or where it would pull, as the joint leaves it faster by itself.
    /// `acceleration` is that of the step before, the best guess at that of the step to come.
    pub fn push(&self, position: f64, velocity: f64, acceleration: f64) -> Option<Push> {
        let [low, high] = self.range;
        let (violation, inward) = if position < low {
            (low - position, 1.0)
        } else if position > high {
            (position - high, -1.0)
        } else {
            return None;
        };
        let reference = self.softness.reference(violation, inward * velocity);
        if reference <= inward * acceleration {
            return None;
        }
        let impedance = self.softness.impedance(violation);
        let regularization = (1.0 - impedance) / impedance * self.inverse_inertia;
        Some(Push {
            force: inward * reference / regularization,
            inertia: 1.0 / regularization,
        })
    }
}
