//! MuJoCo's soft joint limits.
//!
//! MuJoCo pushes a joint that is `r < 0` beyond its limit with `f = (a_ref - a) / R`, where `a` is the joint's
//! acceleration, `a_ref = -b v - k d r`, `b = 2 / (d_max t)`, `k = 1 / (d_max t z)²`, `R = (1 - d) / d * A`, `A` the
//! inverse inertia of the joint at rest, `d` the impedance at `r`, `t` the time constant and `z` the damping ratio.
//! The term in `a` is an inertia `1 / R`, the rest a force: both are things that Rapier can add to a joint.

use crate::robot::LimitSoftness;

/// MuJoCo keeps impedances within these.
const IMPEDANCE: [f64; 2] = [1e-4, 0.9999];

/// The two limits of a joint.
#[derive(Debug, Clone)]
pub(super) struct Limit {
    pub range: [f64; 2],
    pub softness: LimitSoftness,
    /// `A`.
    pub inverse_inertia: f64,
}

/// What a violated limit does to its joint.
#[derive(Debug, Clone, Copy)]
pub(super) struct Push {
    pub force: f64,
    pub damping: f64,
    pub inertia: f64,
}

impl Limit {
    /// `None` where no limit is violated, or where it would pull: the joint leaves it faster by itself.
    /// `acceleration` is that of the step before, the best guess at that of the step to come.
    pub fn push(&self, position: f64, velocity: f64, acceleration: f64) -> Option<Push> {
        let [low, high] = self.range;
        // inward is the direction away from the limit
        let (violation, inward) = if position < low {
            (low - position, 1.0)
        } else if position > high {
            (position - high, -1.0)
        } else {
            return None;
        };
        let softness = &self.softness;
        let impedance = softness.impedance(violation);
        let regularization = (1.0 - impedance) / impedance * self.inverse_inertia;
        let damping = 2.0 / (softness.impedance_max * softness.time_constant);
        let stiffness =
            (softness.impedance_max * softness.time_constant * softness.damping_ratio).powi(-2);
        let reference = inward * stiffness * impedance * violation - damping * velocity;
        if inward * (reference - acceleration) <= 0.0 {
            return None;
        }
        Some(Push {
            force: reference / regularization,
            damping: damping / regularization,
            inertia: 1.0 / regularization,
        })
    }
}

impl LimitSoftness {
    /// MuJoCo's impedance curve d(r).
    fn impedance(&self, violation: f64) -> f64 {
        let x = (violation / self.width).min(1.0);
        let y = if x <= self.midpoint {
            x.powf(self.power) / self.midpoint.powf(self.power - 1.0)
        } else {
            1.0 - (1.0 - x).powf(self.power) / (1.0 - self.midpoint).powf(self.power - 1.0)
        };
        let [low, high] = IMPEDANCE;
        (self.impedance_min + y * (self.impedance_max - self.impedance_min)).clamp(low, high)
    }
}
