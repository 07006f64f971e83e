//! Configurations that come with the program, and those in files.

use crate::environment::{check_name, undecided};
use crate::{EnvironmentChoice, Error, ExperimentConfig, Result, nearest, overrides, text};
use mbmpo_core::{Check, Checked};
use std::path::Path;

/// Names of the embedded presets: small budgets, the paper's text, the authors' scripts.
pub const NAMES: [&str; 3] = ["quick", "paper", "authors"];

macro_rules! embed {
    ($file:literal) => {
        include_str!(concat!("../../../configs/", $file))
    };
}

/// The embedded preset of that name; those of robots go with any robot.
fn embedded(environment: &EnvironmentChoice, preset: &str) -> Option<&'static str> {
    let name = match environment {
        EnvironmentChoice::Name(name) => name.as_str(),
        EnvironmentChoice::Files(_) | EnvironmentChoice::OfPreset => "",
    };
    Some(match (name, preset) {
        ("point-2d", "quick") => embed!("point-2d/quick.ron"),
        ("point-2d", "paper") => embed!("point-2d/paper.ron"),
        ("point-2d", "authors") => embed!("point-2d/authors.ron"),
        (_, "quick") => embed!("robot/quick.ron"),
        ("ant" | "walker2d", "paper") => embed!("robot/paper-ant-walker2d.ron"),
        (_, "paper") => embed!("robot/paper.ron"),
        (_, "authors") => embed!("robot/authors.ron"),
        _ => return None,
    })
}

/// The text of a preset: `preset` is one of [`NAMES`], or the path of a RON file.
///
/// # Errors
/// When there is no such environment, preset or file.
pub fn source(environment: impl Into<EnvironmentChoice>, preset: &str) -> Result<String> {
    let environment = environment.into();
    if let EnvironmentChoice::Name(name) = &environment {
        check_name(name)?;
    }
    if is_path(preset) {
        return text::read(Path::new(preset));
    }
    let Some(text) = embedded(&environment, preset) else {
        let known = NAMES.into_iter().chain(["FILE.ron"]);
        return Err(Error::UnknownName {
            kind: "preset",
            name: preset.to_owned(),
            nearest: nearest(preset, NAMES).map(str::to_owned),
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
/// the configuration is for another environment.
pub fn resolve(
    environment: impl Into<EnvironmentChoice>,
    preset: &str,
    overrides: &[String],
) -> Result<Checked<ExperimentConfig>> {
    let environment = environment.into();
    let source = source(environment.clone(), preset)?;
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
    let config = check(config, &origin)?;
    let mut config = overrides::apply(config.into_inner(), overrides)?;
    let of_config = &config.environment.name;
    if *of_config != asked {
        return Err(Error::Mismatch(format!(
            "{origin}: the configuration is for `{of_config}`, the environment asked for is `{asked}`"
        )));
    }
    let horizon = config.make_environment()?.horizon();
    config.algorithm.horizon.get_or_insert(horizon);
    check(config, &format!("{origin}, with --set"))
}

/// Parses and checks a configuration; `origin` is what error messages call it. Paths are left as they are.
///
/// # Errors
/// When it is not RON, a key is unknown or missing, or a value is of the wrong type or out of range.
pub fn read(source: &str, origin: &str) -> Result<Checked<ExperimentConfig>> {
    check(text::parse(source, origin)?, origin)
}

/// [`read`] from a file, whose paths are relative to its directory.
pub(crate) fn read_file(path: &Path) -> Result<Checked<ExperimentConfig>> {
    let origin = path.to_string_lossy();
    let mut config = read(&text::read(path)?, &origin)?.into_inner();
    config
        .environment
        .rebase(path.parent().unwrap_or(Path::new("")));
    check(config, &origin)
}

fn check(config: ExperimentConfig, origin: &str) -> Result<Checked<ExperimentConfig>> {
    config.check().map_err(|violations| Error::Invalid {
        origin: origin.to_owned(),
        violations,
    })
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
