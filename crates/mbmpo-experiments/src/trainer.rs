use crate::checkpoint::Position;
use crate::{AlgorithmConfig, Error, ExperimentConfig, Result, RunDirectory, nearest};
use burn::tensor::Device;
use mbmpo_baselines::{Acktr, Ddpg, Ppo, Trpo, Vpg};
use mbmpo_core::{Algorithm, Check, Checked, IterationMetrics, Observer, Silent, State};
use mbmpo_meta::MbMpo;
use mbmpo_policy::TrainedPolicy;
use std::fmt;
use std::str::FromStr;
use std::time::Instant;

/// Is told how training gets on, and may show it and stop it.
pub trait Progress: Observer + Send {
    /// An iteration is done.
    fn iteration(&mut self, metrics: &IterationMetrics);

    /// The run goes on from where it was saved, after so many real steps.
    fn resumed(&mut self, _real_steps: usize) {}

    /// Something that a person should know, although the run goes on.
    fn notice(&mut self, _text: &str) {}

    /// The signal by which somebody asked to save and stop, if so; looked for after every part of an iteration.
    fn stopped(&self) -> Option<i32> {
        None
    }
}

impl Progress for Silent {
    fn iteration(&mut self, _metrics: &IterationMetrics) {}
}

/// What to do when the simulation diverges, or a number is not finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnNan {
    /// End with an error.
    #[default]
    Stop,
    /// Go back to the end of the iteration before and try again with other random numbers, up to [`ATTEMPTS`] times in a row.
    /// The run is then saved between iterations only.
    Rollback,
}

impl fmt::Display for OnNan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stop => "stop",
            Self::Rollback => "rollback",
        })
    }
}

impl FromStr for OnNan {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let known = [Self::Stop, Self::Rollback];
        let found = known.into_iter().find(|kind| kind.to_string() == name);
        found.ok_or_else(|| Error::UnknownName {
            kind: "reaction",
            name: name.to_owned(),
            nearest: nearest(name, ["stop", "rollback"]).map(str::to_owned),
            known: known.map(|kind| kind.to_string()).to_vec(),
        })
    }
}

/// How often an iteration is tried again.
pub const ATTEMPTS: usize = 3;

/// How a run is kept safe.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Safety {
    /// What to do when a number is not finite.
    pub on_nan: OnNan,
    /// Saves when so much time has passed \[s\], 0 for after every part of an iteration. Where absent: after every
    /// iteration, and every minute within a long one, unless that would take more than 2 % of the time.
    pub checkpoint_seconds: Option<f64>,
}

/// Iterates until `real_steps` are used up, from where the run in `directory` was saved, and returns the metrics of the last
/// iteration.
///
/// # Errors
/// When the algorithm fails, a file cannot be written, no checkpoint is whole, or `progress` asks to stop.
pub fn train<A>(
    algorithm: &mut A,
    real_steps: usize,
    directory: &mut RunDirectory,
    safety: Safety,
    progress: &mut dyn Progress,
) -> Result<IterationMetrics>
where
    A: Algorithm,
    A::Policy: Into<TrainedPolicy>,
{
    directory.restore(algorithm, |text| progress.notice(text))?;
    let (start, before) = (Instant::now(), directory.position());
    let wall_seconds = || before.wall_seconds + start.elapsed().as_secs_f64();
    if before.parts == 0 && before.iterations > 0 {
        // they may be of an iteration that was not saved any more
        directory.publish(algorithm.policy())?;
    }
    let is_done = |algorithm: &A, directory: &RunDirectory| {
        directory.position().parts == 0 && algorithm.real_steps() >= real_steps
    };
    if let Some(last) = directory.history().last()
        && is_done(algorithm, directory)
    {
        return Ok(last.clone());
    }
    if before != Position::default() {
        progress.resumed(before.real_steps);
    }
    directory.go_on()?;
    // Where to go back to: the end of the latest iteration. Nothing else is saved then, so it is known after a restart, too.
    let mut good = match safety.on_nan {
        OnNan::Rollback => Some((State::of(algorithm)?, before)),
        OnNan::Stop => None,
    };
    loop {
        let mut last = None;
        match algorithm.advance(progress) {
            Ok(None) => directory.part_done(algorithm.real_steps(), wall_seconds()),
            Ok(Some(mut metrics)) => {
                metrics.wall_seconds = wall_seconds();
                directory.record(&metrics, algorithm.policy())?;
                progress.iteration(&metrics);
                if let Some(good) = &mut good {
                    *good = (State::of(algorithm)?, directory.position());
                }
                last = Some(metrics);
            }
            Err(source) => {
                let attempts = directory.position().attempts;
                let retried = good.as_mut().filter(|_| attempts < ATTEMPTS);
                let Some((state, position)) = retried.filter(|_| source.is_numeric()) else {
                    return Err(Error::Failed {
                        iteration: directory.position().iterations,
                        seed: directory.info().seed,
                        source,
                        attempts,
                        kept: directory.latest_checkpoint(),
                    });
                };
                position.attempts = attempts + 1;
                progress.notice(&format!(
                    "iteration {}: {source}; trying again with other random numbers ({} of {ATTEMPTS})",
                    position.iterations, position.attempts
                ));
                state.clone().restore(algorithm)?;
                algorithm.redraw();
                *state = State::of(algorithm)?;
                directory.back_to(*position);
                directory.save(algorithm)?;
            }
        }
        let stopped = progress.stopped();
        let done = last.is_some() && is_done(algorithm, directory);
        if let Some((state, position)) = &good
            && stopped.is_some()
        {
            state.clone().restore(algorithm)?;
            directory.back_to(*position);
        }
        let may = good.is_none() || directory.position().parts == 0;
        if done || stopped.is_some() || may && directory.is_due(safety.checkpoint_seconds) {
            directory.save(algorithm)?;
        }
        match (last, stopped) {
            (Some(last), _) if done => return Ok(last),
            (_, Some(signal)) => {
                return Err(Error::Interrupted {
                    signal,
                    position: directory.position(),
                    bytes: directory.info().checkpoints.bytes,
                    path: directory.path().to_owned(),
                });
            }
            _ => {}
        }
    }
}

/// Runs an experiment in a run directory, from where it was saved, with the seed, the device and the number of threads that its `run.json`
/// names, and notes there how it ended.
///
/// # Errors
/// When training fails or a file cannot be written.
pub fn run(
    config: &Checked<ExperimentConfig>,
    directory: &mut RunDirectory,
    safety: Safety,
    progress: &mut dyn Progress,
) -> Result<IterationMetrics> {
    let steps = config.real_steps;
    let environment = match directory.environment(config) {
        Ok(environment) => environment,
        Err(error) => {
            directory.finish(Err(&error))?;
            return Err(error);
        }
    };
    match config.algorithm.clone() {
        AlgorithmConfig::MbMpo(own) => drive(steps, directory, safety, progress, |seed, device| {
            Ok(MbMpo::new(checked(own)?, environment, seed, device)?)
        }),
        AlgorithmConfig::Trpo(own) => drive(steps, directory, safety, progress, |seed, device| {
            Ok(Trpo::new(checked(own)?, environment, seed, device)?)
        }),
        AlgorithmConfig::Ppo(own) => drive(steps, directory, safety, progress, |seed, device| {
            Ok(Ppo::new(checked(own)?, environment, seed, device)?)
        }),
        AlgorithmConfig::Ddpg(own) => drive(steps, directory, safety, progress, |seed, device| {
            Ok(Ddpg::new(checked(own)?, environment, seed, device)?)
        }),
        AlgorithmConfig::Acktr(own) => drive(steps, directory, safety, progress, |seed, device| {
            Ok(Acktr::new(checked(own)?, environment, seed, device)?)
        }),
        AlgorithmConfig::Vpg(own) => drive(steps, directory, safety, progress, |seed, device| {
            Ok(Vpg::new(checked(own)?, environment, seed, device)?)
        }),
    }
}

/// A part of a checked configuration.
fn checked<C: Check>(config: C) -> mbmpo_core::Result<Checked<C>> {
    Ok(config.check()?)
}

/// [`run`] with the algorithm that `make` gives for a seed and a device.
pub(crate) fn drive<A>(
    real_steps: usize,
    directory: &mut RunDirectory,
    safety: Safety,
    progress: &mut dyn Progress,
    make: impl FnOnce(u64, &Device) -> Result<A> + Send,
) -> Result<IterationMetrics>
where
    A: Algorithm,
    A::Policy: Into<TrainedPolicy>,
{
    let threads = directory.info().threads;
    let outcome = with_threads(threads, || {
        let (seed, device) = (directory.info().seed, directory.info().device.device()?);
        let mut algorithm = make(seed, &device)?;
        train(&mut algorithm, real_steps, directory, safety, progress)
    })
    .flatten();
    let noted = directory.finish(outcome.as_ref().map(|_| ()));
    // Why training failed matters more than that it could not be noted.
    outcome.and_then(|last| noted.map(|()| last))
}

/// Does `work` in a thread pool of its own.
///
/// # Errors
/// When the system does not give the threads.
pub fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> Result<T> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|error| Error::System(format!("cannot start {threads} threads: {error}")))?;
    Ok(pool.install(work))
}
