use mbmpo_core::{Archive, Persist, Result, Trajectories};
use mbmpo_policy::RunningNormalizer;

/// Rewards in units of the standard deviation of the discounted return so far, clipped (the
/// `VecNormalize` of OpenAI's baselines): the return of step t is r_t + γ times that of step t - 1.
pub(crate) struct RewardScale {
    returns: RunningNormalizer,
    discount: f64,
    clip: f64,
}

impl RewardScale {
    pub(crate) fn new(discount: f64, clip: f64) -> Self {
        Self {
            returns: RunningNormalizer::new(1, clip),
            discount,
            clip,
        }
    }

    /// The present divisor of rewards.
    pub(crate) fn std(&self) -> f64 {
        self.returns.std()[0]
    }

    /// Updates the statistics with `paths`, then scales their rewards.
    pub(crate) fn apply(&mut self, paths: &mut Trajectories) {
        let mut past = Vec::with_capacity(paths.len());
        for path in paths.paths() {
            let mut sum = 0.0;
            for &reward in &paths.rewards[path] {
                sum = f64::from(reward) + self.discount * sum;
                past.push(sum as f32);
            }
        }
        self.returns.update(&past);
        let scale = 1.0 / self.std();
        let clip = self.clip;
        for reward in &mut paths.rewards {
            *reward = (f64::from(*reward) * scale).clamp(-clip, clip) as f32;
        }
    }
}

impl Persist for RewardScale {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        self.returns.persist(archive)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By hand. Fails when the discounted return continues into the next path, when the batch is
    /// scaled before it counts, or when the clip is missing.
    #[test]
    fn rewards_are_scaled_by_the_deviation_of_the_return() {
        let mut paths = Trajectories::new(1, 1);
        for path in [&[1.0, 3.0][..], &[0.0, 0.0, 90.0]] {
            for &reward in path {
                paths.push(&[0.0], &[0.0], &[0.0], reward);
            }
            paths.end_path(false);
        }
        // discounted sums so far: 1, 3.5 and 0, 0, 90
        let sums = [1.0, 3.5, 0.0, 0.0, 90.0];
        let mean = sums.iter().sum::<f64>() / 5.0;
        let variance = sums.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 5.0;
        let mut scale = RewardScale::new(0.5, 2.0);
        scale.apply(&mut paths);
        assert!((scale.std() - variance.sqrt()).abs() < 1e-6);
        let expected = [1.0, 3.0, 0.0, 0.0].map(|reward| (reward / variance.sqrt()) as f32);
        for (scaled, expected) in paths.rewards.iter().zip(expected) {
            assert!((scaled - expected).abs() < 1e-6);
        }
        assert_eq!(paths.rewards[4], 2.0);
    }
}
