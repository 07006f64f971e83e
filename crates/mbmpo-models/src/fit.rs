//! Training one member (section 4.1 and appendix A.3 of the paper).

use crate::network::{self, Network};
use crate::normalizer::Standardized;
use crate::{EnsembleConfig, RollingStop, Shuffle};
use burn::tensor::{Device, Tensor, TensorData};
use mbmpo_core::{Error, Result, Stream};
use rand::seq::SliceRandom;

/// Rows that validation runs through a network at once: few enough for the activations to stay in the cache.
const VALIDATION_ROWS: usize = 500;

/// How a member's training went.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemberReport {
    pub train_loss: f64,
    pub validation_loss: f64,
    pub epochs: usize,
}

/// How many of `rows` transitions train; the others validate. Rounded as the authors do, but neither part is empty.
///
/// # Errors
/// With fewer than two transitions.
pub(crate) fn split_point(rows: usize, validation_share: f64) -> Result<usize> {
    if rows < 2 {
        return Err(Error::Shape {
            what: "too few transitions to fit an ensemble to (one to train, one to validate)"
                .to_owned(),
            expected: 2,
            actual: rows,
        });
    }
    let train = (rows as f64 * (1.0 - validation_share)) as usize;
    Ok(train.clamp(1, rows - 1))
}

/// Trains until the validation loss says stop.
///
/// # Errors
/// When the data are too few to split, or a loss is not finite.
pub(crate) fn fit(
    mut network: Network,
    data: &Standardized,
    config: &EnsembleConfig,
    stream: &mut Stream,
    device: &Device,
) -> Result<(Network, MemberReport)> {
    let mut rows: Vec<usize> = (0..data.rows).collect();
    rows.shuffle(stream);
    let (train, validation) = rows.split_at_mut(split_point(data.rows, config.validation_share)?);
    let validation: Vec<_> = validation
        .chunks(VALIDATION_ROWS)
        .map(|rows| data.batch(rows, device))
        .collect();
    let mut order: Vec<usize> = (0..train.len().div_ceil(config.batch_size)).collect();

    let mut stop = RollingStop::new(config.rolling_persistence, config.rolling_start);
    let mut epochs = 0;
    loop {
        match config.shuffle {
            Shuffle::Rows => train.shuffle(stream),
            Shuffle::Minibatches => order.shuffle(stream),
        }
        let mut train_error = Tensor::zeros([1], device);
        for &index in &order {
            let start = index * config.batch_size;
            let batch = &train[start..train.len().min(start + config.batch_size)];
            let (inputs, targets) = data.batch(batch, device);
            // eq. (2), in standardised units and averaged over the components as well
            let scale = 1.0 / (batch.len() * data.target_dim) as f64;
            let (gradients, squared_error) = network.gradient(inputs, targets, scale);
            network = network.step(gradients, config.learning_rate, config.adam_epsilon);
            train_error = train_error + squared_error;
        }
        epochs += 1;

        let layers = network.affine();
        let validation_error = validation
            .iter()
            .map(|(inputs, targets)| {
                let error = network::forward(&layers, inputs.clone()) - targets.clone();
                (error.clone() * error).sum()
            })
            .fold(Tensor::zeros([1], device), |sum, error| sum + error);
        let mean = |error: Tensor<1>, rows: usize, what| -> Result<f64> {
            Ok(finite(error, what)? / (rows * data.target_dim) as f64)
        };
        let report = MemberReport {
            train_loss: mean(train_error, train.len(), "the ensemble's training loss")?,
            validation_loss: mean(
                validation_error,
                data.rows - train.len(),
                "the ensemble's validation loss",
            )?,
            epochs,
        };
        if stop.update(report.validation_loss) || epochs == config.max_epochs {
            return Ok((network, report));
        }
    }
}

impl Standardized {
    /// Inputs and targets of some transitions.
    fn batch(&self, rows: &[usize], device: &Device) -> (Tensor<2>, Tensor<2>) {
        let gather = |table: &[f32], dim: usize| {
            let mut values = Vec::with_capacity(rows.len() * dim);
            for row in rows {
                values.extend_from_slice(&table[row * dim..][..dim]);
            }
            Tensor::from_data(TensorData::new(values, [rows.len(), dim]), device)
        };
        (
            gather(&self.inputs, self.input_dim),
            gather(&self.targets, self.target_dim),
        )
    }
}

fn finite(value: Tensor<1>, what: &str) -> Result<f64> {
    // a value that cannot be read back counts as one that is not there
    let value = value.try_into_scalar::<f32>().unwrap_or(f32::NAN);
    if value.is_finite() {
        Ok(f64::from(value))
    } else {
        Err(Error::NotFinite {
            what: what.to_owned(),
        })
    }
}
