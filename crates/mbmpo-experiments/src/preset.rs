//! Configurations that come with the program, and those in files.

use crate::{Error, ExperimentConfig, Result, nearest, overrides, text};
use mbmpo_core::{Check, Checked};
use std::path::Path;

/// Names of the embedded presets: small budgets, the paper's text, the authors' scripts.
pub const NAMES: [&str; 3] = ["quick", "paper", "authors"];

macro_rules! embed {
    ($($environment:literal: $($preset:literal)*),* $(,)?) => {
        [$($((
            $environment,
            $preset,
            include_str!(concat!("../../../configs/", $environment, "/", $preset, ".ron")),
        ),)*)*]
    };
}

const EMBEDDED: [(&str, &str, &str); 6] = embed! {
    "point-2d": "quick" "paper" "authors",
    "half-cheetah": "quick" "paper" "authors",
};

/// The text of a preset: `preset` is one of [`NAMES`], or the path of a RON file.
///
/// # Errors
/// When there is no such environment, preset or file.
pub fn source(environment: &str, preset: &str) -> Result<String> {
    check_environment(environment)?;
    if is_path(preset) {
        return text::read(Path::new(preset));
    }
    EMBEDDED
        .iter()
        .find(|(e, p, _)| (*e, *p) == (environment, preset))
        .map(|(_, _, text)| (*text).to_owned())
        .ok_or_else(|| {
            let known = EMBEDDED.iter().filter(|(e, _, _)| *e == environment);
            let mut known: Vec<_> = known.map(|(_, p, _)| (*p).to_owned()).collect();
            let nearest = nearest(preset, known.iter().map(String::as_str)).map(str::to_owned);
            known.push("FILE.ron".to_owned());
            Error::UnknownName {
                kind: "preset",
                name: preset.to_owned(),
                nearest,
                known,
            }
        })
}

/// A preset, by name or by path, with every `key.path=value` of `overrides` applied, and checked.
///
/// # Errors
/// When there is no such environment, preset or file, a file or an override is wrong, a value is out of range, or
/// the configuration is for another environment.
pub fn resolve(
    environment: &str,
    preset: &str,
    overrides: &[String],
) -> Result<Checked<ExperimentConfig>> {
    let source = source(environment, preset)?;
    let origin = if is_path(preset) {
        preset.to_owned()
    } else {
        format!("preset `{preset}` of {environment}")
    };
    let config = read(&source, &origin)?;
    let config = overrides::apply(config.into_inner(), overrides)?;
    let of_config = &config.environment.name;
    if of_config != environment {
        return Err(Error::Mismatch(format!(
            "{origin}: the configuration is for `{of_config}`, the environment asked for is `{environment}`"
        )));
    }
    config.check().map_err(|violations| Error::Invalid {
        origin: format!("{origin}, with --set"),
        violations,
    })
}

/// Parses and checks a configuration; `origin` is what error messages call it.
///
/// # Errors
/// When it is not RON, a key is unknown or missing, or a value is of the wrong type or out of range.
pub fn read(source: &str, origin: &str) -> Result<Checked<ExperimentConfig>> {
    let config: ExperimentConfig = text::parse(source, origin)?;
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

fn check_environment(name: &str) -> Result<()> {
    if mbmpo_envs::NAMES.contains(&name) {
        return Ok(());
    }
    Err(Error::UnknownName {
        kind: "environment",
        name: name.to_owned(),
        nearest: nearest(name, mbmpo_envs::NAMES).map(str::to_owned),
        known: mbmpo_envs::NAMES.map(str::to_owned).to_vec(),
    })
}
