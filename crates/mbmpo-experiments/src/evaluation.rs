use crate::{Error, Result, run_directory};
use mbmpo_core::collect::{Plan, collect};
use mbmpo_core::{Environment, Purpose, Streams};
use mbmpo_policy::TrainedPolicy;
use std::path::Path;

/// How good a policy is.
#[derive(Debug, Clone, PartialEq)]
pub struct Evaluation {
    /// Name of the environment.
    pub environment: String,
    /// Undiscounted return of every episode.
    pub returns: Vec<f64>,
    /// Length of every episode \[control steps\].
    pub lengths: Vec<usize>,
}

impl Evaluation {
    /// Mean return.
    pub fn return_mean(&self) -> f64 {
        mean(&self.returns)
    }

    /// Standard deviation (population) of the returns.
    pub fn return_std(&self) -> f64 {
        deviation(&self.returns)
    }

    /// Mean length \[control steps\].
    pub fn length_mean(&self) -> f64 {
        self.lengths.iter().sum::<usize>() as f64 / self.lengths.len() as f64
    }
}

/// Mean, NaN for no values.
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Standard deviation (population), NaN for no values.
pub(crate) fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares = values.iter().map(|x| (x - mean).powi(2));
    (squares.sum::<f64>() / values.len() as f64).sqrt()
}

/// Runs the stochastic pre-update policy of the run in `path` for `episodes` episodes, which is how the paper reports
/// returns. The random numbers are not those of the run's own reports, whatever the seed.
///
/// # Errors
/// When `path` is not a run, `episodes` is 0, the policy does not fit the environment, or the simulation diverges.
pub fn evaluate(path: &Path, episodes: usize, seed: u64) -> Result<Evaluation> {
    if episodes == 0 {
        return Err(Error::Mismatch(
            "episodes: allowed is at least 1".to_owned(),
        ));
    }
    let (config, policy) = run_directory::load(path)?;
    let environment = config.make_environment()?;
    require_fit(&policy, environment.as_ref(), path)?;
    let plan = Plan {
        horizon: config
            .algorithm
            .horizon()
            .unwrap_or_else(|| environment.horizon()),
        min_steps: 1,
        purpose: Purpose::Evaluate,
        iteration: u64::MAX,
    };
    let policies = vec![policy; episodes];
    let paths = collect(environment.as_ref(), &policies, plan, &Streams::new(seed))?;
    Ok(Evaluation {
        environment: environment.name().to_owned(),
        returns: paths.returns(),
        lengths: paths.lengths,
    })
}

/// That the policy of the run in `path` is one for this environment.
pub(crate) fn require_fit(
    policy: &TrainedPolicy,
    environment: &dyn Environment,
    path: &Path,
) -> Result<()> {
    let wanted = (
        environment.observation_dim(),
        environment.action_space().dim(),
    );
    if policy.dims() == wanted {
        return Ok(());
    }
    let (observation, action) = policy.dims();
    Err(Error::Mismatch(format!(
        "{}: the policy is for {observation} observation and {action} action components, {} has {} and {}",
        path.display(),
        environment.name(),
        wanted.0,
        wanted.1,
    )))
}
