//! `cargo xtask bench`: the three loops that MB-MPO spends its time in, beside what the machine can
//! do.
//!
//! Everything is measured once a round, one after another, so that what else the machine does slows
//! all of it alike; medians over the rounds count. Nothing here fails for being slow.

mod cpu;
mod ensemble;
mod imagination;
mod machine;
mod meta_update;
mod products;
mod report;
mod roofline;
mod scaling;
mod timing;
mod workload;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use ensemble::EnsembleStep;
use imagination::Rollouts;
use machine::Machine;
use mbmpo_kernels::Instructions;
use meta_update::MetaUpdate;
use products::Products;
use report::{LoopReport, Report};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use workload::{HotLoop, Sample, Workload};

/// Imagined rollouts of each task: 50 before and 50 after adapting are the paper's 100,000 samples
/// (A.3).
const ROLLOUTS: usize = 50;
/// Rollouts of a task in the imagination loop, which are those of before and after together.
const IMAGINED_ROLLOUTS: usize = 2 * ROLLOUTS;
/// Adam steps of an epoch: as many as at 40,000 real steps, a fifth of them held out.
const ADAM_STEPS: usize = 64;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Threads that share the work [default: all that there are]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,

    /// How often everything is measured; medians count
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    rounds: u16,

    /// One loop alone
    #[arg(long, value_name = "NAME")]
    only: Option<Name>,

    /// Vector instructions of our kernels: avx512, avx2, neon or scalar [default: the fastest that
    /// the processor has]
    #[arg(long, value_name = "NAME")]
    instructions: Option<Instructions>,

    /// How the cost grows with imagined samples, real samples and models
    #[arg(long, conflicts_with = "only")]
    scaling: bool,

    /// An SVG of how the cost grows
    #[arg(long, value_name = "FILE", requires = "scaling")]
    figure: Option<PathBuf>,

    /// A file for everything that was measured
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// The hot loops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    /// Adam steps of all models
    EnsembleStep,
    /// Policies acting in the models
    Imagination,
    /// The outer step
    MetaUpdate,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    if let Some(instructions) = arguments.instructions {
        instructions.select()?;
    }
    let all = available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.map_or(all, usize::from);
    let rounds = usize::from(arguments.rounds);
    let (text, json) = mbmpo_experiments::with_threads(threads, || -> Result<_> {
        let workload = Workload::new()?;
        Ok(if arguments.scaling {
            let curves = scaling::measure(&workload, rounds)?;
            if let Some(file) = &arguments.figure {
                write(file, &scaling::figure(&curves))?;
            }
            (scaling::table(&curves), serde_json::to_string(&curves)?)
        } else {
            let report = measure(&workload, threads, rounds, arguments.only)?;
            (report.to_string(), serde_json::to_string(&report)?)
        })
    })??;
    // a closed pipe is no error
    let _ = writeln!(io::stdout(), "{text}");
    if let Some(file) = &arguments.json {
        write(file, &json)?;
    }
    Ok(())
}

fn write(file: &Path, text: &str) -> Result<()> {
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}

fn measure(
    workload: &Workload,
    threads: usize,
    rounds: usize,
    only: Option<Name>,
) -> Result<Report> {
    let members = workload.members();
    let mut loops: Vec<(&str, Box<dyn HotLoop>)> = Vec::new();
    for name in Name::value_variants() {
        if only.is_some_and(|only| only != *name) {
            continue;
        }
        loops.push(match name {
            Name::EnsembleStep => (
                "ensemble step",
                Box::new(EnsembleStep::new(workload, members, ADAM_STEPS)?),
            ),
            Name::Imagination => (
                "imagination",
                Box::new(Rollouts::new(workload, members, IMAGINED_ROLLOUTS)?),
            ),
            Name::MetaUpdate => (
                "meta-update",
                Box::new(MetaUpdate::new(workload, members, ROLLOUTS)?),
            ),
        });
    }
    let mut machine = Machine::new()?;
    let mut products = Products::new(workload)?;
    let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); loops.len()];
    // the first round only warms up
    for round in 0..=rounds {
        machine.run(round > 0);
        products.run(round > 0);
        for ((_, hot_loop), samples) in loops.iter_mut().zip(&mut samples) {
            let sample = hot_loop.run()?;
            if round > 0 {
                samples.push(sample);
            }
        }
    }
    let loops: Vec<LoopReport> = (loops.iter().zip(&samples))
        .map(|((name, hot_loop), samples)| LoopReport::new(name, hot_loop.unit(), samples))
        .collect();
    let machine = machine.report();
    let narrow = products.narrow();
    let roofs = |row| roofline::of(row, machine.peak, machine.bandwidth, narrow);
    Ok(Report {
        threads,
        rounds,
        cpu: cpu::name(),
        features: cpu::features(),
        products: products.report(),
        roofline: loops.iter().flat_map(roofs).collect(),
        loops,
        machine,
    })
}

/// The middle one, or the mean of the two in the middle; 0 of nothing.
fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let mut numbers: Vec<f64> = numbers.into_iter().collect();
    numbers.sort_by(f64::total_cmp);
    let half = numbers.len() / 2;
    match numbers.len() {
        0 => 0.0,
        n if n % 2 == 0 => (numbers[half - 1] + numbers[half]) / 2.0,
        _ => numbers[half],
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    /// Fails when the numbers are not sorted, or an even count takes one of the middle two.
    #[test]
    fn medians() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([10.0, 1.0, 2.0, 4.0]), 3.0);
        assert_eq!(median([]), 0.0);
    }
}
