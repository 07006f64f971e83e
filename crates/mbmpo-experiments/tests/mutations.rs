//! Every preset of every algorithm, mutated in thousands of ways: each mutation gives an error that
//! names the file, the line, the key and the allowed values, and nothing panics, overflows the
//! stack or takes long. Mutations that are valid are listed.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use mbmpo_core::{Purpose, Stream, Streams};
use mbmpo_experiments::{AlgorithmKind, Error, Selection, preset};
use rand::RngExt;
use std::collections::{BTreeMap, BTreeSet};

/// A preset with a name, one key a line.
struct Preset {
    label: String,
    environment: &'static str,
    algorithm: AlgorithmKind,
    lines: Vec<String>,
}

/// A key of a preset.
#[derive(Debug, Clone)]
struct Entry {
    /// With the names of all sections.
    path: String,
    key: String,
    /// Counts from 0.
    first: usize,
    /// Of its value, which is one line but for sections.
    last: usize,
    value: String,
    is_section: bool,
}

fn presets() -> Vec<Preset> {
    let mut presets = Vec::new();
    for algorithm in AlgorithmKind::ALL {
        // only MB-MPO has presets of its own for some environments
        let environments: &[_] = match algorithm {
            AlgorithmKind::MbMpo => &["half-cheetah", "ant", "point-2d"],
            _ => &["half-cheetah"],
        };
        for environment in environments {
            for name in preset::names(algorithm) {
                let selection = Selection {
                    algorithm: Some(algorithm),
                    preset: Some(name.to_owned()),
                };
                let source = preset::source(*environment, selection).unwrap();
                let named = format!("environment: (\nname: \"{environment}\",\nvariant: ");
                let source = source.replace("environment: (variant: ", &named);
                let source = source.replace("), // the name", ",\n), // the name");
                presets.push(Preset {
                    label: format!("{algorithm} {name} {environment}"),
                    environment,
                    algorithm,
                    lines: source.lines().map(str::to_owned).collect(),
                });
            }
        }
    }
    presets
}

/// A line without its comment.
fn code(line: &str) -> &str {
    line.split("//").next().unwrap().trim()
}

impl Preset {
    fn entries(&self) -> Vec<Entry> {
        let (mut entries, mut open): (Vec<Entry>, Vec<usize>) = (Vec::new(), Vec::new());
        for (number, line) in self.lines.iter().enumerate() {
            let code = code(line);
            if let Some((key, value)) = code.split_once(": ") {
                let parents = open.iter().map(|&at| entries[at].key.as_str());
                let path: Vec<_> = parents.chain([key]).collect();
                let entry = Entry {
                    path: path.join("."),
                    key: key.to_owned(),
                    first: number,
                    last: number,
                    value: value.trim_end_matches(',').to_owned(),
                    is_section: value.ends_with('('),
                };
                if entry.is_section {
                    open.push(entries.len());
                }
                entries.push(entry);
            } else if code == ")," {
                let section = open.pop().unwrap();
                entries[section].last = number;
            }
        }
        assert!(open.is_empty() && entries.len() > 10, "{}", self.label);
        entries
    }

    fn text(&self) -> String {
        self.lines.join("\n") + "\n"
    }

    /// With other lines in place of those of a key.
    fn with(&self, entry: &Entry, lines: &[String]) -> String {
        let (before, after) = (&self.lines[..entry.first], &self.lines[entry.last + 1..]);
        [before, lines, after].concat().join("\n") + "\n"
    }

    /// With another value.
    fn with_value(&self, entry: &Entry, value: &str) -> String {
        let value = format!("    {}: {value},", entry.key);
        self.with(entry, &[value])
    }
}

/// The outcomes of the mutations of a class.
#[derive(Default)]
struct Tally {
    counts: BTreeMap<&'static str, [usize; 2]>,
    slowest: BTreeMap<&'static str, (u128, String)>,
    faults: Vec<String>,
}

impl Tally {
    /// Compares the error message for `text` with the expected one.
    fn examine(&mut self, class: &'static str, what: String, text: &str, expected: Expected) {
        let clock = std::time::Instant::now();
        let error = preset::read(text, "my.ron").err();
        let slowest = self.slowest.entry(class).or_default();
        *slowest = slowest
            .clone()
            .max((clock.elapsed().as_millis(), what.clone()));
        self.compare(class, what, error, expected);
    }

    fn compare(
        &mut self,
        class: &'static str,
        what: String,
        error: Option<Error>,
        expected: Expected,
    ) {
        let count = self.counts.entry(class).or_default();
        count[usize::from(error.is_none())] += 1;
        let message = error.as_ref().map(ToString::to_string);
        let fault = match (&message, &expected) {
            (None, Expected::Valid) => None,
            (None, _) => Some("was accepted".to_owned()),
            (Some(message), Expected::Valid) => Some(format!("was refused: {message}")),
            (Some(message), Expected::Says(parts)) => {
                let missing = parts.iter().find(|part| !message.contains(part.as_str()));
                missing
                    .map(|part| format!("lacks `{part}`: {message}"))
                    .or_else(|| (message.len() > 3_000).then(|| format!("is long: {message}")))
            }
        };
        if std::env::var_os("SHOW").is_some() {
            println!("{class} | {what} | {message:?}");
        }
        if error.is_some_and(|error| !error.is_input()) {
            self.faults.push(format!("{class}: {what} is no input"));
        }
        self.faults
            .extend(fault.map(|fault| format!("{class}: {what} {fault}")));
    }

    fn finish(self, at_least: usize) {
        let counts = &self.counts;
        println!(
            "class: refused, valid as listed\n{counts:?}\n[ms] {:?}",
            self.slowest
        );
        let total: usize = counts.values().flatten().sum();
        let shown: Vec<_> = self.faults.iter().take(40).map(String::as_str).collect();
        let faults = self.faults.len();
        assert!(faults == 0, "{faults} of {total}:\n{}", shown.join("\n"));
        assert!(total >= at_least, "only {total}");
    }
}

enum Expected {
    Says(Vec<String>),
    Valid,
}

fn says<const N: usize>(parts: [String; N]) -> Expected {
    Expected::Says(parts.to_vec())
}

/// `my.ron:LINE:COLUMN: ` of a key, or of its value.
fn place(preset: &Preset, entry: &Entry, of_value: bool) -> String {
    let line = &preset.lines[entry.first];
    let indent = line.len() - line.trim_start().len();
    let column = match of_value {
        false => indent + 1,
        true => indent + entry.key.len() + 3,
    };
    format!("my.ron:{}:{column}: ", entry.first + 1)
}

/// With two letters in exchanged places, one left out, or one too many.
fn misspellings(key: &str) -> BTreeSet<String> {
    let half = key.len() / 2;
    let mut swapped: Vec<char> = key.chars().collect();
    // two that differ
    let first = (half - 1..)
        .find(|&i| swapped[i] != swapped[i + 1])
        .unwrap();
    swapped.swap(first, first + 1);
    let without = format!("{}{}", &key[..half], &key[half + 1..]);
    [swapped.into_iter().collect(), without, format!("{key}s")].into()
}

/// Keys that may be left out: they have defaults.
fn is_optional(preset: &Preset, path: &str) -> bool {
    match path {
        "horizon" | "evaluation_episodes" => true,
        "algorithm.critic" | "algorithm.policy.output_scale" => true,
        "algorithm.observation_margin" | "algorithm.clip_actions" => true,
        "algorithm.trust" | "algorithm.trusted_clipping" | "algorithm.trust_after" => true,
        "algorithm.standardized_start" => true,
        "algorithm.value_clip" => preset.algorithm == AlgorithmKind::Ppo,
        "algorithm.reward_clip" => preset.algorithm == AlgorithmKind::Acktr,
        _ => false,
    }
}

/// Fails when a key that is misspelt, missing or there twice is accepted, or not named with its
/// place.
#[test]
fn keys() {
    let mut tally = Tally::default();
    for preset in presets() {
        let entries = preset.entries();
        for entry in &entries {
            let what = |how: &str| format!("{}: {how} {}", preset.label, entry.path);
            for wrong in misspellings(&entry.key) {
                let line = &preset.lines[entry.first];
                let mut lines = preset.lines.clone();
                lines[entry.first] = line.replacen(&entry.key, &wrong, 1);
                let expected = [
                    place(&preset, entry, false),
                    format!("unknown key `{wrong}`, did you mean `{}`?", entry.key),
                ];
                let what = what(&format!("{wrong} for"));
                tally.examine("misspelt", what, &lines.join("\n"), says(expected));
            }

            let expected = match &*entry.path {
                path if is_optional(&preset, path) => Expected::Valid,
                "environment.name" => {
                    says(["my.ron: `environment.name` is ``, allowed is one of".to_owned()])
                }
                path => {
                    let parent = path.rsplit_once('.').map(|(parent, _)| parent);
                    let section = entries.iter().find(|other| Some(&*other.path) == parent);
                    let place = match section {
                        Some(section) => place(&preset, section, true),
                        None => "my.ron:".to_owned(),
                    };
                    let inside = parent.map_or(String::new(), |path| format!(" in `{path}`"));
                    says([place, format!("key `{}` is missing{inside}", entry.key)])
                }
            };
            tally.examine("left out", what("no"), &preset.with(entry, &[]), expected);

            let lines = &preset.lines[entry.first..=entry.last];
            let expected = says([
                format!("my.ron:{}:", entry.last + 2),
                format!("key `{}` is there twice", entry.key),
            ]);
            let text = preset.with(entry, &[lines, lines].concat());
            tally.examine("twice", what("twice"), &text, expected);
        }
    }
    tally.finish(2_000);
}

/// The range of a number.
#[derive(Debug, Clone, Copy)]
enum Range {
    Whole(u64, u64),
    Real(f64, f64),
    /// Without the upper end.
    Below(f64, f64),
    /// Without both ends.
    Between(f64, f64),
    Positive,
}

/// By the end of the path; the first that fits counts.
const RANGES: [(&str, Range); 62] = {
    use Range::{Below, Between, Positive, Real, Whole};
    [
        ("critic.batch_size", Whole(1, 1_000_000)),
        ("critic.learning_rate", Real(0.0, 10.0)),
        ("ensemble.learning_rate", Positive),
        ("actor_learning_rate", Real(0.0, 10.0)),
        ("adam_epsilon", Positive),
        ("backtrack_ratio", Between(0.0, 1.0)),
        ("baseline_ridge", Positive),
        ("batch_size", Whole(1, 100_000)),
        ("batch_steps", Whole(2, 10_000_000)),
        ("buffer_capacity", Whole(2, 10_000_000)),
        ("cg_damping", Real(0.0, 1e6)),
        ("cg_iterations", Whole(1, 1000)),
        ("cg_tolerance", Real(0.0, 1.0)),
        ("value_clip", Positive),
        ("critic_learning_rate", Real(0.0, 10.0)),
        ("critic_step_size", Positive),
        ("critic_steps", Whole(0, 10_000)),
        ("critic_weight_decay", Real(0.0, 1e6)),
        ("cycles", Whole(1, 10_000)),
        ("damping", Real(1e-12, 1e6)),
        ("decay", Below(0.0, 1.0)),
        ("desired_kl", Positive),
        ("discount", Real(0.0, 1.0)),
        ("entropy_coefficient", Real(0.0, 1e6)),
        ("max_epochs", Whole(1, 1_000_000)),
        ("epochs", Whole(1, 1000)),
        ("evaluation_episodes", Whole(1, 100_000)),
        ("trust_after", Whole(1, 100_000)),
        ("fisher_step", Positive),
        ("gae_lambda", Real(0.0, 1.0)),
        ("horizon", Whole(1, 100_000)),
        ("imagined_rollouts_per_task", Whole(1, 1_000_000)),
        ("initial_random_steps", Whole(2, 10_000_000)),
        ("initial_std", Real(1e-6, 1e3)),
        ("inner_learning_rate", Real(0.0, 10.0)),
        ("learning_rate", Real(0.0, 10.0)),
        ("max_backtracks", Whole(1, 1000)),
        ("max_gradient_norm", Positive),
        ("max_kl", Positive),
        ("members", Whole(1, 1000)),
        ("meta_steps", Whole(0, 100_000)),
        ("min_std", Real(1e-12, 1e3)),
        ("minibatches", Whole(1, 5_000_000)),
        ("momentum", Below(0.0, 1.0)),
        ("noise_interval", Whole(1, 1_000_000)),
        ("observation_margin", Real(0.0, 1e6)),
        ("output_scale", Real(0.0, 1e3)),
        ("parameter_noise", Real(0.0, 100.0)),
        ("real_steps", Whole(1, 1_000_000_000_000)),
        ("real_steps_per_iteration", Whole(1, 10_000_000)),
        ("replay_capacity", Whole(1, 10_000_000)),
        ("reward_scale", Positive),
        ("rollout_steps", Whole(2, 10_000_000)),
        ("rolling_persistence", Below(0.0, 1.0)),
        ("rolling_start", Positive),
        ("step_size", Positive),
        ("target_rate", Real(0.0, 1.0)),
        ("tasks_per_model", Whole(1, 1000)),
        ("trust", Real(0.0, 1e6)),
        ("trusted_clipping", Real(0.0, 1.0)),
        ("validation_share", Real(0.01, 0.9)),
        ("value_coefficient", Real(0.0, 1e6)),
    ]
};

/// The range of a key, for names that mean different things in different algorithms.
fn range(preset: &Preset, path: &str) -> Option<Range> {
    use AlgorithmKind::{Ddpg, MbMpo};
    use Range::{Positive, Real, Whole};
    let clips = Real(1e-3, 1e6);
    match (path, preset.algorithm) {
        ("algorithm.observation_clip", MbMpo) | ("algorithm.clip", _) => return Some(Positive),
        ("algorithm.observation_clip" | "algorithm.reward_clip", _) => return Some(clips),
        ("algorithm.train_steps", Ddpg) => return Some(Whole(0, 10_000)),
        _ if path.ends_with("kfac.trust_region") => return Some(Positive),
        _ => {}
    }
    let fits = |(end, _): &&(&str, Range)| path == *end || path.ends_with(&format!(".{end}"));
    RANGES.iter().find(fits).map(|(_, range)| *range)
}

impl Range {
    fn allows(self, value: &str) -> bool {
        let x: f64 = value.parse().unwrap();
        match self {
            Self::Whole(low, high) => (low..=high).contains(&value.parse().unwrap_or(u64::MAX)),
            Self::Real(low, high) => (low..=high).contains(&x),
            Self::Below(low, high) => (low..high).contains(&x),
            Self::Between(low, high) => low < x && x < high,
            Self::Positive => (1e-30..=1e30).contains(&x),
        }
    }

    fn says(self, value: &str) -> String {
        let whole = value.parse::<u64>().is_ok();
        match self {
            // it is not even read as a number of this kind
            Self::Whole(..) if !whole => "expected a whole number".to_owned(),
            Self::Whole(low, high) => format!("allowed is {low} to {high}"),
            Self::Real(low, high) => format!("allowed is {low} to {high}"),
            Self::Below(low, high) => format!("allowed is at least {low}, below {high}"),
            Self::Between(low, high) => format!("allowed is above {low}, below {high}"),
            Self::Positive => "allowed is a finite number above 0, from 1e-30 to 1e30".to_owned(),
        }
    }
}

/// Fails when a number out of range is accepted, one in range is refused, or the message lacks the
/// range.
#[test]
fn ranges() {
    let mut tally = Tally::default();
    for preset in presets() {
        for entry in preset.entries() {
            let Some(range) = range(&preset, &entry.path) else {
                // every number has a range
                let number = entry.value.parse::<f64>().is_ok();
                assert!(!number, "{}", entry.path);
                continue;
            };
            let tens = format!("1{}", "0".repeat(30));
            let values = [
                "-1", "0", "-0.5", "1e300", "-1e300", "1e-300", "NaN", "inf", "-inf", &tens,
            ];
            let beyond = match range {
                Range::Whole(_, high) => (high + 1).to_string(),
                Range::Real(_, high) | Range::Below(_, high) => (high * 1.001).to_string(),
                Range::Between(..) | Range::Positive => "1.1e30".to_owned(),
            };
            for wrong in values.into_iter().chain([&*beyond]) {
                let what = format!("{}: {} = {wrong}", preset.label, entry.path);
                let text = preset.with_value(&entry, wrong);
                let expected = match range.allows(wrong) {
                    true => Expected::Valid,
                    false => says([
                        format!("my.ron:{}:{}: ", entry.first + 1, entry.key.len() + 7),
                        format!("`{}`", entry.path),
                        range.says(wrong),
                    ]),
                };
                tally.examine("out of range", what, &text, expected);
            }
        }
    }
    tally.finish(2_000);
}

/// Values that are valid alone, and together too much for the memory or the algorithm.
#[test]
fn values_that_do_not_go_together() {
    let mut tally = Tally::default();
    for preset in presets() {
        for entry in preset.entries() {
            let path = &entry.path;
            let widest = match preset.algorithm {
                AlgorithmKind::Acktr => 1024,
                _ if path == "algorithm.ensemble.hidden" => 8192,
                _ => 4096,
            };
            let tens = format!("[{widest}, 1{}]", "0".repeat(30));
            let cases: Vec<(String, String)> = match entry.key.as_str() {
                "hidden" | "actor_hidden" | "critic_hidden" | "value_hidden" => {
                    let above = format!("[8, {}]", widest + 1);
                    let most = if path == "algorithm.policy.hidden" {
                        4096
                    } else {
                        widest
                    };
                    let element = match path.as_str() {
                        "algorithm.policy.hidden" if widest == 1024 => {
                            format!("`{path}` is up to 1025 units, allowed is at most 1024")
                        }
                        _ => format!("`{path}[1]` is {}, allowed is 1 to {widest}", widest + 1),
                    };
                    vec![
                        (
                            "[0]".into(),
                            format!("`{path}[0]` is 0, allowed is 1 to {most}"),
                        ),
                        (
                            "[8, 0]".into(),
                            format!("`{path}[1]` is 0, allowed is 1 to {most}"),
                        ),
                        (above, element),
                        (tens, format!("`{path}[1]`: expected a whole number")),
                        ("[0.5]".into(), format!("`{path}[0]` cannot be `0.5`")),
                        (
                            "[8, -1]".into(),
                            format!("`{path}[1]`: expected a whole number"),
                        ),
                        (
                            format!("{:?}", [8; 17]),
                            format!("`{path}` is 17 layers, allowed is at most 16"),
                        ),
                        (
                            format!("[{}1]", "0, ".repeat(100_000)),
                            format!("`{path}` is 100001 layers, allowed is at most 16"),
                        ),
                    ]
                }
                "min_std" => vec![(
                    "500".into(),
                    format!("`{path}` is 500, allowed is at most `i"),
                )],
                "minibatches" => vec![(
                    "4000000".into(),
                    format!("`{path}` is 4000000, allowed is at most half of `batch_steps`"),
                )],
                // in the others the horizon is not known yet
                "imagined_rollouts_per_task" if preset.environment == "point-2d" => vec![(
                    "900000".into(),
                    format!("`{path}` is 900000, allowed is at most 10,000,000 steps"),
                )],
                "variant" => vec![(
                    "Papr".into(),
                    "cannot be `Papr`, did you mean `Paper`?".into(),
                )],
                _ => vec![],
            };
            for (value, expected) in cases {
                let what = format!(
                    "{}: {path} = {}",
                    preset.label,
                    &value[..value.len().min(20)]
                );
                let expected = says([format!("my.ron:{}:", entry.first + 1), expected]);
                tally.examine(
                    "together",
                    what,
                    &preset.with_value(&entry, &value),
                    expected,
                );
            }
        }
    }
    tally.finish(200);
}

/// Fails when a value of another type is accepted, or not named with its place.
#[test]
fn types() {
    let mut tally = Tally::default();
    for preset in presets() {
        for entry in preset.entries() {
            let wrong = [
                "true",
                "\"word\"",
                "'c'",
                "[true]",
                "[3, 0.5]",
                "{\"a\": 1}",
                "(1, 2)",
                "Wrong",
                "3",
                "0.5",
                "Wrong(a: 1)",
                "(a: 1)",
                "",
                "-",
                "1.2.3",
                "0x",
                "3 4",
                "§",
                "Some",
                "Some()",
                "\"",
                "1e",
                "99999999999999999999999999999999999999999999999",
            ];
            for wrong in wrong {
                let number = ["3", "0.5"].contains(&wrong) || wrong.starts_with("999");
                let is_bool = ["true", "false"].contains(&&*entry.value);
                // in range or not: see `ranges`
                if number && range(&preset, &entry.path).is_some() || is_bool && wrong == "true" {
                    continue;
                }
                let what = format!("{}: {} = {wrong}", preset.label, entry.path);
                let text = preset.with_value(&entry, wrong);
                let line = format!("my.ron:{}:", entry.first + 1);
                let expected = match wrong {
                    // the rest of the text is inside
                    "\"" => says(["my.ron:".to_owned()]),
                    "(a: 1)" if entry.is_section && entry.key != "algorithm" => {
                        says([line, "unknown key `a`".to_owned()])
                    }
                    // the next key is where a value should be
                    "" => says([format!("`{}", entry.path)]),
                    _ => says([line, format!("`{}", entry.path)]),
                };
                tally.examine("wrong type", what, &text, expected);
            }
        }
    }
    tally.finish(2_000);
}

/// Text that is truncated, has junk inside, is empty, deeply nested or huge.
#[test]
fn texts() {
    let mut tally = Tally::default();
    for (turn, preset) in presets().into_iter().enumerate() {
        let text = preset.text();
        let entries = preset.entries();
        let mut stream = Streams::new(1).stream(Purpose::Collect, 0, 0);
        let place = |stream: &mut Stream, text: &str| {
            let mut at = stream.random_range(0..text.len());
            while !text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let whole = text.rfind(')').unwrap();
        for _ in 0..40 {
            let at = place(&mut stream, &text);
            let expected = match at <= whole {
                true => says(["my.ron:".to_owned()]),
                false => Expected::Valid,
            };
            let what = format!("{} up to {at}", preset.label);
            tally.examine("truncated", what, &text[..at], expected);
        }
        let junk = [
            "\0", "§", "@", "\u{feff}", "(", "]", "}", "\"", "/*", ":", "é", "\u{202e}",
        ];
        for number in 0..120 {
            let at = place(&mut stream, &text);
            let junk = junk[number % junk.len()].repeat(1 + number % 3);
            let line = text[..at].rsplit('\n').next().unwrap();
            let number = text[..at].matches('\n').count() + 1;
            // anything may stand in a comment
            let comment = line.contains("//") || line.ends_with('/') && junk.starts_with("/*");
            let expected = match comment {
                true => Expected::Valid,
                false => says(["my.ron:".to_owned()]),
            };
            let what = format!("{} with {junk:?} in line {number}", preset.label);
            let text = format!("{}{junk}{}", &text[..at], &text[at..]);
            tally.examine("junk", what, &text, expected);
        }
        for empty in [
            "",
            " ",
            "\n\n",
            "// nothing\n",
            "()",
            "(,)",
            "( // \n)",
            "None",
            "\u{feff}",
        ] {
            let what = format!("{empty:?}");
            tally.examine("empty", what, empty, says(["my.ron:".to_owned()]));
        }
        for (number, entry) in entries.iter().enumerate() {
            let deep = ["[", "(", "{", "Some(", "(a:", "[(", "((hidden:"][number % 7];
            let closed = [("[", "]"), ("(", ")")][number % 2];
            for value in [
                deep.repeat(10_000),
                closed.0.repeat(10_000) + &closed.1.repeat(10_000),
            ] {
                let what = format!("{}: {} = {}…", preset.label, entry.path, &value[..8]);
                // where a section is wanted, its first key is already wrong
                let section = entry.last > entry.first && value.starts_with("(a:");
                let named = match section {
                    true => "unknown key `a`".to_owned(),
                    false => format!("`{}", entry.path),
                };
                let says = says([format!("my.ron:{}:", entry.first + 1), named]);
                tally.examine("deep", what, &preset.with_value(entry, &value), says);
            }
            let size = if number == 8 && turn % 6 == 0 {
                // a file may have 1 MiB
                500_000
            } else {
                10_000
            };
            for (kind, value) in [
                ("text", format!("\"{}\"", "long ".repeat(size / 5))),
                ("name", "Word".repeat(size / 4)),
                ("list", format!("[{}]", "true,".repeat(size / 5))),
                ("digits", "8".repeat(size)),
            ] {
                // far beyond every range
                let what = format!("{}: {} = long {kind}", preset.label, entry.path);
                let says = says([
                    format!("my.ron:{}:", entry.first + 1),
                    format!("`{}", entry.path),
                ]);
                tally.examine("long", what, &preset.with_value(entry, &value), says);
            }
            let mut lines = preset.lines.clone();
            lines[entry.first] = lines[entry.first].replacen(&entry.key, &"k".repeat(size), 1);
            let says = says([
                format!("my.ron:{}:", entry.first + 1),
                "unknown key `kkkk".to_owned(),
            ]);
            let what = format!("{}: long key for {}", preset.label, entry.path);
            tally.examine("long", what, &lines.join("\n"), says);
        }
    }
    tally.finish(2_000);
}

/// Fails when a text of megabytes is parsed.
#[test]
fn a_large_text_is_refused() {
    let error = preset::read(&" ".repeat(2 << 20), "my.ron").unwrap_err();
    assert!(error.is_input() && error.to_string().contains("larger than 1 MiB"));
}

/// The same through files, as `--preset my.ron` reads them.
#[test]
fn files() {
    let mut tally = Tally::default();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("my.ron");
    for preset in presets() {
        let mut examine = |text: &[u8], what: String, line: usize, expected: &[String]| {
            std::fs::write(&path, text).unwrap();
            let selection = Selection {
                algorithm: Some(preset.algorithm),
                preset: Some(path.to_string_lossy().into_owned()),
            };
            let error = preset::resolve(preset.environment, selection, &[]).err();
            let mut parts = vec![format!("{}:{line}:", path.display())];
            parts.extend(expected.iter().cloned());
            tally.compare("file", what, error, Expected::Says(parts));
        };
        for entry in preset.entries() {
            let line = entry.first + 1;
            let what = |how: &str| format!("{}: {how} {}", preset.label, entry.path);
            let wrong = misspellings(&entry.key).pop_first().unwrap();
            let mut lines = preset.lines.clone();
            lines[entry.first] = lines[entry.first].replacen(&entry.key, &wrong, 1);
            let expected = [format!(
                "unknown key `{wrong}`, did you mean `{}`?",
                entry.key
            )];
            examine(
                lines.join("\n").as_bytes(),
                what("misspelt"),
                line,
                &expected,
            );
            if let Some(range) = range(&preset, &entry.path) {
                let text = preset.with_value(&entry, "-1");
                let expected = [format!("`{}`", entry.path), range.says("-1")];
                examine(text.as_bytes(), what("-1 for"), line, &expected);
            }
        }
        // not UTF-8
        let mut bytes = preset.text().into_bytes();
        bytes.push(0xff);
        let last = preset.lines.len() + 1;
        examine(
            &bytes,
            preset.label.clone(),
            last,
            &["not text in UTF-8".to_owned()],
        );
    }
    tally.finish(1_000);
}

/// Fails when only one of several values out of range is named, or one without its place in the
/// file.
#[test]
fn all_at_once() {
    let source = preset::source("point-2d", "quick").unwrap();
    let text = source
        .replacen("batch_size: 500", "batch_size: 0", 1)
        .replacen("hidden: [32, 32]", "hidden: [32, 0, 9999]", 1)
        .replacen("name: \"point-2d\",", "", 1);
    assert_ne!(text, source);
    let message = preset::read(&text, "my.ron").unwrap_err().to_string();
    let column = |needle: &str| {
        let at = text.find(needle).unwrap();
        let line = text[..at].matches('\n').count() + 1;
        (line, at - text[..at].rfind('\n').unwrap())
    };
    let (line, at) = column("0, 9999");
    let (batch_line, batch_at) = column("batch_size: 0");
    let expected = format!(
        "my.ron: `environment.name` is ``, allowed is one of point-2d, half-cheetah, swimmer, hopper, \
         walker2d, ant, pr2-reacher\n\
         my.ron:{line}:{at}: `algorithm.policy.hidden[1]` is 0, allowed is 1 to 4096\n\
         my.ron:{line}:{}: `algorithm.policy.hidden[2]` is 9999, allowed is 1 to 4096\n\
         my.ron:{batch_line}:{}: `algorithm.ensemble.batch_size` is 0, allowed is 1 to 100000",
        at + 3,
        batch_at + 12,
    );
    assert_eq!(message, expected);
}

/// The same as overrides.
#[test]
fn overrides() {
    let mut tally = Tally::default();
    for preset in presets() {
        let selection = Selection {
            algorithm: Some(preset.algorithm),
            preset: Some(preset.label.split(' ').nth(1).unwrap().to_owned()),
        };
        let entries = preset.entries();
        let mut examine = |class, text: String, parts: Option<Vec<String>>| {
            let texts = [text.clone()];
            let error = preset::resolve(preset.environment, selection.clone(), &texts).err();
            let expected = parts.map_or(Expected::Valid, |mut parts| {
                parts.push(format!("override {text}: "));
                Expected::Says(parts)
            });
            tally.compare(class, format!("{}: {text}", preset.label), error, expected);
        };
        for entry in &entries {
            let path = &entry.path;
            let parent = path.strip_suffix(&entry.key).unwrap();
            for wrong in misspellings(&entry.key) {
                let parts = [format!("no key `{wrong}`"), format!("`{path}`")];
                examine("misspelt", format!("{parent}{wrong}=1"), Some(parts.into()));
            }
            for wrong in [
                "word",
                "[true]",
                "{\"a\": true}",
                "(a: true)",
                "",
                "[",
                "1.2.3",
                "(((((((",
                "\"",
                "Some(word)",
                "[1e999]",
                "()",
            ] {
                // a name that is no environment's
                examine("wrong type", format!("{path}={wrong}"), Some(vec![]));
            }
            examine(
                "below",
                format!("{path}.below=1"),
                Some(vec!["no key `below`".into()]),
            );
            let Some(range) = range(&preset, path) else {
                continue;
            };
            for wrong in ["-1", "0", "-0.5", "1e300", "NaN", "-inf", "1e999", "1e30"] {
                let parts = match (range.allows(wrong), wrong) {
                    (true, _) => None,
                    (false, "NaN" | "-inf" | "1e999") => Some("expected a".to_owned()),
                    (false, _) => Some(range.says(wrong)),
                };
                let parts = parts.map(|says| vec![format!("`{path}`"), says]);
                examine("out of range", format!("{path}={wrong}"), parts);
            }
        }
        for text in [
            "",
            "=",
            "=3",
            "horizon",
            ".=1",
            "..=1",
            "algorithm.=1",
            "\0=1",
            "é=é",
        ] {
            examine("no key", text.to_owned(), Some(vec![]));
        }
    }
    tally.finish(2_000);
}

/// Fails when an error is attributed to the file, or to another override than the one that causes
/// it.
#[test]
fn the_right_override_is_blamed() {
    let resolve = |texts: &[&str]| {
        let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
        let error = preset::resolve("half-cheetah", "quick", &texts).err();
        error.map(|error| error.to_string()).unwrap_or_default()
    };
    assert_eq!(
        resolve(&[
            "horizon=0",
            "real_steps=5000",
            "algorithm.policy.hidden=[3, 0]"
        ]),
        "override horizon=0: `horizon` is 0, allowed is 1 to 100000\n\
         override algorithm.policy.hidden=[3, 0]: `algorithm.policy.hidden[1]` is 0, allowed is 1 to 4096"
    );
    // a wrong value that a later override replaces is no mistake
    assert_eq!(resolve(&["real_steps=0", "real_steps=3000"]), "");
    let (episodes, horizon) = ("evaluation_episodes=1000", "horizon=20000");
    assert_eq!(
        resolve(&[episodes, horizon, "real_steps=5000"]),
        "override horizon=20000: `evaluation_episodes` is 1000, allowed is at most \
         10,000,000 steps a report (episodes times horizon)"
    );
    assert_eq!(
        resolve(&["real_steps=5000", "env.physics.mass.tors=2"]),
        "override env.physics.mass.tors=2: half-cheetah: physics.mass: there is no body `tors`, did you mean \
         `torso`? (there are `all`, `torso`, `bthigh`, `bshin`, `bfoot`, `fthigh`, `fshin`, `ffoot`)"
    );
    let long = format!("horizon={}", "9".repeat(100_000));
    assert!(resolve(&[&long]).len() < 3_000);
}

/// Fails when the second of two equal keys of a map silently replaces the first.
#[test]
fn a_key_twice_in_a_map() {
    let source = preset::source("half-cheetah", "quick").unwrap();
    let physics = "environment: (name: \"hopper\", physics: (mass: {\"all\": 2, \"all\": 3}), ";
    let text = source.replacen("environment: (", physics, 1);
    let message = preset::read(&text, "my.ron").unwrap_err().to_string();
    assert_eq!(
        message,
        "my.ron:5:62: key `environment.physics.mass.all` is there twice"
    );
}
