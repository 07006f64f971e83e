use crate::collect::{Plan, collect, collect_batch};
use crate::statistics::{deviation, mean};
use crate::{
    Archive, Environment, Error, IterationMetrics, Observer, Persist, Phase, Policy, Purpose,
    Result, Seconds, Streams, Task, Tasked, Trajectories,
};
use std::time::Instant;

/// What every algorithm is given besides its own hyper-parameters.
pub struct Setup {
    /// The real environment.
    pub environment: Box<dyn Environment>,
    /// Reward and termination as data, where the environment has them. Algorithms that imagine need
    /// them.
    pub task: Option<Task>,
    /// Length of real and imagined episodes \[control steps\], at least 1.
    pub horizon: usize,
    /// Real episodes of each report; they are neither counted nor learned from. At least 1.
    pub evaluation_episodes: usize,
    /// Decides every random number.
    pub seed: u64,
}

impl Setup {
    /// Learning in `environment`, for its default horizon, with 20 episodes in each report (the
    /// authors of MB-MPO: one for each of 20 tasks).
    pub fn new(environment: Box<dyn Tasked>, seed: u64) -> Self {
        Self {
            task: Some(environment.task().clone()),
            ..Self::without_task(environment, seed)
        }
    }

    /// The same for an environment whose reward is not data, which is enough for algorithms without
    /// a model.
    pub fn without_task(environment: Box<dyn Environment>, seed: u64) -> Self {
        Self {
            horizon: environment.horizon().max(1),
            environment,
            task: None,
            evaluation_episodes: 20,
            seed,
        }
    }
}

/// The real environment as an algorithm uses it: counts its steps, names its random streams,
/// measures policies and fills in the metrics that all algorithms have in common.
pub struct Experience {
    environment: Box<dyn Environment>,
    horizon: usize,
    evaluation_episodes: usize,
    streams: Streams,
    iteration: usize,
    real_steps: usize,
    seconds: Seconds,
}

/// Upper bound on the batches of one iteration; it spaces the names of their streams apart.
const BATCHES: u64 = 1_000_000;

impl Experience {
    /// A new run: iteration 0, no real steps.
    pub fn new(setup: Setup) -> Self {
        Self {
            environment: setup.environment,
            horizon: setup.horizon.max(1),
            evaluation_episodes: setup.evaluation_episodes.max(1),
            streams: Streams::new(setup.seed),
            iteration: 0,
            real_steps: 0,
            seconds: Seconds::default(),
        }
    }

    /// The real environment.
    pub fn environment(&self) -> &dyn Environment {
        self.environment.as_ref()
    }

    /// Number of components of an observation and of an action.
    pub fn dims(&self) -> (usize, usize) {
        let environment = &self.environment;
        (environment.observation_dim(), environment.action_dim())
    }

    /// Length of an episode \[control steps\].
    pub fn horizon(&self) -> usize {
        self.horizon
    }

    /// Episodes of a report.
    pub fn evaluation_episodes(&self) -> usize {
        self.evaluation_episodes
    }

    /// The random streams of the run.
    pub fn streams(&self) -> &Streams {
        &self.streams
    }

    /// Changes every later random number.
    pub fn reseed(&mut self) {
        self.streams.reseed();
    }

    /// Number of the iteration under way, from 0.
    pub fn iteration(&self) -> usize {
        self.iteration
    }

    /// Real steps so far, without those of reports.
    pub fn real_steps(&self) -> usize {
        self.real_steps
    }

    /// Time of the parts of the iteration under way.
    pub fn seconds_mut(&mut self) -> &mut Seconds {
        &mut self.seconds
    }

    /// Counted episodes: whole rounds of one episode for each policy, until there are at least
    /// `min_steps` transitions (Algorithm 1 of MB-MPO, line 3). Uses the streams
    /// ([`Purpose::Collect`], iteration, episode), so a second call in an iteration draws the same
    /// random numbers; an algorithm uses either this or [`Self::collect_batch`].
    ///
    /// # Errors
    /// When the simulation diverges.
    pub fn collect_rounds<P: Policy>(
        &mut self,
        policies: &[P],
        min_steps: usize,
    ) -> Result<Trajectories> {
        let plan = self.plan(Purpose::Collect, min_steps, self.iteration as u64);
        self.count(|own| collect(own.environment(), policies, plan, &own.streams))
    }

    /// Counted episodes of one policy, until there are at least `min_steps` transitions. `batch`
    /// tells several batches of an iteration apart. Uses the streams ([`Purpose::Collect`],
    /// 1,000,000 · iteration + batch, episode).
    ///
    /// # Errors
    /// When the simulation diverges.
    pub fn collect_batch(
        &mut self,
        policy: &dyn Policy,
        min_steps: usize,
        batch: u64,
    ) -> Result<Trajectories> {
        let iteration = BATCHES * self.iteration as u64 + batch;
        let plan = self.plan(Purpose::Collect, min_steps, iteration);
        self.count(|own| collect_batch(own.environment(), policy, plan, &own.streams))
    }

    /// One episode of each policy, neither counted nor learned from. Uses the streams
    /// ([`Purpose::Evaluate`], `iteration`, episode).
    ///
    /// # Errors
    /// When the simulation diverges.
    pub fn evaluate<P: Policy>(&mut self, policies: &[P], iteration: u64) -> Result<Trajectories> {
        let start = Instant::now();
        let plan = self.plan(Purpose::Evaluate, 0, iteration);
        let paths = collect(self.environment(), policies, plan, &self.streams)?;
        self.seconds.add_since("evaluate", start);
        Ok(paths)
    }

    /// Evaluates `policy`, whose standard deviations are `std` `[action]`, closes the iteration,
    /// and returns the metrics that all algorithms have in common.
    ///
    /// # Errors
    /// When the simulation diverges.
    pub fn report(
        &mut self,
        policy: &dyn Policy,
        std: &[f32],
        observer: &mut dyn Observer,
    ) -> Result<IterationMetrics> {
        observer.at(Phase::Evaluate, 0, 0);
        let policies = vec![policy; self.evaluation_episodes];
        let episodes = self.evaluate(&policies, self.iteration as u64)?;
        Ok(self.close(&episodes, std))
    }

    /// Closes the iteration with the evaluated `episodes` of the reported policy, whose standard
    /// deviations are `std` `[action]`, and returns the metrics that all algorithms have in common.
    pub fn close(&mut self, episodes: &Trajectories, std: &[f32]) -> IterationMetrics {
        let returns = episodes.returns();
        let std: Vec<f64> = std.iter().map(|&x| f64::from(x)).collect();
        let metrics = IterationMetrics {
            iteration: self.iteration,
            real_steps: self.real_steps,
            return_pre_mean: mean(&returns),
            return_pre_std: deviation(&returns),
            episode_length_mean: episodes.len() as f64 / returns.len() as f64,
            policy_std_mean: mean(&std),
            policy_std: std,
            seconds: std::mem::take(&mut self.seconds),
            ..IterationMetrics::default()
        };
        self.iteration += 1;
        metrics
    }

    fn plan(&self, purpose: Purpose, min_steps: usize, iteration: u64) -> Plan {
        Plan {
            horizon: self.horizon,
            min_steps,
            purpose,
            iteration,
        }
    }

    fn count(
        &mut self,
        collect: impl FnOnce(&Self) -> Result<Trajectories>,
    ) -> Result<Trajectories> {
        let start = Instant::now();
        let paths = collect(self)?;
        self.real_steps += paths.len();
        self.seconds.add_since("collect", start);
        Ok(paths)
    }
}

impl Persist for Experience {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        archive.part("streams", &mut self.streams)?;
        archive.count("iteration", &mut self.iteration)?;
        archive.count("real_steps", &mut self.real_steps)?;
        archive.part("seconds", &mut self.seconds)
    }
}

/// Refuses parameters that are not finite; `what` names them in the error.
///
/// # Errors
/// When one is NaN or infinite.
pub fn require_finite(parameters: &[f64], what: &str) -> Result<()> {
    if parameters.iter().all(|x| x.is_finite()) {
        return Ok(());
    }
    let what = what.to_owned();
    Err(Error::NotFinite { what })
}
