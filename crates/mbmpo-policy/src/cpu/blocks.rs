//! Sums over a block of samples: the vanilla policy gradient and its derivative, and surrogate and
//! KL divergence as in [`crate::surrogate`].

use super::derivatives::{Deltas, Gradient, Workspace};
use super::{Activations, CpuMlp};
use mbmpo_kernels::{Panels, vectorized};
use std::f32::consts::PI;
use std::sync::Arc;

/// Observations, actions and weights of a few samples.
#[derive(Debug)]
pub(super) struct Block {
    /// `[rows, observation]`
    pub(super) observations: Panels,
    /// `[rows, action]`
    pub(super) actions: Panels,
    /// Advantage times the row's share of the objective: `[rows]`.
    pub(super) weights: Vec<f32>,
}

/// A [`Block`] of samples of an old policy, with its statistics.
#[derive(Debug)]
pub(super) struct SurrogateBlock {
    block: Arc<Block>,
    /// Mean action of the old policy `[rows, action]`.
    old_mean: Panels,
    /// log σ of the old policy `[action]`.
    old_log_std: Vec<f32>,
    /// log π_old(a|s) `[rows]`
    old_log_likelihood: Vec<f32>,
}

impl Block {
    /// Adds ∇_θ Σ_i w_i log π(a_i|s_i) to `gradient`.
    pub(super) fn policy_gradient(
        &self,
        policy: &CpuMlp,
        workspace: &mut Workspace,
        gradient: &mut Gradient,
    ) {
        policy.forward(&self.observations, &mut workspace.activations);
        self.weighted_gradient(
            policy,
            &self.weights,
            &workspace.activations,
            &mut workspace.deltas,
            gradient,
        );
    }

    /// Adds to `product` the Hessian of Σ_i w_i log π(a_i|s_i) at `policy` times the parameters in
    /// `direction`.
    pub(super) fn hessian_product(
        &self,
        policy: &CpuMlp,
        direction: &CpuMlp,
        workspace: &mut Workspace,
        product: &mut Gradient,
    ) {
        policy.forward(&self.observations, &mut workspace.activations);
        let Workspace {
            activations,
            deltas,
            ..
        } = workspace;
        self.by_outputs(policy, &self.weights, activations, deltas);
        policy.back_propagate(activations, deltas);
        policy.jvp_with_curvature(direction, &self.observations, workspace);
        let Workspace {
            activations,
            deltas,
            tangents,
            delta_tangents,
            ..
        } = workspace;
        // The gradient by the mean is s = w (a - μ)/σ², that by log σ is Σ w ((a - μ)²/σ² - 1).
        // Their derivatives are ds = -w dμ/σ² - 2 s dlogσ and Σ -2 s (dμ + (a - μ) dlogσ).
        let d_log_std = policy.log_std_tangent(direction);
        let d_log_std_row = self.actions.row(&d_log_std);
        let mut by_log_std = vec![0.0; d_log_std_row.len()];
        let rows = self.weights.len();
        let to = delta_tangents.by_mean_mut(policy, rows);
        let by_mean = &*deltas.by_mean_mut(policy, rows);
        for panel in self.actions.panels() {
            let part = |matrix| Panels::data(matrix)[panel.range(rows)].chunks_exact(panel.stride);
            let actions = part(&self.actions).zip(part(&activations.mean));
            let gradients = part(by_mean).zip(part(&tangents.mean));
            let to = to.data_mut()[panel.range(rows)].chunks_exact_mut(panel.stride);
            let to = to.zip(&self.weights);
            for ((tangent, weight), ((a, mean), (s, d_mean))) in to.zip(actions.zip(gradients)) {
                for (j, tangent) in tangent.iter_mut().enumerate() {
                    let (k, d_mean) = (panel.first + j, d_mean[j]);
                    let d_log_std = d_log_std_row[k];
                    *tangent = -weight * d_mean * policy.precision[k] - 2.0 * s[j] * d_log_std;
                    by_log_std[k] -= 2.0 * s[j] * (d_mean + (a[j] - mean[j]) * d_log_std);
                }
            }
        }
        policy.vjp_tangent(
            direction,
            &self.observations,
            workspace,
            &by_log_std,
            product,
        );
    }

    fn weighted_gradient(
        &self,
        policy: &CpuMlp,
        weights: &[f32],
        activations: &Activations,
        deltas: &mut Deltas,
        gradient: &mut Gradient,
    ) {
        let by_log_std = self.by_outputs(policy, weights, activations, deltas);
        policy.vjp(
            &self.observations,
            activations,
            deltas,
            &by_log_std,
            gradient,
        );
    }

    /// Gradients of Σ_i w_i log π(a_i|s_i) with these `weights`: by the mean, to `deltas`, and by
    /// log σ `[action]`, with padding.
    fn by_outputs(
        &self,
        policy: &CpuMlp,
        weights: &[f32],
        activations: &Activations,
        deltas: &mut Deltas,
    ) -> Vec<f32> {
        let mut by_log_std = vec![0.0; policy.precision.len()];
        let by_mean = deltas.by_mean_mut(policy, weights.len());
        vectorized(
            #[inline(always)]
            || {
                for panel in self.actions.panels() {
                    let range = panel.range(weights.len());
                    let precision = &policy.precision[panel.padded()];
                    let sums = &mut by_log_std[panel.padded()];
                    let actions = self.actions.data()[range.clone()].chunks_exact(panel.stride);
                    let means = activations.mean.data()[range.clone()].chunks_exact(panel.stride);
                    let by_mean = by_mean.data_mut()[range].chunks_exact_mut(panel.stride);
                    let rows = by_mean.zip(weights).zip(actions.zip(means));
                    for ((by_mean, weight), (a, mean)) in rows {
                        let terms = by_mean.iter_mut().zip(&mut *sums).zip(precision);
                        for (((by_mean, sum), precision), (a, mean)) in
                            terms.zip(a.iter().zip(mean))
                        {
                            let difference = a - mean;
                            *by_mean = weight * difference * precision;
                            *sum += *by_mean * difference - weight;
                        }
                    }
                }
            },
        );
        by_log_std
    }
}

impl SurrogateBlock {
    /// Samples that `policy` took.
    pub(super) fn new(block: Arc<Block>, policy: &CpuMlp) -> Self {
        let mut activations = Activations::default();
        policy.forward(&block.observations, &mut activations);
        let mut old_log_likelihood = Vec::new();
        policy.log_likelihood(&block.actions, &activations.mean, &mut old_log_likelihood);
        Self {
            old_log_likelihood,
            old_log_std: policy.log_std.clone(),
            old_mean: activations.mean,
            block,
        }
    }

    /// Σ_i w_i π(a_i|s_i) / π_old(a_i|s_i), the surrogate of Schulman et al. 2015, eq. 14, and
    /// Σ_i KL( π_old(·|s_i) ‖ π(·|s_i) ).
    pub(super) fn surrogate_and_kl(&self, new: &CpuMlp, workspace: &mut Workspace) -> [f32; 2] {
        new.forward(&self.block.observations, &mut workspace.activations);
        self.weigh_by_ratio(new, workspace);
        let surrogate = workspace.weights.iter().sum();

        let rows = self.block.weights.len();
        let mut squares = vec![0.0; new.precision.len()];
        vectorized(
            #[inline(always)]
            || {
                let mean = &workspace.activations.mean;
                for panel in mean.panels() {
                    let range = panel.range(rows);
                    let sums = &mut squares[panel.padded()];
                    let old = self.old_mean.data()[range.clone()].chunks_exact(panel.stride);
                    for (old, mean) in old.zip(mean.data()[range].chunks_exact(panel.stride)) {
                        for (sum, (old, mean)) in sums.iter_mut().zip(old.iter().zip(mean)) {
                            *sum += (old - mean) * (old - mean);
                        }
                    }
                }
            },
        );
        let mut kl = 0.0;
        for (j, old_log_std) in self.old_log_std.iter().enumerate() {
            // The same for all rows: log σ'/σ + σ²/2σ'² - 1/2.
            let change = new.log_std[j] - old_log_std;
            kl += 0.5 * squares[j] * new.precision[j];
            kl += rows as f32 * (change + 0.5 * (-2.0 * change).exp_m1());
        }
        [surrogate, kl]
    }

    /// Adds the gradient of the surrogate by θ to `gradient`.
    pub(super) fn surrogate_gradient(
        &self,
        new: &CpuMlp,
        workspace: &mut Workspace,
        gradient: &mut Gradient,
    ) {
        new.forward(&self.block.observations, &mut workspace.activations);
        self.weigh_by_ratio(new, workspace);
        self.block.weighted_gradient(
            new,
            &workspace.weights,
            &workspace.activations,
            &mut workspace.deltas,
            gradient,
        );
    }

    /// Adds the gradient of PPO's clipped surrogate (Schulman et al. 2017, eq. 7) to `gradient`: that
    /// of the surrogate without the rows where the clipped term is the minimum.
    pub(super) fn clipped_gradient(
        &self,
        new: &CpuMlp,
        epsilon: f32,
        workspace: &mut Workspace,
        gradient: &mut Gradient,
    ) {
        new.forward(&self.block.observations, &mut workspace.activations);
        self.weigh_by_ratio(new, workspace);
        for (weighted, weight) in workspace.weights.iter_mut().zip(&self.block.weights) {
            // r w > (1 + ε) w where w > 0, and the same with (1 - ε) where w < 0
            if *weighted - weight > epsilon * weight.abs() {
                *weighted = 0.0;
            }
        }
        self.block.weighted_gradient(
            new,
            &workspace.weights,
            &workspace.activations,
            &mut workspace.deltas,
            gradient,
        );
    }

    /// Adds the gradient of the KL divergence by θ to `gradient`.
    pub(super) fn kl_gradient(
        &self,
        new: &CpuMlp,
        workspace: &mut Workspace,
        gradient: &mut Gradient,
    ) {
        let Workspace {
            activations,
            deltas,
            ..
        } = workspace;
        new.forward(&self.block.observations, activations);
        let rows = self.block.weights.len();
        // 1 - (σ² + (μ - μ')²) / σ'², summed over the rows
        let by_log_std: Vec<f32> = new
            .log_std
            .iter()
            .zip(&self.old_log_std)
            .map(|(new, old)| -(rows as f32) * (2.0 * (old - new)).exp_m1())
            .collect();
        let mut by_log_std = self.old_mean.row(&by_log_std);
        let by_mean = deltas.by_mean_mut(new, rows);
        vectorized(
            #[inline(always)]
            || {
                for panel in self.old_mean.panels() {
                    let range = panel.range(rows);
                    let precision = &new.precision[panel.padded()];
                    let sums = &mut by_log_std[panel.padded()];
                    let old = self.old_mean.data()[range.clone()].chunks_exact(panel.stride);
                    let means = activations.mean.data()[range.clone()].chunks_exact(panel.stride);
                    let by_mean = by_mean.data_mut()[range].chunks_exact_mut(panel.stride);
                    for (by_mean, (old, mean)) in by_mean.zip(old.zip(means)) {
                        let terms = by_mean.iter_mut().zip(&mut *sums).zip(precision);
                        for (((by_mean, sum), precision), (old, mean)) in
                            terms.zip(old.iter().zip(mean))
                        {
                            let difference = mean - old;
                            *by_mean = difference * precision;
                            *sum -= difference * *by_mean;
                        }
                    }
                }
            },
        );
        new.vjp(
            &self.block.observations,
            activations,
            deltas,
            &by_log_std,
            gradient,
        );
    }

    /// Adds Σ_i F_i v to `product`: the Fisher matrix of each row's Gaussian, Jᵀ diag(1/σ², 2) J
    /// with the Jacobian J of (mean, log σ) by θ, times the parameters in `direction`.
    pub(super) fn fisher_product(
        &self,
        at: &CpuMlp,
        direction: &CpuMlp,
        workspace: &mut Workspace,
        product: &mut Gradient,
    ) {
        let observations = &self.block.observations;
        let rows = self.block.weights.len();
        let Workspace {
            activations,
            tangents,
            deltas,
            ..
        } = workspace;
        at.forward(observations, activations);
        at.jvp(direction, observations, activations, tangents, |_, _, _| {});
        let by_mean = deltas.by_mean_mut(at, rows);
        vectorized(
            #[inline(always)]
            || {
                for panel in by_mean.panels() {
                    let range = panel.range(rows);
                    let precision = &at.precision[panel.padded()];
                    let of_mean = tangents.mean.data()[range.clone()].chunks_exact(panel.stride);
                    let by_mean = by_mean.data_mut()[range].chunks_exact_mut(panel.stride);
                    for (by_mean, of_mean) in by_mean.zip(of_mean) {
                        for ((by_mean, x), precision) in
                            by_mean.iter_mut().zip(of_mean).zip(precision)
                        {
                            *by_mean = x * precision;
                        }
                    }
                }
            },
        );
        let mut by_log_std = at.log_std_tangent(direction);
        by_log_std.iter_mut().for_each(|x| *x *= 2.0 * rows as f32);
        at.vjp(observations, activations, deltas, &by_log_std, product);
    }

    /// Writes w_i π(a_i|s_i) / π_old(a_i|s_i) to the weights of `workspace`, whose activations are
    /// those of `new`.
    fn weigh_by_ratio(&self, new: &CpuMlp, workspace: &mut Workspace) {
        let Workspace {
            activations,
            weights,
            ..
        } = workspace;
        new.log_likelihood(&self.block.actions, &activations.mean, weights);
        let old = self.old_log_likelihood.iter().zip(&self.block.weights);
        for (new, (old, weight)) in weights.iter_mut().zip(old) {
            *new = (*new - old).exp() * weight;
        }
    }
}

impl CpuMlp {
    /// log N(a | μ, σ²) of `actions` and `mean` `[rows, action]`, to `to` `[rows]`.
    fn log_likelihood(&self, actions: &Panels, mean: &Panels, to: &mut Vec<f32>) {
        let constant =
            self.log_std.iter().sum::<f32>() + 0.5 * self.log_std.len() as f32 * (2.0 * PI).ln();
        to.clear();
        to.resize(actions.rows(), 0.0);
        vectorized(
            #[inline(always)]
            || {
                for panel in actions.panels() {
                    let range = panel.range(actions.rows());
                    let precision = &self.precision[panel.padded()][..panel.columns];
                    let actions = actions.data()[range.clone()].chunks_exact(panel.stride);
                    let means = mean.data()[range].chunks_exact(panel.stride);
                    for (sum, (a, mean)) in to.iter_mut().zip(actions.zip(means)) {
                        for ((a, mean), precision) in a.iter().zip(mean).zip(precision) {
                            *sum += (a - mean) * (a - mean) * precision;
                        }
                    }
                }
            },
        );
        to.iter_mut().for_each(|sum| *sum = -0.5 * *sum - constant);
    }

    /// Derivative of log σ along `direction`: `[action]`.
    fn log_std_tangent(&self, direction: &CpuMlp) -> Vec<f32> {
        direction
            .raw_log_std
            .iter()
            .zip(&self.free_std)
            .map(|(tangent, free)| tangent * free)
            .collect()
    }
}
