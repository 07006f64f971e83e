use crate::{
    Physics, PointMass, RobotDescription, RobotEnvironment, Simulated, TaskDescription, Variant,
};
use mbmpo_core::{Check, Checked, Error, Result, unknown_name};
use serde::Serialize;

/// Facts about an environment.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EnvironmentInfo {
    /// Its name for [`make`].
    pub name: &'static str,
    /// Description in one line.
    pub summary: &'static str,
    /// Number of components of an observation.
    pub observation_dim: usize,
    /// Number of components of an action.
    pub action_dim: usize,
    /// Default length of an episode \[control steps\].
    pub horizon: usize,
    /// Length of a control step in [`Variant::Paper`] \[s\].
    pub control_time_step: f64,
}

/// A robot of this crate.
struct Robot {
    name: &'static str,
    summary: &'static str,
    mjcf: Asset,
    task: Asset,
    /// The task of [`Variant::Authors`] where it differs.
    authors_task: Option<Asset>,
    /// MuJoCo time step \[s\] and frame skip of [`Variant::Gym`].
    gym: Option<(f64, usize)>,
}

/// An embedded file.
struct Asset {
    file: &'static str,
    text: &'static str,
}

macro_rules! asset {
    ($file:literal) => {
        Asset {
            file: concat!("assets/", $file),
            text: include_str!(concat!("../../../assets/", $file)),
        }
    };
}

const ROBOTS: &[Robot] = &[
    Robot {
        name: "half-cheetah",
        summary: "a planar cheetah that runs forward",
        mjcf: asset!("half_cheetah.xml"),
        task: asset!("half_cheetah.ron"),
        authors_task: None,
        gym: Some((0.01, 5)),
    },
    Robot {
        name: "swimmer",
        summary: "three links that swim forward in a viscous fluid",
        mjcf: asset!("swimmer.xml"),
        task: asset!("swimmer.ron"),
        authors_task: None,
        gym: Some((0.01, 4)),
    },
    Robot {
        name: "hopper",
        summary: "one planar leg that hops forward without falling",
        mjcf: asset!("hopper.xml"),
        task: asset!("hopper.ron"),
        authors_task: None,
        gym: Some((0.002, 4)),
    },
    Robot {
        name: "walker2d",
        summary: "two planar legs that walk forward without falling",
        mjcf: asset!("walker2d.xml"),
        task: asset!("walker2d.ron"),
        authors_task: None,
        gym: Some((0.002, 4)),
    },
    Robot {
        name: "ant",
        summary: "a four-legged robot that runs forward without falling",
        mjcf: asset!("ant.xml"),
        task: asset!("ant.ron"),
        authors_task: None,
        gym: Some((0.01, 5)),
    },
    Robot {
        name: "pr2-reacher",
        summary: "an arm of seven joints that reaches a point",
        mjcf: asset!("pr2.xml"),
        task: asset!("pr2_reacher.ron"),
        authors_task: Some(asset!("pr2_reacher_authors.ron")),
        gym: None,
    },
];

/// Names of all environments, in the order of [`catalogue`].
pub const NAMES: &[&str] = &{
    let mut names = [PointMass::NAME; 1 + ROBOTS.len()];
    let mut robot = 0;
    while robot < ROBOTS.len() {
        names[1 + robot] = ROBOTS[robot].name;
        robot += 1;
    }
    names
};

/// Facts about all environments.
///
/// # Errors
/// When one of them cannot be made; tests make all of them.
pub fn catalogue() -> Result<Vec<EnvironmentInfo>> {
    let point = (
        PointMass::NAME,
        "a point in the plane that goes to the origin; the optimal policy is known",
    );
    let robots = ROBOTS.iter().map(|robot| (robot.name, robot.summary));
    let info = |(name, summary)| {
        let environment = make(name, Variant::Paper)?;
        Ok(EnvironmentInfo {
            name,
            summary,
            observation_dim: environment.observation_dim(),
            action_dim: environment.action_dim(),
            horizon: environment.horizon(),
            control_time_step: environment.control_time_step(),
        })
    };
    std::iter::once(point).chain(robots).map(info).collect()
}

/// The environment of this name, not yet reset. `docs/environments.md` says which variants differ.
///
/// # Errors
/// When the name is unknown; the message lists the known ones.
pub fn make(name: &str, variant: Variant) -> Result<Box<dyn Simulated>> {
    match name {
        PointMass::NAME => Ok(Box::new(PointMass::new(variant))),
        _ => Ok(Box::new(RobotEnvironment::by_name(name, variant)?)),
    }
}

impl RobotEnvironment {
    /// The robot of this name with its task, see [`make`].
    ///
    /// # Errors
    /// When the name is unknown; the message lists the known ones.
    pub fn by_name(name: &str, variant: Variant) -> Result<Self> {
        Self::by_name_with(name, variant, &Physics::default().check()?)
    }

    /// As [`Self::by_name`], with changed physics.
    ///
    /// # Errors
    /// When the name is unknown, or those of [`RobotDescription::with_physics`].
    pub fn by_name_with(name: &str, variant: Variant, physics: &Checked<Physics>) -> Result<Self> {
        let Some(entry) = ROBOTS.iter().find(|robot| robot.name == name) else {
            let known = NAMES.iter().copied();
            return Err(Error::Description(unknown_name("environment", name, known)));
        };
        let mut robot = RobotDescription::from_mjcf(entry.mjcf.text)?.with_physics(physics)?;
        let asset = match variant {
            Variant::Authors => entry.authors_task.as_ref().unwrap_or(&entry.task),
            Variant::Paper | Variant::Gym => &entry.task,
        };
        let mut task = TaskDescription::from_ron(asset.text, asset.file)?.into_inner();
        if let (Variant::Gym, Some((time_step, frame_skip))) = (variant, entry.gym) {
            (robot.time_step, task.frame_skip) = (time_step, frame_skip);
        }
        Self::new(name, &robot, task.check()?)
    }
}
