//! Changing single values of a configuration by `key.path=value`.

use crate::text::{brief, plain_path, plain_types};
use crate::{AlgorithmChoice, Error, ExperimentConfig, Origin, OutOfRange, Result, nearest};
use mbmpo_core::{Check, Checked, Violations};
use mbmpo_envs::Simulated;
use serde_json::Value;

/// Its fields are maps, whose keys may contain dots and need not exist: `mass.left.foot` is the
/// mass of `left.foot`.
const MAPS: &str = "environment.physics.";

/// `config` with every `key.path=value` applied, in order. A value is written as in RON: `3`,
/// `1e-3`, `[128, 128]`, `true`, `Authors`. A leading `env.` stands for `environment.`.
///
/// # Errors
/// When a text has no `=`, a key does not exist, or a value is of the wrong type; ranges are not
/// checked.
pub fn apply<C: AlgorithmChoice>(
    config: ExperimentConfig<C>,
    overrides: &[String],
) -> Result<ExperimentConfig<C>> {
    Ok(Overridden::new(config, overrides)?.config().clone())
}

/// A configuration before and after each of its overrides, so that an error can be attributed to
/// one of them.
pub(crate) struct Overridden<'a, C> {
    overrides: &'a [String],
    first: ExperimentConfig<C>,
    /// The configuration after each override.
    later: Vec<ExperimentConfig<C>>,
}

impl<'a, C: AlgorithmChoice> Overridden<'a, C> {
    /// As [`apply`].
    pub(crate) fn new(first: ExperimentConfig<C>, overrides: &'a [String]) -> Result<Self> {
        let mut later = Vec::new();
        for text in overrides {
            let next = apply_one(later.last().unwrap_or(&first), text);
            later.push(next.map_err(|message| Error::Override {
                text: brief(text),
                message: brief(&message),
            })?);
        }
        Ok(Self {
            overrides,
            first,
            later,
        })
    }

    /// The configuration with all overrides.
    pub(crate) fn config(&self) -> &ExperimentConfig<C> {
        self.later.last().unwrap_or(&self.first)
    }

    /// The configuration, checked, with the horizon of its environment where it has none. `place`
    /// gives the place of values that are out of range without any override, too.
    ///
    /// # Errors
    /// When a value is out of range, or there is no such environment.
    pub(crate) fn complete(
        mut self,
        place: impl Fn(Violations) -> Vec<OutOfRange>,
    ) -> Result<Checked<ExperimentConfig<C>>> {
        self.validate(&place)?;
        let horizon = self.make_environment()?.horizon();
        for stage in std::iter::once(&mut self.first).chain(&mut self.later) {
            stage.horizon.get_or_insert(horizon);
        }
        self.validate(&place)
    }

    fn validate(
        &self,
        place: impl Fn(Violations) -> Vec<OutOfRange>,
    ) -> Result<Checked<ExperimentConfig<C>>> {
        let wrong = match self.config().clone().check() {
            Ok(config) => return Ok(config),
            Err(Violations(wrong)) => wrong,
        };
        let (mut in_file, mut in_overrides) = (Vec::new(), Vec::new());
        for value in wrong {
            let wrong_in = |stage: &ExperimentConfig<C>| {
                let violations = stage.clone().check().err();
                violations.is_some_and(|Violations(all)| all.contains(&value))
            };
            match self.first_bad_override(wrong_in) {
                Some(text) => in_overrides.push(OutOfRange {
                    origin: Origin::Override(brief(text)),
                    value,
                }),
                None => in_file.push(value),
            }
        }
        let mut all = place(Violations(in_file));
        all.append(&mut in_overrides);
        Err(Error::Invalid(all))
    }

    fn make_environment(&self) -> Result<Box<dyn Simulated>> {
        let make = ExperimentConfig::<C>::make_environment;
        make(self.config()).map_err(|error| self.blame(error, |stage| make(stage).is_err()))
    }

    /// The error, attributed to the override after which the configuration was `wrong`, if it was
    /// one.
    pub(crate) fn blame(
        &self,
        error: Error,
        wrong: impl Fn(&ExperimentConfig<C>) -> bool,
    ) -> Error {
        match self.first_bad_override(wrong) {
            Some(text) => Error::Override {
                text: brief(text),
                message: error.to_string(),
            },
            None => error,
        }
    }

    /// The first override after which the configuration stays invalid.
    fn first_bad_override(&self, wrong: impl Fn(&ExperimentConfig<C>) -> bool) -> Option<&String> {
        let right = self.later.iter().rposition(|stage| !wrong(stage));
        match right {
            Some(stage) => self.overrides.get(stage + 1),
            None if wrong(&self.first) => None,
            None => self.overrides.first(),
        }
    }
}

fn apply_one<C: AlgorithmChoice>(
    config: &ExperimentConfig<C>,
    text: &str,
) -> Result<ExperimentConfig<C>, String> {
    let (path, value) = text
        .split_once('=')
        .ok_or("expected key.path=value, for example `horizon=100`")?;
    let (path, value) = (path.trim(), parse_value(value.trim())?);
    let path = match path.strip_prefix("env.") {
        Some(rest) => format!("environment.{rest}"),
        None => path.to_owned(),
    };
    let mut tree = serde_json::to_value(config).map_err(|e| e.to_string())?;
    // not serialized where it is the default
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
    match ron::from_str(text) {
        // JSON has no infinite numbers
        Ok(Value::Null) => Ok(Value::String(text.to_owned())),
        Ok(value) => Ok(value),
        Err(error) => Err(format!("cannot read the value `{text}`: {}", error.code)),
    }
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

/// The fields of an enum's variant, whose name is not part of a path; other nodes as they are.
fn inside(node: &mut Value) -> &mut Value {
    let variant = variant(node).map(str::to_owned);
    match variant {
        Some(name) => &mut node[name],
        None => node,
    }
}

/// The name of the variant, where the node is an enum's variant with fields.
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
    // candidates: the same last segment elsewhere, else a similar name in the same place, else one
    // anywhere
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
