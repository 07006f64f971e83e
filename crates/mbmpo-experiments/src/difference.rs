//! Comparison of two configurations.

use crate::text::plain_path;
use crate::{AlgorithmChoice, Error, ExperimentConfig, Result};
use serde_json::Value;

/// The configuration without the budget of real steps, which changes no number of the iterations
/// before its end.
pub(crate) fn without_budget<C: Clone>(config: &ExperimentConfig<C>) -> ExperimentConfig<C> {
    ExperimentConfig {
        real_steps: 1,
        ..config.clone()
    }
}

/// The first value in which two configurations differ, as `KEY there is A, here B`. The budget of
/// real steps may differ.
pub(crate) fn difference<C: AlgorithmChoice>(
    there: &ExperimentConfig<C>,
    here: &ExperimentConfig<C>,
) -> Result<Option<String>> {
    let tree = |config: &ExperimentConfig<C>| {
        serde_json::to_value(without_budget(config))
            .map_err(|error| Error::System(error.to_string()))
    };
    Ok(find("", &tree(there)?, &tree(here)?))
}

fn find(path: &str, there: &Value, here: &Value) -> Option<String> {
    if let (Value::Object(there), Value::Object(here)) = (there, here) {
        let keys = there
            .keys()
            .chain(here.keys().filter(|key| !there.contains_key(*key)));
        let entry = |tree: &serde_json::Map<String, Value>, key| {
            tree.get(key).cloned().unwrap_or(Value::Null)
        };
        return keys.into_iter().find_map(|key| {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            find(&path, &entry(there, key), &entry(here, key))
        });
    }
    (there != here).then(|| format!("`{}` there is {there}, here {here}", plain_path(path)))
}
