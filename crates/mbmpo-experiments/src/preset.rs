//! Configurations that come with the program, and those in files.

use crate::algorithm::Preset;
use crate::environment::check_name;
use crate::overrides::Overridden;
use crate::{AlgorithmKind, EnvironmentChoice, Error, ExperimentConfig, OutOfRange, Result, text};
use mbmpo_core::{Check, Checked};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// An algorithm and a preset.
///
/// ```
/// use mbmpo_experiments::{AlgorithmKind, Selection};
///
/// let paper = Selection::from("paper");
/// assert_eq!(paper.label(), "paper");
/// let trpo = Selection { algorithm: Some(AlgorithmKind::Trpo), preset: None };
/// assert_eq!(trpo.label(), "trpo-tuned");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// Default: MB-MPO, or the algorithm of the preset's file.
    pub algorithm: Option<AlgorithmKind>,
    /// One of [`names`], or the path of a RON file. Default: the first of those names.
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

    /// A name for runs: that of the preset or of its file, after the algorithm unless that is
    /// MB-MPO.
    pub fn label(&self) -> String {
        let preset = text::stem(self.preset());
        match self.kind() {
            AlgorithmKind::MbMpo => preset,
            kind => format!("{kind}-{preset}"),
        }
    }
}

/// Names of the embedded presets of an algorithm, the default first: `paper` is the paper's text,
/// `authors` how it was run for the paper, `quick` a small budget, `tuned` settings that are known
/// to learn.
pub fn names(algorithm: AlgorithmKind) -> Vec<&'static str> {
    let mut names = Vec::new();
    for preset in algorithm.presets() {
        if !names.contains(&preset.name) {
            names.push(preset.name);
        }
    }
    names
}

/// The embedded preset of that name for an environment.
fn embedded(
    environment: &EnvironmentChoice,
    algorithm: AlgorithmKind,
    name: &str,
) -> Option<&'static str> {
    let environment = match environment {
        EnvironmentChoice::Name(name) => name.as_str(),
        EnvironmentChoice::Files(_) | EnvironmentChoice::OfPreset => "",
    };
    let fits = |preset: &&Preset| {
        let any = preset.environments.is_empty();
        preset.name == name && (any || preset.environments.contains(&environment))
    };
    let mut presets = algorithm.presets().iter();
    presets.find(fits).map(|preset| preset.text)
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
        return Err(Error::unknown("preset", preset, &names(algorithm)));
    };
    Ok(text.to_owned())
}

/// A preset, by name or by path, for an environment, with every `key.path=value` of `overrides`
/// applied, and checked. Without a horizon it gets that of the environment.
///
/// # Errors
/// When there is no such environment, preset or file, a file or an override is wrong, a value is
/// out of range, or the configuration is for another environment or algorithm.
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
        None => return Err(Error::NoEnvironment),
    };
    let mut config: ExperimentConfig = text::parse(&source, &origin)?;
    if is_path(preset) {
        let directory = Path::new(preset).parent().unwrap_or(Path::new(""));
        config.environment.rebase(directory);
    }
    if config.environment.name.is_empty() {
        config.environment.name = chosen.clone().ok_or(Error::NoEnvironment)?;
    }
    let asked = chosen.unwrap_or_else(|| config.environment.name.clone());
    if let EnvironmentChoice::Files(files) = environment {
        config.environment.files = Some(files);
    }
    // the user has no file of an embedded preset, so lines and columns would not help
    let place = |violations| match is_path(preset) {
        true => text::place(&source, &origin, violations),
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

/// [`ExperimentConfig::from_ron`] for an algorithm that comes with the program.
///
/// # Errors
/// When it is not RON, a key is unknown or missing, or a value is of the wrong type or out of
/// range.
pub fn read(source: &str, origin: &str) -> Result<Checked<ExperimentConfig>> {
    ExperimentConfig::from_ron(source, origin)
}

fn is_path(preset: &str) -> bool {
    preset.ends_with(".ron") || preset.contains(['/', '\\'])
}
