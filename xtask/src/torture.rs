//! `cargo xtask torture`: kills training at random instants, resumes it, and compares the results
//! with those of an undisturbed run, byte for byte.

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use mbmpo_core::{Purpose, Stream, Streams};
use mbmpo_experiments::{AlgorithmKind, Tiny};
use rand::RngExt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

#[derive(Debug, Args)]
pub struct Arguments {
    /// SIGKILLs over all algorithms together
    #[arg(long, default_value_t = 1000)]
    pub kills: usize,

    /// Decides the instants of the kills
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
}

/// An algorithm whose runs are killed.
struct Victim<'a> {
    program: &'a Path,
    algorithm: AlgorithmKind,
    directory: &'a Path,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let program = build()?;
    let parent = tempfile::tempdir()?;
    let count = AlgorithmKind::ALL.len();
    let mut total = Tally::default();
    for (i, algorithm) in AlgorithmKind::ALL.into_iter().enumerate() {
        let directory = parent.path().join(algorithm.name());
        fs::create_dir(&directory)?;
        let victim = Victim {
            program: &program,
            algorithm,
            directory: &directory,
        };
        let share = arguments.kills / count + usize::from(i < arguments.kills % count);
        let mut stream = Streams::new(arguments.seed).stream(Purpose::Test, 0, i as u64);
        let tally = victim.torture(share, &mut stream)?;
        println!("{algorithm}: {tally}");
        total.add(&tally);
    }
    println!("all: {total}, 0 differences");
    Ok(())
}

/// Counts of kills and runs.
#[derive(Debug, Default)]
struct Tally {
    kills: usize,
    /// Kills before the first checkpoint.
    early: usize,
    runs: usize,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.kills += other.kills;
        self.early += other.early;
        self.runs += other.runs;
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} kills ({} before the first checkpoint), {} whole runs compared",
            self.kills, self.early, self.runs
        )
    }
}

impl Victim<'_> {
    fn torture(&self, kills: usize, stream: &mut Stream) -> Result<Tally> {
        let reference = self.directory.join("undisturbed");
        let clock = Instant::now();
        let status = self.start(&reference, 1)?.wait()?;
        ensure!(
            status.success(),
            "{}: the undisturbed run failed",
            self.algorithm
        );
        let duration = clock.elapsed();
        let expected = Remains::of(&reference)?;

        let mut tally = Tally::default();
        while tally.kills < kills {
            let path = self.directory.join(format!("disturbed-{}", tally.runs));
            loop {
                let threads = [1, 2, 4][stream.random_range(0..3)];
                let mut child = self.start(&path, threads)?;
                // uniform over the duration of a run, and somewhat beyond its end
                let patience = duration.mul_f64(stream.random_range(0.0..1.2));
                let killed = tally.kills < kills && !ends_within(&mut child, patience)?;
                if killed {
                    child.kill()?;
                    tally.kills += 1;
                    tally.early += usize::from(checkpoints(&path, "json").is_empty());
                }
                let status = child.wait()?;
                if status.success() {
                    break;
                }
                // an error has an exit code, a kill has none
                if !killed || status.code().is_some() {
                    let said = fs::read_to_string(self.messages()).unwrap_or_default();
                    bail!("{}: {status}: {said}", self.algorithm);
                }
            }
            let found = Remains::of(&path)?;
            if let Some(what) = expected.difference(&found) {
                bail!(
                    "{}: {what} differs after {} kills",
                    self.algorithm,
                    tally.kills
                );
            }
            fs::remove_dir_all(&path)?;
            tally.runs += 1;
        }
        Ok(tally)
    }

    /// File with the error messages of the latest process.
    fn messages(&self) -> PathBuf {
        self.directory.join("messages")
    }

    /// Starts a short run, or resumes it, with a checkpoint after every part of an iteration.
    fn start(&self, out: &Path, threads: usize) -> Result<Child> {
        let Tiny { preset, settings } = self.algorithm.tiny();
        let mut command = Command::new(self.program);
        command.args(["train", "point-2d", "--algorithm", self.algorithm.name()]);
        command.args(["--preset", preset]);
        for setting in ["real_steps=360", "evaluation_episodes=2"]
            .iter()
            .chain(settings)
        {
            command.args(["--set", setting]);
        }
        command
            .args([
                "--seed",
                "5",
                "--quiet",
                "--resume",
                "--checkpoint-seconds",
                "0",
            ])
            .args(["--threads", &threads.to_string(), "--out"])
            .arg(out)
            .stdin(Stdio::null())
            .stderr(File::create(self.messages())?)
            .spawn()
            .with_context(|| format!("cannot start {}", self.program.display()))
    }
}

/// Whether the process ends by itself in this time.
fn ends_within(child: &mut Child, time: Duration) -> Result<bool> {
    let start = Instant::now();
    while start.elapsed() < time {
        if child.try_wait()?.is_some() {
            return Ok(true);
        }
        std::thread::sleep(Duration::from_micros(500));
    }
    Ok(child.try_wait()?.is_some())
}

/// The files that a run leaves, without timings.
struct Remains(Vec<(&'static str, Vec<u8>)>);

impl Remains {
    fn of(run: &Path) -> Result<Self> {
        let metrics = fs::read_to_string(run.join("metrics.jsonl"))?;
        let timeless = |line: &str| {
            let end = line.find(",\"seconds\":").unwrap_or(line.len());
            line[..end].to_owned()
        };
        let timeless: Vec<_> = metrics.lines().map(timeless).collect();
        let mut states = checkpoints(run, "safetensors");
        let state = states.pop().context("there is no checkpoint")?;
        let mut files = vec![
            ("metrics.jsonl", timeless.join("\n").into_bytes()),
            ("the state", fs::read(state)?),
        ];
        for name in ["policy.safetensors", "learning_curve.svg", "config.ron"] {
            files.push((name, fs::read(run.join(name))?));
        }
        Ok(Self(files))
    }

    /// Name of the first file that differs.
    fn difference(&self, other: &Self) -> Option<&'static str> {
        let mut pairs = self.0.iter().zip(&other.0);
        pairs.find(|(a, b)| a != b).map(|((name, _), _)| *name)
    }
}

/// The files of a run's checkpoints with this extension, the newest last.
fn checkpoints(run: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(run.join("checkpoints")).into_iter().flatten();
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    paths
}

/// Builds the command line, and returns its path, which is beside this program.
fn build() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let mut arguments = vec!["build", "--package", "mbmpo-cli"];
    if own
        .parent()
        .is_some_and(|directory| directory.ends_with("release"))
    {
        arguments.push("--release");
    }
    let status = Command::new(env!("CARGO")).args(&arguments).status()?;
    ensure!(status.success(), "`cargo {}` failed", arguments.join(" "));
    Ok(own.with_file_name(format!("mbmpo{}", std::env::consts::EXE_SUFFIX)))
}
