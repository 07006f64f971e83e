//! `cargo xtask run-benchmark`: every environment, some seeds, one table.

use anyhow::Result;
use clap::Args;
use mbmpo_core::{IterationMetrics, Observer, Phase};
use mbmpo_experiments::{DeviceKind, Progress, Safety, Signals, default_path, suite};
use std::io::{self, Write};
use std::path::PathBuf;
use std::str::FromStr;
use std::thread::available_parallelism;

#[derive(Debug, Args)]
pub struct Arguments {
    /// quick (under ten minutes on two cores) or paper (hours)
    #[arg(long, default_value = "quick", value_parser = ["quick", "paper"])]
    suite: String,

    /// A number of seeds, or a list such as 22,33,12
    #[arg(long, default_value = "1")]
    seeds: Seeds,

    /// Number of runs at once; they share the cores
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    jobs: u16,

    /// Directory of the results [default: runs/benchmark-SUITE]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Go on from the latest checkpoints of the runs
    #[arg(long)]
    resume: bool,
}

#[derive(Debug, Clone)]
struct Seeds(Vec<u64>);

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let trimmed = text.trim();
            trimmed
                .parse::<u64>()
                .map_err(|_| format!("`{trimmed}` is not a whole number"))
        };
        if text.contains(',') {
            let parts = text.split(',').filter(|part| !part.trim().is_empty());
            let seeds = parts.map(number).collect::<Result<Vec<_>, _>>()?;
            return if seeds.is_empty() {
                Err("no seed".to_owned())
            } else {
                Ok(Self(seeds))
            };
        }
        match number(text)? {
            count @ 1..=1000 => Ok(Self((1..=count).collect())),
            _ => Err("allowed is 1 to 1000 seeds".to_owned()),
        }
    }
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let Arguments {
        suite: name,
        seeds,
        jobs,
        out,
        resume,
    } = arguments;
    let out = out
        .clone()
        .unwrap_or_else(|| default_path(&format!("benchmark-{name}"), *resume));
    let signals = Signals::listen()?;
    let options = suite::Options {
        parallel: usize::from(*jobs),
        threads: available_parallelism().map_or(1, usize::from),
        device: DeviceKind::Cpu,
        out: out.clone(),
        command: std::iter::once("cargo xtask".to_owned())
            .chain(std::env::args().skip(1))
            .collect(),
        resume: *resume,
        safety: Safety::default(),
    };
    let lines = |label: &str, budget| Lines {
        label: label.to_owned(),
        budget,
        signals: signals.clone(),
    };
    let plan = suite::plan(&suite::entries(name), &seeds.0)?;
    let rows = suite::run_suite(&plan, &options, lines)?;
    say(&format!(
        "\n{}\nresults in {}",
        suite::table(&rows),
        out.display()
    ));
    Ok(())
}

/// Prints a line on standard output. A closed pipe does not stop the benchmark.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// Prints one line for each iteration.
struct Lines {
    label: String,
    budget: usize,
    signals: Signals,
}

impl Observer for Lines {
    fn at(&mut self, _phase: Phase, _done: usize, _total: usize) {}
}

impl Progress for Lines {
    fn iteration(&mut self, metrics: &IterationMetrics) {
        say(&format!(
            "{}: {:>6} of {} real steps, return {:>8.1}, {:.0} s",
            self.label,
            metrics.real_steps,
            self.budget,
            metrics.return_pre_mean,
            metrics.wall_seconds,
        ));
    }

    fn notice(&mut self, text: &str) {
        eprintln!("{}: {text}", self.label);
    }

    fn stopped(&self) -> Option<i32> {
        self.signals.latest()
    }
}
