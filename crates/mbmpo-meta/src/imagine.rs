//! Imagined rollouts: a policy acting in a learned model (lines 6 and 8 of Algorithm 1).

use burn::tensor::{Device, Tensor, TensorData};
use mbmpo_core::task::TensorTransitions;
use mbmpo_core::{DynamicsModel, Environment, Error, Result, Stream, Task, Trajectories};
use mbmpo_policy::GaussianMlp;
use rand::RngExt;
use rand_distr::StandardNormal;

/// What all imagined rollouts of a run have in common.
#[derive(Debug, Clone)]
pub struct Imagination<'a> {
    /// The policy's architecture.
    pub network: &'a GaussianMlp,
    /// Reward and termination.
    pub task: &'a Task,
    /// Length of a rollout \[control steps\].
    pub horizon: usize,
    /// Rollouts that run side by side.
    pub rollouts: usize,
    /// Predicted observations are clipped to plus or minus this.
    pub observation_clip: f64,
    /// Where the tensors live.
    pub device: &'a Device,
}

/// The random numbers of a batch of rollouts.
#[derive(Debug)]
pub struct Randomness {
    /// For first states, drawn from the environment's own p_0.
    pub starts: Stream,
    /// For the noise of the actions.
    pub actions: Stream,
}

impl Imagination<'_> {
    /// Paths of the policy with parameters `theta` in one `member` of the ensemble.
    ///
    /// All rollouts advance together. Where the task ends an episode its rollout starts another one at once, so
    /// every prediction is used but those of a path that the horizon cuts short of a second or later episode; such
    /// a path is dropped (as in the authors' sampler, which counts completed paths only).
    ///
    /// # Errors
    /// When the model predicts something that is not finite.
    pub fn rollouts(
        &self,
        model: &impl DynamicsModel,
        member: usize,
        theta: &[f32],
        environment: &mut dyn Environment,
        mut randomness: Randomness,
    ) -> Result<Trajectories> {
        let theta = Tensor::from_data(TensorData::from(theta), self.device);
        let policy = self.network.bind(&theta);
        let std = policy.log_std.clone().exp();
        // All noise at once: one transfer to the device.
        let action_dim = self.network.action_dim();
        let count = self.horizon * self.rollouts * action_dim;
        let noise: Vec<f32> = (0..count)
            .map(|_| randomness.actions.sample(StandardNormal))
            .collect();
        let noise = self.matrix(noise, action_dim);

        let observation_dim = environment.observation_dim();
        let starts: Vec<f32> = (0..self.rollouts)
            .flat_map(|_| environment.reset(&mut randomness.starts))
            .collect();
        let mut observations = self.matrix(starts, observation_dim);
        let mut steps: [Vec<Tensor<2>>; 3] = Default::default();
        let mut ends = Vec::with_capacity(self.horizon);
        for t in 0..self.horizon {
            let draw = noise.clone().narrow(0, t * self.rollouts, self.rollouts);
            let actions = policy.mean(observations.clone()) + draw * std.clone();
            let next = model
                .predict(member, observations.clone(), actions.clone())
                .clamp(-self.observation_clip, self.observation_clip);
            steps[0].push(observations.clone());
            steps[1].push(actions.clone());
            steps[2].push(next.clone());
            let ended = self.ended(observations, actions, next.clone())?;
            observations = self.restart(next, &ended, environment, &mut randomness.starts)?;
            ends.push(ended);
        }
        let [observations, actions, next_observations] =
            steps.map(|parts| Tensor::cat(parts, 0));
        let batch = TensorTransitions {
            observations,
            actions,
            next_observations,
        };
        let rewards = host(self.task.reward(&batch))?;
        if !rewards.iter().all(|reward| reward.is_finite()) {
            let what = format!("a reward imagined in ensemble member {member}");
            return Err(Error::NotFinite { what });
        }
        let columns = Columns {
            observations: host(batch.observations)?,
            actions: host(batch.actions)?,
            next_observations: host(batch.next_observations)?,
            rewards,
            ends,
        };
        Ok(columns.into_paths(self, observation_dim, action_dim))
    }

    /// Which rollouts the task ends with this transition: `[rollouts]`, or nothing where it never ends any.
    fn ended(&self, s: Tensor<2>, a: Tensor<2>, next: Tensor<2>) -> Result<Vec<bool>> {
        if self.task.termination.is_empty() {
            return Ok(Vec::new());
        }
        let ends = self.task.termination(&TensorTransitions {
            observations: s,
            actions: a,
            next_observations: next,
        });
        Ok(host(ends)?.into_iter().map(|end| end > 0.5).collect())
    }

    /// `next` `[rollouts, observation]` with a fresh first state wherever an episode has `ended`.
    fn restart(
        &self,
        next: Tensor<2>,
        ended: &[bool],
        environment: &mut dyn Environment,
        starts: &mut Stream,
    ) -> Result<Tensor<2>> {
        if !ended.contains(&true) {
            return Ok(next);
        }
        let [_, dim] = next.dims();
        let mut rows = host(next)?;
        for (row, _) in rows
            .chunks_exact_mut(dim)
            .zip(ended)
            .filter(|(_, ended)| **ended)
        {
            row.copy_from_slice(&environment.reset(starts));
        }
        Ok(self.matrix(rows, dim))
    }

    fn matrix(&self, entries: Vec<f32>, columns: usize) -> Tensor<2> {
        let rows = entries.len() / columns;
        Tensor::from_data(TensorData::new(entries, [rows, columns]), self.device)
    }
}

/// The entries of a tensor, on the host.
pub(crate) fn host<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    tensor.try_into_vec_as::<f32>().map_err(|error| {
        Error::Description(format!("a tensor could not be read back from its device: {error}"))
    })
}

/// Transitions of all rollouts, time-major.
struct Columns {
    observations: Vec<f32>,
    actions: Vec<f32>,
    next_observations: Vec<f32>,
    rewards: Vec<f32>,
    /// `[horizon][rollouts]`, or `[horizon][0]` for a task that never ends an episode.
    ends: Vec<Vec<bool>>,
}

impl Columns {
    fn into_paths(
        self,
        imagination: &Imagination<'_>,
        observation_dim: usize,
        action_dim: usize,
    ) -> Trajectories {
        let Imagination {
            horizon, rollouts, ..
        } = *imagination;
        let mut paths = Trajectories::new(observation_dim, action_dim);
        let row = |data: &'_ [f32], i: usize, dim: usize| data[i * dim..][..dim].to_vec();
        for rollout in 0..rollouts {
            let ended = |t: usize| self.ends[t].get(rollout) == Some(&true);
            let mut start = 0;
            while start < horizon {
                let end = (start..horizon).find(|&t| ended(t));
                if end.is_none() && start > 0 {
                    break;
                }
                let last = end.unwrap_or(horizon - 1);
                for t in start..=last {
                    let i = t * rollouts + rollout;
                    paths.push(
                        &row(&self.observations, i, observation_dim),
                        &row(&self.actions, i, action_dim),
                        &row(&self.next_observations, i, observation_dim),
                        self.rewards[i],
                    );
                }
                paths.end_path(end.is_some());
                start = last + 1;
            }
        }
        paths
    }
}
