//! Configurations that come with the program, and those in files.

use crate::environment::{check_name, undecided};
use crate::overrides::Overridden;
use crate::{
    AlgorithmKind, EnvironmentChoice, Error, ExperimentConfig, OutOfRange, Result, nearest, text,
};
use mbmpo_core::{Check, Checked, ron_text};
use std::path::Path;

/// Which algorithm, with which preset.
///
/// ```
/// use mbmpo_experiments::{AlgorithmKind, Selection};
///
/// let paper = Selection::from("paper");
/// assert_eq!(paper.label(), "paper");
/// let trpo = Selection { algorithm: Some(AlgorithmKind::Trpo), preset: None };
/// assert_eq!(trpo.label(), "trpo-tuned");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// MB-MPO where absent, or what the file of the preset is for.
    pub algorithm: Option<AlgorithmKind>,
    /// One of [`names`], or the path of a RON file; the first of those names where absent.
    pub preset: Option<String>,
}

impl From<&str> for Selection {
    fn from(preset: &str) -> Self {
        Self {
            algorithm: None,
            preset: Some(preset.to_owned()),
        }
    }
}

impl From<&String> for Selection {
    fn from(preset: &String) -> Self {
        preset.as_str().into()
    }
}

impl Selection {
    fn kind(&self) -> AlgorithmKind {
        self.algorithm.unwrap_or_default()
    }

    fn preset(&self) -> &str {
        let default = || names(self.kind())[0];
        self.preset.as_deref().unwrap_or_else(default)
    }

    /// What a run with it is called: the preset, or the name of its file, after the algorithm unless that is MB-MPO.
    pub fn label(&self) -> String {
        let preset = label(self.preset());
        match self.kind() {
            AlgorithmKind::MbMpo => preset,
            kind => format!("{kind}-{preset}"),
        }
    }
}

/// Names of the embedded presets of an algorithm, the default first: `paper` is the paper's text, `authors` how it was run
/// for the paper, `quick` a small budget, `tuned` what is known to learn.
pub fn names(algorithm: AlgorithmKind) -> &'static [&'static str] {
    match algorithm {
        AlgorithmKind::MbMpo => &["paper", "quick", "authors"],
        AlgorithmKind::Vpg => &["tuned"],
        _ => &["tuned", "authors"],
    }
}

macro_rules! embed {
    ($file:literal) => {
        include_str!(concat!("../../../configs/", $file))
    };
}

/// The embedded preset of that name; those of robots go with any robot, those of algorithms without a model with any
/// environment.
fn embedded(
    environment: &EnvironmentChoice,
    algorithm: AlgorithmKind,
    preset: &str,
) -> Option<&'static str> {
    use AlgorithmKind::{Acktr, Ddpg, MbMpo, Ppo, Trpo, Vpg};
    let name = match environment {
        EnvironmentChoice::Name(name) => name.as_str(),
        EnvironmentChoice::Files(_) | EnvironmentChoice::OfPreset => "",
    };
    Some(match (algorithm, preset, name) {
        (MbMpo, "quick", "point-2d") => embed!("point-2d/quick.ron"),
        (MbMpo, "paper", "point-2d") => embed!("point-2d/paper.ron"),
        (MbMpo, "authors", "point-2d") => embed!("point-2d/authors.ron"),
        (MbMpo, "quick", _) => embed!("robot/quick.ron"),
        (MbMpo, "paper", "ant" | "walker2d") => embed!("robot/paper-ant-walker2d.ron"),
        (MbMpo, "paper", _) => embed!("robot/paper.ron"),
        (MbMpo, "authors", _) => embed!("robot/authors.ron"),
        (Trpo, "tuned", _) => embed!("trpo/tuned.ron"),
        (Trpo, "authors", _) => embed!("trpo/authors.ron"),
        (Ppo, "tuned", _) => embed!("ppo/tuned.ron"),
        (Ppo, "authors", _) => embed!("ppo/authors.ron"),
        (Ddpg, "tuned", _) => embed!("ddpg/tuned.ron"),
        (Ddpg, "authors", _) => embed!("ddpg/authors.ron"),
        (Acktr, "tuned", _) => embed!("acktr/tuned.ron"),
        (Acktr, "authors", _) => embed!("acktr/authors.ron"),
        (Vpg, "tuned", _) => embed!("vpg/tuned.ron"),
        _ => return None,
    })
}

/// An embedded preset without an environment's name.
pub(crate) fn template(selection: &Selection) -> Result<ExperimentConfig> {
    let text = source(EnvironmentChoice::OfPreset, selection.clone())?;
    text::parse(&text, selection.preset())
}

/// The text of a preset.
///
/// # Errors
/// When there is no such environment, preset or file.
pub fn source(
    environment: impl Into<EnvironmentChoice>,
    selection: impl Into<Selection>,
) -> Result<String> {
    let (environment, selection) = (environment.into(), selection.into());
    let (algorithm, preset) = (selection.kind(), selection.preset());
    if let EnvironmentChoice::Name(name) = &environment {
        check_name(name)?;
    }
    if is_path(preset) {
        return text::read(Path::new(preset));
    }
    let Some(text) = embedded(&environment, algorithm, preset) else {
        let names = names(algorithm);
        let known = names.iter().copied().chain(["FILE.ron"]);
        return Err(Error::UnknownName {
            kind: "preset",
            name: preset.to_owned(),
            nearest: nearest(preset, names.iter().copied()).map(str::to_owned),
            known: known.map(str::to_owned).collect(),
        });
    };
    Ok(text.to_owned())
}

/// A preset, by name or by path, for an environment, with every `key.path=value` of `overrides` applied, and checked.
/// Where it has no horizon it gets that of the environment.
///
/// # Errors
/// When there is no such environment, preset or file, a file or an override is wrong, a value is out of range, or
/// the configuration is for another environment or algorithm.
pub fn resolve(
    environment: impl Into<EnvironmentChoice>,
    selection: impl Into<Selection>,
    overrides: &[String],
) -> Result<Checked<ExperimentConfig>> {
    let (environment, selection) = (environment.into(), selection.into());
    let source = source(environment.clone(), selection.clone())?;
    let preset = selection.preset();
    let chosen = environment.name();
    let origin = match &chosen {
        _ if is_path(preset) => preset.to_owned(),
        Some(name) => format!("preset `{preset}` of {name}"),
        None => return Err(undecided()),
    };
    let mut config: ExperimentConfig = text::parse(&source, &origin)?;
    if is_path(preset) {
        let directory = Path::new(preset).parent().unwrap_or(Path::new(""));
        config.environment.rebase(directory);
    }
    if config.environment.name.is_empty() {
        config.environment.name = chosen.clone().ok_or_else(undecided)?;
    }
    let asked = chosen.unwrap_or_else(|| config.environment.name.clone());
    if let EnvironmentChoice::Files(files) = environment {
        config.environment.files = Some(files);
    }
    // an embedded preset is not a file of the user's
    let place = |violations| match is_path(preset) {
        true => OutOfRange::locate(&source, &origin, violations),
        false => OutOfRange::all(&origin, violations),
    };
    let config = config
        .check()
        .map_err(|wrong| Error::Invalid(place(wrong)))?;
    let overridden = Overridden::new(config.into_inner(), overrides)?;
    let config = overridden.config();
    let of_config = &config.environment.name;
    if *of_config != asked {
        let error = Error::Mismatch(format!(
            "{origin}: the configuration is for `{of_config}`, the environment asked for is `{asked}`"
        ));
        return Err(overridden.blame(error, |stage| stage.environment.name != asked));
    }
    let of_config = config.algorithm.kind();
    if let Some(asked) = selection.algorithm.filter(|asked| *asked != of_config) {
        return Err(Error::Mismatch(format!(
            "{origin}: the configuration is for `{of_config}`, the algorithm asked for is `{asked}`"
        )));
    }
    overridden.complete(place)
}

/// Parses and checks a configuration; `origin` is what error messages call it. Paths are left as they are.
///
/// # Errors
/// When it is not RON, a key is unknown or missing, or a value is of the wrong type or out of range.
pub fn read(source: &str, origin: &str) -> Result<Checked<ExperimentConfig>> {
    Ok(ron_text::read(source, origin)?)
}

/// [`read`] from a file, whose paths are relative to its directory.
pub(crate) fn read_file(path: &Path) -> Result<Checked<ExperimentConfig>> {
    let origin = path.to_string_lossy();
    let mut config = read(&text::read(path)?, &origin)?.into_inner();
    let directory = path.parent().unwrap_or(Path::new(""));
    config.environment.rebase(directory);
    let place = |wrong| Error::Invalid(OutOfRange::all(&origin, wrong));
    config.check().map_err(place)
}

/// What a run with this preset is called: its name, or the name of its file.
pub fn label(preset: &str) -> String {
    let stem = Path::new(preset).file_stem();
    stem.map_or_else(
        || preset.to_owned(),
        |stem| stem.to_string_lossy().into_owned(),
    )
}

fn is_path(preset: &str) -> bool {
    preset.ends_with(".ron") || preset.contains(['/', '\\'])
}
