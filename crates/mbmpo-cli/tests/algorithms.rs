//! The algorithms without a model, fine-tuning and comparison, from end to end on tiny runs: the
//! files of a run exist, have the same meaning as those of MB-MPO, and can be used by the other
//! commands; settings that do not fit are refused.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test may panic")]

use assert_cmd::Command;
use mbmpo_experiments::AlgorithmKind;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The algorithms without a model.
fn algorithms() -> impl Iterator<Item = AlgorithmKind> {
    AlgorithmKind::ALL.into_iter().skip(1)
}

/// Budgets that make a run short.
fn tiny(algorithm: &str) -> Vec<String> {
    let algorithm: AlgorithmKind = algorithm.parse().unwrap();
    let settings = ["real_steps=120", "evaluation_episodes=3"];
    let settings = settings.iter().chain(algorithm.tiny().settings);
    settings
        .flat_map(|setting| ["--set".to_owned(), (*setting).to_owned()])
        .collect()
}

fn mbmpo(arguments: &[&str]) -> Result<String, String> {
    let output = Command::cargo_bin("mbmpo")
        .unwrap()
        .args(arguments)
        .output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    match output.status.code() {
        Some(0) => Ok(String::from_utf8(output.stdout).unwrap()),
        // a wrong argument, and no panic
        Some(2) => Err(message),
        code => panic!("{arguments:?}: {code:?}: {message}"),
    }
}

fn train(environment: &str, algorithm: &str, out: &Path, more: &[&str]) {
    let settings = tiny(algorithm);
    let mut all = vec!["train", environment, "--algorithm", algorithm];
    all.extend(settings.iter().map(String::as_str));
    all.extend(["--out", out.to_str().unwrap()]);
    all.extend(more);
    mbmpo(&all).unwrap();
}

fn metrics(run: &Path) -> Vec<Value> {
    let text = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    text.lines()
        .map(|line| {
            let mut value: Value = serde_json::from_str(line).unwrap();
            let object = value.as_object_mut().unwrap();
            object.remove("seconds");
            object.remove("wall_seconds");
            value
        })
        .collect()
}

/// Fails when an algorithm cannot be reached, leaves files out, counts its steps wrongly, writes a
/// policy that cannot be read again, or depends on the number of threads.
#[test]
fn every_algorithm_leaves_a_run_behind() {
    let parent = tempfile::tempdir().unwrap();
    for algorithm in algorithms().map(AlgorithmKind::name) {
        let run = parent.path().join(algorithm);
        train("point-2d", algorithm, &run, &["--threads", "1"]);
        for file in [
            "config.ron",
            "run.json",
            "policy.safetensors",
            "learning_curve.svg",
        ] {
            assert!(run.join(file).is_file(), "{algorithm}: {file}");
        }
        let lines = metrics(&run);
        assert_eq!(lines.len(), 2, "{algorithm}");
        let last = &lines[1];
        assert_eq!(last["iteration"], 1);
        assert!(last["real_steps"].as_u64().unwrap() >= 120);
        for key in [
            "return_pre_mean",
            "return_pre_std",
            "return_collect_mean",
            "policy_std_mean",
        ] {
            assert!(last[key].is_f64(), "{algorithm}: {key}: {last}");
        }
        assert!(last.get("meta_kl").is_none(), "{algorithm}: {last}");

        let path = run.to_str().unwrap();
        let said = mbmpo(&["evaluate", path, "--episodes", "5"]).unwrap();
        assert!(said.starts_with("point-2d: return -"), "{said}");

        // the configuration repeats the run, which the number of threads does not change
        let config = run.join("config.ron");
        let again = parent.path().join(format!("{algorithm}-again"));
        let arguments = [
            "train",
            "--preset",
            config.to_str().unwrap(),
            "--threads",
            "2",
        ];
        mbmpo(&[&arguments[..], &["--out", again.to_str().unwrap()]].concat()).unwrap();
        assert_eq!(metrics(&again), lines, "{algorithm}");
        let policy = |run: &Path| fs::read(run.join("policy.safetensors")).unwrap();
        assert!(policy(&again) == policy(&run), "{algorithm}");
    }
}

/// Fails when a preset or setting of another algorithm is accepted, or not named.
#[test]
fn what_does_not_fit_an_algorithm_is_refused() {
    let refused = |arguments: &[&str]| mbmpo(arguments).unwrap_err();
    let message = refused(&["train", "point-2d", "--algorithm", "ttpo"]);
    assert!(message.contains("did you mean `trpo`?"), "{message}");
    let message = refused(&[
        "train",
        "point-2d",
        "--algorithm",
        "ppo",
        "--preset",
        "paper",
    ]);
    assert!(
        message.contains("there is no preset `paper` (there are `tuned`, `authors`)")
            && message.contains("--preset FILE.ron"),
        "{message}"
    );
    let set = |setting| refused(&["train", "point-2d", "--algorithm", "ppo", "--set", setting]);
    let message = set("algorithm.clip=0");
    assert!(message.contains("`algorithm.clip` is 0, allowed is a finite number above 0"));
    let message = set("algorithm.meta_steps=3");
    assert!(
        message.contains("there is no key `meta_steps` in `algorithm`"),
        "{message}"
    );
    let message = set("algorithm.epochs=many");
    assert!(message.contains("`algorithm.epochs`"), "{message}");

    let parent = tempfile::tempdir().unwrap();
    let run = parent.path().join("run");
    train("point-2d", "trpo", &run, &[]);
    let config = run.join("config.ron");
    let preset = config.to_str().unwrap();
    let message = refused(&["train", "--algorithm", "ppo", "--preset", preset]);
    assert!(
        message.contains("the configuration is for `trpo`, the algorithm asked for is `ppo`"),
        "{message}"
    );
    let old = fs::read_to_string(&config).unwrap().replace("Trpo(", "(");
    fs::write(&config, old).unwrap();
    let message = refused(&["train", "--preset", preset]);
    assert!(
        message.contains("as in `key: Name` or `key: Name(key: value)`"),
        "{message}"
    );
}

/// Fails when a start is missing, uses another number of real steps than the others or another
/// policy than that of its run, or when changed physics has no effect.
#[test]
fn adapting_shows_every_start_beside_one_from_scratch() {
    let parent = tempfile::tempdir().unwrap();
    let path = |name: &str| parent.path().join(name);
    train("swimmer", "trpo", &path("trpo"), &["--set", "horizon=30"]);
    train("swimmer", "ppo", &path("ppo"), &["--set", "horizon=30"]);
    let (trpo, ppo) = (path("trpo"), path("ppo"));
    let adapt = |out: &Path, more: &[&str]| {
        let mut arguments = vec![
            "adapt",
            trpo.to_str().unwrap(),
            "--beside",
            ppo.to_str().unwrap(),
        ];
        arguments.extend(["--steps", "60", "--set", "algorithm.batch_steps=30"]);
        arguments.extend(["--set", "evaluation_episodes=4"]);
        arguments.extend(["--out", out.to_str().unwrap()]);
        arguments.extend(more);
        mbmpo(&arguments)
    };
    let said = adapt(&path("same"), &[]).unwrap();
    for start in ["trpo", "ppo", "from scratch"] {
        assert!(said.contains(&format!("\n{start} ")), "{start}: {said}");
    }
    let starts = |out: &Path| -> Vec<Value> {
        let text = fs::read_to_string(out.join("adaptation.jsonl")).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let same = starts(&path("same"));
    for start in &same {
        let curve = start["curve"].as_array().unwrap();
        let steps: Vec<_> = curve
            .iter()
            .map(|point| point[0].as_u64().unwrap())
            .collect();
        assert_eq!(steps, [0, 30, 60], "{start}");
    }
    assert!(path("same/adaptation.svg").is_file());
    assert!(path("same/1-trpo/policy.safetensors").is_file());

    let heavy = ["--set", "env.physics.mass.all=3", "--quiet"];
    assert_eq!(adapt(&path("heavy"), &heavy).unwrap(), "");
    let before = |starts: &[Value]| starts[0]["curve"][0][1].as_f64().unwrap();
    assert_ne!(before(&starts(&path("heavy"))), before(&same));

    // with a learning rate of 0 the policy is that of the start
    let still = ["--set", "algorithm.learning_rate=0", "--quiet"];
    // an empty directory is taken
    fs::create_dir(path("still")).unwrap();
    adapt(&path("still"), &still).unwrap();
    let theta = |run: &str| fs::read(path(run).join("policy.safetensors")).unwrap();
    assert!(theta("still/1-trpo") == theta("trpo"));
    assert!(theta("still/2-ppo") == theta("ppo"));

    let message = adapt(&path("same"), &[]).unwrap_err();
    assert!(message.contains("already holds a run"), "{message}");
    let message = adapt(&path("other"), &["--set", "env.name=hopper"]).unwrap_err();
    assert!(
        message.contains("cannot be adapted to `hopper`"),
        "{message}"
    );
    let message = adapt(&path("none"), &["--set", "env.physics.mass.fin=2"]).unwrap_err();
    assert!(message.contains("fin"), "{message}");
}

/// Fails when a policy without noise, or for another environment, is fine-tuned.
#[test]
fn adapting_refuses_what_cannot_learn() {
    let parent = tempfile::tempdir().unwrap();
    let path = |name: &str| parent.path().join(name).to_str().unwrap().to_owned();
    train("point-2d", "ddpg", path("ddpg").as_ref(), &[]);
    train(
        "swimmer",
        "vpg",
        path("vpg").as_ref(),
        &["--set", "horizon=30"],
    );
    let message = mbmpo(&["adapt", &path("ddpg"), "--out", &path("out")]).unwrap_err();
    assert!(message.contains("acts without noise"), "{message}");
    let message = mbmpo(&["adapt", &path("vpg"), "--beside", &path("ddpg")]).unwrap_err();
    assert!(
        message.contains("its policy is for `point-2d`, not for `swimmer`"),
        "{message}"
    );
    let message = mbmpo(&["adapt", &path("nothing")]).unwrap_err();
    assert!(message.contains("is not a run"), "{message}");
}

/// Fails when seeds are not grouped, environments are, or a figure is missing.
#[test]
fn runs_are_compared_by_environment_and_algorithm() {
    let parent = tempfile::tempdir().unwrap();
    let path = |name: &str| parent.path().join(name).to_str().unwrap().to_owned();
    for (algorithm, seed) in [("trpo", "1"), ("trpo", "2"), ("ppo", "1")] {
        let out = path(&format!("{algorithm}{seed}"));
        train("point-2d", algorithm, out.as_ref(), &["--seed", seed]);
    }
    train(
        "swimmer",
        "ppo",
        path("swimmer").as_ref(),
        &["--set", "horizon=30"],
    );
    let runs = ["trpo1", "trpo2", "ppo1", "swimmer"].map(path);
    let mut arguments = vec!["compare"];
    arguments.extend(runs.iter().map(String::as_str));
    let out = path("figures");
    arguments.extend(["--out", &out]);
    let said = mbmpo(&arguments).unwrap();
    let first = |line: &str| {
        line.split_whitespace()
            .take(2)
            .collect::<Vec<_>>()
            .join(" ")
    };
    let lines: Vec<_> = said.lines().map(first).collect();
    assert_eq!(
        lines[..6],
        [
            "point-2d runs",
            "trpo 2",
            "ppo 1",
            "",
            "swimmer runs",
            "ppo 1"
        ]
    );
    for environment in ["point-2d", "swimmer"] {
        let figure = Path::new(&out).join(format!("{environment}.svg"));
        assert!(fs::read_to_string(figure).unwrap().starts_with("<svg"));
    }
    let message = mbmpo(&["compare", &out]).unwrap_err();
    assert!(message.contains("is not a run"), "{message}");
}
