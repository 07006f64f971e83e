//! Names of coordinates and velocities, and labels of the components of the observation.

use super::{Sensor, Source};
use crate::robot::{JointKind, RobotDescription};
use crate::task_file::{ObservationTerm, Subset};
use mbmpo_core::{Error, Result, unknown_name};

/// Coordinates and velocities in MuJoCo's order.
pub(super) struct Names {
    positions: Vec<Name>,
    velocities: Vec<Name>,
}

struct Name {
    /// Name in selections.
    short: String,
    /// Label in the observation.
    label: String,
}

impl Names {
    /// The names in a robot.
    ///
    /// # Errors
    /// When two are equal: a slide `root.x` beside a free joint `root`.
    pub(super) fn of(robot: &RobotDescription) -> Result<Self> {
        let (mut positions, mut velocities) = (vec![], vec![]);
        for joint in &robot.joints {
            let name = &joint.name;
            match joint.kind {
                JointKind::Slide | JointKind::Hinge => {
                    positions.push(Name::new(name.clone(), name.clone()));
                    velocities.push(Name::new(name.clone(), format!("{name} velocity")));
                }
                JointKind::Free => {
                    let part = |part: &str| {
                        let name = format!("{name}.{part}");
                        Name::new(name.clone(), name)
                    };
                    positions.extend(["x", "y", "z", "qw", "qx", "qy", "qz"].map(part));
                    velocities.extend(["vx", "vy", "vz", "wx", "wy", "wz"].map(part));
                }
            }
        }
        for names in [&positions, &velocities] {
            let mut sorted: Vec<_> = names.iter().map(|name| &name.short).collect();
            sorted.sort();
            if let Some(twice) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
                return Err(Error::Description(format!(
                    "two coordinates of the robot are called `{}`; rename a joint",
                    twice[0]
                )));
            }
        }
        Ok(Self {
            positions,
            velocities,
        })
    }

    /// Index of the coordinate with this name; `place` is the key that holds the name.
    pub(super) fn position(&self, place: &str, name: &str) -> Result<usize> {
        find(place, "coordinate", name, shorts(&self.positions))
    }

    /// The labels and sources of the components of an observation.
    pub(super) fn observation(
        &self,
        terms: &[ObservationTerm],
    ) -> Result<(Vec<String>, Vec<Sensor>)> {
        let (mut labels, mut sensors) = (vec![], vec![]);
        for (i, term) in terms.iter().enumerate() {
            let place = format!("observation[{i}]");
            let (names, of, clip, source): (_, _, _, fn(usize) -> Source) = match term {
                ObservationTerm::Positions { of, clip } => {
                    (&self.positions, of, clip, Source::Position)
                }
                ObservationTerm::Velocities { of, clip } => {
                    (&self.velocities, of, clip, Source::Velocity)
                }
                ObservationTerm::ToGoal => {
                    labels.extend(["x", "y", "z"].map(|axis| format!("goal {axis}")));
                    sensors.extend([0, 1, 2].map(|axis| Sensor {
                        source: Source::ToGoal(axis),
                        clip: f64::INFINITY,
                    }));
                    continue;
                }
            };
            for index in select(&place, names, of)? {
                labels.push(names[index].label.clone());
                sensors.push(Sensor {
                    source: source(index),
                    clip: clip.unwrap_or(f64::INFINITY),
                });
            }
        }
        let twice = |label: &&String| labels.iter().filter(|other| other == label).count() > 1;
        match labels.iter().find(twice) {
            Some(label) => Err(Error::Description(format!(
                "observation: `{label}` appears twice"
            ))),
            None if labels.is_empty() => Err(Error::Description(
                "observation: it has no component".to_owned(),
            )),
            None => Ok((labels, sensors)),
        }
    }
}

impl Name {
    fn new(short: String, label: String) -> Self {
        Self { short, label }
    }
}

fn shorts(names: &[Name]) -> impl Iterator<Item = &str> + Clone {
    names.iter().map(|name| name.short.as_str())
}

fn select(place: &str, names: &[Name], selection: &Subset) -> Result<Vec<usize>> {
    let indices = |chosen: &[String]| {
        let index = |name: &String| find(place, "coordinate", name, shorts(names));
        chosen.iter().map(index).collect::<Result<Vec<_>>>()
    };
    match selection {
        Subset::All => Ok((0..names.len()).collect()),
        Subset::AllBut(left_out) => {
            let left_out = indices(left_out)?;
            let all = 0..names.len();
            Ok(all.filter(|index| !left_out.contains(index)).collect())
        }
        Subset::Only(chosen) => indices(chosen),
    }
}

/// Index of `name` among the `known` names of a `kind`; `place` is the key that holds the name.
pub(crate) fn find<'a>(
    place: &str,
    kind: &str,
    name: &str,
    mut known: impl Iterator<Item = &'a str> + Clone,
) -> Result<usize> {
    let all = known.clone();
    known
        .position(|other| other == name)
        .ok_or_else(|| Error::Description(format!("{place}: {}", unknown_name(kind, name, all))))
}
