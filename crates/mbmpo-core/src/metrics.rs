use crate::{Archive, Persist, Result};
use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

/// One line of `metrics.jsonl`.
///
/// Everything but [`seconds`](Self::seconds) and [`wall_seconds`](Self::wall_seconds) is a function
/// of the configuration and the seed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct IterationMetrics {
    /// Counts from 0.
    pub iteration: usize,
    /// Real environment steps used so far, including those of this iteration.
    pub real_steps: usize,
    /// Mean return of the reported policy ([`Algorithm::policy`](crate::Algorithm::policy)) at the
    /// end of the iteration, over real episodes that are neither counted nor learned from.
    pub return_pre_mean: f64,
    /// Standard deviation (population) over those episodes.
    pub return_pre_std: f64,
    /// Mean length of those episodes \[control steps\].
    pub episode_length_mean: f64,
    /// Mean standard deviation of the action components; 0 for a deterministic policy.
    pub policy_std_mean: f64,
    /// Standard deviation of every action component; empty in lines of older versions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policy_std: Vec<f64>,
    /// Mean return of the policies that collect the next data, where they differ from the reported
    /// one (the post-update policies of a meta-learner).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub return_post_mean: Option<f64>,
    /// For algorithms that learn a model.
    #[serde(flatten)]
    pub model: Option<ModelMetrics>,
    /// For algorithms that learn from real data alone.
    #[serde(flatten)]
    pub model_free: Option<ModelFreeMetrics>,
    /// Metrics of one algorithm only, by name.
    #[serde(flatten)]
    pub own: NamedMetrics,
    /// Wall-clock time of the parts of the iteration \[s\].
    pub seconds: Seconds,
    /// Since the run began \[s\]; filled in by the caller of the algorithm.
    pub wall_seconds: f64,
}

/// The outcome of a fit, one entry for each member.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FitReport {
    /// Training loss of the last epoch, averaged over its gradient steps (standardised units).
    pub train_loss: Vec<f64>,
    /// Loss on the held-out transitions after the last epoch (standardised units).
    pub validation_loss: Vec<f64>,
    /// Passes over the training split.
    pub epochs: Vec<usize>,
}

impl Persist for FitReport {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        archive.list("train_loss", &mut self.train_loss)?;
        archive.list("validation_loss", &mut self.validation_loss)?;
        archive.counts("epochs", &mut self.epochs)
    }
}

/// Metrics of algorithms that learn a model of the dynamics.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ModelMetrics {
    /// Imagined transitions of this iteration.
    pub imagined_steps: usize,
    /// Training loss of each member's last epoch (standardised units).
    pub model_train_loss: Vec<f64>,
    /// Validation loss after each member's last epoch (standardised units).
    pub model_validation_loss: Vec<f64>,
    /// Epochs each member was trained for.
    pub model_epochs: Vec<usize>,
}

impl ModelMetrics {
    /// The metrics of a fit and of the imagination that followed it.
    pub fn new(fit: FitReport, imagined_steps: usize) -> Self {
        Self {
            imagined_steps,
            model_train_loss: fit.train_loss,
            model_validation_loss: fit.validation_loss,
            model_epochs: fit.epochs,
        }
    }
}

/// Metrics of algorithms that learn from real data alone.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ModelFreeMetrics {
    /// Mean return of the episodes that this iteration learned from, exploration included.
    pub return_collect_mean: f64,
    /// Steps of the policy's parameters in this iteration.
    pub gradient_steps: usize,
    /// Mean KL divergence of the new policy from the one that took the samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_kl: Option<f64>,
    /// Mean squared error of the critic on its training data, in the units of its targets; the
    /// algorithm says at which of its steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub critic_loss: Option<f64>,
}

/// Numbers by name, in the order in which they were added. In JSON they are fields of the
/// surrounding object, so the names must be unique and differ from those of the other metrics.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct NamedMetrics(Vec<(String, f64)>);

impl NamedMetrics {
    /// Adds a number.
    pub fn push(&mut self, name: &str, value: f64) {
        self.0.push((name.to_owned(), value));
    }

    /// The number of that name.
    pub fn get(&self, name: &str) -> Option<f64> {
        let mut entries = self.0.iter();
        entries
            .find(|(own, _)| own == name)
            .map(|(_, value)| *value)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0.iter().map(|(name, value)| (name.as_str(), *value))
    }
}

impl<const N: usize> From<[(&str, f64); N]> for NamedMetrics {
    fn from(entries: [(&str, f64); N]) -> Self {
        Self(
            entries
                .map(|(name, value)| (name.to_owned(), value))
                .to_vec(),
        )
    }
}

impl Serialize for NamedMetrics {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for NamedMetrics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = NamedMetrics;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("numbers by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NamedMetrics, A::Error> {
                let mut entries = Vec::new();
                // JSON has no NaN and no infinity: they were written as null
                while let Some((name, value)) = map.next_entry::<_, Option<f64>>()? {
                    entries.push((name, value.unwrap_or(f64::NAN)));
                }
                Ok(NamedMetrics(entries))
            }
        }

        deserializer.deserialize_map(Entries)
    }
}

/// Wall-clock time of the parts of an iteration by name \[s\]: `collect`, `fit`, `imagine`,
/// `update`, `evaluate`, and others that an algorithm measures.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seconds(BTreeMap<String, f64>);

impl Seconds {
    /// Adds the time since `start` to the part of that name.
    pub fn add_since(&mut self, part: &str, start: Instant) {
        *self.0.entry(part.to_owned()).or_default() += start.elapsed().as_secs_f64();
    }

    /// The time of a part; 0 where it was not measured.
    pub fn get(&self, part: &str) -> f64 {
        self.0.get(part).copied().unwrap_or_default()
    }

    /// All parts, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.0
            .iter()
            .map(|(part, seconds)| (part.as_str(), *seconds))
    }
}

impl Persist for Seconds {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        archive.named(&mut self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    /// Fails when a line loses a number, or when metrics of one kind of algorithm appear on lines of
    /// another.
    #[test]
    fn metrics_round_trip_through_json() {
        let bare = IterationMetrics::default();
        let mut seconds = Seconds::default();
        seconds.add_since("fit", Instant::now());
        let with_model = IterationMetrics {
            return_post_mean: Some(2.5),
            model: Some(ModelMetrics {
                imagined_steps: 7,
                model_train_loss: vec![0.5],
                ..ModelMetrics::default()
            }),
            own: [("meta_kl", 0.25), ("a", 1.0)].into(),
            seconds,
            ..bare.clone()
        };
        let model_free = IterationMetrics {
            model_free: Some(ModelFreeMetrics {
                gradient_steps: 3,
                ..ModelFreeMetrics::default()
            }),
            ..bare.clone()
        };
        for metrics in [bare, with_model, model_free] {
            let text = serde_json::to_string(&metrics).unwrap();
            assert_eq!(
                serde_json::from_str::<IterationMetrics>(&text).unwrap(),
                metrics
            );
        }
    }

    /// Fails when a line with a number that is not finite cannot be read, and with it the whole run.
    #[test]
    fn a_named_metric_may_be_nan() {
        let metrics = IterationMetrics {
            own: [("spread", f64::NAN)].into(),
            ..IterationMetrics::default()
        };
        let text = serde_json::to_string(&metrics).unwrap();
        let read: IterationMetrics = serde_json::from_str(&text).unwrap();
        assert!(read.own.get("spread").unwrap().is_nan());
    }
}
