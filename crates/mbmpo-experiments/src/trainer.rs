use crate::{AlgorithmConfig, Error, ExperimentConfig, Result, RunDirectory};
use burn::tensor::Device;
use mbmpo_baselines::{Acktr, Ddpg, Ppo, Trpo, Vpg};
use mbmpo_core::{Algorithm, Check, Checked, IterationMetrics, Observer, Silent};
use mbmpo_meta::MbMpo;
use mbmpo_policy::TrainedPolicy;
use std::time::Instant;

/// Is told how training gets on, and may show it.
pub trait Progress: Observer + Send {
    /// An iteration is done.
    fn iteration(&mut self, metrics: &IterationMetrics);
}

impl Progress for Silent {
    fn iteration(&mut self, _metrics: &IterationMetrics) {}
}

/// Keeps what an iteration gave.
pub trait Sink<P> {
    /// Takes the metrics of an iteration and the policy at its end.
    ///
    /// # Errors
    /// When it cannot be kept; training stops.
    fn record(&mut self, metrics: &IterationMetrics, policy: &P) -> Result<()>;
}

/// Iterates until `real_steps` are used up, and returns the metrics of the last iteration.
///
/// # Errors
/// When an iteration fails, or a sink does.
pub fn train<A: Algorithm>(
    algorithm: &mut A,
    real_steps: usize,
    sinks: &mut [&mut dyn Sink<A::Policy>],
    progress: &mut dyn Progress,
) -> Result<IterationMetrics> {
    let start = Instant::now();
    loop {
        let mut metrics = algorithm.iterate(progress)?;
        metrics.wall_seconds = start.elapsed().as_secs_f64();
        let policy = algorithm.policy();
        for sink in sinks.iter_mut() {
            sink.record(&metrics, &policy)?;
        }
        progress.iteration(&metrics);
        if algorithm.real_steps() >= real_steps {
            return Ok(metrics);
        }
    }
}

/// Runs an experiment in a run directory, with the seed, the device and the number of threads that its `run.json`
/// names, and notes there how it ended.
///
/// # Errors
/// When training fails or a file cannot be written.
pub fn run(
    config: &Checked<ExperimentConfig>,
    directory: &mut RunDirectory,
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
        AlgorithmConfig::MbMpo(own) => drive(steps, directory, progress, |seed, device| {
            Ok(MbMpo::new(checked(own)?, environment, seed, device)?)
        }),
        AlgorithmConfig::Trpo(own) => drive(steps, directory, progress, |seed, device| {
            Ok(Trpo::new(checked(own)?, environment, seed, device)?)
        }),
        AlgorithmConfig::Ppo(own) => drive(steps, directory, progress, |seed, device| {
            Ok(Ppo::new(checked(own)?, environment, seed, device)?)
        }),
        AlgorithmConfig::Ddpg(own) => drive(steps, directory, progress, |seed, device| {
            Ok(Ddpg::new(checked(own)?, environment, seed, device)?)
        }),
        AlgorithmConfig::Acktr(own) => drive(steps, directory, progress, |seed, device| {
            Ok(Acktr::new(checked(own)?, environment, seed, device)?)
        }),
        AlgorithmConfig::Vpg(own) => drive(steps, directory, progress, |seed, device| {
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
    progress: &mut dyn Progress,
    make: impl FnOnce(u64, &Device) -> Result<A> + Send,
) -> Result<IterationMetrics>
where
    A: Algorithm,
    A::Policy: Clone + Into<TrainedPolicy>,
{
    let threads = directory.info().threads;
    let outcome = with_threads(threads, || {
        let (seed, device) = (directory.info().seed, directory.info().device.device()?);
        let mut algorithm = make(seed, &device)?;
        train(&mut algorithm, real_steps, &mut [directory], progress)
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
