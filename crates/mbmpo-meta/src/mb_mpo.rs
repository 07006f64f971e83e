//! Algorithm 1 of the paper, top to bottom. Start at [`MbMpo::advance`](Algorithm::advance).

use crate::MbMpoConfig;
use crate::log::{AHEAD, Log, clipped};
use crate::objective::MetaObjective;
use burn::tensor::Device;
use mbmpo_core::statistics::mean;
use mbmpo_core::{
    Algorithm, Archive, Check, Checked, Checker, Error, Experience, IterationMetrics, LearnedModel,
    ModelMetrics, Observer, Persist, Phase, Purpose, Result, Setup, Task, Trainable, Trajectories,
    UniformPolicy, clip_action,
};
use mbmpo_models::imagination::{Bounds, Imagination, Members, Randomness};
use mbmpo_models::{Disagreement, Ensemble, prediction_error};
use mbmpo_policy::advantage::advantages;
use mbmpo_policy::batch::Samples;
use mbmpo_policy::trust_region;
use mbmpo_policy::{GaussianActor, GaussianMlp, GaussianPolicy};
use rayon::prelude::*;
use std::time::Instant;

/// Model-based meta-policy optimisation over a learned model, by default an ensemble of networks.
///
/// ```
/// use burn::tensor::Device;
/// use mbmpo_core::{Algorithm, Check, Setup, Silent};
/// use mbmpo_envs::{Variant, make};
/// use mbmpo_meta::{MbMpo, MbMpoConfig};
///
/// let config = MbMpoConfig {
///     initial_random_steps: 200,
///     meta_steps: 1,
///     imagined_rollouts_per_task: 2,
///     ..MbMpoConfig::default()
/// };
/// let setup = Setup::new(make("point-2d", Variant::Paper)?, 1);
/// # let config = MbMpoConfig {
/// #     ensemble: mbmpo_models::EnsembleConfig {
/// #         hidden: vec![8], max_epochs: 1, ..Default::default()
/// #     },
/// #     ..config
/// # };
/// let mut algorithm = MbMpo::new(config.check()?, setup, &Device::flex())?;
/// let metrics = algorithm.iterate(&mut Silent)?;
/// println!("{} steps: {}", metrics.real_steps, metrics.return_pre_mean);
/// let policy = algorithm.policy();
/// # Ok::<(), mbmpo_core::Error>(())
/// ```
pub struct MbMpo<M: LearnedModel = Ensemble> {
    config: Checked<MbMpoConfig>,
    experience: Experience,
    task: Task,
    device: Device,
    network: GaussianMlp,
    /// θ, the pre-update parameters.
    theta: Vec<f64>,
    /// θ'_k of every task, from the last meta-step.
    adapted: Vec<Vec<f64>>,
    model: M,
    /// 𝒟
    data: Trajectories,
    stage: Stage,
    log: Log,
    /// The model as of line 4, from the first meta-step to the last.
    frozen: Option<Frozen<M::Frozen>>,
}

/// As many of the newest real transitions show how the policy and the models behave on real data.
const NEWEST: usize = 1000;

/// Transitions on which the disagreement of the models is measured.
const COMPARED: usize = 500;

/// A model that does not change, with what limits imagination in it.
struct Frozen<F> {
    models: F,
    bounds: Bounds,
    disagreement: Disagreement,
    /// Disagreement on the newest real transitions.
    on_real: f64,
}

/// The next part of an iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Lines 3 and 4.
    Models,
    /// Lines 5 to 10, for the time of this number, from 0.
    Meta(usize),
    /// Evaluation.
    Report,
}

/// The outcome of lines 5 to 10.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MetaStep {
    /// θ was updated.
    Done,
    /// The models are not trusted where θ leads; θ stays.
    Distrusted,
}

impl<M: LearnedModel> Algorithm for MbMpo<M> {
    type Policy = GaussianPolicy;

    /// Lines 3 and 4, then a meta-step at a time, then the report.
    fn advance(&mut self, observer: &mut dyn Observer) -> Result<Option<IterationMetrics>> {
        match self.stage {
            Stage::Models => {
                observer.at(Phase::Collect, 0, 0);
                self.collect_real_trajectories()?;
                observer.at(Phase::Fit, 0, 0);
                self.fit_models()?;
                self.stage = self.meta_stage(0);
            }
            Stage::Meta(step) => {
                observer.at(Phase::Imagine, step, self.config.meta_steps);
                let frozen = match self.frozen.take() {
                    Some(frozen) => frozen,
                    None => self.freeze()?,
                };
                self.stage = match self.meta_step(step, &frozen)? {
                    MetaStep::Done => self.meta_stage(step + 1),
                    MetaStep::Distrusted => Stage::Report,
                };
                self.frozen = Some(frozen);
            }
            Stage::Report => {
                observer.at(Phase::Evaluate, 0, 0);
                self.frozen = None;
                self.stage = Stage::Models;
                return Ok(Some(self.report()?));
            }
        }
        Ok(None)
    }

    fn reseed(&mut self) {
        self.experience.reseed();
    }

    fn real_steps(&self) -> usize {
        self.experience.real_steps()
    }

    fn policy(&self) -> GaussianPolicy {
        GaussianPolicy::new(self.network.clone(), &self.theta)
    }
}

impl MbMpo {
    /// Line 1: initialises the policy and an ensemble; the data are empty.
    ///
    /// # Errors
    /// When the environment has no task, the task uses observations that the environment does not
    /// have, or the horizon is out of range.
    pub fn new(config: Checked<MbMpoConfig>, setup: Setup, device: &Device) -> Result<Self> {
        let environment = &setup.environment;
        let (observation_dim, action_dim) =
            (environment.observation_dim(), environment.action_dim());
        let ensemble = Ensemble::new(
            config.part(|config| &config.ensemble),
            observation_dim,
            action_dim,
            &mbmpo_core::Streams::new(setup.seed),
            device,
        );
        Self::with_model(config, ensemble, setup, device)
    }
}

impl<M: LearnedModel> MbMpo<M> {
    /// Line 1 with another model, which replaces `config.ensemble`.
    ///
    /// # Errors
    /// Those of [`MbMpo::new`].
    pub fn with_model(
        config: Checked<MbMpoConfig>,
        model: M,
        setup: Setup,
        device: &Device,
    ) -> Result<Self> {
        let Some(task) = setup.task.clone() else {
            return Err(Error::Description(format!(
                "{}: imagination needs a task, that is reward and termination as data",
                setup.environment.name()
            )));
        };
        // the limits on memory are those of the model in use
        let mut sizes = MbMpoConfig::clone(&config);
        sizes.ensemble.members = model.members();
        let sizes = sizes.check()?;
        sizes.check_with(|sizes, checker| sizes.inspect_horizon(setup.horizon, checker))?;
        let experience = Experience::new(setup);
        let (observation_dim, action_dim) = experience.dims();
        let required = task.required_observation_dim();
        if required > observation_dim {
            let what = "observation components that the task uses";
            Error::check_shape(what, observation_dim, required)?;
        }
        let policy_config = config.part(|config| &config.policy);
        let network = GaussianMlp::new(&policy_config, observation_dim, action_dim);
        let mut weights = experience.streams().stream(Purpose::PolicyWeights, 0, 0);
        let theta = network.initial_parameters(&policy_config, &mut weights);
        Ok(Self {
            adapted: vec![theta.clone(); model.members() * config.tasks_per_model],
            data: Trajectories::new(observation_dim, action_dim),
            device: device.clone(),
            stage: Stage::Models,
            log: Log::default(),
            frozen: None,
            config,
            experience,
            task,
            network,
            theta,
            model,
        })
    }

    /// Line 3: real trajectories of the adapted policies (at first: of a uniform random
    /// controller), added to 𝒟.
    fn collect_real_trajectories(&mut self) -> Result<()> {
        let mut paths = if self.experience.iteration() == 0 {
            let action_dim = self.experience.environment().action_dim();
            let policies = vec![UniformPolicy { action_dim }; self.adapted.len()];
            let steps = self.config.initial_random_steps;
            self.experience.collect_rounds(&policies, steps)?
        } else {
            let policies = self.adapted_policies();
            let steps = self.config.real_steps_per_iteration;
            self.experience.collect_rounds(&policies, steps)?
        };
        if self.experience.iteration() == 0 && self.config.standardized_start {
            self.network
                .standardize(&mut self.theta, &paths.observations);
        }
        self.log.return_collect = mean(&paths.returns());
        if self.config.clip_actions {
            paths.actions = clip_action(&paths.actions);
        }
        self.log.model_error = self.model_error(&paths)?;
        self.data.extend(&paths);
        self.data.keep_latest(self.config.buffer_capacity);
        Ok(())
    }

    /// The errors of the last models on `paths`, see [`AHEAD`].
    fn model_error(&self, paths: &Trajectories) -> Result<[f64; 2]> {
        let mut errors = [f64::NAN; 2];
        if self.experience.iteration() == 0 {
            return Ok(errors);
        }
        let models = self.model.freeze()?;
        for (error, (ahead, _)) in errors.iter_mut().zip(AHEAD) {
            let iteration = self.experience.iteration() as u64;
            let streams = self.experience.streams();
            let mut noise = streams.stream(Purpose::ModelError, iteration, ahead as u64);
            let measured = prediction_error(&models, paths, ahead, &self.device, &mut noise)?;
            *error = measured.unwrap_or(f64::NAN);
        }
        Ok(errors)
    }

    /// Line 4: models of 𝒟.
    fn fit_models(&mut self) -> Result<()> {
        let start = Instant::now();
        let iteration = self.experience.iteration() as u64;
        self.log.fit = self
            .model
            .fit(&self.data, self.experience.streams(), iteration)?;
        self.experience.seconds_mut().add_since("fit", start);
        Ok(())
    }

    /// The model as of line 4.
    fn freeze(&self) -> Result<Frozen<M::Frozen>> {
        let models = self.model.freeze()?;
        let disagreement = Disagreement::new(&self.data, self.config.clip_actions);
        let newest = self.data.newest(NEWEST);
        let limit = self.config.observation_clip;
        Ok(Frozen {
            on_real: self.disagreement(&disagreement, &models, &[newest], 0)?,
            bounds: Bounds::of(&self.data, self.config.observation_margin, limit),
            models,
            disagreement,
        })
    }

    /// Disagreement of the `models` on `paths`; `use_number` tells the noise of stochastic models
    /// apart.
    fn disagreement(
        &self,
        disagreement: &Disagreement,
        models: &M::Frozen,
        paths: &[Trajectories],
        use_number: usize,
    ) -> Result<f64> {
        let iteration = self.experience.iteration() as u64;
        let streams = self.experience.streams();
        let mut noise = streams.stream(Purpose::Disagreement, iteration, use_number as u64);
        disagreement.measure(models, paths, COMPARED, &self.device, &mut noise)
    }

    /// Lines 5 to 10, once, unless the policy has left the region where the models can be trusted.
    fn meta_step(&mut self, step: usize, frozen: &Frozen<M::Frozen>) -> Result<MetaStep> {
        let tasks = self.adapted.len();
        let alpha = self.config.inner_learning_rate;

        // Line 6: imaginary trajectories T_k of π_θ
        let start = Instant::now();
        let thetas = vec![&self.theta; tasks];
        let pre = self.imagine(frozen, &thetas, 2 * step)?;
        let imagined = self.disagreement(&frozen.disagreement, &frozen.models, &pre, 1 + step)?;
        let disagreement = imagined / frozen.on_real.max(f64::MIN_POSITIVE);
        self.experience.seconds_mut().add_since("imagine", start);
        let clipped = clipped(&pre, &frozen.bounds);
        let trusted = self.config.trust.is_none_or(|limit| disagreement <= limit)
            && self
                .config
                .trusted_clipping
                .is_none_or(|limit| clipped <= limit);
        if step >= self.config.trust_after && !trusted {
            return Ok(MetaStep::Distrusted);
        }

        // Line 7: θ'_k = θ + α ∇J_k(θ)
        let start = Instant::now();
        let inner = self.with_advantages(&pre, |paths, advantages, _| {
            Samples::new(&self.network, &self.device, paths, advantages)
        });
        let adapted = inner
            .par_iter()
            .map(|samples| samples.adapt(&self.theta, alpha))
            .collect::<Result<Vec<_>>>()?;
        self.experience.seconds_mut().add_since("adapt", start);

        // Line 8: imaginary trajectories T'_k of π_θ'_k
        let start = Instant::now();
        let thetas: Vec<_> = adapted.iter().collect();
        let post = self.imagine(frozen, &thetas, 2 * step + 1)?;
        self.experience.seconds_mut().add_since("imagine", start);

        let start = Instant::now();
        let share = 1.0 / tasks as f64;
        let outer = self.with_advantages(&post, |paths, advantages, k| {
            let (network, device) = (&self.network, &self.device);
            Samples::with_share(network, device, paths, advantages, share).surrogate(&adapted[k])
        });
        self.experience.seconds_mut().add_since("adapt", start);

        // Line 10: the outer step, by TRPO (appendix A.3)
        let start = Instant::now();
        let samples = inner.into_iter().zip(outer).collect();
        let objective = MetaObjective::new(samples, alpha);
        let trust_region_config = self.config.part(|config| &config.trust_region);
        let outcome = trust_region::step(&trust_region_config, &objective, &self.theta)?;
        self.experience
            .seconds_mut()
            .add_since("meta_update", start);

        self.log
            .add(&self.theta, &outcome, (&pre, &post), disagreement, clipped);
        self.theta = outcome.theta;
        self.adapted = adapted;
        Ok(MetaStep::Done)
    }

    /// Trajectories of every task k, acting with `thetas[k]` in the model of the task. The streams
    /// are those of (iteration, phase · tasks + k).
    fn imagine(
        &self,
        frozen: &Frozen<M::Frozen>,
        thetas: &[&Vec<f64>],
        phase: usize,
    ) -> Result<Vec<Trajectories>> {
        let imagination = Imagination {
            task: &self.task,
            horizon: self.experience.horizon(),
            rollouts: self.config.imagined_rollouts_per_task,
            bounds: &frozen.bounds,
            clip_actions: self.config.clip_actions,
            device: &self.device,
        };
        let iteration = self.experience.iteration() as u64;
        let stream = |purpose, k: usize| {
            let index = (phase * thetas.len() + k) as u64;
            self.experience.streams().stream(purpose, iteration, index)
        };
        thetas
            .par_iter()
            .enumerate()
            .map(|(k, theta)| {
                let mut environment = self.experience.environment().boxed_clone();
                let horizon = imagination.horizon;
                let mut actor = GaussianActor::new(&self.network, theta, horizon, &self.device);
                let randomness = Randomness {
                    starts: stream(Purpose::ImaginedStart, k),
                    actions: stream(Purpose::ImaginedAction, k),
                    steps: stream(Purpose::ImaginedStep, k),
                };
                // Consecutive tasks share a model, as in the authors' sampler.
                let member = Members::One(k / self.config.tasks_per_model);
                let environment = environment.as_mut();
                imagination.rollouts(&frozen.models, member, &mut actor, environment, randomness)
            })
            .collect()
    }

    /// `make` of the paths of every task and their advantages, in parallel.
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

    /// Evaluates the pre-update policy (the paper's report, section 6), with and without noise, and
    /// the adapted policies in turn, and closes the iteration.
    fn report(&mut self) -> Result<IterationMetrics> {
        let episodes = self.experience.evaluation_episodes();
        let adapted = self.adapted_policies();
        let policy = self.policy();
        let pre = vec![&policy; episodes];
        let without_noise = vec![policy.without_noise(); episodes];
        let post: Vec<_> = adapted.iter().cycle().take(episodes).collect();
        let iteration = 2 * self.experience.iteration() as u64;
        let pre = self.experience.evaluate(&pre, iteration)?;
        let without_noise = self.experience.evaluate(&without_noise, iteration)?;
        let post = self.experience.evaluate(&post, iteration + 1)?;
        let return_post = mean(&post.returns());

        let log = std::mem::take(&mut self.log);
        // without a meta-step, θ is still that from which the tasks adapted
        let before = match log.theta.is_empty() {
            true => policy.clone(),
            false => policy.with_parameters(&log.theta),
        };
        let observations = self.data.newest(NEWEST).observations;
        let (fit, imagined_steps, mut own) =
            log.metrics((&before, &adapted), &observations, return_post);
        own.push("return_without_noise", mean(&without_noise.returns()));
        Ok(IterationMetrics {
            return_post_mean: Some(return_post),
            model: Some(ModelMetrics::new(fit, imagined_steps)),
            own,
            ..self.experience.close(&pre, &policy.std())
        })
    }

    fn adapted_policies(&self) -> Vec<GaussianPolicy> {
        self.adapted
            .iter()
            .map(|theta| GaussianPolicy::new(self.network.clone(), theta))
            .collect()
    }

    /// The stage after `done` meta-steps.
    fn meta_stage(&self, done: usize) -> Stage {
        if done < self.config.meta_steps {
            Stage::Meta(done)
        } else {
            Stage::Report
        }
    }
}

impl Trainable for MbMpo {
    const NAME: &'static str = "mb-mpo";
    type Config = MbMpoConfig;

    fn build(config: Checked<MbMpoConfig>, setup: Setup, device: &Device) -> Result<Self> {
        Self::new(config, setup, device)
    }

    fn inspect_horizon(config: &MbMpoConfig, horizon: usize, checker: &mut Checker) {
        config.inspect_horizon(horizon, checker);
    }
}

impl<M: LearnedModel> Persist for MbMpo<M> {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        archive.part("experience", &mut self.experience)?;
        archive.array("theta", &mut self.theta)?;
        for (k, theta) in self.adapted.iter_mut().enumerate() {
            archive.array(&format!("adapted.{k}"), theta)?;
        }
        archive.part("model", &mut self.model)?;
        archive.part("data", &mut self.data)?;
        archive.part("log", &mut self.log)?;
        let mut stage = match self.stage {
            Stage::Models => 0,
            Stage::Meta(done) => 1 + done,
            Stage::Report => 1 + self.config.meta_steps,
        };
        archive.count("stage", &mut stage)?;
        self.stage = match stage {
            0 => Stage::Models,
            n if n <= 1 + self.config.meta_steps => self.meta_stage(n - 1),
            _ => return Err(archive.refuse("stage", "at most 1 + meta_steps")),
        };
        if archive.restoring() {
            self.frozen = None;
        }
        Ok(())
    }
}
