use crate::arguments::{
    AdaptArguments, CheckArguments, CompareArguments, ConfigArguments, EvaluateArguments,
    ShowArguments, TrainArguments,
};
use crate::output::say;
use crate::progress::{self, Display};
use mbmpo_experiments::{
    AdaptationOptions, Comparison, DrawingOptions, Error, Result, RunDirectory, RunInfo, Signals,
    preset,
};
use std::fs;
use std::path::Path;

/// `mbmpo train`
pub fn train(arguments: &TrainArguments) -> Result<()> {
    let TrainArguments {
        config: selection,
        out,
        run,
    } = arguments;
    let environment = selection.environment.choice();
    let config = preset::resolve(environment, selection.selection(), &selection.overrides)?;
    run.prepare()?;
    let info = RunInfo::begin(
        &config.environment.name,
        &selection.selection().label(),
        run.seed,
        run.device,
        run.threads(),
        &command_line(),
    );
    let mut directory = RunDirectory::open(out.as_deref(), &config, info, run.safety.resume)?;

    let title = directory.info().label();
    let signals = Signals::listen()?;
    let mut display = Display::choose(run.quiet, &title, config.real_steps, signals);
    let safety = run.safety.safety();
    let last = mbmpo_experiments::run(&config, &mut directory, safety, &mut display);
    drop(display);
    let last = last?;
    if run.quiet {
        return Ok(());
    }
    say(&format!(
        "{title}: return {:.1} ± {:.1} after {} real steps, in {}\nresults in {}",
        last.return_pre_mean,
        last.return_pre_std,
        last.real_steps,
        progress::duration(last.wall_seconds),
        directory.path().display(),
    ))
}

/// `mbmpo evaluate`
pub fn evaluate(arguments: &EvaluateArguments) -> Result<()> {
    let EvaluateArguments {
        run,
        episodes,
        seed,
    } = arguments;
    let evaluation = mbmpo_experiments::evaluate(run, *episodes as usize, *seed)?;
    say(&format!(
        "{}: return {:.1} ± {:.1} over {episodes} episodes of {:.1} steps on average (seed {seed})",
        evaluation.environment,
        evaluation.return_mean(),
        evaluation.return_std(),
        evaluation.length_mean(),
    ))
}

/// `mbmpo adapt`
pub fn adapt(arguments: &AdaptArguments) -> Result<()> {
    let AdaptArguments {
        trained,
        beside,
        steps,
        overrides,
        out,
        run,
    } = arguments;
    run.prepare()?;
    let signals = Signals::listen()?;
    let options = AdaptationOptions {
        runs: std::iter::once(trained).chain(beside).cloned().collect(),
        steps: *steps,
        overrides: overrides.clone(),
        seed: run.seed,
        device: run.device,
        threads: run.threads(),
        out: out.clone(),
        command: command_line(),
        resume: run.safety.resume,
        safety: run.safety.safety(),
    };
    let adaptation = mbmpo_experiments::adapt(&options, |title, budget| {
        let display = Display::choose(run.quiet, title, budget, signals.clone());
        if display.is_lines() {
            // learning goes on when the pipe is closed
            let _ = say(&format!("{title}:"));
        }
        display
    })?;
    if run.quiet {
        return Ok(());
    }
    say(&format!(
        "{}results in {}",
        adaptation.table(),
        adaptation.directory.display(),
    ))
}

/// `mbmpo compare`
pub fn compare(arguments: &CompareArguments) -> Result<()> {
    let comparisons = mbmpo_experiments::compare(&arguments.runs)?;
    let tables: Vec<_> = comparisons.iter().map(Comparison::table).collect();
    say(tables.join("\n").trim_end())?;
    let Some(out) = &arguments.out else {
        return Ok(());
    };
    create_directory(out)?;
    for comparison in &comparisons {
        let name = comparison.environment.replace([' ', '(', ')'], "");
        let path = out.join(format!("{name}.svg"));
        write(&path, &comparison.figure())?;
        say(&path.display().to_string())?;
    }
    Ok(())
}

fn create_directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|source| Error::Unwritable {
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Path, content: &str) -> Result<()> {
    fs::write(path, content).map_err(|source| Error::Unwritable {
        path: path.to_owned(),
        source,
    })
}

/// `mbmpo env list`
pub fn list_environments() -> Result<()> {
    let mut text = format!(
        "{:<14} {:>11} {:>7} {:>8} {:>9}  {}\n",
        "environment", "observation", "action", "horizon", "step [s]", "description"
    );
    for info in mbmpo_experiments::environments()? {
        text += &format!(
            "{:<14} {:>11} {:>7} {:>8} {:>9}  {}\n",
            info.name,
            info.observation_dim,
            info.action_dim,
            info.horizon,
            info.control_time_step,
            info.summary
        );
    }
    say(text.trim_end())
}

/// `mbmpo env check`
pub fn check_environment(arguments: &CheckArguments) -> Result<()> {
    let environment = arguments.environment.choice().make(arguments.variant)?;
    let report = mbmpo_experiments::check_environment(environment.as_ref())?;
    say(&report.to_string())?;
    match report.failures() {
        0 => Ok(()),
        failures => Err(Error::ChecksFailed {
            environment: report.environment,
            failures,
            checks: report.checks.len(),
        }),
    }
}

/// `mbmpo env show`
pub fn show_environment(arguments: &ShowArguments) -> Result<()> {
    let options = DrawingOptions {
        steps: arguments.steps as usize,
        frames: arguments.frames as usize,
        seed: arguments.seed,
    };
    let drawing = match &arguments.run {
        Some(run) => mbmpo_experiments::draw_run(run, options)?,
        None => {
            let environment = arguments.environment.choice();
            mbmpo_experiments::draw(&environment, arguments.variant, options)?
        }
    };
    let out = &arguments.out;
    create_directory(out)?;
    let portrait = out.join(format!("{}.svg", drawing.name));
    let strip = out.join(format!("{}-rollout.svg", drawing.name));
    for (path, svg) in [(&portrait, &drawing.portrait), (&strip, &drawing.strip)] {
        write(path, svg)?;
    }
    say(&format!("{}\n{}", portrait.display(), strip.display()))
}

/// `mbmpo config show`
pub fn show_config(arguments: &ConfigArguments) -> Result<()> {
    let (environment, selection) = (arguments.environment.choice(), arguments.selection());
    let overrides = &arguments.overrides;
    let config = preset::resolve(environment.clone(), selection.clone(), overrides)?;
    let text = if overrides.is_empty() {
        preset::source(environment, selection)?
    } else {
        config.to_ron()?
    };
    say(text.trim_end())
}

/// The command line, with `mbmpo` for the path of the program.
fn command_line() -> Vec<String> {
    let arguments = std::env::args_os().skip(1);
    std::iter::once("mbmpo".to_owned())
        .chain(arguments.map(|argument| argument.to_string_lossy().into_owned()))
        .collect()
}
