//! Several experiments with several seeds, and a table of what came out.

use crate::{
    DeviceKind, Error, ExperimentConfig, Progress, Result, RunDirectory, RunInfo, Safety, preset,
    run, text,
};
use mbmpo_core::statistics::{deviation, mean};
use mbmpo_core::{Checked, IterationMetrics};
use serde::Serialize;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An experiment of a suite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Name of the environment.
    pub environment: String,
    /// Name of the preset, or the path of its file.
    pub preset: String,
}

/// How to run a suite.
#[derive(Debug, Clone)]
pub struct Options {
    /// The seeds of every experiment.
    pub seeds: Vec<u64>,
    /// Number of runs at once, at least 1.
    pub jobs: usize,
    /// Number of threads of all runs together.
    pub threads: usize,
    /// Where the runs go; made where it does not exist.
    pub out: PathBuf,
    /// For `run.json`.
    pub command: Vec<String>,
    /// Whether to go on with the runs in `out`.
    pub resume: bool,
    /// How the runs are kept.
    pub safety: Safety,
}

/// What one run gave.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunResult {
    /// Name of the environment.
    pub environment: String,
    /// Name of the preset.
    pub preset: String,
    /// The seed.
    pub seed: u64,
    /// Real environment steps used.
    pub real_steps: usize,
    /// Mean return of the pre-update policy after the last iteration.
    pub return_pre_mean: f64,
    /// Mean return of the adapted policies after the last iteration, where there are such.
    pub return_post_mean: Option<f64>,
    /// Wall-clock time \[s\].
    pub wall_seconds: f64,
    /// The run directory.
    pub directory: PathBuf,
}

/// All seeds of an experiment together.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Name of the environment.
    pub environment: String,
    /// Name of the preset.
    pub preset: String,
    /// Number of seeds.
    pub seeds: usize,
    /// Mean number of real environment steps.
    pub real_steps: f64,
    /// Mean over the seeds of the return.
    pub return_mean: f64,
    /// Standard deviation (population) over the seeds of the return.
    pub return_std: f64,
    /// Mean wall-clock time of a run \[s\].
    pub wall_seconds: f64,
}

/// The experiments of the suite of that name: `quick`, the 2D point and half-cheetah with the quick preset, or `paper`,
/// every environment with the paper preset.
pub fn entries(suite: &str) -> Vec<Entry> {
    let entry = |environment: &str| Entry {
        environment: environment.to_owned(),
        preset: suite.to_owned(),
    };
    let chosen = |name: &&str| suite != "quick" || ["point-2d", "half-cheetah"].contains(name);
    let names = mbmpo_envs::NAMES.iter().copied().filter(chosen);
    names.map(entry).collect()
}

/// Runs every experiment with every seed and leaves, beside the run directories, `results.jsonl` (one object a run)
/// and `summary.txt` (the table). `watch` makes what shows the progress of a run, from its label and its budget.
///
/// # Errors
/// When a preset cannot be resolved, a directory cannot be written to, or a run fails; the others are still run, unless one
/// was asked to stop.
pub fn run_suite<P: Progress>(
    entries: &[Entry],
    options: &Options,
    watch: impl Fn(&str, usize) -> P + Sync,
) -> Result<Vec<Row>> {
    let out = &options.out;
    let unwritable = |source| Error::Unwritable {
        path: out.clone(),
        source,
    };
    fs::create_dir_all(out).map_err(unwritable)?;
    let workers = options
        .jobs
        .clamp(1, (entries.len() * options.seeds.len()).max(1));
    let threads = (options.threads / workers).max(1);
    // resolved first: a mistake shows before hours of work
    let mut jobs: Vec<(RunInfo, Checked<ExperimentConfig>)> = Vec::new();
    for Entry {
        environment,
        preset,
    } in entries
    {
        let config = preset::resolve(environment.as_str(), preset, &[])?;
        for &seed in &options.seeds {
            let device = DeviceKind::Cpu;
            let info = RunInfo::begin(environment, preset, seed, device, threads, &options.command);
            if jobs.iter().any(|(other, _)| other.label() == info.label()) {
                return Err(Error::Mismatch(format!("seed {seed} is asked for twice")));
            }
            let path = out.join(info.label());
            if path.exists() && !options.resume {
                let found = "a directory of that name".to_owned();
                return Err(Error::RunExists { path, found });
            }
            jobs.push((info, config.clone()));
        }
    }
    let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some((info, config)) = jobs.get(number) else {
                        break;
                    };
                    let path = out.join(info.label());
                    let result = one(options, &path, info, config, &watch);
                    let interrupted = matches!(result, Err(Error::Interrupted { .. }));
                    if let Ok(mut results) = results.lock() {
                        results.push((number, result));
                    }
                    if interrupted {
                        // nothing else is begun
                        next.store(jobs.len(), Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let mut results = results.into_inner().unwrap_or_default();
    results.sort_by_key(|(number, _)| *number);
    let (results, failures): (Vec<_>, Vec<_>) = results
        .into_iter()
        .map(|(_, result)| result)
        .partition(Result::is_ok);
    let results: Vec<_> = results.into_iter().flatten().collect();
    let rows: Vec<_> = entries
        .iter()
        .map(|entry| Row::of(entry, &results))
        .collect();
    let mut lines = String::new();
    for result in &results {
        lines += &serde_json::to_string(result).map_err(|e| Error::System(e.to_string()))?;
        lines.push('\n');
    }
    for (name, text) in [("results.jsonl", lines), ("summary.txt", table(&rows))] {
        let path = out.join(name);
        fs::write(&path, text).map_err(|source| Error::Write { path, source })?;
    }
    // What succeeded is kept; that somebody stopped it, else the first failure, is what the caller hears of.
    let mut failures: Vec<Error> = failures.into_iter().filter_map(Result::err).collect();
    failures.sort_by_key(|error| !matches!(error, Error::Interrupted { .. }));
    match failures.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(rows),
    }
}

/// Runs one experiment, or what is left of it.
fn one<P: Progress>(
    options: &Options,
    path: &Path,
    info: &RunInfo,
    config: &Checked<ExperimentConfig>,
    watch: &impl Fn(&str, usize) -> P,
) -> Result<RunResult> {
    let mut directory = RunDirectory::open(Some(path), config, info.clone(), options.resume)?;
    let mut progress = watch(&info.label(), config.real_steps);
    let last = run(config, &mut directory, options.safety, &mut progress)?;
    Ok(RunResult::new(&directory, &last))
}

/// The rows as aligned text.
pub fn table(rows: &[Row]) -> String {
    let header = [
        "environment",
        "preset",
        "seeds",
        "real steps",
        "return",
        "time",
    ]
    .map(str::to_owned);
    let cells = |row: &Row| {
        [
            row.environment.clone(),
            row.preset.clone(),
            row.seeds.to_string(),
            format!("{:.0}", row.real_steps),
            format!("{:.1} ± {:.1}", row.return_mean, row.return_std),
            format!("{:.0} s", row.wall_seconds),
        ]
    };
    let lines: Vec<_> = std::iter::once(header)
        .chain(rows.iter().map(cells))
        .collect();
    text::table(&lines, 2)
}

impl RunResult {
    fn new(directory: &RunDirectory, last: &IterationMetrics) -> Self {
        let info = directory.info();
        Self {
            environment: info.environment.clone(),
            preset: info.preset.clone(),
            seed: info.seed,
            real_steps: last.real_steps,
            return_pre_mean: last.return_pre_mean,
            return_post_mean: last.return_post_mean,
            wall_seconds: last.wall_seconds,
            directory: directory.path().to_owned(),
        }
    }
}

impl Row {
    fn of(entry: &Entry, results: &[RunResult]) -> Self {
        let ours = |result: &&RunResult| {
            result.environment == entry.environment && result.preset == entry.preset
        };
        let column = |value: fn(&RunResult) -> f64| -> Vec<f64> {
            results.iter().filter(ours).map(value).collect()
        };
        let returns = column(|r| r.return_pre_mean);
        Self {
            environment: entry.environment.clone(),
            preset: entry.preset.clone(),
            seeds: returns.len(),
            real_steps: mean(&column(|r| r.real_steps as f64)),
            return_mean: mean(&returns),
            return_std: deviation(&returns),
            wall_seconds: mean(&column(|r| r.wall_seconds)),
        }
    }
}
