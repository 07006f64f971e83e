//! Sums over a block of samples: the vanilla policy gradient and its derivative, and surrogate and
//! KL divergence as in [`crate::surrogate`].

use super::derivatives::{Deltas, Workspace};
use super::{Activations, CpuMlp, sized};
use std::f32::consts::PI;
use std::sync::Arc;

/// Observations, actions and weights of a few samples.
#[derive(Debug)]
pub(super) struct Block {
    /// `[rows, observation]`
    pub(super) observations: Vec<f32>,
    /// `[rows, action]`
    pub(super) actions: Vec<f32>,
    /// Advantage times the row's share of the objective: `[rows]`.
    pub(super) weights: Vec<f32>,
}

/// A [`Block`] of samples of an old policy, with its statistics.
#[derive(Debug)]
pub(super) struct SurrogateBlock {
    block: Arc<Block>,
    /// Mean action of the old policy `[rows, action]`.
    old_mean: Vec<f32>,
    /// log σ of the old policy `[action]`.
    old_log_std: Vec<f32>,
    /// log π_old(a|s) `[rows]`
    old_log_likelihood: Vec<f32>,
}

impl Block {
    /// Adds ∇_θ Σ_i w_i log π(a_i|s_i) to `gradient` `[parameters]`.
    pub(super) fn policy_gradient(
        &self,
        policy: &CpuMlp,
        workspace: &mut Workspace,
        gradient: &mut [f32],
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

    /// Adds to `product` `[parameters]` the Hessian of Σ_i w_i log π(a_i|s_i) at `policy` times the
    /// parameters in `direction`.
    pub(super) fn hessian_product(
        &self,
        policy: &CpuMlp,
        direction: &CpuMlp,
        workspace: &mut Workspace,
        product: &mut [f32],
    ) {
        let mut gradient = vec![0.0; product.len()];
        self.policy_gradient(policy, workspace, &mut gradient);
        let rows = self.weights.len();
        policy.jvp_with_curvature(direction, &self.observations, workspace);
        // The gradient by the mean is s = w (a - μ)/σ², that by log σ is Σ w ((a - μ)²/σ² - 1).
        // Their derivatives are ds = -w dμ/σ² - 2 s dlogσ and Σ -2 s (dμ + (a - μ) dlogσ).
        let d_log_std = policy.log_std_tangent(direction);
        let mut by_log_std = vec![0.0; d_log_std.len()];
        let dim = d_log_std.len();
        let at = self
            .actions
            .chunks_exact(dim)
            .zip(workspace.activations.mean.chunks_exact(dim))
            .zip(workspace.deltas.by_mean().chunks_exact(dim))
            .zip(workspace.tangents.mean.chunks_exact(dim));
        let tangents = workspace.delta_tangents.by_mean_mut(policy, rows);
        for ((tangent, weight), (((a, mean), s), d_mean)) in
            tangents.chunks_exact_mut(dim).zip(&self.weights).zip(at)
        {
            for j in 0..dim {
                tangent[j] = -weight * d_mean[j] * policy.precision[j] - 2.0 * s[j] * d_log_std[j];
                by_log_std[j] -= 2.0 * s[j] * (d_mean[j] + (a[j] - mean[j]) * d_log_std[j]);
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
        gradient: &mut [f32],
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
    /// log σ `[action]`.
    fn by_outputs(
        &self,
        policy: &CpuMlp,
        weights: &[f32],
        activations: &Activations,
        deltas: &mut Deltas,
    ) -> Vec<f32> {
        let dim = policy.precision.len();
        let mut by_log_std = vec![0.0; dim];
        let by_mean = deltas.by_mean_mut(policy, weights.len());
        let rows = self
            .actions
            .chunks_exact(dim)
            .zip(activations.mean.chunks_exact(dim));
        for ((by_mean, weight), (a, mean)) in by_mean.chunks_exact_mut(dim).zip(weights).zip(rows) {
            for j in 0..dim {
                let difference = a[j] - mean[j];
                by_mean[j] = weight * difference * policy.precision[j];
                by_log_std[j] += by_mean[j] * difference - weight;
            }
        }
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

        let rows = self.block.weights.len() as f32;
        let mut kl = 0.0;
        for (old, mean) in self.rows(&workspace.activations) {
            for ((old, mean), precision) in old.iter().zip(mean).zip(&new.precision) {
                kl += 0.5 * (old - mean) * (old - mean) * precision;
            }
        }
        for (j, old_log_std) in self.old_log_std.iter().enumerate() {
            // The same for all rows: log σ'/σ + σ²/2σ'² - 1/2.
            let change = new.log_std[j] - old_log_std;
            kl += rows * (change + 0.5 * (-2.0 * change).exp_m1());
        }
        [surrogate, kl]
    }

    /// Adds the gradient of the surrogate by θ to `gradient` `[parameters]`.
    pub(super) fn surrogate_gradient(
        &self,
        new: &CpuMlp,
        workspace: &mut Workspace,
        gradient: &mut [f32],
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

    /// Adds the gradient of PPO's clipped surrogate (Schulman et al. 2017, eq. 7) to `gradient`
    /// `[parameters]`: that of the surrogate without the rows where the clipped term is the
    /// minimum.
    pub(super) fn clipped_gradient(
        &self,
        new: &CpuMlp,
        epsilon: f32,
        workspace: &mut Workspace,
        gradient: &mut [f32],
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

    /// Adds the gradient of the KL divergence by θ to `gradient` `[parameters]`.
    pub(super) fn kl_gradient(
        &self,
        new: &CpuMlp,
        workspace: &mut Workspace,
        gradient: &mut [f32],
    ) {
        let Workspace {
            activations,
            deltas,
            ..
        } = workspace;
        new.forward(&self.block.observations, activations);
        let (rows, dim) = (self.block.weights.len(), new.precision.len());
        // 1 - (σ² + (μ - μ')²) / σ'², summed over the rows
        let mut by_log_std: Vec<f32> = new
            .log_std
            .iter()
            .zip(&self.old_log_std)
            .map(|(new, old)| -(rows as f32) * (2.0 * (old - new)).exp_m1())
            .collect();
        let by_mean = deltas.by_mean_mut(new, rows);
        for (by_mean, (old, mean)) in by_mean.chunks_exact_mut(dim).zip(self.rows(activations)) {
            for j in 0..dim {
                let difference = mean[j] - old[j];
                by_mean[j] = difference * new.precision[j];
                by_log_std[j] -= difference * by_mean[j];
            }
        }
        new.vjp(
            &self.block.observations,
            activations,
            deltas,
            &by_log_std,
            gradient,
        );
    }

    /// Adds Σ_i F_i v to `product` `[parameters]`: the Fisher matrix of each row's Gaussian,
    /// Jᵀ diag(1/σ², 2) J with the Jacobian J of (mean, log σ) by θ, times the parameters in
    /// `direction`.
    pub(super) fn fisher_product(
        &self,
        at: &CpuMlp,
        direction: &CpuMlp,
        workspace: &mut Workspace,
        product: &mut [f32],
    ) {
        let observations = &self.block.observations;
        let (rows, dim) = (self.block.weights.len(), at.precision.len());
        let Workspace {
            activations,
            tangents,
            deltas,
            ..
        } = workspace;
        at.forward(observations, activations);
        at.jvp(direction, observations, activations, tangents, |_, _, _| {});
        let by_mean = deltas.by_mean_mut(at, rows);
        for (by_mean, of_mean) in by_mean
            .chunks_exact_mut(dim)
            .zip(tangents.mean.chunks_exact(dim))
        {
            for j in 0..dim {
                by_mean[j] = of_mean[j] * at.precision[j];
            }
        }
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

    /// Old and new mean action of every row.
    fn rows<'a>(&'a self, new: &'a Activations) -> impl Iterator<Item = (&'a [f32], &'a [f32])> {
        let dim = self.old_log_std.len();
        self.old_mean
            .chunks_exact(dim)
            .zip(new.mean.chunks_exact(dim))
    }
}

impl CpuMlp {
    /// log N(a | μ, σ²) of `actions` and `mean` `[rows, action]`, to `to` `[rows]`.
    fn log_likelihood(&self, actions: &[f32], mean: &[f32], to: &mut Vec<f32>) {
        let dim = self.precision.len();
        let constant = self.log_std.iter().sum::<f32>() + 0.5 * dim as f32 * (2.0 * PI).ln();
        let rows = actions.chunks_exact(dim).zip(mean.chunks_exact(dim));
        for (to, (a, mean)) in sized(to, actions.len() / dim).iter_mut().zip(rows) {
            let squares = a
                .iter()
                .zip(mean)
                .zip(&self.precision)
                .map(|((a, mean), precision)| (a - mean) * (a - mean) * precision);
            *to = -0.5 * squares.sum::<f32>() - constant;
        }
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
