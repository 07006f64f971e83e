//! The choice of an environment: one that comes with the program, or a user's robot.

use crate::{Error, OutOfRange, Result, text};
use mbmpo_core::{Check, Checked, Checker};
use mbmpo_envs::{
    NAMES, Physics, PointMass, RobotDescription, RobotEnvironment, Simulated, TaskDescription,
    Variant,
};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The environment of an experiment. There is no default:
/// the user names the environment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentConfig {
    /// One of [`mbmpo_envs::NAMES`], or the name of a user's robot. A preset without a name is for
    /// any environment.
    #[serde(default)]
    pub name: String,
    /// The source that it follows where sources differ. Without effect on a user's robot.
    pub variant: Variant,
    /// A user's robot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<RobotFiles>,
    /// Factors on the masses, motors and friction of the robot. Default: none.
    #[serde(default, skip_serializing_if = "Physics::is_default")]
    pub physics: Physics,
}

/// The files of a user's robot. In a configuration file, their paths are relative to the directory
/// of that file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RobotFiles {
    /// The robot, in MJCF.
    pub robot: PathBuf,
    /// Its task, a [`TaskDescription`] in RON.
    pub task: PathBuf,
}

/// The environment that a user chose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvironmentChoice {
    /// One of [`mbmpo_envs::NAMES`].
    Name(String),
    /// A user's robot, named after its file.
    Files(RobotFiles),
    /// The environment that the preset, a file, names.
    OfPreset,
}

impl From<&str> for EnvironmentChoice {
    fn from(name: &str) -> Self {
        Self::Name(name.to_owned())
    }
}

impl EnvironmentChoice {
    /// The name; nothing where the preset decides.
    pub(crate) fn name(&self) -> Option<String> {
        match self {
            Self::Name(name) => Some(name.clone()),
            Self::Files(files) => Some(text::stem(&files.robot.to_string_lossy())),
            Self::OfPreset => None,
        }
    }

    /// The environment, not yet reset.
    ///
    /// # Errors
    /// When there is no such environment, or a file of the robot is wrong.
    pub fn make(&self, variant: Variant) -> Result<Box<dyn Simulated>> {
        self.config(variant)?.make()
    }

    /// The robot of the environment.
    ///
    /// # Errors
    /// As [`Self::make`], and when the environment has none.
    pub fn make_robot(&self, variant: Variant) -> Result<RobotEnvironment> {
        self.config(variant)?.make_robot()
    }

    fn config(&self, variant: Variant) -> Result<EnvironmentConfig> {
        if let Self::Name(name) = self {
            check_name(name)?;
        }
        Ok(EnvironmentConfig {
            name: self.name().ok_or(Error::NoEnvironment)?,
            variant,
            files: match self {
                Self::Files(files) => Some(files.clone()),
                Self::Name(_) | Self::OfPreset => None,
            },
            physics: Physics::default(),
        })
    }
}

/// Requires that there is an environment of that name.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if NAMES.contains(&name) {
        return Ok(());
    }
    Err(Error::unknown("environment", name, NAMES))
}

impl Check for EnvironmentConfig {
    fn inspect(&self, checker: &mut Checker) {
        let (name, value) = (self.name.as_str(), format!("`{}`", self.name));
        if self.files.is_some() {
            // run directories are named after the robot
            let plain = !name.is_empty() && !name.contains(['/', '\\']);
            checker.demand("name", value, plain, "a word without slashes");
        } else {
            let allowed = format!("one of {}", NAMES.join(", "));
            checker.demand("name", value, NAMES.contains(&name), &allowed);
        }
        if self.is_point() && !self.physics.is_default() {
            let allowed = format!("none: {name} has no physics to change");
            checker.demand("physics", "set", false, &allowed);
        }
        checker.nested("physics", &self.physics);
    }
}

impl EnvironmentConfig {
    /// The environment, not yet reset.
    ///
    /// # Errors
    /// When there is none of that name, a file of the robot is wrong, or `physics` names a part
    /// that the robot does not have.
    pub fn make(&self) -> Result<Box<dyn Simulated>> {
        if self.is_point() && self.physics.is_default() {
            return Ok(mbmpo_envs::make(&self.name, self.variant)?);
        }
        Ok(Box::new(self.make_robot()?))
    }

    /// The robot of the environment.
    ///
    /// # Errors
    /// As [`Self::make`], and when the environment has none.
    pub fn make_robot(&self) -> Result<RobotEnvironment> {
        let place = |wrong| Error::Invalid(OutOfRange::all(&self.name, wrong));
        let config = self.clone().check().map_err(place)?;
        if self.is_point() {
            return Err(Error::Mismatch(format!(
                "{} has no robot to draw: it is a point",
                self.name
            )));
        }
        let physics = config.part(|config| &config.physics);
        match &self.files {
            None => RobotEnvironment::by_name_with(&self.name, self.variant, &physics)
                .map_err(refused(self.name.clone())),
            Some(files) => files.load(&self.name, &physics),
        }
    }

    fn is_point(&self) -> bool {
        self.files.is_none() && self.name == PointMass::NAME
    }

    /// Takes relative paths as relative to `directory`.
    pub(crate) fn rebase(&mut self, directory: &Path) {
        if let Some(files) = &mut self.files {
            *files = files.within(directory);
        }
    }
}

impl RobotFiles {
    pub(crate) fn within(&self, directory: &Path) -> Self {
        Self {
            robot: directory.join(&self.robot),
            task: directory.join(&self.task),
        }
    }

    fn load(&self, name: &str, physics: &Checked<Physics>) -> Result<RobotEnvironment> {
        let (robot_file, task_file) = (&self.robot, self.task.display().to_string());
        let mjcf = text::read(robot_file)?;
        let robot = RobotDescription::from_mjcf(&mjcf)
            .and_then(|robot| robot.with_physics(physics))
            .map_err(refused(robot_file.display().to_string()))?;
        let source = text::read(&self.task)?;
        let task = TaskDescription::from_ron(&source, &task_file)?;
        let both = format!("{task_file} with {}", robot_file.display());
        RobotEnvironment::new(name, &robot, task).map_err(refused(both))
    }
}

/// Adds the robot to an error.
fn refused(origin: String) -> impl FnOnce(mbmpo_core::Error) -> Error {
    move |source| Error::Robot { origin, source }
}
