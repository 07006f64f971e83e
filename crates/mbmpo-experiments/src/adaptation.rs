//! Fine-tuning trained policies on the real environment, also on one whose physics was changed (section 5 of the paper).

use crate::checkpoint::Digest;
use crate::evaluation::{deviation, mean, require_fit};
use crate::figure::render;
use crate::overrides::Overridden;
use crate::trainer::{drive, with_threads};
use crate::{
    AlgorithmConfig, AlgorithmKind, DeviceKind, Error, ExperimentConfig, OutOfRange, Progress,
    Result, RunDirectory, RunInfo, Safety, Selection, free_path, latest_path, preset, read_metrics,
    run_directory, text,
};
use kuva::prelude::{Layout, LegendPosition, LinePlot, Plot};
use mbmpo_baselines::Vpg;
use mbmpo_core::collect::{Plan, collect};
use mbmpo_core::{Check, Checked, Purpose, Streams};
use mbmpo_policy::{GaussianPolicy, TrainedPolicy};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};

/// What to fine-tune, and how.
#[derive(Debug, Clone)]
pub struct AdaptationOptions {
    /// The runs whose policies start; the environment is that of the first.
    pub runs: Vec<PathBuf>,
    /// Real steps for each; those of the preset where absent.
    pub steps: Option<usize>,
    /// `key.path=value`, of the environment and of the vanilla policy gradient.
    pub overrides: Vec<String>,
    /// Decides every random number.
    pub seed: u64,
    /// Where tensors live.
    pub device: DeviceKind,
    /// Number of threads.
    pub threads: usize,
    /// Where the results go: a new directory in `runs` where absent.
    pub out: Option<PathBuf>,
    /// For `run.json`.
    pub command: Vec<String>,
    /// Whether to go on with what is in `out`.
    pub resume: bool,
    /// How the runs are kept.
    pub safety: Safety,
}

/// What one start came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Adapted {
    /// The run that trained the policy, or `from scratch`.
    pub start: String,
    /// (real steps, mean return, standard deviation over the episodes), from 0 steps on.
    pub curve: Vec<(usize, f64, f64)>,
    /// The run directory of the fine-tuning.
    pub directory: PathBuf,
}

/// All starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Adaptation {
    /// The fine-tuned policies in the order of the runs, then the one from scratch.
    pub starts: Vec<Adapted>,
    /// Where `adaptation.jsonl`, `adaptation.svg` and the run directories are.
    pub directory: PathBuf,
}

const SCRATCH: &str = "from scratch";

/// Fine-tunes the policies of runs by vanilla policy gradient, and a fresh policy beside them, each on as many real steps.
/// `watch` makes what shows the progress of one, from its label and its budget.
///
/// # Errors
/// When a path is not a run, a policy does not fit the environment or acts without noise, an override is wrong, the
/// directory cannot be written to, or a run fails.
pub fn adapt<P: Progress>(
    options: &AdaptationOptions,
    watch: impl Fn(&str, usize) -> P,
) -> Result<Adaptation> {
    let Some(first) = options.runs.first() else {
        return Err(Error::Mismatch("there is no run to adapt".to_owned()));
    };
    let (trained, _) = run_directory::load(first)?;
    let config = configure(&trained, options)?;
    let environment = config.make_environment()?;
    let mut starts: Vec<(String, Option<GaussianPolicy>)> = Vec::new();
    for run in &options.runs {
        let (other, policy) = run_directory::load(run)?;
        if other.environment.name != trained.environment.name {
            return Err(Error::Mismatch(format!(
                "{}: its policy is for `{}`, not for `{}`",
                run.display(),
                other.environment.name,
                trained.environment.name
            )));
        }
        require_fit(&policy, environment.as_ref(), run)?;
        let TrainedPolicy::Gaussian(policy) = policy else {
            return Err(Error::Mismatch(format!(
                "{}: its policy acts without noise, and a policy gradient needs noise to learn from",
                run.display()
            )));
        };
        starts.push((name_of(run), Some(policy)));
    }
    starts.push((SCRATCH.to_owned(), None));

    let out = match &options.out {
        Some(out) => out.clone(),
        None => {
            let name = format!("{}-adapted-seed{}", name_of(first), options.seed);
            if options.resume {
                latest_path(&name)
            } else {
                free_path(&name)
            }
        }
    };
    if out.exists() && !options.resume {
        return Err(Error::RunExists {
            path: out,
            found: "a directory of that name".to_owned(),
        });
    }
    let starts = starts
        .into_iter()
        .enumerate()
        .map(|(number, (start, policy))| {
            let path = out.join(format!("{}-{}", number + 1, start.replace(' ', "-")));
            let mut progress = watch(&start, config.real_steps);
            let curve = fine_tune(&config, options, (&start, policy), &path, &mut progress)?;
            Ok(Adapted {
                start,
                curve,
                directory: path,
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let adaptation = Adaptation {
        starts,
        directory: out,
    };
    adaptation.write()?;
    Ok(adaptation)
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
    // the preset is for any environment; the run has its own
    let mut config = preset::template(&selection)?;
    config.environment = trained.environment.clone();
    *config.algorithm.horizon_mut() = trained.algorithm.horizon();
    if let Some(steps) = options.steps {
        config.real_steps = steps;
    }
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

fn fine_tune(
    config: &Checked<ExperimentConfig>,
    options: &AdaptationOptions,
    (start, policy): (&str, Option<GaussianPolicy>),
    path: &Path,
    progress: &mut dyn Progress,
) -> Result<Vec<(usize, f64, f64)>> {
    let AlgorithmConfig::Vpg(vpg) = config.algorithm.clone() else {
        return Err(Error::System("the preset is not for vpg".to_owned()));
    };
    let mut info = RunInfo::begin(
        &config.environment.name,
        "vpg-tuned",
        options.seed,
        options.device,
        options.threads,
        &options.command,
    );
    info.start = Some(match &policy {
        Some(policy) => {
            let bytes = policy.to_safetensors();
            let bytes = bytes.map_err(|error| Error::System(error.to_string()))?;
            // a run of that name may have gone on meanwhile
            format!("{start}, policy {}", Digest::of(&bytes).blake3)
        }
        None => start.to_owned(),
    });
    let mut directory = if options.resume {
        RunDirectory::resume(Some(path), config, info)?
    } else {
        RunDirectory::create(Some(path), config, info)?
    };
    let make = |seed, device: &_| {
        let environment = config.make_environment()?;
        let vpg = vpg.clone().check().map_err(mbmpo_core::Error::from)?;
        Ok::<_, Error>(match &policy {
            Some(policy) => Vpg::from_policy(vpg, environment, seed, device, policy)?,
            None => Vpg::new(vpg, environment, seed, device)?,
        })
    };
    // what the policy is worth before it has learned anything here
    let start = with_threads(options.threads, || {
        let policy = mbmpo_core::Algorithm::policy(&make(options.seed, &options.device.device()?)?);
        let environment = config.make_environment()?;
        let plan = Plan {
            horizon: vpg.horizon.unwrap_or_else(|| environment.horizon()),
            min_steps: 0,
            purpose: Purpose::Evaluate,
            iteration: u64::MAX,
        };
        let policies = vec![policy; vpg.evaluation_episodes];
        let streams = Streams::new(options.seed);
        Ok::<_, Error>(collect(environment.as_ref(), &policies, plan, &streams)?.returns())
    })
    .flatten()?;
    drive(
        config.real_steps,
        &mut directory,
        options.safety,
        progress,
        make,
    )?;
    let mut curve = vec![(0, mean(&start), deviation(&start))];
    let metrics = read_metrics(path)?;
    curve.extend(
        metrics
            .iter()
            .map(|m| (m.real_steps, m.return_pre_mean, m.return_pre_std)),
    );
    Ok(curve)
}

/// What a run is called: its directory.
fn name_of(run: &Path) -> String {
    let name = run
        .canonicalize()
        .ok()
        .and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    name.unwrap_or_else(|| run.to_string_lossy().into_owned())
}

impl Adaptation {
    /// The starts side by side: return before, on the way, and at the end, with the real steps until then.
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
            ("adaptation.jsonl", lines),
            ("adaptation.svg", self.figure()),
            ("summary.txt", self.table()),
        ];
        for (name, content) in files {
            let path = self.directory.join(name);
            fs::write(&path, content).map_err(|source| Error::Write { path, source })?;
        }
        Ok(())
    }

    /// Return against real steps, a line a start.
    fn figure(&self) -> String {
        const COLORS: [&str; 5] = ["#1f5fa8", "#d07a1c", "#3b8a4d", "#8a4db0", "#7a7a7a"];
        let line = |(number, start): (usize, &Adapted)| {
            let edge = |sign: f64| start.curve.iter().map(move |(_, m, std)| m + sign * std);
            let line = LinePlot::new()
                .with_data(start.curve.iter().map(|(steps, m, _)| (*steps as f64, *m)))
                .with_color(COLORS[number % COLORS.len()])
                .with_band(edge(-1.0), edge(1.0))
                .with_stroke_width(2.0)
                .with_legend(start.start.as_str());
            Plot::Line(line)
        };
        let plots: Vec<_> = self.starts.iter().enumerate().map(line).collect();
        let layout = Layout::auto_from_plots(&plots)
            .with_title("fine-tuning by vanilla policy gradient")
            .with_x_label("real environment steps")
            .with_y_label("return of an episode")
            .with_width(760.0)
            .with_height(440.0)
            .with_x_axis_min(0.0)
            .with_legend_box(false)
            .with_legend_position(LegendPosition::OutsideBottomColumns);
        render(plots, layout)
    }
}
