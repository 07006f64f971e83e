//! How well a model predicts trajectories that it was not fitted to.

use burn::tensor::{Device, Tensor, TensorData};
use mbmpo_core::{DynamicsModel, Result, Stream, Trajectories, host};

/// Error of the model's predictions `ahead` steps into the future, relative to that of predicting
/// that nothing changes: 0 is perfect, 1 no better than that.
///
/// From every `ahead`-th observation of an episode the model follows the actions that were taken
/// there, and its last observation is compared with the real one. The squared error of each
/// component is divided by the mean square of its real change; the result is the mean over
/// components and members, without components that never change. `None` where no episode is that
/// long or nothing changes.
///
/// # Errors
/// When the device fails.
pub fn prediction_error(
    model: &impl DynamicsModel,
    paths: &Trajectories,
    ahead: usize,
    device: &Device,
    noise: &mut Stream,
) -> Result<Option<f64>> {
    let ahead = ahead.max(1);
    let starts: Vec<usize> = paths
        .paths()
        .flat_map(|path| {
            path.clone()
                .step_by(ahead)
                .filter(move |t| t + ahead <= path.end)
        })
        .collect();
    let dim = paths.observation_dim;
    let matrix = |row: &dyn Fn(usize) -> Vec<f32>, columns: usize| {
        let entries: Vec<f32> = starts.iter().flat_map(|&t| row(t)).collect();
        Tensor::<2>::from_data(TensorData::new(entries, [starts.len(), columns]), device)
    };
    let changes = |t: usize, i: usize| {
        let last = paths.next_observation(t + ahead - 1)[i];
        f64::from(last) - f64::from(paths.observation(t)[i])
    };
    let squares: Vec<f64> = (0..dim)
        .map(|i| starts.iter().map(|&t| changes(t, i).powi(2)).sum())
        .collect();
    let changing = squares.iter().filter(|&&square| square > 0.0).count();
    if changing == 0 {
        return Ok(None);
    }
    let mut total = 0.0;
    for member in 0..model.members() {
        let mut predicted = matrix(&|t| paths.observation(t).to_vec(), dim);
        for step in 0..ahead {
            let actions = matrix(&|t| paths.action(t + step).to_vec(), paths.action_dim);
            predicted = model.step(member, predicted, actions, noise)?;
        }
        for (row, &t) in host(predicted)?.chunks_exact(dim).zip(&starts) {
            let real = paths.next_observation(t + ahead - 1);
            for (i, square) in squares
                .iter()
                .enumerate()
                .filter(|(_, square)| **square > 0.0)
            {
                total += (f64::from(row[i]) - f64::from(real[i])).powi(2) / square;
            }
        }
    }
    Ok(Some(total / (changing * model.members()) as f64))
}
