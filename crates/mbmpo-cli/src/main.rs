//! The mbmpo command line.

#![forbid(unsafe_code)]

mod arguments;
mod commands;
mod hints;
mod output;
mod progress;

use arguments::{Cli, Command, ConfigCommand, EnvCommand};
use clap::Parser;
use mbmpo_experiments::Error;
use std::process::ExitCode;

/// Faster than the system's allocator, which returns large tensors to the kernel whenever they are
/// freed.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Train(arguments) => commands::train(&arguments),
        Command::Evaluate(arguments) => commands::evaluate(&arguments),
        Command::Adapt(arguments) => commands::adapt(&arguments),
        Command::Compare(arguments) => commands::compare(&arguments),
        Command::Env(EnvCommand::List) => commands::list_environments(),
        Command::Env(EnvCommand::Check(arguments)) => commands::check_environment(&arguments),
        Command::Env(EnvCommand::Show(arguments)) => commands::show_environment(&arguments),
        Command::Config(ConfigCommand::Show(arguments)) => commands::show_config(&arguments),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let prefix = match error {
                Error::Interrupted { .. } => "",
                _ => "error: ",
            };
            output::complain(&format!("{prefix}{}", hints::describe(&error)));
            ExitCode::from(error.exit_code())
        }
    }
}
