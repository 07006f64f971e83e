//! Algorithm 1 of the paper, top to bottom.

use crate::MbMpoConfig;
use crate::imagine::{Imagination, Randomness};
use crate::objective::MetaObjective;
use burn::tensor::Device;
use mbmpo_core::collect::{Plan, collect};
use mbmpo_core::{
    Algorithm, Archive, Check, Checked, Environment, Error, IterationMetrics, MetaMetrics,
    Observer, Persist, Phase, PhaseSeconds, Purpose, Result, Streams, Trajectories, UniformPolicy,
};
use mbmpo_models::{Ensemble, FitReport, Predictor};
use mbmpo_policy::advantage::advantages;
use mbmpo_policy::batch::Samples;
use mbmpo_policy::trust_region;
use mbmpo_policy::{GaussianMlp, GaussianPolicy};
use rayon::prelude::*;
use std::time::Instant;

/// Model-based meta-policy optimisation.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let config: mbmpo_meta::MbMpoConfig = unimplemented!();
/// # let environment: Box<dyn mbmpo_core::Environment> = unimplemented!();
/// # let device: burn::tensor::Device = unimplemented!();
/// use mbmpo_core::{Algorithm, Check, Silent};
/// use mbmpo_meta::MbMpo;
///
/// let mut algorithm = MbMpo::new(config.check()?, environment, 1, &device)?;
/// while algorithm.real_steps() < 40_000 {
///     let metrics = algorithm.iterate(&mut Silent)?;
///     println!("{} steps: {}", metrics.real_steps, metrics.return_pre_mean);
/// }
/// let policy = algorithm.policy();
/// # Ok(())
/// # }
/// ```
pub struct MbMpo {
    config: Checked<MbMpoConfig>,
    horizon: usize,
    environment: Box<dyn Environment>,
    device: Device,
    streams: Streams,
    network: GaussianMlp,
    /// θ, the pre-update parameters.
    theta: Vec<f64>,
    /// θ'_k of every task, from the last meta-step.
    adapted: Vec<Vec<f64>>,
    ensemble: Ensemble,
    /// 𝒟
    data: Trajectories,
    iteration: usize,
    real_steps: usize,
    /// Of this iteration, so far.
    log: Log,
    /// The ensemble as functions, between line 4 and the last meta-step.
    models: Option<Predictor>,
}

impl MbMpo {
    /// Line 1: initialises the policy and the models, and leaves the data empty.
    ///
    /// # Errors
    /// When the environment's task uses observations that the environment does not have, or its horizon is out of range.
    pub fn new(
        config: Checked<MbMpoConfig>,
        environment: Box<dyn Environment>,
        seed: u64,
        device: &Device,
    ) -> Result<Self> {
        let (observation_dim, action_dim) = (
            environment.observation_dim(),
            environment.action_space().dim(),
        );
        let required = environment.task().required_observation_dim();
        if required > observation_dim {
            let what = "observation components that the task uses";
            Error::check_shape(what, observation_dim, required)?;
        }
        let mut config = config.into_inner();
        let horizon = *config.horizon.get_or_insert(environment.horizon());
        // what is imagined must fit into memory with this horizon, too
        let config = config.check()?;
        let streams = Streams::new(seed);
        let policy_config = config.part(|config| &config.policy);
        let network = GaussianMlp::new(&policy_config, observation_dim, action_dim);
        let mut weights = streams.stream(Purpose::PolicyWeights, 0, 0);
        let theta = network.initial_parameters(&policy_config, &mut weights);
        let ensemble_config = config.part(|config| &config.ensemble);
        let tasks = config.ensemble.members * config.tasks_per_model;
        Ok(Self {
            ensemble: Ensemble::new(
                ensemble_config,
                observation_dim,
                action_dim,
                &streams,
                device,
            ),
            adapted: vec![theta.clone(); tasks],
            data: Trajectories::new(observation_dim, action_dim),
            device: device.clone(),
            iteration: 0,
            real_steps: 0,
            log: Log::default(),
            models: None,
            config,
            horizon,
            environment,
            streams,
            network,
            theta,
        })
    }

    /// Line 3: real trajectories of the adapted policies (at first: of a uniform random controller), added to 𝒟.
    fn collect_real_trajectories(&mut self) -> Result<()> {
        let plan = |min_steps| Plan {
            horizon: self.horizon,
            min_steps,
            purpose: Purpose::Collect,
            iteration: self.iteration as u64,
        };
        let environment = self.environment.as_ref();
        let paths = if self.iteration == 0 {
            let uniform = UniformPolicy(environment.action_space().clone());
            let policies = vec![uniform; self.adapted.len()];
            let plan = plan(self.config.initial_random_steps);
            collect(environment, &policies, plan, &self.streams)?
        } else {
            let policies = self.adapted_policies();
            let plan = plan(self.config.real_steps_per_iteration);
            collect(environment, &policies, plan, &self.streams)?
        };
        self.real_steps += paths.len();
        self.data.extend(&paths);
        self.data.keep_latest(self.config.buffer_capacity);
        Ok(())
    }

    /// Lines 3 and 4: more data, and models of it.
    fn learn_models(&mut self, observer: &mut dyn Observer) -> Result<()> {
        observer.at(Phase::Collect, 0, 0);
        let clock = Instant::now();
        self.collect_real_trajectories()?;
        self.log.seconds.collect = clock.elapsed().as_secs_f64();

        observer.at(Phase::Fit, 0, 0);
        let clock = Instant::now();
        let iteration = self.iteration as u64;
        self.log.fit = self.ensemble.fit(&self.data, &self.streams, iteration)?;
        self.log.seconds.fit = clock.elapsed().as_secs_f64();
        Ok(())
    }

    /// Lines 5 to 10, once.
    fn meta_step(&mut self, step: usize, models: &Predictor) -> Result<()> {
        let mut seconds = self.log.seconds;
        let tasks = self.adapted.len();
        let alpha = self.config.inner_learning_rate;
        let (network, device) = (&self.network, &self.device);

        // Line 6: imaginary trajectories T_k of π_θ
        let clock = Instant::now();
        let thetas = vec![&self.theta; tasks];
        let pre = self.imagine(models, &thetas, 2 * step)?;
        seconds.imagine += clock.elapsed().as_secs_f64();

        // Line 7: θ'_k = θ + α ∇J_k(θ)
        let clock = Instant::now();
        let inner = self.with_advantages(&pre, |paths, advantages, _| {
            Samples::new(network, device, paths, advantages)
        });
        let adapted = inner
            .par_iter()
            .map(|samples| samples.adapt(&self.theta, alpha))
            .collect::<Result<Vec<_>>>()?;
        seconds.adapt += clock.elapsed().as_secs_f64();

        // Line 8: imaginary trajectories T'_k of π_θ'_k
        let clock = Instant::now();
        let thetas: Vec<_> = adapted.iter().collect();
        let post = self.imagine(models, &thetas, 2 * step + 1)?;
        seconds.imagine += clock.elapsed().as_secs_f64();

        let clock = Instant::now();
        let share = 1.0 / tasks as f64;
        let outer = self.with_advantages(&post, |paths, advantages, k| {
            Samples::with_share(network, device, paths, advantages, share).surrogate(&adapted[k])
        });
        seconds.adapt += clock.elapsed().as_secs_f64();

        // Line 10: the outer step, by TRPO (appendix A.3)
        let clock = Instant::now();
        let samples = inner.into_iter().zip(outer).collect();
        let objective = MetaObjective::new(samples, alpha);
        let trust_region_config = self.config.part(|config| &config.trust_region);
        let outcome = trust_region::step(&trust_region_config, &objective, &self.theta)?;
        seconds.meta_update += clock.elapsed().as_secs_f64();

        let log = &mut self.log;
        log.seconds = seconds;
        log.meta_steps += 1;
        log.imagined_steps += count(&pre) + count(&post);
        log.kl.push(outcome.kl);
        log.gain.push(outcome.gain);
        log.accepted += usize::from(outcome.accepted);
        log.return_pre = mean(&returns(&pre));
        log.return_post = mean(&returns(&post));
        self.theta = outcome.theta;
        self.adapted = adapted;
        Ok(())
    }

    /// Trajectories of every task k, acting with `thetas[k]` in the task's model.
    fn imagine(
        &self,
        models: &Predictor,
        thetas: &[&Vec<f64>],
        phase: usize,
    ) -> Result<Vec<Trajectories>> {
        let imagination = Imagination {
            network: &self.network,
            task: self.environment.task(),
            horizon: self.horizon,
            rollouts: self.config.imagined_rollouts_per_task,
            observation_clip: self.config.observation_clip,
            device: &self.device,
        };
        let stream = |purpose, k: usize| {
            let index = phase * thetas.len() + k;
            self.streams
                .stream(purpose, self.iteration as u64, index as u64)
        };
        thetas
            .par_iter()
            .enumerate()
            .map(|(k, theta)| {
                let theta: Vec<f32> = theta.iter().map(|&x| x as f32).collect();
                let mut environment = self.environment.boxed_clone();
                let randomness = Randomness {
                    starts: stream(Purpose::ImaginedStart, k),
                    actions: stream(Purpose::ImaginedAction, k),
                };
                // Consecutive tasks share a model, as in the authors' sampler.
                let member = k / self.config.tasks_per_model;
                imagination.rollouts(models, member, &theta, environment.as_mut(), randomness)
            })
            .collect()
    }

    /// `make` of every task's paths and their advantages, in parallel.
    fn with_advantages<T: Send>(
        &self,
        tasks: &[Trajectories],
        make: impl Fn(&Trajectories, &[f64], usize) -> T + Sync,
    ) -> Vec<T> {
        let config = self.config.part(|config| &config.advantage);
        tasks
            .par_iter()
            .enumerate()
            .map(|(k, paths)| make(paths, &advantages(&config, paths), k))
            .collect()
    }

    /// Real episodes that only measure: of the pre-update policy (the paper's report, section 6) and of the adapted
    /// policies in turn.
    fn evaluate(&self) -> Result<(Trajectories, Trajectories)> {
        let episodes = self.config.evaluation_episodes;
        let run = |policies: &[GaussianPolicy], half: u64| {
            let plan = Plan {
                horizon: self.horizon,
                min_steps: 0,
                purpose: Purpose::Evaluate,
                iteration: 2 * self.iteration as u64 + half,
            };
            collect(self.environment.as_ref(), policies, plan, &self.streams)
        };
        let pre = vec![self.policy(); episodes];
        let post: Vec<_> = self
            .adapted_policies()
            .into_iter()
            .cycle()
            .take(episodes)
            .collect();
        Ok((run(&pre, 0)?, run(&post, 1)?))
    }

    fn adapted_policies(&self) -> Vec<GaussianPolicy> {
        self.adapted
            .iter()
            .map(|theta| GaussianPolicy::new(self.network.clone(), theta))
            .collect()
    }
}

impl Algorithm for MbMpo {
    type Policy = GaussianPolicy;

    /// Lines 3 and 4, then a meta-step at a time, then the report.
    fn advance(&mut self, observer: &mut dyn Observer) -> Result<Option<IterationMetrics>> {
        let (step, meta_steps) = (self.log.meta_steps, self.config.meta_steps);
        if self.log.fit.epochs.is_empty() {
            self.learn_models(observer)?;
            return Ok(None);
        }
        if step < meta_steps {
            observer.at(Phase::MetaOptimize, step, meta_steps);
            let models = match self.models.take() {
                Some(models) => models,
                None => self.ensemble.predictor()?,
            };
            self.meta_step(step, &models)?;
            self.models = Some(models);
            return Ok(None);
        }
        self.models = None;

        observer.at(Phase::Evaluate, 0, 0);
        let clock = Instant::now();
        let (pre, post) = self.evaluate()?;
        let mut log = std::mem::take(&mut self.log);
        log.seconds.evaluate = clock.elapsed().as_secs_f64();

        let returns = pre.returns();
        let std: Vec<f64> = self.policy().std().into_iter().map(f64::from).collect();
        let metrics = IterationMetrics {
            iteration: self.iteration,
            real_steps: self.real_steps,
            return_pre_mean: mean(&returns),
            return_pre_std: deviation(&returns),
            episode_length_mean: pre.len() as f64 / returns.len() as f64,
            policy_std_mean: mean(&std),
            meta: Some(MetaMetrics {
                return_post_mean: mean(&post.returns()),
                imagined_steps: log.imagined_steps,
                model_train_loss: log.fit.train_loss,
                model_validation_loss: log.fit.validation_loss,
                model_epochs: log.fit.epochs,
                meta_kl: mean(&log.kl),
                meta_surrogate_gain: mean(&log.gain),
                meta_accepted: log.accepted as f64 / meta_steps.max(1) as f64,
                imagined_return_pre: log.return_pre,
                imagined_return_post: log.return_post,
            }),
            seconds: log.seconds,
            ..IterationMetrics::default()
        };
        self.iteration += 1;
        Ok(Some(metrics))
    }

    fn redraw(&mut self) {
        self.streams.redraw();
    }

    fn real_steps(&self) -> usize {
        self.real_steps
    }

    fn policy(&self) -> GaussianPolicy {
        GaussianPolicy::new(self.network.clone(), &self.theta)
    }
}

impl Persist for MbMpo {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        archive.array("theta", &mut self.theta)?;
        for (k, theta) in self.adapted.iter_mut().enumerate() {
            archive.array(&format!("adapted.{k}"), theta)?;
        }
        archive.part("ensemble", &mut self.ensemble)?;
        archive.part("data", &mut self.data)?;
        archive.part("streams", &mut self.streams)?;
        archive.count("iteration", &mut self.iteration)?;
        archive.count("real_steps", &mut self.real_steps)?;
        archive.part("log", &mut self.log)?;
        // follows from the ensemble
        if archive.restoring() {
            self.models = None;
        }
        Ok(())
    }
}

/// What the parts of an iteration leave for its metrics.
#[derive(Debug, Default)]
struct Log {
    seconds: PhaseSeconds,
    /// No member has been trained for an epoch before line 4 is done.
    fit: FitReport,
    meta_steps: usize,
    imagined_steps: usize,
    kl: Vec<f64>,
    gain: Vec<f64>,
    accepted: usize,
    return_pre: f64,
    return_post: f64,
}

impl Persist for Log {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        archive.part("seconds", &mut self.seconds)?;
        archive.part("fit", &mut self.fit)?;
        archive.count("meta_steps", &mut self.meta_steps)?;
        archive.count("imagined_steps", &mut self.imagined_steps)?;
        archive.list("kl", &mut self.kl)?;
        archive.list("gain", &mut self.gain)?;
        archive.count("accepted", &mut self.accepted)?;
        archive.number("return_pre", &mut self.return_pre)?;
        archive.number("return_post", &mut self.return_post)
    }
}

fn count(tasks: &[Trajectories]) -> usize {
    tasks.iter().map(Trajectories::len).sum()
}

fn returns(tasks: &[Trajectories]) -> Vec<f64> {
    tasks.iter().flat_map(Trajectories::returns).collect()
}

/// 0 for no numbers.
fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len().max(1) as f64
}

fn deviation(x: &[f64]) -> f64 {
    let center = mean(x);
    mean(&x.iter().map(|x| (x - center).powi(2)).collect::<Vec<_>>()).sqrt()
}
