//! The same robot in another world: heavier, weaker or on ice, by factors on what its file says.

use crate::RobotDescription;
use crate::robot::Geom;
use crate::robot_environment::find;
use mbmpo_core::{Check, Checked, Checker, Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// Stands for every one.
const ALL: &str = "all";

/// What touches and belongs to the world.
const FLOOR: &str = "floor";

/// Wide enough for any experiment, and narrow enough to catch a mass in grams.
const FACTORS: RangeInclusive<f64> = 0.01..=100.0;

/// Factors on the masses, motors and friction of a robot: what differs between the world that a policy was trained in
/// and another that it shall adapt to.
///
/// Each factor is 0.01 to 100, and 1 where there is none. `all` stands for every one, also of those without a name, and a
/// name of its own multiplies on top: with `{"all": 2, "torso": 1.5}` the torso has three times its mass and the rest twice.
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
    /// By body, on its mass and inertia together, so its shape and centre of mass stay; the drag of a fluid and the
    /// inertia of rotors (`armature`) stay, too. Range of a factor: 0.01 to 100. Default: none.
    pub mass: BTreeMap<String, f64>,
    /// By the joint that it drives, on the force or torque of a motor per unit of control (`gear`). Range of a factor:
    /// 0.01 to 100. Default: none.
    pub motor: BTreeMap<String, f64>,
    /// By body, on the coefficients of sliding friction of its shapes; `floor` is what belongs to the world. In a contact
    /// the larger of two coefficients counts, so what is slippery on a rough floor slides no better. Range of a factor:
    /// 0.01 to 100. Default: none.
    pub friction: BTreeMap<String, f64>,
}

impl Physics {
    /// Whether it changes nothing.
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
    /// The same robot with other physics. Without any factor every bit of what it does stays.
    ///
    /// # Errors
    /// When a name stands for nothing: no body that has mass, no joint with a motor, no body that can touch something.
    /// The message lists those that there are.
    pub fn with_physics(mut self, physics: &Checked<Physics>) -> Result<Self> {
        self.check()?;
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

    /// Name of the body that has this shape.
    fn carrier(&self, geom: &Geom) -> &str {
        geom.body.map_or(FLOOR, |body| &self.bodies[body].name)
    }
}

/// What the factors make of the part of that name.
fn factor(factors: &BTreeMap<String, f64>, name: &str) -> f64 {
    let own = factors.get(name).filter(|_| name != ALL);
    factors.get(ALL).into_iter().chain(own).product()
}

/// That every name of `factors` is one of `names`, which has at least one, or stands for all of them.
fn require<'a>(
    factors: &BTreeMap<String, f64>,
    key: &str,
    kind: &str,
    names: impl Iterator<Item = &'a str>,
) -> Result<()> {
    let mut known: Vec<&str> = vec![];
    for name in names {
        // a body has several shapes, and bodies need no name
        if !name.is_empty() && !known.contains(&name) {
            known.push(name);
        }
    }
    let place = format!("physics.{key}");
    if known.is_empty() && !factors.is_empty() {
        return Err(Error::Description(format!(
            "{place}: there is no {kind}, so nothing to change"
        )));
    }
    known.insert(0, ALL);
    for name in factors.keys() {
        find(&place, kind, name, known.iter().copied())?;
    }
    Ok(())
}
