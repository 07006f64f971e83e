//! Chores of the workspace: `cargo xtask run-benchmark`, `cargo xtask bench`, `cargo xtask
//! torture`, `cargo xtask ci`.

#![forbid(unsafe_code)]

mod bench;
mod ci;
mod run_benchmark;
mod torture;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Chores of the mbmpo workspace
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Train on every environment and print a table of the returns
    RunBenchmark(run_benchmark::Arguments),
    /// Time the three hot loops, and compare with the peak of the machine
    Bench(bench::Arguments),
    /// Kill training at random instants, resume it, and compare every byte with an undisturbed run
    Torture(torture::Arguments),
    /// All checks: format, lints, dependencies, documentation, tests, 20 kills
    Ci,
}

/// Faster than the system's allocator, which returns large tensors to the kernel whenever they are
/// freed.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let outcome = match Cli::parse().chore {
        Chore::RunBenchmark(arguments) => run_benchmark::run(&arguments),
        Chore::Bench(arguments) => bench::run(&arguments),
        Chore::Torture(arguments) => torture::run(&arguments),
        Chore::Ci => ci::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let known = error.downcast_ref::<mbmpo_experiments::Error>();
            match known {
                Some(error @ mbmpo_experiments::Error::Interrupted { .. }) => {
                    eprintln!("{error}; repeat the command with --resume to go on");
                }
                Some(error @ mbmpo_experiments::Error::RunExists { .. }) => {
                    eprintln!("error: {error}; go on with it by --resume, or choose another --out");
                }
                Some(error) => eprintln!("error: {error}"),
                None => eprintln!("error: {error:#}"),
            }
            ExitCode::from(known.map_or(1, mbmpo_experiments::Error::exit_code))
        }
    }
}
