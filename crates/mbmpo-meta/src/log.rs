//! What is recorded of an iteration, beside the algorithm: the instruments that show how far the
//! models can be trusted and what the policy makes of them.

use mbmpo_core::statistics::{mean, quantiles};
use mbmpo_core::{Archive, FitReport, NamedMetrics, Persist, Result, Trajectories};
use mbmpo_models::imagination::Bounds;
use mbmpo_policy::GaussianPolicy;
use mbmpo_policy::trust_region::Outcome;

/// Steps ahead for which the models' error is recorded, with the names in the metrics.
pub(crate) const AHEAD: [(usize, &str); 2] = [(1, "model_error_1"), (25, "model_error_25")];

/// The record of the iteration under way.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub fit: FitReport,
    /// Mean return of the collected episodes.
    pub return_collect: f64,
    /// Of the models before this fit on the episodes just collected, see [`AHEAD`]; NaN where there
    /// is none.
    pub model_error: [f64; 2],
    /// Over all meta-steps.
    imagined_steps: usize,
    /// KL divergence of the accepted step of each meta-step.
    kl: Vec<f64>,
    /// Gain of the surrogate of each meta-step.
    gain: Vec<f64>,
    accepted: usize,
    /// Mean return before adaptation in the first meta-step.
    return_first: f64,
    /// Returns before adaptation in the last meta-step: minimum, 5 %, median, 95 %, maximum, mean.
    returns_pre: [f64; 6],
    /// Mean return after adaptation in the last meta-step.
    return_post: f64,
    /// Share of the predictions of the last meta-step before adaptation that were clipped to the
    /// bounds in at least one component.
    clipped: f64,
    /// Of the models on imagined transitions, over that on the newest real ones: in the first and in
    /// the last meta-step.
    disagreement: [f64; 2],
    /// θ of the last meta-step before its update, from which the tasks adapted.
    pub theta: Vec<f64>,
}

impl Log {
    /// Adds a meta-step from `theta`, with its imagined trajectories before and after adaptation.
    pub fn add(
        &mut self,
        theta: &[f64],
        outcome: &Outcome,
        (pre, post): (&[Trajectories], &[Trajectories]),
        disagreement: f64,
        clipped: f64,
    ) {
        let returns = |tasks: &[Trajectories]| -> Vec<f64> {
            tasks.iter().flat_map(Trajectories::returns).collect()
        };
        let steps = pre.iter().chain(post).map(Trajectories::len);
        self.imagined_steps += steps.sum::<usize>();
        let returns_pre = returns(pre);
        let [min, low, median, high, max] = quantiles(&returns_pre, [0.0, 0.05, 0.5, 0.95, 1.0]);
        self.returns_pre = [min, low, median, high, max, mean(&returns_pre)];
        self.return_post = mean(&returns(post));
        if self.kl.is_empty() {
            self.return_first = mean(&returns_pre);
            self.disagreement[0] = disagreement;
        }
        self.disagreement[1] = disagreement;
        self.clipped = clipped;
        self.kl.push(outcome.kl);
        self.gain.push(outcome.gain);
        self.accepted += usize::from(outcome.accepted);
        self.theta = theta.to_vec();
    }

    /// Number of meta-steps so far.
    pub fn meta_steps(&self) -> usize {
        self.kl.len()
    }

    /// The metrics of the iteration, and what the models take: the fit and the imagined steps.
    ///
    /// `policies` are those before and after the last adaptation, which is measured at
    /// `observations` `[rows, observation]`; `return_post` is the real mean return of the latter.
    pub fn metrics(
        self,
        (pre, post): (&GaussianPolicy, &[GaussianPolicy]),
        observations: &[f32],
        return_post: f64,
    ) -> (FitReport, usize, NamedMetrics) {
        let rows = || observations.chunks_exact(pre.network().observation_dim());
        let saturation: Vec<f64> = rows().map(|row| pre.saturation(row)).collect();
        let adaptation = post.iter().map(|post| {
            let kl: Vec<f64> = rows().map(|row| pre.kl_divergence(post, row)).collect();
            mean(&kl)
        });
        let adaptation: Vec<f64> = adaptation.collect();
        let meta_steps = self.meta_steps().max(1) as f64;
        let [min, low, median, high, max, mean_pre] = self.returns_pre;
        let mut own = NamedMetrics::from([
            ("meta_steps", self.meta_steps() as f64),
            // means over the meta-steps: KL divergence and gain of the accepted steps, share of
            // accepted ones
            ("meta_kl", mean(&self.kl)),
            ("meta_surrogate_gain", mean(&self.gain)),
            ("meta_accepted", self.accepted as f64 / meta_steps),
            // imagined returns of the first and of the last meta-step
            ("imagined_return_first", self.return_first),
            ("imagined_return_pre", mean_pre),
            ("imagined_return_post", self.return_post),
            ("imagined_return_min", min),
            ("imagined_return_q05", low),
            ("imagined_return_median", median),
            ("imagined_return_q95", high),
            ("imagined_return_max", max),
            ("imagined_clipped", self.clipped),
            ("disagreement_first", self.disagreement[0]),
            ("disagreement_last", self.disagreement[1]),
            // of the same policies, those after adaptation
            ("imagined_minus_real", self.return_post - return_post),
            ("return_collect_mean", self.return_collect),
            ("saturated_units", mean(&saturation)),
            ("adaptation_kl", mean(&adaptation)),
        ]);
        for ((_, name), error) in AHEAD.iter().zip(self.model_error) {
            if !error.is_nan() {
                own.push(name, error);
            }
        }
        (self.fit, self.imagined_steps, own)
    }
}

/// The share of the predictions in `tasks` with a component at one of its bounds.
pub(crate) fn clipped(tasks: &[Trajectories], bounds: &Bounds) -> f64 {
    let dim = bounds.low.len();
    let at_bounds = |row: &[f32]| {
        let limits = bounds.low.iter().zip(&bounds.high);
        // a component that never varied is always at both
        row.iter()
            .zip(limits)
            .any(|(x, (low, high))| low < high && (x <= low || x >= high))
    };
    let (mut clipped, mut total) = (0, 0);
    for paths in tasks {
        let rows = paths.next_observations.chunks_exact(dim);
        total += rows.len();
        clipped += rows.filter(|row| at_bounds(row)).count();
    }
    clipped as f64 / total.max(1) as f64
}

impl Persist for Log {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        archive.part("fit", &mut self.fit)?;
        archive.number("return_collect", &mut self.return_collect)?;
        archive.array("model_error", &mut self.model_error)?;
        archive.count("imagined_steps", &mut self.imagined_steps)?;
        archive.list("kl", &mut self.kl)?;
        archive.list("gain", &mut self.gain)?;
        archive.count("accepted", &mut self.accepted)?;
        archive.number("return_first", &mut self.return_first)?;
        archive.array("returns_pre", &mut self.returns_pre)?;
        archive.number("return_post", &mut self.return_post)?;
        archive.number("clipped", &mut self.clipped)?;
        archive.array("disagreement", &mut self.disagreement)?;
        archive.list("theta", &mut self.theta)
    }
}
