//! Fine-tuning trained policies on the real environment, also on one whose physics was changed
//! (section 5 of the paper).

use crate::checkpoint::Digest;
use crate::evaluation::{episodes_of, require_fit};
use crate::figure::{COLORS, Chart, Line, line_chart};
use crate::overrides::Overridden;
use crate::run_directory::{Finished, default_path, require_no_run};
use crate::trainer::{drive, with_threads};
use crate::{
    AlgorithmConfig, AlgorithmKind, DeviceKind, Error, ExperimentConfig, OutOfRange, Progress,
    Result, RunDirectory, RunInfo, Safety, Selection, preset, read_metrics, text,
};
use burn::tensor::Device;
use mbmpo_baselines::{Vpg, VpgConfig};
use mbmpo_core::statistics::{deviation, mean};
use mbmpo_core::{Algorithm, Check, Checked};
use mbmpo_policy::{GaussianPolicy, TrainedPolicy};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// The file with the learning curves.
const CURVES: &str = "adaptation.jsonl";

/// The policies to fine-tune, and the settings.
#[derive(Debug, Clone)]
pub struct AdaptationOptions {
    /// The runs whose policies are fine-tuned; the environment is that of the first.
    pub runs: Vec<PathBuf>,
    /// Real steps for each policy. Default: those of the preset.
    pub steps: Option<usize>,
    /// `key.path=value`: changes of the environment and of the settings of vanilla policy gradient.
    pub overrides: Vec<String>,
    /// Decides every random number.
    pub seed: u64,
    /// Device of the tensors.
    pub device: DeviceKind,
    /// Number of threads.
    pub threads: usize,
    /// Directory of the results. Default: a new one in `runs`.
    pub out: Option<PathBuf>,
    /// For `run.json`.
    pub command: Vec<String>,
    /// Whether to go on with the runs in `out`.
    pub resume: bool,
    /// Checkpoints and retries.
    pub safety: Safety,
}

/// The fine-tuning of one policy.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Adapted {
    /// The run that trained the policy, or `from scratch`.
    pub start: String,
    /// (real steps, mean return, standard deviation over the episodes), from 0 steps on.
    pub curve: Vec<(usize, f64, f64)>,
    /// The run directory of the fine-tuning.
    pub directory: PathBuf,
}

/// The fine-tuning of all policies.
#[derive(Debug, Clone, PartialEq)]
pub struct Adaptation {
    /// The fine-tuned policies in the order of the runs, then the one from scratch.
    pub starts: Vec<Adapted>,
    /// Directory with `adaptation.jsonl`, `adaptation.svg` and the run directories.
    pub directory: PathBuf,
}

/// A policy to fine-tune.
struct Start {
    name: String,
    /// `None` for a fresh policy.
    policy: Option<GaussianPolicy>,
}

/// Fine-tunes the policies of runs by vanilla policy gradient, and a fresh policy beside them, each
/// on as many real steps. `watch` makes the [`Progress`] of one, from its name and its budget.
///
/// # Errors
/// When a path is not a run, there is a run in the directory of the results, a policy does not fit
/// the environment or acts without noise, an override is wrong, the directory cannot be written to,
/// or a run fails.
pub fn adapt<P: Progress>(
    options: &AdaptationOptions,
    watch: impl Fn(&str, usize) -> P,
) -> Result<Adaptation> {
    let Some(first) = options.runs.first() else {
        return Err(Error::Mismatch("there is no run to adapt".to_owned()));
    };
    let trained = Finished::<AlgorithmConfig>::read(first)?;
    let config = configure(&trained.config, options)?;
    let starts = starts(&trained.config, &config, &options.runs)?;
    let directory = options.out.clone().unwrap_or_else(|| {
        let name = format!("{}-adapted-seed{}", name_of(first), options.seed);
        default_path(&name, options.resume)
    });
    if !options.resume {
        require_free(&directory)?;
    }
    let mut adapted = Vec::new();
    for (number, start) in starts.into_iter().enumerate() {
        let name = format!("{}-{}", number + 1, start.name.replace(' ', "-"));
        let path = directory.join(name);
        let mut progress = watch(&start.name, config.real_steps);
        adapted.push(Adapted {
            curve: fine_tune(&config, options, &start, &path, &mut progress)?,
            start: start.name,
            directory: path,
        });
    }
    let adaptation = Adaptation {
        starts: adapted,
        directory,
    };
    adaptation.write()?;
    Ok(adaptation)
}

/// Requires that there is no run and no adaptation in `directory`, which may exist.
fn require_free(directory: &Path) -> Result<()> {
    require_no_run(directory)?;
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut entries: Vec<_> = entries.map(|entry| entry.path()).collect();
    entries.sort();
    for entry in entries {
        require_no_run(&entry)?;
    }
    if directory.join(CURVES).exists() {
        return Err(Error::RunExists {
            path: directory.to_owned(),
            found: CURVES.to_owned(),
        });
    }
    Ok(())
}

/// The environment of the run, learned by vanilla policy gradient, with every override applied.
fn configure(
    trained: &ExperimentConfig,
    options: &AdaptationOptions,
) -> Result<Checked<ExperimentConfig>> {
    let selection = Selection {
        algorithm: Some(AlgorithmKind::Vpg),
        preset: None,
    };
    // the preset has no environment: it is that of the run
    let template = preset::template(&selection)?;
    let config = ExperimentConfig {
        environment: trained.environment.clone(),
        horizon: trained.horizon,
        real_steps: options.steps.unwrap_or(template.real_steps),
        ..template
    };
    let overridden = Overridden::new(config, &options.overrides)?;
    let config = overridden.config();
    if config.environment.name != trained.environment.name {
        return Err(Error::Mismatch(format!(
            "a policy for `{}` cannot be adapted to `{}`",
            trained.environment.name, config.environment.name
        )));
    }
    overridden.complete(|wrong| OutOfRange::all("the settings of the adaptation", wrong))
}

/// The policies of the runs, which must be for the environment of the first, `trained`, and the one
/// from scratch.
fn starts(
    trained: &ExperimentConfig,
    config: &ExperimentConfig,
    runs: &[PathBuf],
) -> Result<Vec<Start>> {
    let environment = config.make_environment()?;
    let mut starts = Vec::new();
    for run in runs {
        let other = Finished::<AlgorithmConfig>::read(run)?;
        let (name, wanted) = (&other.config.environment.name, &trained.environment.name);
        if name != wanted {
            return Err(Error::Mismatch(format!(
                "{}: its policy is for `{name}`, not for `{wanted}`",
                run.display(),
            )));
        }
        let policy = other.policy(|bytes| {
            TrainedPolicy::from_safetensors(bytes)
                .map_err(|error| mbmpo_core::Error::Description(error.to_string()))
        })?;
        require_fit(policy.dims(), environment.as_ref(), run)?;
        let TrainedPolicy::Gaussian(policy) = policy else {
            return Err(Error::Mismatch(format!(
                "{}: its policy acts without noise, and a policy gradient needs noise to learn from",
                run.display()
            )));
        };
        starts.push(Start {
            name: name_of(run),
            policy: Some(policy),
        });
    }
    starts.push(Start {
        name: "from scratch".to_owned(),
        policy: None,
    });
    Ok(starts)
}

/// Fine-tunes one policy in a run directory, and returns (real steps, mean return, standard
/// deviation) from 0 steps on.
fn fine_tune(
    config: &Checked<ExperimentConfig>,
    options: &AdaptationOptions,
    start: &Start,
    path: &Path,
    progress: &mut dyn Progress,
) -> Result<Vec<(usize, f64, f64)>> {
    let info = RunInfo {
        start: Some(start.label()?),
        ..RunInfo::begin(
            &config.environment.name,
            "vpg-tuned",
            options.seed,
            options.device,
            options.threads,
            &options.command,
        )
    };
    let mut directory = RunDirectory::open(Some(path), config, info, options.resume)?;
    // the return before the first update
    let before = with_threads(options.threads, || {
        let policy = start.build(config, options, &options.device.device()?)?;
        let policies = vec![policy.policy(); config.evaluation_episodes];
        let environment = config.make_environment()?;
        episodes_of(&policies, config, environment.as_ref(), options.seed)
    })
    .flatten();
    let before = directory.note_failure(before)?.returns();
    drive(
        config.real_steps,
        &mut directory,
        options.safety,
        progress,
        |device| start.build(config, options, device),
    )?;
    let mut curve = vec![(0, mean(&before), deviation(&before))];
    let metrics = read_metrics(path)?;
    curve.extend(
        metrics
            .iter()
            .map(|m| (m.real_steps, m.return_pre_mean, m.return_pre_std)),
    );
    Ok(curve)
}

impl Start {
    /// The start for `run.json`, with the digest of the policy: the run of that name may change
    /// later.
    fn label(&self) -> Result<String> {
        let Some(policy) = &self.policy else {
            return Ok(self.name.clone());
        };
        let bytes = policy.to_safetensors();
        let bytes = bytes.map_err(|error| Error::System(error.to_string()))?;
        let digest = Digest::of(&bytes).blake3;
        Ok(format!("{}, policy {digest}", self.name))
    }

    /// The algorithm, starting from this policy.
    fn build(
        &self,
        config: &ExperimentConfig,
        options: &AdaptationOptions,
        device: &Device,
    ) -> Result<Vpg> {
        let AlgorithmConfig::Vpg(vpg) = config.algorithm.clone() else {
            return Err(Error::System("the preset is not for vpg".to_owned()));
        };
        let vpg: Checked<VpgConfig> = vpg.check().map_err(mbmpo_core::Error::from)?;
        let setup = config.setup(config.make_environment()?, options.seed);
        Ok(match &self.policy {
            Some(policy) => Vpg::from_policy(vpg, setup, device, policy)?,
            None => Vpg::new(vpg, setup, device)?,
        })
    }
}

/// The name of a run: that of its directory.
fn name_of(run: &Path) -> String {
    let name = run
        .canonicalize()
        .ok()
        .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    name.unwrap_or_else(|| run.to_string_lossy().into_owned())
}

impl Adaptation {
    /// One line for each start: return before, half-way, and at the end, with the real steps until
    /// then.
    pub fn table(&self) -> String {
        let header = ["start", "at first", "half-way", "at the end"].map(str::to_owned);
        let cell = |point: Option<&(usize, f64, f64)>| {
            let (steps, mean, std) = point.copied().unwrap_or_default();
            format!("{mean:.1} ± {std:.1} ({steps})")
        };
        let row = |start: &Adapted| {
            let curve = &start.curve;
            let [first, half, last] =
                [curve.first(), curve.get(curve.len() / 2), curve.last()].map(cell);
            [start.start.clone(), first, half, last]
        };
        let rows: Vec<_> = std::iter::once(header)
            .chain(self.starts.iter().map(row))
            .collect();
        text::table(&rows, 1)
    }

    fn write(&self) -> Result<()> {
        let mut lines = String::new();
        for start in &self.starts {
            lines += &serde_json::to_string(start).map_err(|e| Error::System(e.to_string()))?;
            lines.push('\n');
        }
        let files = [
            (CURVES, lines),
            ("adaptation.svg", self.figure()),
            ("summary.txt", self.table()),
        ];
        for (name, content) in files {
            let path = self.directory.join(name);
            fs::write(&path, content).map_err(|source| Error::Write { path, source })?;
        }
        Ok(())
    }

    /// Return against real steps, a line for each start.
    fn figure(&self) -> String {
        let line = |(start, color): (&Adapted, &&'static str)| {
            let points = start.curve.iter().map(|(steps, m, _)| (*steps as f64, *m));
            Line {
                band: start.curve.iter().map(|(_, _, std)| *std).collect(),
                legend: Some(start.start.clone()),
                ..Line::new(points, color)
            }
        };
        let starts = self.starts.iter().zip(COLORS.iter().cycle());
        let lines: Vec<_> = starts.map(line).collect();
        line_chart(
            &Chart::of_returns("fine-tuning by vanilla policy gradient"),
            &lines,
        )
    }
}
