//! Sampling real trajectories (line 3 of Algorithm 1).

use crate::{Environment, Policy, Purpose, Result, Stream, Streams, Trajectories};
use rayon::prelude::*;

/// One episode of at most `horizon` control steps.
///
/// # Errors
/// When the simulation diverges.
pub fn rollout(
    environment: &mut dyn Environment,
    policy: &dyn Policy,
    horizon: usize,
    stream: &mut Stream,
) -> Result<Trajectories> {
    let mut path = Trajectories::new(
        environment.observation_dim(),
        environment.action_space().dim(),
    );
    let mut observation = environment.reset(stream);
    let mut terminated = false;
    while path.len() < horizon && !terminated {
        let action = policy.act(&observation, stream);
        let step = environment.step(&action)?;
        path.push(&observation, &action, &step.observation, step.reward);
        observation = step.observation;
        terminated = step.terminated;
    }
    path.end_path(terminated);
    Ok(path)
}

/// Which episodes to run, and with which random numbers.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Time limit \[control steps\].
    pub horizon: usize,
    /// Every policy gets its first episode, then its second, … until there are this many transitions.
    pub min_steps: usize,
    /// Names the random streams, with the number of the episode.
    pub purpose: Purpose,
    /// Names the random streams.
    pub iteration: u64,
}

/// Whole rounds of one episode a policy, until there are at least `plan.min_steps` transitions (at least one round).
/// Nothing without policies or with a horizon of 0.
///
/// Episodes run in parallel; each has its own copy of the environment and its own stream, so the result does not
/// depend on the number of threads.
///
/// # Errors
/// When the simulation diverges.
pub fn collect<P: Policy>(
    environment: &dyn Environment,
    policies: &[P],
    plan: Plan,
    streams: &Streams,
) -> Result<Trajectories> {
    let mut all = Trajectories::new(
        environment.observation_dim(),
        environment.action_space().dim(),
    );
    if policies.is_empty() || plan.horizon == 0 {
        return Ok(all);
    }
    let mut episode = 0;
    while all.is_empty() || all.len() < plan.min_steps {
        let round = policies
            .par_iter()
            .enumerate()
            .map(|(i, policy)| {
                let index = (episode + i) as u64;
                let mut stream = streams.stream(plan.purpose, plan.iteration, index);
                let mut environment = environment.boxed_clone();
                rollout(environment.as_mut(), policy, plan.horizon, &mut stream)
            })
            .collect::<Result<Vec<_>>>()?;
        round.iter().for_each(|path| all.extend(path));
        episode += policies.len();
    }
    Ok(all)
}
