//! The training loop. Start at [`run`], which builds the algorithm of a configuration, and
//! [`train`], the loop.

use crate::position::Position;
use crate::safety::{ATTEMPTS, OnNan, Safety};
use crate::{
    AlgorithmChoice, AlgorithmVisitor, Error, ExperimentConfig, Progress, Result, RunDirectory,
    Runnable,
};
use burn::tensor::Device;
use mbmpo_core::{Algorithm, Check, Checked, IterationMetrics, Setup, State};
use std::time::Instant;

/// Iterates until `real_steps` are used up, from the latest checkpoint in `directory`, and returns
/// the metrics of the last iteration.
///
/// # Errors
/// When the algorithm fails, a file cannot be written, no checkpoint is intact, or `progress` asks
/// to stop.
pub fn train<A: Algorithm>(
    algorithm: &mut A,
    real_steps: usize,
    directory: &mut RunDirectory,
    safety: Safety,
    progress: &mut dyn Progress,
) -> Result<IterationMetrics> {
    directory.restore(algorithm, |text| progress.notice(text))?;
    let (start, clock) = (directory.position(), Instant::now());
    let wall_seconds = || start.wall_seconds + clock.elapsed().as_secs_f64();
    if start.parts == 0 && start.iterations > 0 {
        // the files may be of a later iteration, which was not saved
        directory.publish(&algorithm.policy())?;
    }
    if let Some(last) = finished(algorithm, real_steps, directory) {
        return Ok(last);
    }
    if start != Position::default() {
        progress.resumed(start.real_steps);
    }
    directory.mark_running()?;
    let mut rollback = match safety.on_nan {
        OnNan::Rollback => Some(Rollback::here(algorithm, directory)?),
        OnNan::Stop => None,
    };
    loop {
        match algorithm.advance(progress) {
            Ok(None) => directory.part_done(algorithm.real_steps(), wall_seconds()),
            Ok(Some(metrics)) => {
                let metrics = IterationMetrics {
                    wall_seconds: wall_seconds(),
                    ..metrics
                };
                directory.record(&metrics, &algorithm.policy())?;
                progress.iteration(&metrics);
                if let Some(rollback) = &mut rollback {
                    *rollback = Rollback::here(algorithm, directory)?;
                }
            }
            Err(error) => match &mut rollback {
                Some(rollback) if may_retry(&error, directory) => {
                    rollback.retry(&error, algorithm, directory, progress)?;
                }
                _ => return Err(failure(error, directory)),
            },
        }
        let stopped = progress.stopped();
        if let Some(last) = finished(algorithm, real_steps, directory) {
            directory.save(algorithm)?;
            return Ok(last);
        }
        if let Some(signal) = stopped {
            if let Some(rollback) = &rollback {
                rollback.restore(algorithm, directory)?;
            }
            directory.save(algorithm)?;
            return Err(interruption(signal, directory));
        }
        // with a rollback only between iterations: a restart must begin from the same rollback
        // state
        let may_save = rollback.is_none() || directory.position().parts == 0;
        if may_save && directory.is_due(safety.checkpoint_seconds) {
            directory.save(algorithm)?;
        }
    }
}

/// The metrics of the last iteration, once it has ended and the budget is used up.
fn finished(
    algorithm: &impl Algorithm,
    real_steps: usize,
    directory: &RunDirectory,
) -> Option<IterationMetrics> {
    let done = directory.position().parts == 0 && algorithm.real_steps() >= real_steps;
    directory.history().last().filter(|_| done).cloned()
}

/// The end of the latest iteration, to which a run goes back when a number is not finite.
struct Rollback {
    state: State,
    position: Position,
}

impl Rollback {
    /// The present state, at the end of an iteration.
    fn here(algorithm: &mut impl Algorithm, directory: &RunDirectory) -> Result<Self> {
        Ok(Self {
            state: State::of(algorithm)?,
            position: directory.position(),
        })
    }

    fn restore(&self, algorithm: &mut impl Algorithm, directory: &mut RunDirectory) -> Result<()> {
        self.state.clone().restore(algorithm)?;
        directory.set_position(self.position);
        Ok(())
    }

    /// Goes back, changes the random numbers and saves, so that the number of the attempt survives
    /// a restart.
    fn retry(
        &mut self,
        error: &mbmpo_core::Error,
        algorithm: &mut impl Algorithm,
        directory: &mut RunDirectory,
        progress: &mut dyn Progress,
    ) -> Result<()> {
        self.position.attempts = directory.position().attempts + 1;
        progress.notice(&format!(
            "iteration {}: {error}; trying again with other random numbers ({} of {ATTEMPTS})",
            self.position.iterations, self.position.attempts
        ));
        self.restore(algorithm, directory)?;
        algorithm.reseed();
        self.state = State::of(algorithm)?;
        directory.save(algorithm)
    }
}

/// Whether other random numbers may help, and were not tried too often.
fn may_retry(error: &mbmpo_core::Error, directory: &RunDirectory) -> bool {
    error.is_numeric() && directory.position().attempts < ATTEMPTS
}

fn failure(source: mbmpo_core::Error, directory: &RunDirectory) -> Error {
    let position = directory.position();
    Error::Failed {
        iteration: position.iterations,
        seed: directory.info().seed,
        source,
        attempts: position.attempts,
        kept: directory.latest_checkpoint(),
    }
}

fn interruption(signal: i32, directory: &RunDirectory) -> Error {
    Error::Interrupted {
        signal,
        position: directory.position(),
        bytes: directory.info().checkpoints.bytes,
        path: directory.path().to_owned(),
    }
}

/// Runs an experiment in a run directory, from its latest checkpoint, with the seed, the device and
/// the number of threads that its `run.json` names, and notes there how it ended.
///
/// # Errors
/// When a value is out of range with the length of the environment's episodes, training fails, or a
/// file cannot be written.
pub fn run<C: AlgorithmChoice>(
    config: &Checked<ExperimentConfig<C>>,
    directory: &mut RunDirectory,
    safety: Safety,
    progress: &mut dyn Progress,
) -> Result<IterationMetrics> {
    let environment = directory.environment(config);
    let environment = directory.note_failure(environment)?;
    config.algorithm.visit(Run {
        setup: config.setup(environment, directory.info().seed),
        real_steps: config.real_steps,
        directory,
        safety,
        progress,
    })
}

/// Builds an algorithm and trains it.
struct Run<'a> {
    setup: Setup,
    real_steps: usize,
    directory: &'a mut RunDirectory,
    safety: Safety,
    progress: &'a mut dyn Progress,
}

impl AlgorithmVisitor for Run<'_> {
    type Output = Result<IterationMetrics>;

    fn visit<A: Runnable>(self, config: &A::Config) -> Self::Output {
        let setup = self.setup;
        let build = |device: &Device| {
            let config = config.clone().check().map_err(mbmpo_core::Error::from)?;
            Ok(A::build(config, setup, device)?)
        };
        drive(
            self.real_steps,
            self.directory,
            self.safety,
            self.progress,
            build,
        )
    }
}

/// Trains the algorithm that `build` gives for a device, and notes in `run.json` how the run ended.
pub(crate) fn drive<A: Algorithm>(
    real_steps: usize,
    directory: &mut RunDirectory,
    safety: Safety,
    progress: &mut dyn Progress,
    build: impl FnOnce(&Device) -> Result<A> + Send,
) -> Result<IterationMetrics> {
    let threads = directory.info().threads;
    let outcome = with_threads(threads, || {
        let mut algorithm = build(&directory.info().device.device()?)?;
        train(&mut algorithm, real_steps, directory, safety, progress)
    })
    .flatten();
    let noted = directory.finish(outcome.as_ref().map(|_| ()));
    // the reason why training failed matters more than that it could not be noted
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
