//! Training one member (section 4.1 and appendix A.3 of the paper).

use crate::network::{Batch, Network};
use crate::normalizer::Standardized;
use crate::{EnsembleConfig, RollingStop, Shuffle};
use mbmpo_core::{Error, Result, Stream};
use rand::seq::SliceRandom;

/// The outcome of training one member.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemberReport {
    pub train_loss: f64,
    pub validation_loss: f64,
    pub epochs: usize,
}

/// The number of `rows` transitions in the training split; the others validate. Rounded as in the
/// authors' code, but neither split is empty.
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

/// Trains a member until the validation loss stops it (see [`RollingStop`]).
///
/// # Errors
/// When the data are too few to split, or a loss is not finite.
pub(crate) fn fit(
    member: usize,
    mut network: Box<dyn Network>,
    data: &Standardized,
    config: &EnsembleConfig,
    stream: &mut Stream,
) -> Result<(Box<dyn Network>, MemberReport)> {
    let mut rows: Vec<usize> = (0..data.rows).collect();
    rows.shuffle(stream);
    let (train, validation) = rows.split_at_mut(split_point(data.rows, config.validation_share)?);
    let mut held_out = Batch::default();
    data.gather(validation, &mut held_out);
    let mut order: Vec<usize> = (0..train.len().div_ceil(config.batch_size)).collect();

    let mut stop = RollingStop::new(config.rolling_persistence, config.rolling_start);
    let mut epochs = 0;
    let mut batch = Batch::default();
    loop {
        match config.shuffle {
            Shuffle::Rows => train.shuffle(stream),
            Shuffle::Minibatches => order.shuffle(stream),
        }
        for &index in &order {
            let start = index * config.batch_size;
            let rows = &train[start..train.len().min(start + config.batch_size)];
            data.gather(rows, &mut batch);
            network.step(&batch, config.learning_rate, config.adam_epsilon);
        }
        epochs += 1;

        let mean = |squared_error: f64, rows: usize, what: &str| {
            let mean = squared_error / (rows * data.target_dim) as f64;
            let what = format!("the {what} loss of ensemble member {member}");
            mean.is_finite()
                .then_some(mean)
                .ok_or(Error::NotFinite { what })
        };
        let report = MemberReport {
            train_loss: mean(network.take_squared_error(), train.len(), "training")?,
            validation_loss: mean(
                network.squared_error(&held_out),
                validation.len(),
                "validation",
            )?,
            epochs,
        };
        if stop.update(report.validation_loss) || epochs == config.max_epochs {
            return Ok((network, report));
        }
    }
}

impl Standardized {
    /// Copies inputs and targets of the transitions `rows` into `batch`.
    fn gather(&self, rows: &[usize], batch: &mut Batch) {
        let gather = |table: &[f32], dim: usize, out: &mut Vec<f32>| {
            out.clear();
            for row in rows {
                out.extend_from_slice(&table[row * dim..][..dim]);
            }
        };
        gather(&self.inputs, self.input_dim, &mut batch.inputs);
        gather(&self.targets, self.target_dim, &mut batch.targets);
    }
}
