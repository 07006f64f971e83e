//! Changed physics: factors on the masses, motors and friction of a robot.

use crate::RobotDescription;
use crate::robot::Geom;
use crate::robot_environment::find;
use mbmpo_core::{Check, Checked, Checker, Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Name that stands for all bodies or joints.
const ALL: &str = "all";

/// Name of the world's shapes.
const FLOOR: &str = "floor";

/// Range of a factor: wide enough for experiments, and narrow enough to catch a mass in grams.
const FACTORS: RangeInclusive<f64> = 0.01..=100.0;

/// Factors on the masses, motors and friction of a robot, to train in one world and adapt to
/// another.
///
/// Each factor is 0.01 to 100; a missing one is 1. `all` stands for all of them, also those without
/// a name, and the factor of a name is multiplied on top: with `{"all": 2, "torso": 1.5}` the torso
/// has three times its mass and the other bodies twice theirs.
///
/// ```
/// use mbmpo_core::Check;
/// use mbmpo_envs::{Physics, RobotEnvironment, Variant};
///
/// let heavy = Physics { mass: [("torso".to_owned(), 2.0)].into(), ..Physics::default() };
/// let heavy = RobotEnvironment::by_name_with("half-cheetah", Variant::Paper, &heavy.check()?)?;
/// let usual = RobotEnvironment::by_name("half-cheetah", Variant::Paper)?;
/// let torso = |cheetah: &RobotEnvironment| cheetah.simulation().robot().bodies[0].mass();
/// assert!((torso(&heavy) / torso(&usual) - 2.0).abs() < 1e-12);
/// # Ok::<(), mbmpo_core::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Physics {
    /// By body, on its mass and inertia together. Shape, centre of mass, the drag of a fluid and
    /// the inertia of rotors (`armature`) stay the same. Range of a factor: 0.01 to 100. Default:
    /// none.
    pub mass: BTreeMap<String, f64>,
    /// By driven joint, on the force or torque of a motor per unit of control (`gear`). Range of a
    /// factor: 0.01 to 100. Default: none.
    pub motor: BTreeMap<String, f64>,
    /// By body, on the coefficients of sliding friction of its shapes; `floor` stands for the
    /// world's shapes. In a contact the larger of two coefficients counts, so less friction of a
    /// foot has no effect on a rough floor. Range of a factor: 0.01 to 100. Default: none.
    pub friction: BTreeMap<String, f64>,
}

impl Physics {
    /// Whether there are no factors.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Check for Physics {
    fn inspect(&self, checker: &mut Checker) {
        let kinds = [
            ("mass", &self.mass),
            ("motor", &self.motor),
            ("friction", &self.friction),
        ];
        for (kind, factors) in kinds {
            for (name, &factor) in factors {
                checker.range(&format!("{kind}.{name}"), factor, FACTORS);
            }
        }
    }
}

impl RobotDescription {
    /// The robot with changed physics. Without factors every bit stays the same.
    ///
    /// # Errors
    /// When a name is not that of a body with mass, a joint with a motor or a body that can touch
    /// something, respectively. The message lists the known names.
    pub fn with_physics(mut self, physics: &Checked<Physics>) -> Result<Self> {
        self.require_valid()?;
        let Physics {
            mass,
            motor,
            friction,
        } = &**physics;
        let heavy = self.bodies.iter().filter(|body| body.mass() > 0.0);
        require(mass, "mass", "body", heavy.map(|body| body.name.as_str()))?;
        let driven = self.actuators.iter().map(|motor| &self.joints[motor.joint]);
        let driven = driven.map(|joint| joint.name.as_str());
        require(motor, "motor", "joint with a motor", driven)?;
        let touching = self.geoms.iter().filter(|geom| geom.touches());
        let touching = touching.map(|geom| self.carrier(geom));
        require(friction, "friction", "body that touches anything", touching)?;

        let rough: Vec<f64> = (self.geoms.iter())
            .map(|geom| factor(friction, self.carrier(geom)))
            .collect();
        for (geom, factor) in self.geoms.iter_mut().zip(rough) {
            geom.friction *= factor;
        }
        for actuator in &mut self.actuators {
            actuator.gear *= factor(motor, &self.joints[actuator.joint].name);
        }
        for body in &mut self.bodies {
            body.scale_mass(factor(mass, &body.name));
        }
        Ok(self)
    }

    /// Name of the body that carries this shape.
    fn carrier(&self, geom: &Geom) -> &str {
        geom.body.map_or(FLOOR, |body| &self.bodies[body].name)
    }
}

/// The product of the factors that apply to `name`.
fn factor(factors: &BTreeMap<String, f64>, name: &str) -> f64 {
    let own = factors.get(name).filter(|_| name != ALL);
    factors.get(ALL).into_iter().chain(own).product()
}

/// Checks that every name of `factors` is `all` or one of `names`, and that `names` is not empty if
/// there are factors.
fn require<'a>(
    factors: &BTreeMap<String, f64>,
    key: &str,
    kind: &str,
    names: impl Iterator<Item = &'a str>,
) -> Result<()> {
    let mut known: Vec<&str> = vec![];
    for name in names {
        // a body may have several shapes, and no name
        if !name.is_empty() && !known.contains(&name) {
            known.push(name);
        }
    }
    let place = format!("physics.{key}");
    if known.is_empty() && !factors.is_empty() {
        return Err(Error::Description(format!(
            "{place}: the robot has no {kind}"
        )));
    }
    known.insert(0, ALL);
    for name in factors.keys() {
        find(&place, kind, name, known.iter().copied())?;
    }
    Ok(())
}
