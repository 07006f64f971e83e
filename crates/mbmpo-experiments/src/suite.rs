//! Several experiments with several seeds, and a table of their results.
//!
//! A [`plan`] is a list of [`Job`]s, which can be written to a file. The directory of a job follows
//! from the job, any process can [run](Job::run) any job, and [`gather`] reads nothing but the
//! directories, so the jobs of a plan may run on several machines that share a disk. [`run_suite`]
//! runs all of them in this process.

use crate::run_directory::{require_no_run, require_same};
use crate::{
    DeviceKind, Error, ExperimentConfig, Progress, Result, RunDirectory, RunInfo, Safety,
    Selection, Status, preset, read_metrics, run, text,
};
use mbmpo_core::Checked;
use mbmpo_core::statistics::{deviation, mean};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// An experiment of a suite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Name of the environment.
    pub environment: String,
    /// The algorithm and its preset.
    pub selection: Selection,
    /// `key.path=value`, changes of the preset.
    pub overrides: Vec<String>,
}

/// An experiment with a seed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Job {
    /// The experiment.
    pub entry: Entry,
    /// Decides every random number.
    pub seed: u64,
}

/// How to run jobs.
#[derive(Debug, Clone)]
pub struct Options {
    /// Number of jobs at once, at least 1.
    pub parallel: usize,
    /// Number of threads of all of them together.
    pub threads: usize,
    /// Device of the tensors.
    pub device: DeviceKind,
    /// Directory of the results; made where it does not exist.
    pub out: PathBuf,
    /// For `run.json`.
    pub command: Vec<String>,
    /// Whether to go on with the runs in `out`.
    pub resume: bool,
    /// Checkpoints and retries.
    pub safety: Safety,
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunResult {
    /// Name of the environment.
    pub environment: String,
    /// The preset with its algorithm and overrides.
    pub preset: String,
    /// The seed.
    pub seed: u64,
    /// Real environment steps used.
    pub real_steps: usize,
    /// Mean return of the pre-update policy after the last iteration.
    pub return_pre_mean: f64,
    /// Mean return of the adapted policies after the last iteration; absent for algorithms without
    /// adaptation.
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
    /// The preset with its algorithm and overrides.
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

/// The experiments of the suite of that name: `quick`, the 2D point and half-cheetah with the quick
/// preset, or `paper`, every environment with the paper preset.
pub fn entries(suite: &str) -> Vec<Entry> {
    let entry = |environment: &str| Entry {
        environment: environment.to_owned(),
        selection: suite.into(),
        overrides: Vec::new(),
    };
    let chosen = |name: &&str| suite != "quick" || ["point-2d", "half-cheetah"].contains(name);
    let names = mbmpo_envs::NAMES.iter().copied().filter(chosen);
    names.map(entry).collect()
}

/// Every experiment with every seed.
///
/// # Errors
/// When a preset cannot be resolved, or two jobs have the same directory.
pub fn plan(entries: &[Entry], seeds: &[u64]) -> Result<Vec<Job>> {
    let mut jobs: Vec<Job> = Vec::new();
    for entry in entries {
        // a mistake shows here, before hours of work
        entry.config()?;
        for &seed in seeds {
            let entry = entry.clone();
            let job = Job { entry, seed };
            if jobs.iter().any(|other| other.name() == job.name()) {
                return Err(Error::Mismatch(format!(
                    "seed {seed} of {} {} is asked for twice",
                    job.entry.environment,
                    job.entry.label()
                )));
            }
            jobs.push(job);
        }
    }
    Ok(jobs)
}

/// Runs all jobs of a plan and gathers their results. `watch` makes the [`Progress`] of a run, from
/// its name and its budget.
///
/// # Errors
/// When there is a run in the directory of a job and `options.resume` is not set, a run fails (the
/// others are still run, unless one was asked to stop), or those of [`gather`], after the failures
/// of runs.
pub fn run_suite<P: Progress>(
    plan: &[Job],
    options: &Options,
    watch: impl Fn(&str, usize) -> P + Sync,
) -> Result<Vec<Row>> {
    let out = &options.out;
    if !options.resume {
        for job in plan {
            require_no_run(&job.directory(out))?;
        }
    }
    fs::create_dir_all(out).map_err(|source| Error::Unwritable {
        path: out.clone(),
        source,
    })?;
    let mut failures = run_all(plan, options, watch);
    let rows = gather(plan, out);
    // an interruption is reported first, as it explains that jobs are missing
    failures.sort_by_key(|error| !matches!(error, Error::Interrupted { .. }));
    match failures.into_iter().next() {
        Some(error) => Err(error),
        None => rows,
    }
}

/// Runs the jobs, `options.parallel` at once, and returns the failures in their order.
fn run_all<P: Progress>(
    jobs: &[Job],
    options: &Options,
    watch: impl Fn(&str, usize) -> P + Sync,
) -> Vec<Error> {
    let workers = options.parallel.clamp(1, jobs.len().max(1));
    let threads = (options.threads / workers).max(1);
    let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(job) = jobs.get(number) else {
                break;
            };
            let Err(error) = job.run(options, threads, &watch) else {
                continue;
            };
            if matches!(error, Error::Interrupted { .. }) {
                // no other job is begun
                next.store(jobs.len(), Ordering::Relaxed);
            }
            if let Ok(mut failures) = failures.lock() {
                failures.push((number, error));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
    });
    let mut failures = failures.into_inner().unwrap_or_default();
    failures.sort_by_key(|(number, _)| *number);
    failures.into_iter().map(|(_, error)| error).collect()
}

/// Reads the results of the finished jobs of a plan in `out`, and leaves there `results.jsonl` (one
/// object a run) and `summary.txt` (the table). There is one row for each experiment.
///
/// # Errors
/// Those of [`Job::result`], and when a file cannot be written.
pub fn gather(plan: &[Job], out: &Path) -> Result<Vec<Row>> {
    let (mut lines, mut groups) = (String::new(), Vec::<(&Entry, Vec<RunResult>)>::new());
    for job in plan {
        if groups.last().is_none_or(|(entry, _)| **entry != job.entry) {
            groups.push((&job.entry, Vec::new()));
        }
        let Some(result) = job.result(out)? else {
            continue;
        };
        lines += &serde_json::to_string(&result).map_err(|e| Error::System(e.to_string()))?;
        lines.push('\n');
        if let Some((_, results)) = groups.last_mut() {
            results.push(result);
        }
    }
    let rows = groups
        .iter()
        .map(|(entry, results)| Row::of(entry, results));
    let rows: Vec<_> = rows.collect();
    for (name, text) in [("results.jsonl", lines), ("summary.txt", table(&rows))] {
        let path = out.join(name);
        fs::write(&path, text).map_err(|source| Error::Write { path, source })?;
    }
    Ok(rows)
}

impl Entry {
    /// The preset with its algorithm and overrides, as a part of a file name.
    pub fn label(&self) -> String {
        let overrides = self.overrides.iter().map(|text| format!(",{text}"));
        let label: String = std::iter::once(self.selection.label())
            .chain(overrides)
            .collect();
        let plain = |c: char| c.is_ascii_alphanumeric() || ",.-_=".contains(c);
        let plain = label.replace(|c| !plain(c), "_");
        if plain == label && label.len() <= 100 {
            return label;
        }
        let digest = blake3::hash(label.as_bytes()).to_hex();
        let plain: String = plain.chars().take(80).collect();
        format!("{plain}-{}", &digest[..8])
    }

    fn config(&self) -> Result<Checked<ExperimentConfig>> {
        preset::resolve(
            self.environment.as_str(),
            self.selection.clone(),
            &self.overrides,
        )
    }
}

impl Job {
    /// `ENVIRONMENT-PRESET-seedSEED`, also the name of its directory.
    pub fn name(&self) -> String {
        let Self { entry, seed } = self;
        format!("{}-{}-seed{seed}", entry.environment, entry.label())
    }

    /// The directory of the job in that of the results.
    pub fn directory(&self, out: &Path) -> PathBuf {
        out.join(self.name())
    }

    /// Runs or resumes the job on `threads` threads. `watch` makes its [`Progress`], from its name
    /// and its budget.
    ///
    /// # Errors
    /// When the preset cannot be resolved, the directory holds another run, a file cannot be
    /// written, or the run fails.
    pub fn run<P: Progress>(
        &self,
        options: &Options,
        threads: usize,
        watch: &impl Fn(&str, usize) -> P,
    ) -> Result<()> {
        let config = self.entry.config()?;
        let info = RunInfo::begin(
            &self.entry.environment,
            &self.entry.label(),
            self.seed,
            options.device,
            threads,
            &options.command,
        );
        let path = self.directory(&options.out);
        let mut directory = RunDirectory::open(Some(&path), &config, info, options.resume)?;
        let mut progress = watch(&self.name(), config.real_steps);
        run(&config, &mut directory, options.safety, &mut progress)?;
        Ok(())
    }

    /// The result of the job; nothing where it is not finished.
    ///
    /// # Errors
    /// When the preset cannot be resolved, a file of the directory cannot be read, or the run there
    /// has another configuration (but for the budget of real steps) or seed.
    pub fn result(&self, out: &Path) -> Result<Option<RunResult>> {
        let directory = self.directory(out);
        let Some(info) = RunInfo::of(&directory)? else {
            return Ok(None);
        };
        // the metrics of a run that was killed may end within a line
        if info.status != Status::Finished {
            return Ok(None);
        }
        let wanted = RunInfo {
            seed: self.seed,
            start: None,
            ..info.clone()
        };
        require_same(&directory, &info, &self.entry.config()?, &wanted)?;
        let metrics = read_metrics(&directory)?;
        Ok(metrics.last().map(|last| RunResult {
            environment: info.environment,
            preset: info.preset,
            seed: info.seed,
            real_steps: last.real_steps,
            return_pre_mean: last.return_pre_mean,
            return_post_mean: last.return_post_mean,
            wall_seconds: last.wall_seconds,
            directory,
        }))
    }
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
        let [steps, returns, time] = if row.seeds == 0 {
            ["-", "-", "-"].map(str::to_owned)
        } else {
            [
                format!("{:.0}", row.real_steps),
                format!("{:.1} ± {:.1}", row.return_mean, row.return_std),
                format!("{:.0} s", row.wall_seconds),
            ]
        };
        [
            row.environment.clone(),
            row.preset.clone(),
            row.seeds.to_string(),
            steps,
            returns,
            time,
        ]
    };
    let lines: Vec<_> = std::iter::once(header)
        .chain(rows.iter().map(cells))
        .collect();
    text::table(&lines, 2)
}

impl Row {
    fn of(entry: &Entry, results: &[RunResult]) -> Self {
        let column =
            |value: fn(&RunResult) -> f64| -> Vec<f64> { results.iter().map(value).collect() };
        let returns = column(|r| r.return_pre_mean);
        Self {
            environment: entry.environment.clone(),
            preset: entry.label(),
            seeds: returns.len(),
            real_steps: mean(&column(|r| r.real_steps as f64)),
            return_mean: mean(&returns),
            return_std: deviation(&returns),
            wall_seconds: mean(&column(|r| r.wall_seconds)),
        }
    }
}
