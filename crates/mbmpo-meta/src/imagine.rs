//! Imagined rollouts: a policy acting in a learned model (lines 6 and 8 of Algorithm 1).

use burn::tensor::{Device, Tensor, TensorData};
use mbmpo_core::task::TensorTransitions;
use mbmpo_core::{
    DynamicsModel, Environment, Error, Result, Stream, Task, Trajectories, host, is_cpu,
};
use mbmpo_policy::cpu::{Activations, CpuMlp};
use mbmpo_policy::{BoundMlp, GaussianMlp};
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
    /// Whole episodes of the policy with parameters `theta` in one `member` of the ensemble: at least
    /// `rollouts * horizon` transitions.
    ///
    /// All rollouts advance together. Where the task or the horizon ends an episode, its rollout starts another one,
    /// until enough transitions belong to complete episodes; the others are dropped (as in the authors' sampler).
    ///
    /// # Errors
    /// When an imagined observation or reward is not finite.
    pub fn rollouts(
        &self,
        model: &impl DynamicsModel,
        member: usize,
        theta: &[f32],
        environment: &mut dyn Environment,
        mut randomness: Randomness,
    ) -> Result<Trajectories> {
        let mut policy = Actor::new(self.network, theta, self.device);
        let std = policy.log_std(self.device).exp();
        let observation_dim = environment.observation_dim();
        let starts: Vec<f32> = (0..self.rollouts)
            .flat_map(|_| environment.reset(&mut randomness.starts))
            .collect();
        let mut observations = self.matrix(starts, observation_dim);
        let mut noise = self.noise(&mut randomness.actions);
        let mut steps: [Vec<Tensor<2>>; 3] = Default::default();
        let mut episodes = Episodes::new(self.rollouts, self.horizon);
        loop {
            let t = steps[0].len() % self.horizon;
            if t == 0 && !steps[0].is_empty() {
                noise = self.noise(&mut randomness.actions);
            }
            let draw = noise.clone().narrow(0, t * self.rollouts, self.rollouts);
            let actions = policy.mean(observations.clone())? + draw * std.clone();
            let next = model
                .predict(member, observations.clone(), actions.clone())
                .clamp(-self.observation_clip, self.observation_clip);
            steps[0].push(observations.clone());
            steps[1].push(actions.clone());
            steps[2].push(next.clone());
            let terminated = self.terminated(observations, actions, next.clone())?;
            let ended = episodes.advance(&terminated);
            if episodes.complete_steps >= self.rollouts * self.horizon {
                break;
            }
            observations = self.restart(next, &ended, environment, &mut randomness.starts)?;
        }
        let [observations, actions, next_observations] = steps.map(|parts| Tensor::cat(parts, 0));
        let batch = TensorTransitions {
            observations,
            actions,
            next_observations,
        };
        let columns = Columns {
            rewards: host(self.task.reward(&batch))?,
            observations: host(batch.observations)?,
            actions: host(batch.actions)?,
            next_observations: host(batch.next_observations)?,
        };
        for (what, numbers) in [
            ("an observation imagined", &columns.next_observations),
            ("a reward imagined", &columns.rewards),
        ] {
            if !numbers.iter().all(|x| x.is_finite()) {
                let what = format!("{what} in ensemble member {member}");
                return Err(Error::NotFinite { what });
            }
        }
        Ok(columns.into_paths(&episodes, observation_dim, self.network.action_dim()))
    }

    /// Noise of the actions for one horizon at once, so that it reaches the device in one transfer:
    /// `[horizon * rollouts, action]`.
    fn noise(&self, stream: &mut Stream) -> Tensor<2> {
        let dim = self.network.action_dim();
        let count = self.horizon * self.rollouts * dim;
        let noise = (0..count).map(|_| stream.sample(StandardNormal)).collect();
        self.matrix(noise, dim)
    }

    /// Which rollouts the task ends with this transition: `[rollouts]`, or nothing where it never ends any.
    fn terminated(&self, s: Tensor<2>, a: Tensor<2>, next: Tensor<2>) -> Result<Vec<bool>> {
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
        for (row, ended) in rows.chunks_exact_mut(dim).zip(ended) {
            if *ended {
                row.copy_from_slice(&environment.reset(starts));
            }
        }
        Ok(self.matrix(rows, dim))
    }

    fn matrix(&self, entries: Vec<f32>, columns: usize) -> Tensor<2> {
        let rows = entries.len() / columns;
        Tensor::from_data(TensorData::new(entries, [rows, columns]), self.device)
    }
}

/// A policy whose mean actions are asked for again and again: on slices on the CPU, on tensors elsewhere.
enum Actor {
    Tensors(Box<BoundMlp>),
    Cpu(CpuMlp, Activations),
}

impl Actor {
    fn new(network: &GaussianMlp, theta: &[f32], device: &Device) -> Self {
        if is_cpu(device) {
            return Self::Cpu(CpuMlp::new(network, theta), Activations::default());
        }
        let theta = Tensor::from_data(TensorData::from(theta), device);
        Self::Tensors(Box::new(network.bind(&theta)))
    }

    /// log σ `[1, action]`.
    fn log_std(&self, device: &Device) -> Tensor<2> {
        match self {
            Self::Tensors(policy) => policy.log_std.clone(),
            Self::Cpu(policy, _) => {
                let log_std = policy.log_std();
                let data = TensorData::new(log_std.to_vec(), [1, log_std.len()]);
                Tensor::from_data(data, device)
            }
        }
    }

    /// Mean actions `[rows, action]` for `observations` `[rows, observation]`.
    fn mean(&mut self, observations: Tensor<2>) -> Result<Tensor<2>> {
        match self {
            Self::Tensors(policy) => Ok(policy.mean(observations)),
            Self::Cpu(policy, activations) => {
                let device = observations.device();
                let [rows, _] = observations.dims();
                let mean = policy.mean(&host(observations)?, activations).to_vec();
                let shape = [rows, policy.log_std().len()];
                Ok(Tensor::from_data(TensorData::new(mean, shape), &device))
            }
        }
    }
}

/// Where the episodes of rollouts that run side by side begin and end.
struct Episodes {
    horizon: usize,
    /// Steps since the present episode of each rollout began.
    ages: Vec<usize>,
    /// Steps so far.
    time: usize,
    /// (rollout, first step, steps, whether the task ended it) of every complete episode, in order of their ends.
    complete: Vec<(usize, usize, usize, bool)>,
    complete_steps: usize,
}

impl Episodes {
    fn new(rollouts: usize, horizon: usize) -> Self {
        Self {
            horizon,
            ages: vec![0; rollouts],
            time: 0,
            complete: Vec::new(),
            complete_steps: 0,
        }
    }

    /// Counts a step of every rollout, `terminated` `[rollouts]` or empty; says which episodes it ended.
    fn advance(&mut self, terminated: &[bool]) -> Vec<bool> {
        self.time += 1;
        let mut all_ended = vec![false; self.ages.len()];
        for (rollout, (age, ended)) in self.ages.iter_mut().zip(&mut all_ended).enumerate() {
            *age += 1;
            let terminated = terminated.get(rollout) == Some(&true);
            *ended = terminated || *age == self.horizon;
            if *ended {
                self.complete
                    .push((rollout, self.time - *age, *age, terminated));
                self.complete_steps += *age;
                *age = 0;
            }
        }
        all_ended
    }
}

/// Transitions of all rollouts, time-major.
struct Columns {
    observations: Vec<f32>,
    actions: Vec<f32>,
    next_observations: Vec<f32>,
    rewards: Vec<f32>,
}

impl Columns {
    fn into_paths(
        self,
        episodes: &Episodes,
        observation_dim: usize,
        action_dim: usize,
    ) -> Trajectories {
        fn row(data: &[f32], i: usize, dim: usize) -> &[f32] {
            &data[i * dim..][..dim]
        }
        let mut paths = Trajectories::new(observation_dim, action_dim);
        for &(rollout, start, steps, terminated) in &episodes.complete {
            for t in start..start + steps {
                let i = t * episodes.ages.len() + rollout;
                paths.push(
                    row(&self.observations, i, observation_dim),
                    row(&self.actions, i, action_dim),
                    row(&self.next_observations, i, observation_dim),
                    self.rewards[i],
                );
            }
            paths.end_path(terminated);
        }
        paths
    }
}
