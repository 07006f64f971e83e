//! Sampling real trajectories (line 3 of Algorithm 1).

use crate::{Environment, Error, Policy, Purpose, Result, Step, Stream, Streams, Trajectories};
use rayon::prelude::*;

/// One episode of at most `horizon` control steps.
///
/// # Errors
/// When the simulation diverges, or an action, an observation or a reward is not finite.
pub fn rollout(
    environment: &mut dyn Environment,
    policy: &dyn Policy,
    horizon: usize,
    stream: &mut Stream,
) -> Result<Trajectories> {
    let mut path = Trajectories::new(environment.observation_dim(), environment.action_dim());
    let mut observation = environment.reset(stream);
    let mut terminated = false;
    while path.len() < horizon && !terminated {
        let action = policy.act(&observation, stream);
        if let Some(i) = action.iter().position(|x| !x.is_finite()) {
            let what = format!("component {i} of the policy's action");
            return Err(Error::NotFinite { what });
        }
        let step = environment.step(&action)?;
        require_finite(environment.name(), path.len(), &step)?;
        path.push(&observation, &action, &step.observation, step.reward);
        observation = step.observation;
        terminated = step.terminated;
    }
    path.end_path(terminated);
    Ok(path)
}

/// A user's environment may return NaN.
fn require_finite(environment: &str, time: usize, step: &Step) -> Result<()> {
    let broken = step.observation.iter().position(|x| !x.is_finite());
    let what = match broken {
        Some(i) => format!(
            "component {i} of the observation is {}",
            step.observation[i]
        ),
        None if !step.reward.is_finite() => format!("the reward is {}", step.reward),
        None => return Ok(()),
    };
    Err(Error::Diverged {
        environment: environment.to_owned(),
        step: time,
        what,
    })
}

/// Length and number of the episodes to collect, and the names of their random streams.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Time limit \[control steps\].
    pub horizon: usize,
    /// Whole rounds of episodes are run until there are this many transitions.
    pub min_steps: usize,
    /// Part of the name of the random streams; the index is the number of the episode.
    pub purpose: Purpose,
    /// Part of the name of the random streams.
    pub iteration: u64,
}

/// Episodes of one policy until there are at least `plan.min_steps` transitions: first as many in
/// parallel as are needed if none ends early, then those that are still missing. Returns no paths
/// if the horizon is 0.
///
/// # Errors
/// When the simulation diverges.
pub fn collect_batch(
    environment: &dyn Environment,
    policy: &dyn Policy,
    plan: Plan,
    streams: &Streams,
) -> Result<Trajectories> {
    let mut all = Trajectories::new(environment.observation_dim(), environment.action_dim());
    while plan.horizon > 0 && (all.is_empty() || all.len() < plan.min_steps) {
        let missing = plan.min_steps.saturating_sub(all.len());
        let policies = vec![policy; missing.div_ceil(plan.horizon).max(1)];
        let first = all.lengths.len();
        for path in episodes(environment, &policies, first, plan, streams)? {
            all.extend(&path);
        }
    }
    Ok(all)
}

/// Whole rounds of one episode for each policy, until there are at least `plan.min_steps`
/// transitions (at least one round). Nothing without policies or with a horizon of 0.
///
/// Episodes run in parallel; each has its own copy of the environment and its own stream, so the
/// result does not depend on the number of threads.
///
/// # Errors
/// When the simulation diverges.
pub fn collect<P: Policy>(
    environment: &dyn Environment,
    policies: &[P],
    plan: Plan,
    streams: &Streams,
) -> Result<Trajectories> {
    let mut all = Trajectories::new(environment.observation_dim(), environment.action_dim());
    if policies.is_empty() || plan.horizon == 0 {
        return Ok(all);
    }
    let mut episode = 0;
    while all.is_empty() || all.len() < plan.min_steps {
        let round = episodes(environment, policies, episode, plan, streams)?;
        round.iter().for_each(|path| all.extend(path));
        episode += policies.len();
    }
    Ok(all)
}

/// One episode of every policy, in parallel, numbered from `first`.
fn episodes<P: Policy>(
    environment: &dyn Environment,
    policies: &[P],
    first: usize,
    plan: Plan,
    streams: &Streams,
) -> Result<Vec<Trajectories>> {
    policies
        .par_iter()
        .enumerate()
        .map(|(i, policy)| {
            let index = (first + i) as u64;
            let mut stream = streams.stream(plan.purpose, plan.iteration, index);
            let mut environment = environment.boxed_clone();
            rollout(environment.as_mut(), policy, plan.horizon, &mut stream)
        })
        .collect()
}
