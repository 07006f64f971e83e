/// MuJoCo's bounds on impedances.
const IMPEDANCE: [f64; 2] = [1e-4, 0.9999];

/// MuJoCo's `mjMINVAL`.
const MIN_REGULARIZATION: f64 = 1e-15;

/// Softness of a joint limit or a contact: MuJoCo's `solref` and `solimp`.
///
/// The reference acceleration of a constraint that is violated by `r`, with velocity `v` out of the
/// violation, is `k d(r) r - b v`. The impedance `d` grows with the violation: near 0 the
/// constraint has little effect, near 1 it overcomes all other forces.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Softness {
    /// Time constant \[s\].
    pub time_constant: f64,
    /// Damping ratio; 1 is critical.
    pub damping_ratio: f64,
    /// Impedance at no violation.
    pub impedance_min: f64,
    /// Impedance at a violation of [`Self::width`] and beyond.
    pub impedance_max: f64,
    /// Violation at which the impedance is highest \[m or rad\].
    pub width: f64,
    /// Inflection point of the impedance curve, as a fraction of `width`.
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
        let rise = |x: f64, midpoint: f64| {
            if self.power == 2.0 {
                x * x / midpoint
            } else {
                x.powf(self.power) / midpoint.powf(self.power - 1.0)
            }
        };
        let y = if x >= 1.0 {
            1.0
        } else if x <= self.midpoint {
            rise(x, self.midpoint)
        } else {
            1.0 - rise(1.0 - x, 1.0 - self.midpoint)
        };
        let (min, max) = (sound(self.impedance_min), sound(self.impedance_max));
        min + y * (max - min)
    }

    /// `b` \[1/s\].
    pub fn damping(&self) -> f64 {
        2.0 / (sound(self.impedance_max) * self.time_constant)
    }

    /// `k` \[1/s²\].
    pub fn stiffness(&self) -> f64 {
        (sound(self.impedance_max) * self.time_constant * self.damping_ratio).powi(-2)
    }

    /// Reference acceleration, out of the violation.
    pub fn reference(&self, violation: f64, velocity: f64) -> f64 {
        self.stiffness() * self.impedance(violation) * violation - self.damping() * velocity
    }

    /// The regularisation `R` at a violation, for the inverse inertia of the constrained direction.
    pub fn regularization(&self, violation: f64, inverse_inertia: f64) -> f64 {
        let impedance = self.impedance(violation);
        (inverse_inertia * (1.0 - impedance) / impedance).max(MIN_REGULARIZATION)
    }

    /// Softness of a contact between two geoms.
    pub(crate) fn mean(&self, other: &Self) -> Self {
        let mean = |of: fn(&Self) -> f64| 0.5 * (of(self) + of(other));
        Self {
            time_constant: mean(|s| s.time_constant),
            damping_ratio: mean(|s| s.damping_ratio),
            impedance_min: mean(|s| s.impedance_min),
            impedance_max: mean(|s| s.impedance_max),
            width: mean(|s| s.width),
            midpoint: mean(|s| s.midpoint),
            power: mean(|s| s.power),
        }
    }

    /// Raises the time constant to MuJoCo's minimum for a time step.
    pub(crate) fn keep_stable(&mut self, time_step: f64) {
        self.time_constant = self.time_constant.max(2.0 * time_step);
    }
}

/// The impedance within MuJoCo's bounds.
fn sound(impedance: f64) -> f64 {
    impedance.clamp(IMPEDANCE[0], IMPEDANCE[1])
}
