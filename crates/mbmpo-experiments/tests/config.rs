//! Configurations: the presets are complete and in range, a written configuration can be read
//! again, and the message about a mistake in a file or an override has its place and a suggestion.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use mbmpo_envs::Physics;
use mbmpo_experiments::{
    AlgorithmConfig, AlgorithmKind, EnvironmentConfig, Error, ExperimentConfig, RobotFiles,
    Selection, overrides, preset,
};
use std::path::Path;

fn quick() -> ExperimentConfig {
    preset::resolve("point-2d", "quick", &[])
        .unwrap()
        .into_inner()
}

fn every_preset() -> impl Iterator<Item = Selection> {
    AlgorithmKind::ALL.into_iter().flat_map(|algorithm| {
        let selection = move |name: &str| Selection {
            algorithm: Some(algorithm),
            preset: Some(name.to_owned()),
        };
        preset::names(algorithm).into_iter().map(selection)
    })
}

fn set(texts: &[&str]) -> Result<ExperimentConfig, Error> {
    let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
    overrides::apply(quick(), &texts)
}

fn refused(text: &str) -> String {
    set(&[text]).unwrap_err().to_string()
}

/// The message about the quick preset after `from` was replaced by `to` in its text.
fn broken(from: &str, to: &str) -> String {
    let source = preset::source("point-2d", "quick").unwrap();
    assert!(source.contains(from), "{from}");
    let error = preset::read(&source.replacen(from, to, 1), "my.ron").unwrap_err();
    assert!(error.is_input());
    error.to_string()
}

/// Line and column of the last occurrence of `text` in the quick preset.
fn position(text: &str) -> String {
    let source = preset::source("point-2d", "quick").unwrap();
    let before = &source[..source.rfind(text).unwrap()];
    let line = before.lines().count();
    let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
    format!("my.ron:{line}:{column}: ")
}

/// Fails when a preset lacks a key, has a value out of range, or is for another environment.
#[test]
fn every_preset_is_complete_and_in_range() {
    for &environment in mbmpo_envs::NAMES {
        for selection in every_preset() {
            let config = preset::resolve(environment, selection.clone(), &[]).unwrap();
            let made = config.make_environment().unwrap();
            assert_eq!(made.name(), environment);
            let horizon = config.horizon;
            assert_eq!(horizon, Some(made.horizon()), "{environment} {selection:?}");
            if let Some(asked) = selection.algorithm {
                assert_eq!(config.algorithm.kind(), asked);
            }
        }
    }
}

/// Fails when a value in a preset has no comment with its source.
#[test]
fn every_value_of_a_preset_cites_its_source() {
    for &environment in mbmpo_envs::NAMES {
        for selection in every_preset() {
            let source = preset::source(environment, selection.clone()).unwrap();
            let mut above = "";
            for line in source.lines() {
                let (code, comment) = line.split_once("//").unwrap_or((line, ""));
                let is_value = code.contains(':') && !code.trim_end().ends_with('(');
                let cited = !comment.trim().is_empty() || above.trim_start().starts_with("//");
                let is_name = code.trim_start().starts_with("name:");
                assert!(
                    !is_value || cited || is_name,
                    "{environment}/{selection:?}: {line}"
                );
                above = line;
            }
        }
    }
}

/// Fails when the paper preset departs from the numbers of appendix A.3.
#[test]
fn paper_preset_imagines_100_000_transitions_in_a_meta_step() {
    for &environment in mbmpo_envs::NAMES {
        let config = preset::resolve(environment, "paper", &[]).unwrap();
        let algorithm = config.algorithm.mb_mpo().unwrap();
        let horizon = config.horizon.unwrap();
        let tasks = algorithm.ensemble.members * algorithm.tasks_per_model;
        let imagined = 2 * tasks * algorithm.imagined_rollouts_per_task * horizon;
        assert!(
            (99_000..=100_000).contains(&imagined),
            "{environment}: {imagined}"
        );
    }
}

/// Appendix A.3: three hidden layers of the models for ant and walker, two for the others. The two
/// files must not drift apart otherwise.
#[test]
fn paper_preset_of_ant_and_walker_has_deeper_models_and_no_other_difference() {
    let hidden = |environment| {
        let config = preset::resolve(environment, "paper", &[]).unwrap();
        config.algorithm.mb_mpo().unwrap().ensemble.hidden.clone()
    };
    for environment in ["ant", "walker2d"] {
        assert_eq!(hidden(environment), [512, 512, 512]);
        let deeper = preset::source(environment, "paper").unwrap();
        let shallow = preset::source("hopper", "paper").unwrap();
        let pairs = deeper.lines().zip(shallow.lines()).skip(1);
        let differences: Vec<_> = pairs.filter(|(a, b)| a != b).collect();
        assert_eq!(differences.len(), 1, "{differences:?}");
        assert!(
            differences[0]
                .0
                .trim()
                .starts_with("hidden: [512, 512, 512]")
        );
    }
    for environment in ["half-cheetah", "hopper", "swimmer", "pr2-reacher"] {
        assert_eq!(hidden(environment), [512, 512]);
    }
}

/// Fails when the `Default` of an algorithm departs from the preset that its documentation names.
#[test]
fn defaults_are_presets() {
    let preset = |algorithm, name: &str| {
        let selection = Selection {
            algorithm: Some(algorithm),
            preset: Some(name.to_owned()),
        };
        let config = preset::resolve("half-cheetah", selection, &[]).unwrap();
        config.algorithm.clone()
    };
    let defaults = [
        (AlgorithmConfig::MbMpo(Default::default()), "paper"),
        (AlgorithmConfig::Trpo(Default::default()), "authors"),
        (AlgorithmConfig::Ppo(Default::default()), "authors"),
        (AlgorithmConfig::Ddpg(Default::default()), "authors"),
        (AlgorithmConfig::Acktr(Default::default()), "authors"),
        (AlgorithmConfig::Vpg(Default::default()), "tuned"),
    ];
    assert_eq!(defaults.len(), AlgorithmKind::ALL.len());
    for (default, name) in defaults {
        assert_eq!(default, preset(default.kind(), name), "{}", default.kind());
    }
}

/// Fails when `config.ron` of a run cannot be given to `--preset`, or loses a digit.
#[test]
fn what_is_written_reads_back_the_same() {
    let odd = [
        "algorithm.inner_learning_rate=0.1234567890123456",
        "environment.variant=Gym",
    ];
    let config = set(&odd).unwrap();
    let read = preset::read(&config.to_ron().unwrap(), "config.ron").unwrap();
    assert_eq!(read.into_inner(), config);
}

/// Fails when a kind of value cannot be written in an override.
#[test]
fn override_takes_numbers_lists_words_and_booleans() {
    let config = set(&[
        "horizon=1_00",
        "algorithm.ensemble.hidden=[3, 4]",
        "algorithm.trust_region.max_kl=1",
        "algorithm.ensemble.weight_normalization=false",
        "algorithm.ensemble.shuffle=Minibatches",
    ])
    .unwrap();
    let algorithm = config.algorithm.mb_mpo().unwrap();
    assert_eq!(config.horizon, Some(100));
    assert_eq!(algorithm.ensemble.hidden, [3, 4]);
    assert_eq!(algorithm.trust_region.max_kl, 1.0);
    assert!(!algorithm.ensemble.weight_normalization);
    assert_eq!(
        algorithm.ensemble.shuffle,
        mbmpo_models::Shuffle::Minibatches
    );
}

/// Fails when the message does not suggest the similar key, in the same place or elsewhere.
#[test]
fn override_of_an_unknown_key_names_the_nearest() {
    assert_eq!(
        refused("algorithm.meta_step=3"),
        "override algorithm.meta_step=3: there is no key `meta_step` in `algorithm`, \
         did you mean `algorithm.meta_steps`?"
    );
    // at the wrong place
    assert!(refused("meta_steps=3").ends_with("did you mean `algorithm.meta_steps`?"));
    assert!(
        refused("algorithm.max_kl=3").ends_with("did you mean `algorithm.trust_region.max_kl`?")
    );
    // below a value
    assert!(refused("real_steps.foo=3").contains("no key `foo` in `real_steps`"));
    // nothing similar: all keys
    assert!(refused("zzz=3").ends_with(
        "there are `algorithm`, `environment`, `evaluation_episodes`, `horizon`, `real_steps`"
    ));
}

/// Fails when the message does not name the expected type in plain words.
#[test]
fn override_of_the_wrong_type_says_what_is_wanted() {
    assert_eq!(set(&["horizon=None"]).unwrap().horizon, None);
    assert!(refused("horizon=1.5").contains("`horizon`"));
    assert!(refused("horizon=1.5").ends_with("expected a whole number from 0 on"));
    assert!(refused("horizon=-1").ends_with("expected a whole number from 0 on"));
    assert!(refused("algorithm.policy.hidden=3").ends_with("expected a list such as [128, 128]"));
    assert!(
        refused("environment.variant=Author")
            .ends_with("expected one of `Paper`, `Authors`, `Gym`")
    );
    assert!(refused("horizon").contains("key.path=value"));
    assert!(refused("horizon=[1").contains("cannot read the value `[1`"));
}

/// A configuration of before, when the keys were the algorithm's. Fails when the message does not
/// say where they are now.
#[test]
fn moved_keys_get_advice() {
    for key in ["horizon", "evaluation_episodes"] {
        let place = position("meta_steps");
        assert_eq!(
            broken("meta_steps", &format!("{key}: 30, meta_steps")),
            format!(
                "{place}`{key}` is no key of the algorithm any more: move it out of the parentheses, beside `algorithm`"
            )
        );
        assert_eq!(
            refused(&format!("algorithm.{key}=30")),
            format!(
                "override algorithm.{key}=30: there is no key `{key}` in `algorithm`, did you mean `{key}`?"
            )
        );
    }
}

/// Fails when the message does not name the override and the range.
#[test]
fn override_out_of_range_says_the_range() {
    let horizon = ["algorithm.ensemble.validation_share=1.5".to_owned()];
    let error = preset::resolve("point-2d", "quick", &horizon).unwrap_err();
    assert_eq!(
        error.to_string(),
        "override algorithm.ensemble.validation_share=1.5: \
         `algorithm.ensemble.validation_share` is 1.5, allowed is 0.01 to 0.9"
    );
}

/// Fails when a new key below `environment.physics` cannot be set, or `env.` is not understood.
#[test]
fn override_takes_new_names_in_the_maps_of_the_physics() {
    let config = set(&[
        "environment.physics.mass.torso=2",
        "env.physics.mass.torso=3",
        "env.physics.mass.left.foot=1.5",
        "env.physics.motor={\"all\": 0.5}",
        "env.variant=Gym",
    ])
    .unwrap();
    let Physics {
        mass,
        motor,
        friction,
    } = &config.environment.physics;
    let mass: Vec<_> = mass.iter().map(|(k, v)| (k.as_str(), *v)).collect();
    assert_eq!(mass, [("left.foot", 1.5), ("torso", 3.0)]);
    assert_eq!(motor["all"], 0.5);
    assert!(friction.is_empty());
    assert_eq!(config.environment.variant, mbmpo_envs::Variant::Gym);

    assert_eq!(
        refused("env.physics.mas.torso=2"),
        "override env.physics.mas.torso=2: there is no key `mas` in `environment.physics`, \
         did you mean `environment.physics.mass`?"
    );
    assert!(refused("env.phisics.mass.all=2").ends_with("did you mean `environment.physics`?"));
    assert!(refused("physics.mass.all=2").ends_with("did you mean `environment.physics`?"));
    assert!(refused("env.mass.all=2").ends_with("did you mean `environment.physics.mass`?"));
    assert!(refused("env.physics.zzz=2").ends_with("there are `friction`, `mass`, `motor`"));
    assert!(refused("env.physics.mass=2").ends_with("expected a map such as {\"all\": 2}"));
    let word = refused("env.physics.mass.torso=heavy");
    assert!(
        word.contains("`environment.physics.mass.torso`") && word.ends_with("expected a number"),
        "{word}"
    );
}

/// Fails when `config.ron` of a run loses its physics, or one without mentions it.
#[test]
fn physics_reads_back_the_same() {
    let config = set(&["env.physics.friction.floor=0.1234567890123456"]).unwrap();
    // the point has no physics
    let text = config.to_ron().unwrap().replace("point-2d", "hopper");
    let read = preset::read(&text, "config.ron").unwrap().into_inner();
    assert_eq!(read.environment.physics, config.environment.physics);
    assert_eq!(read.to_ron().unwrap(), text);
    assert!(!quick().to_ron().unwrap().contains("physics"));
}

/// Fails when the physics does not reach the simulation, for a robot that comes with the program or
/// a user's.
#[test]
fn physics_reaches_the_simulation() {
    let assets = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../assets"));
    let own = RobotFiles {
        robot: assets.join("inverted_pendulum.xml"),
        task: assets.join("inverted_pendulum.ron"),
    };
    for (name, files) in [("half-cheetah", None), ("pendulum", Some(own))] {
        let with = |factors: &[(&str, f64)]| EnvironmentConfig {
            name: name.to_owned(),
            files: files.clone(),
            physics: Physics {
                mass: factors.iter().map(|(k, v)| ((*k).into(), *v)).collect(),
                ..Physics::default()
            },
            ..quick().environment
        };
        let mass = |config: &EnvironmentConfig| {
            let robot = config.make_robot().unwrap();
            robot.simulation().robot().total_mass()
        };
        let (usual, heavy) = (with(&[]), with(&[("all", 2.0)]));
        assert!((mass(&heavy) / mass(&usual) - 2.0).abs() < 1e-12, "{name}");
        let action = vec![1.0; usual.make().unwrap().action_dim()];
        let step = |config: &EnvironmentConfig| {
            let mut environment = config.make().unwrap();
            environment.step(&action).unwrap().observation
        };
        assert_ne!(step(&heavy), step(&usual), "{name}");

        let unknown = with(&[("nose", 2.0)]).make().err().unwrap();
        assert!(unknown.is_input());
        let message = unknown.to_string();
        assert!(
            message.contains("physics.mass: there is no body `nose`"),
            "{message}"
        );
        assert!(with(&[("all", f64::NAN)]).make().err().unwrap().is_input());
    }
}

/// Fails when impossible physics is not refused before a run begins.
#[test]
fn physics_that_cannot_be_is_refused() {
    let refused = |environment: &str, text: &str| {
        let error = preset::resolve(environment, "quick", &[text.to_owned()]).unwrap_err();
        assert!(error.is_input());
        error.to_string()
    };
    assert_eq!(
        refused("hopper", "env.physics.mass.tors=2"),
        "override env.physics.mass.tors=2: hopper: physics.mass: there is no body `tors`, did you mean `torso`? \
         (there are `all`, `torso`, `thigh`, `leg`, `foot`)"
    );
    assert!(
        refused("hopper", "env.physics.mass.torso=0")
            .contains("`environment.physics.mass.torso` is 0, allowed is 0.01 to 100")
    );
    assert_eq!(
        refused("point-2d", "env.physics.mass.all=2"),
        "override env.physics.mass.all=2: `environment.physics` is set, allowed is none: point-2d has no physics to change"
    );
    let text = quick().to_ron().unwrap();
    let text = text.replacen("variant:", "physics: (mass: {\"all\": 2}), variant:", 1);
    assert_eq!(
        preset::read(&text, "config.ron").unwrap_err().to_string(),
        "config.ron:4:18: `environment.physics` is set, allowed is none: point-2d has no physics to change"
    );
}

/// Fails when the message does not have the place of the mistake, or the wrong key.
#[test]
fn file_errors_name_line_column_and_key() {
    let place = position("meta_steps");
    assert_eq!(
        broken("meta_steps", "meta_step"),
        format!("{place}unknown key `meta_step`, did you mean `meta_steps`?")
    );
    let place = position("Rows");
    assert_eq!(
        broken("Rows", "Row"),
        format!("{place}`algorithm.ensemble.shuffle` cannot be `Row`, did you mean `Rows`?")
    );
    let place = position("500,");
    assert_eq!(
        broken("batch_size: 500", "batch_size: true"),
        format!("{place}`algorithm.ensemble.batch_size`: expected a whole number")
    );
    assert!(broken("meta_steps: ", "// ").ends_with("key `meta_steps` is missing in `algorithm`"));
    let place = position("500,");
    assert_eq!(
        broken("batch_size: 500", "batch_size: 0"),
        format!("{place}`algorithm.ensemble.batch_size` is 0, allowed is 1 to 100000")
    );
    let place = position("\"point-2d\"");
    assert_eq!(
        broken("point-2d\"", "point\""),
        format!(
            "{place}`environment.name` is `point`, allowed is one of point-2d, half-cheetah, swimmer, \
             hopper, walker2d, ant, pr2-reacher"
        )
    );
}

/// Fails when a text of any size is parsed, which can take many times its memory.
#[test]
fn a_huge_file_is_refused() {
    let error = preset::read(&" ".repeat((1 << 20) + 1), "large.ron").unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("large.ron:1:1: the text is larger"),
        "{error}"
    );
}

/// Fails when an unknown environment, preset or file is not named, or the similar name is not
/// suggested.
#[test]
fn unknown_names_come_with_the_nearest() {
    let resolve = |environment: &str, name| {
        preset::resolve(environment, name, &[])
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        resolve("half-chetah", "quick"),
        "there is no environment `half-chetah`, did you mean `half-cheetah`? \
         (there are `point-2d`, `half-cheetah`, `swimmer`, `hopper`, `walker2d`, `ant`, `pr2-reacher`)"
    );
    assert!(resolve("point-2d", "papper").contains("did you mean `paper`?"));
    assert!(resolve("point-2d", "absent/my.ron").starts_with("cannot read absent/my.ron: "));
}
