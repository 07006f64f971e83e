//! An algorithm outside the crates of mbmpo: the cross-entropy method over the parameters of a
//! linear policy (Rubinstein 1999; Mannor et al. 2003). Run directory, checkpoints, exact
//! resumption, metrics and curve come from `mbmpo-experiments`.
//!
//! ```sh
//! cargo run --package mbmpo-experiments --example cross_entropy_method -- runs/cross-entropy
//! ```
//!
//! Stop it with Ctrl-C, or kill it, and repeat the command to go on.

use burn::tensor::Device;
use mbmpo_core::statistics::{deviation, mean};
use mbmpo_core::{
    Algorithm, Archive, Check, Checked, Checker, Error, Experience, IterationMetrics, Observer,
    Persist, Phase, Policy, Purpose, Result, SavedPolicy, Setup, Stream, Trainable,
};
use mbmpo_experiments::{
    AlgorithmChoice, AlgorithmVisitor, DeviceKind, ExperimentConfig, Progress, RunDirectory,
    RunInfo, Safety, Signals, evaluate_run, run,
};
use rand::RngExt;
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The hyper-parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CrossEntropyConfig {
    /// Policies that are tried in an iteration, each in ten episodes.
    pub candidates: usize,
    /// The best of them, to which the distribution is fitted.
    pub elites: usize,
    /// Standard deviation of the parameters in the first iteration.
    pub initial_std: f64,
}

impl Check for CrossEntropyConfig {
    fn inspect(&self, checker: &mut Checker) {
        checker.range("candidates", self.candidates, 2..=100_000);
        checker.range("elites", self.elites, 1..=self.candidates);
        checker.positive("initial_std", self.initial_std);
    }
}

impl AlgorithmChoice for CrossEntropyConfig {
    fn visit<V: AlgorithmVisitor>(&self, visitor: V) -> V::Output {
        visitor.visit::<CrossEntropy>(self)
    }
}

/// a = W s, with the rows of W.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinearPolicy(pub Vec<Vec<f64>>);

impl Policy for LinearPolicy {
    fn act(&self, observation: &[f32], _stream: &mut Stream) -> Vec<f32> {
        let product = |(w, &s): (&f64, &f32)| w * f64::from(s);
        let row = |row: &Vec<f64>| row.iter().zip(observation).map(product).sum::<f64>() as f32;
        self.0.iter().map(row).collect()
    }
}

impl SavedPolicy for LinearPolicy {
    fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|error| Error::Description(error.to_string()))
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|error| Error::Description(error.to_string()))
    }

    fn dims(&self) -> (usize, usize) {
        (self.0.first().map_or(0, Vec::len), self.0.len())
    }
}

/// The cross-entropy method: a normal distribution over parameters is fitted to the best of its
/// samples.
pub struct CrossEntropy {
    config: Checked<CrossEntropyConfig>,
    experience: Experience,
    mean: Vec<f64>,
    std: Vec<f64>,
    /// Mean returns of the candidates of this iteration so far.
    returns: Vec<f64>,
}

impl CrossEntropy {
    fn candidate(&self, number: usize) -> Vec<f64> {
        let (streams, iteration) = (self.experience.streams(), self.experience.iteration());
        let mut stream = streams.stream(Purpose::Own(1), iteration as u64, number as u64);
        let draw = |(mean, std)| mean + std * stream.sample::<f64, _>(StandardNormal);
        self.mean.iter().zip(&self.std).map(draw).collect()
    }

    fn linear(&self, parameters: &[f64]) -> LinearPolicy {
        let rows = parameters.chunks(self.experience.dims().0);
        LinearPolicy(rows.map(<[f64]>::to_vec).collect())
    }
}

impl Algorithm for CrossEntropy {
    type Policy = LinearPolicy;

    /// Tries a candidate; after the last one fits the distribution and reports.
    fn advance(&mut self, observer: &mut dyn Observer) -> Result<Option<IterationMetrics>> {
        let (number, count) = (self.returns.len(), self.config.candidates);
        if number < count {
            observer.at(Phase::Collect, number, count);
            let policies = vec![self.linear(&self.candidate(number)); 10];
            // called again in an iteration, it uses the same streams: the candidates share their
            // random numbers, which makes their comparison less noisy
            let paths = self.experience.collect_rounds(&policies, 0)?;
            self.returns.push(mean(&paths.returns()));
            return Ok(None);
        }
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|&a, &b| self.returns[b].total_cmp(&self.returns[a]));
        let elites = order[..self.config.elites].iter();
        let elites: Vec<_> = elites.map(|&number| self.candidate(number)).collect();
        for i in 0..self.mean.len() {
            let values: Vec<_> = elites.iter().map(|elite| elite[i]).collect();
            (self.mean[i], self.std[i]) = (mean(&values), deviation(&values));
        }
        self.returns.clear();
        let std = vec![0.0; self.experience.dims().1];
        let metrics = self.experience.report(&self.policy(), &std, observer)?;
        let own = [("parameter_std", mean(&self.std))].into();
        Ok(Some(IterationMetrics { own, ..metrics }))
    }

    fn reseed(&mut self) {
        self.experience.reseed();
    }

    fn real_steps(&self) -> usize {
        self.experience.real_steps()
    }

    fn policy(&self) -> LinearPolicy {
        self.linear(&self.mean)
    }
}

impl Persist for CrossEntropy {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        archive.part("experience", &mut self.experience)?;
        archive.array("mean", &mut self.mean)?;
        archive.array("std", &mut self.std)?;
        archive.list("returns", &mut self.returns)
    }
}

impl Trainable for CrossEntropy {
    const NAME: &'static str = "cross-entropy";
    type Config = CrossEntropyConfig;

    fn build(config: Checked<Self::Config>, setup: Setup, _device: &Device) -> Result<Self> {
        let experience = Experience::new(setup);
        let (observation, action) = experience.dims();
        let (mean, returns) = (vec![0.0; observation * action], Vec::new());
        let std = vec![config.initial_std; mean.len()];
        Ok(Self {
            config,
            experience,
            mean,
            std,
            returns,
        })
    }
}

/// The 2D point, in a few seconds.
pub fn experiment() -> mbmpo_experiments::Result<Checked<ExperimentConfig<CrossEntropyConfig>>> {
    let text = "(
        environment: (name: \"point-2d\", variant: Paper),
        real_steps: 60000,
        algorithm: (candidates: 20, elites: 5, initial_std: 1),
    )";
    ExperimentConfig::from_ron(text, "the example")
}

/// Shows a line for each iteration, and listens to Ctrl-C.
struct Lines(Signals);

impl Observer for Lines {
    fn at(&mut self, _phase: Phase, _done: usize, _total: usize) {}
}

impl Progress for Lines {
    fn iteration(&mut self, metrics: &IterationMetrics) {
        let (steps, mean) = (metrics.real_steps, metrics.return_pre_mean);
        println!("{steps:>7} real steps: return {mean:.1}");
    }

    fn stopped(&self) -> Option<i32> {
        self.0.latest()
    }
}

fn main() -> mbmpo_experiments::Result<()> {
    let path = std::env::args().nth(1);
    let config = experiment()?;
    let info = RunInfo::begin("point-2d", "cross-entropy", 1, DeviceKind::Cpu, 2, &[]);
    let mut directory = RunDirectory::resume(path.as_deref().map(Path::new), &config, info)?;
    let mut lines = Lines(Signals::listen()?);
    run(&config, &mut directory, Safety::default(), &mut lines)?;
    let evaluation = evaluate_run::<CrossEntropyConfig>(directory.path(), 1000, 1)?;
    println!(
        "{}: return {:.2}",
        directory.path().display(),
        evaluation.return_mean()
    );
    Ok(())
}
