use crate::run_directory::Finished;
use crate::{
    AlgorithmChoice, AlgorithmConfig, AlgorithmVisitor, Error, ExperimentConfig, Result, Runnable,
};
use mbmpo_core::collect::{Plan, collect};
use mbmpo_core::statistics::{deviation, mean};
use mbmpo_core::{Environment, Policy, Purpose, SavedPolicy, Streams, Trajectories};
use std::path::Path;

/// Returns and lengths of the episodes of a policy.
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

/// [`evaluate_run`] for an algorithm that comes with the program.
///
/// # Errors
/// Those of [`evaluate_run`].
pub fn evaluate(path: &Path, episodes: usize, seed: u64) -> Result<Evaluation> {
    evaluate_run::<AlgorithmConfig>(path, episodes, seed)
}

/// Runs the policy of the run in `path` for `episodes` episodes; of a meta-learner the pre-update
/// policy, with which the paper reports returns. The random numbers are not those of the run's own
/// reports, whatever the seed.
///
/// # Errors
/// When `path` is not a run of one of the algorithms of `C`, `episodes` is 0, the policy does not
/// fit the environment, or the simulation diverges.
pub fn evaluate_run<C: AlgorithmChoice>(
    path: &Path,
    episodes: usize,
    seed: u64,
) -> Result<Evaluation> {
    if episodes == 0 {
        return Err(Error::Mismatch(
            "episodes: allowed is at least 1".to_owned(),
        ));
    }
    let run = Finished::<C>::read(path)?;
    let policy = run.saved_policy()?;
    let environment = run.config.make_environment()?;
    require_fit(policy.dims(), environment.as_ref(), path)?;
    let policies = vec![&*policy; episodes];
    let paths = episodes_of(&policies, &run.config, environment.as_ref(), seed)?;
    Ok(Evaluation {
        environment: environment.name().to_owned(),
        returns: paths.returns(),
        lengths: paths.lengths,
    })
}

/// One episode of each policy, with streams that no run uses for its reports.
pub(crate) fn episodes_of<C>(
    policies: &[impl Policy],
    config: &ExperimentConfig<C>,
    environment: &dyn Environment,
    seed: u64,
) -> Result<Trajectories> {
    let plan = Plan {
        horizon: config.horizon.unwrap_or_else(|| environment.horizon()),
        min_steps: 0,
        purpose: Purpose::Evaluate,
        iteration: u64::MAX,
    };
    Ok(collect(environment, policies, plan, &Streams::new(seed))?)
}

impl<C: AlgorithmChoice> Finished<C> {
    /// The policy, of the type that the algorithm of the run trains.
    pub(crate) fn saved_policy(&self) -> Result<Box<dyn SavedPolicy>> {
        struct Load;

        impl AlgorithmVisitor for Load {
            type Output = fn(&[u8]) -> mbmpo_core::Result<Box<dyn SavedPolicy>>;

            fn visit<A: Runnable>(self, _config: &A::Config) -> Self::Output {
                |bytes| Ok(Box::new(A::Policy::from_bytes(bytes)?))
            }
        }

        self.policy(self.config.algorithm.visit(Load))
    }
}

/// Requires that a policy with these numbers of observation and action components fits the
/// environment; `path` is the run of the policy.
pub(crate) fn require_fit(
    (observations, actions): (usize, usize),
    environment: &dyn Environment,
    path: &Path,
) -> Result<()> {
    let wanted = (environment.observation_dim(), environment.action_dim());
    if (observations, actions) == wanted {
        return Ok(());
    }
    Err(Error::Mismatch(format!(
        "{}: the policy is for {observations} observation and {actions} action components, {} has {} and {}",
        path.display(),
        environment.name(),
        wanted.0,
        wanted.1,
    )))
}
