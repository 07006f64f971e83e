//! How far the members of a model differ in their predictions.

use burn::tensor::{Device, Tensor, TensorData};
use mbmpo_core::statistics::{deviation, mean};
use mbmpo_core::{DynamicsModel, Result, Stream, Trajectories, clip_action, host};

/// Disagreement of the members of a model, in units of how much observations change in real data.
///
/// Members that were fitted to different splits of the same data agree where the data are dense, and
/// differ where they extrapolate. So disagreement tells how far a policy has left the data, without
/// a real step (a sign of uncertainty as in Lakshminarayanan et al. 2017).
#[derive(Debug, Clone)]
pub struct Disagreement {
    /// Standard deviation of the change of every component in one step; 0 for one that never
    /// changes in another way.
    change: Vec<f64>,
    clip_actions: bool,
}

impl Disagreement {
    /// In units of the changes in `data`. With `clip_actions` the models see actions clipped to
    /// `[-1, 1]`.
    pub fn new(data: &Trajectories, clip_actions: bool) -> Self {
        let dim = data.observation_dim;
        let changes = |i: usize| {
            let pairs = data.observations.iter().zip(&data.next_observations);
            let own = pairs.skip(i).step_by(dim);
            own.map(|(s, next)| f64::from(next - s)).collect::<Vec<_>>()
        };
        Self {
            change: (0..dim).map(|i| deviation(&changes(i))).collect(),
            clip_actions,
        }
    }

    /// Disagreement on `count` transitions spread evenly over all `paths`: for each of them the
    /// root mean square, over components, of the deviation of the members' predictions in these
    /// units; then the mean. 0 for a model with one member.
    ///
    /// # Errors
    /// When the device fails.
    pub fn measure(
        &self,
        model: &impl DynamicsModel,
        paths: &[Trajectories],
        count: usize,
        device: &Device,
        noise: &mut Stream,
    ) -> Result<f64> {
        let total: usize = paths.iter().map(Trajectories::len).sum();
        let stride = total.div_ceil(count.max(1)).max(1);
        let (mut observations, mut actions) = (Vec::new(), Vec::new());
        for paths in paths {
            for i in (0..paths.len()).step_by(stride) {
                observations.extend_from_slice(paths.observation(i));
                actions.extend_from_slice(paths.action(i));
            }
        }
        if self.clip_actions {
            actions = clip_action(&actions);
        }
        let dim = self.change.len();
        let rows = observations.len() / dim.max(1);
        if rows == 0 {
            return Ok(0.0);
        }
        let matrix = |entries: &[f32]| {
            let shape = [rows, entries.len() / rows];
            Tensor::<2>::from_data(TensorData::new(entries.to_vec(), shape), device)
        };
        let (observations, actions) = (matrix(&observations), matrix(&actions));
        let predictions = (0..model.members())
            .map(|member| host(model.step(member, observations.clone(), actions.clone(), noise)?))
            .collect::<Result<Vec<_>>>()?;
        let of_row = |row: usize| {
            let squares: Vec<f64> = (0..dim)
                .filter(|&i| self.change[i] > 0.0)
                .map(|i| {
                    let own = predictions.iter().map(|all| f64::from(all[row * dim + i]));
                    (deviation(&own.collect::<Vec<_>>()) / self.change[i]).powi(2)
                })
                .collect();
            mean(&squares).sqrt()
        };
        Ok(mean(&(0..rows).map(of_row).collect::<Vec<_>>()))
    }
}
