//! Policies acting in the models: one rollout phase of a meta-step.

use super::workload::{F32, HotLoop, Sample, Workload};
use anyhow::Result;
use mbmpo_core::{Environment, LearnedModel, Purpose, Streams, Task};
use mbmpo_models::Predictor;
use mbmpo_models::imagination::{Bounds, Imagination, Members, Randomness};
use mbmpo_policy::{GaussianActor, GaussianMlp};
use rayon::prelude::*;
use std::time::Instant;

/// The most rollouts that a model predicts together; `mbmpo-models` halves them until they are
/// fewer.
const PIECE: usize = 36;

/// Rollouts side by side in every model, with rewards; one task for each model.
pub struct Rollouts {
    models: Predictor,
    members: usize,
    rollouts: usize,
    horizon: usize,
    bounds: Bounds,
    clip_actions: bool,
    environment: Box<dyn Environment>,
    task: Task,
    network: GaussianMlp,
    theta: Vec<f64>,
    device: burn::tensor::Device,
    streams: Streams,
    phase: u64,
    flop: f64,
    bytes: f64,
}

impl Rollouts {
    /// `rollouts` of the paper's horizon in each of `members` models.
    pub fn new(workload: &Workload, members: usize, rollouts: usize) -> Result<Self> {
        let mut ensemble = workload.ensemble(members)?;
        // the rollouts of an untrained model would diverge
        let transitions = workload.transitions(1);
        ensemble.fit(&transitions, &workload.streams, 0)?;
        let (model, policy) = (workload.model_layers(), workload.policy_layers());
        let horizon = workload.horizon;
        // Bytes of a transition. The model: a core's cache keeps neither the weights of a dynamics
        // network from one step or piece to the next, nor states; it keeps the policy. Observations
        // are written and read, actions and rewards written.
        let (o, a) = (
            workload.environment.observation_dim(),
            workload.network.action_dim(),
        );
        let pieces = rollouts.div_ceil(PIECE).next_power_of_two();
        let weights = model.iter().sum::<f64>() * pieces as f64;
        let bytes = F32 * (weights / rollouts as f64 + (2 * o + a + 1) as f64);
        Ok(Self {
            models: ensemble.freeze()?,
            members,
            rollouts,
            horizon,
            bounds: Bounds::of(
                &transitions,
                workload.config.observation_margin,
                workload.config.observation_clip,
            ),
            clip_actions: workload.config.clip_actions,
            environment: workload.environment.boxed_clone(),
            task: workload.environment.task().clone(),
            network: workload.network.clone(),
            theta: workload.theta.clone(),
            device: workload.device.clone(),
            streams: workload.streams,
            phase: 0,
            flop: 2.0 * model.iter().chain(&policy).sum::<f64>(),
            bytes,
        })
    }
}

impl HotLoop for Rollouts {
    fn unit(&self) -> &'static str {
        "transitions"
    }

    fn run(&mut self) -> Result<Sample> {
        let imagination = Imagination {
            task: &self.task,
            horizon: self.horizon,
            rollouts: self.rollouts,
            bounds: &self.bounds,
            clip_actions: self.clip_actions,
            device: &self.device,
        };
        self.phase += 1;
        let stream = |purpose, k: usize| self.streams.stream(purpose, self.phase, k as u64);
        let clock = Instant::now();
        let imagined = (0..self.members)
            .into_par_iter()
            .map(|k| {
                let mut environment = self.environment.boxed_clone();
                let randomness = Randomness {
                    starts: stream(Purpose::ImaginedStart, k),
                    actions: stream(Purpose::ImaginedAction, k),
                    steps: stream(Purpose::ImaginedStep, k),
                };
                let mut actor =
                    GaussianActor::new(&self.network, &self.theta, self.horizon, &self.device);
                let (member, environment) = (Members::One(k), environment.as_mut());
                imagination.rollouts(&self.models, member, &mut actor, environment, randomness)
            })
            .collect::<mbmpo_core::Result<Vec<_>>>()?;
        let seconds = clock.elapsed().as_secs_f64();
        let transitions: usize = imagined.iter().map(|paths| paths.len()).sum();
        Ok(Sample {
            seconds,
            flop: self.flop * transitions as f64,
            bytes: self.bytes * transitions as f64,
            units: transitions as f64,
            ..Sample::default()
        })
    }
}
