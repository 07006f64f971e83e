/// MuJoCo keeps impedances within these.
const IMPEDANCE: [f64; 2] = [1e-4, 0.9999];

/// How hard a joint limit or a contact is: MuJoCo's `solref` and `solimp`.
///
/// A constraint that is violated by `r` and leaves the violation with velocity `v` asks for the acceleration
/// `k d(r) r - b v`, where `d`, the impedance, grows with the violation: near 0 the constraint is hardly felt, near 1
/// it has its way whatever the forces.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Softness {
    /// Time constant \[s\].
    pub time_constant: f64,
    /// 1 is critically damped.
    pub damping_ratio: f64,
    /// Impedance at no violation.
    pub impedance_min: f64,
    /// Impedance at a violation of [`Self::width`] and beyond.
    pub impedance_max: f64,
    /// Violation at which the impedance is highest \[m or rad\].
    pub width: f64,
    /// Where between 0 and `width` the impedance curve inflects, as a fraction.
    pub midpoint: f64,
    /// Exponent of the impedance curve.
    pub power: f64,
}

impl Default for Softness {
    /// MuJoCo's defaults.
    fn default() -> Self {
        Self {
            time_constant: 0.02,
            damping_ratio: 1.0,
            impedance_min: 0.9,
            impedance_max: 0.95,
            width: 0.001,
            midpoint: 0.5,
            power: 2.0,
        }
    }
}

impl Softness {
    /// `d(r)` for `r` = `violation` >= 0.
    pub fn impedance(&self, violation: f64) -> f64 {
        let x = (violation / self.width).min(1.0);
        let y = if x <= self.midpoint {
            x.powf(self.power) / self.midpoint.powf(self.power - 1.0)
        } else {
            1.0 - (1.0 - x).powf(self.power) / (1.0 - self.midpoint).powf(self.power - 1.0)
        };
        let [low, high] = IMPEDANCE;
        (self.impedance_min + y * (self.impedance_max - self.impedance_min)).clamp(low, high)
    }

    /// `b` \[1/s\].
    pub fn damping(&self) -> f64 {
        2.0 / (self.impedance_max * self.time_constant)
    }

    /// `k` \[1/s²\].
    pub fn stiffness(&self) -> f64 {
        (self.impedance_max * self.time_constant * self.damping_ratio).powi(-2)
    }

    /// The acceleration that is asked for, away from the violation.
    pub fn reference(&self, violation: f64, velocity: f64) -> f64 {
        self.stiffness() * self.impedance(violation) * violation - self.damping() * velocity
    }
}
