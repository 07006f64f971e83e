//! Changing single values of a configuration, as `--set key.path=value` does.

use crate::text::{plain_path, plain_types};
use crate::{Error, ExperimentConfig, Result, nearest};
use serde_json::Value;

/// What is below has maps from names, which may have dots: `mass.torso` is that of the torso, whether it was there or not.
const MAPS: &str = "environment.physics.";

/// `config` with every `key.path=value` applied, in order. A value is written as in RON: `3`, `1e-3`, `[128, 128]`,
/// `true`, `Authors`. A leading `env.` stands for `environment.`.
///
/// # Errors
/// When a text has no `=`, a key does not exist, or a value is of the wrong type; ranges are not checked.
pub fn apply(config: ExperimentConfig, overrides: &[String]) -> Result<ExperimentConfig> {
    overrides.iter().try_fold(config, |config, text| {
        apply_one(&config, text).map_err(|message| Error::Override {
            text: text.clone(),
            message,
        })
    })
}

fn apply_one(config: &ExperimentConfig, text: &str) -> Result<ExperimentConfig, String> {
    let (path, value) = text
        .split_once('=')
        .ok_or("expected key.path=value, for example `algorithm.horizon=100`")?;
    let (path, value) = (path.trim(), parse_value(value.trim())?);
    let path = match path.strip_prefix("env.") {
        Some(rest) => format!("environment.{rest}"),
        None => path.to_owned(),
    };
    let mut tree = serde_json::to_value(config).map_err(|e| e.to_string())?;
    // left out where it changes nothing
    let physics = &config.environment.physics;
    tree["environment"]["physics"] = serde_json::to_value(physics).map_err(|e| e.to_string())?;
    *find(&mut tree, &path)? = value;
    serde_path_to_error::deserialize(&tree).map_err(|error| {
        let key = plain_path(&error.path().to_string());
        format!("`{key}`: {}", plain_types(&error.into_inner().to_string()))
    })
}

fn parse_value(text: &str) -> Result<Value, String> {
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    if text == "None" {
        return Ok(Value::Null);
    }
    let bare = text.starts_with(char::is_alphabetic) && text.chars().all(word);
    if bare && text != "true" && text != "false" {
        return Ok(Value::String(text.to_owned()));
    }
    ron::from_str(text).map_err(|error| format!("cannot read the value `{text}`: {}", error.code))
}

fn find<'a>(tree: &'a mut Value, path: &str) -> Result<&'a mut Value, String> {
    let known = paths(tree);
    let mut node = tree;
    let mut parents = Vec::new();
    let in_map = path.starts_with(MAPS);
    for segment in path.splitn(if in_map { 4 } else { usize::MAX }, '.') {
        if in_map
            && parents.len() == 3
            && let Value::Object(map) = &mut *node
        {
            map.entry(segment).or_insert(Value::Null);
        }
        let Some(child) = inside(node).get_mut(segment) else {
            return Err(unknown(path, &parents, segment, &known));
        };
        node = child;
        parents.push(segment);
    }
    Ok(node)
}

/// What is inside an enum's variant: its name is not part of a path.
fn inside(node: &mut Value) -> &mut Value {
    let variant = variant(node).map(str::to_owned);
    match variant {
        Some(name) => &mut node[name],
        None => node,
    }
}

/// The name of the variant, where the node is one with fields.
fn variant(node: &Value) -> Option<&str> {
    let entries = node.as_object().filter(|entries| entries.len() == 1)?;
    let (name, inner) = entries.iter().next()?;
    (name.starts_with(char::is_uppercase) && inner.is_object()).then_some(name)
}

fn unknown(path: &str, parents: &[&str], segment: &str, known: &[String]) -> String {
    let place = match parents {
        [] => "the configuration".to_owned(),
        parents => format!("`{}`", parents.join(".")),
    };
    let prefix: String = parents.iter().map(|parent| format!("{parent}.")).collect();
    let siblings = || {
        let below = known.iter().filter_map(|key| key.strip_prefix(&prefix));
        below.filter(|rest| !rest.contains('.'))
    };
    // the same last segment elsewhere, else a similar name in the same place, else one anywhere
    let last = |key: &'_ str| key.rsplit('.').next().map(str::to_owned);
    let wanted = last(path);
    let elsewhere: Vec<_> = known.iter().filter(|key| last(key) == wanted).collect();
    let guess = match elsewhere.as_slice() {
        [] => nearest(segment, siblings())
            .map(|name| format!("{prefix}{name}"))
            .or_else(|| {
                let names = known
                    .iter()
                    .map(|key| key.rsplit('.').next().unwrap_or(key));
                let name = nearest(segment, names.clone())
                    .or_else(|| nearest(&wanted.unwrap_or_default(), names))?;
                known
                    .iter()
                    .find(|key| key.rsplit('.').next() == Some(name))
                    .cloned()
            }),
        keys => Some(
            keys.iter()
                .map(|key| key.as_str())
                .collect::<Vec<_>>()
                .join("` or `"),
        ),
    };
    let mut message = format!("there is no key `{segment}` in {place}");
    match guess {
        Some(guess) => message += &format!(", did you mean `{guess}`?"),
        None => {
            let there: Vec<_> = siblings().map(|key| format!("`{key}`")).collect();
            if !there.is_empty() {
                message += &format!("; there are {}", there.join(", "));
            }
        }
    }
    message
}

/// All keys of a tree of objects, by their full path.
fn paths(tree: &Value) -> Vec<String> {
    let tree = variant(tree).map_or(tree, |name| &tree[name]);
    let Value::Object(entries) = tree else {
        return Vec::new();
    };
    entries
        .iter()
        .flat_map(|(key, value)| {
            let below = paths(value)
                .into_iter()
                .map(move |path| format!("{key}.{path}"));
            std::iter::once(key.clone()).chain(below)
        })
        .collect()
}
