//! Imagined rollouts must be what acting in the model gives: the model's transitions, the task's rewards, paths that
//! hang together, episodes that end and begin where the task says.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use burn::tensor::{Device, Tensor};
use mbmpo_core::task::{RewardTerm, Task, TerminationTerm, Transition};
use mbmpo_core::{Check, DynamicsModel, Purpose, Streams, Trajectories};
use mbmpo_envs::{Variant, make};
use mbmpo_meta::imagine::{Imagination, Randomness};
use mbmpo_policy::{GaussianMlp, PolicyConfig};

/// s' = s + (0.1 + member) a
struct Linear;

impl DynamicsModel for Linear {
    fn members(&self) -> usize {
        2
    }

    fn predict(&self, member: usize, observations: Tensor<2>, actions: Tensor<2>) -> Tensor<2> {
        observations + actions * (0.1 + member as f64)
    }
}

const HORIZON: usize = 12;
const ROLLOUTS: usize = 5;

fn task(termination: Vec<TerminationTerm>) -> Task {
    Task {
        reward: vec![
            RewardTerm::NextObservation {
                component: 0,
                weight: 1.0,
            },
            RewardTerm::ControlCost { weight: 0.1 },
        ],
        reward_clip: None,
        termination,
    }
}

fn imagine(task: &Task, member: usize, observation_clip: f64, seed: u64) -> Trajectories {
    let config = PolicyConfig {
        hidden: vec![8],
        initial_std: 0.5,
        min_std: 1e-6,
        output_scale: 1.0,
    };
    let config = config.check().unwrap();
    let network = GaussianMlp::new(&config, 2, 2);
    let streams = Streams::new(seed);
    let theta =
        network.initial_parameters(&config, &mut streams.stream(Purpose::PolicyWeights, 0, 0));
    let theta: Vec<f32> = theta.iter().map(|&x| x as f32).collect();
    let imagination = Imagination {
        network: &network,
        task,
        horizon: HORIZON,
        rollouts: ROLLOUTS,
        observation_clip,
        device: &Device::flex(),
    };
    let mut environment = make("point-2d", Variant::Paper).unwrap();
    let randomness = Randomness {
        starts: streams.stream(Purpose::ImaginedStart, 0, 0),
        actions: streams.stream(Purpose::ImaginedAction, 0, 0),
    };
    imagination
        .rollouts(&Linear, member, &theta, environment.as_mut(), randomness)
        .unwrap()
}

fn assert_follows_the_model(paths: &Trajectories, task: &Task, gain: f32) {
    for path in paths.paths() {
        for i in path.clone() {
            let (s, a, next) = (
                paths.observation(i),
                paths.action(i),
                paths.next_observation(i),
            );
            for j in 0..2 {
                assert!((next[j] - s[j] - gain * a[j]).abs() < 1e-5);
            }
            let row = Transition {
                observation: s,
                action: a,
                next_observation: next,
            };
            assert!((paths.rewards[i] - task.reward(&row)).abs() < 1e-5);
            let last = i + 1 == path.end;
            assert!(
                last || paths.observation(i + 1) == next,
                "a path must hang together"
            );
            assert!(
                last || task.termination(&row) == 0.0,
                "a path must end where the task says"
            );
        }
        let first = paths.observation(path.start);
        assert!(
            first.iter().all(|x| x.abs() <= 2.0),
            "a path must start in p_0"
        );
    }
}

/// Fails when rows of different rollouts are mixed up, or another member is asked.
#[test]
fn without_termination_every_rollout_is_one_full_path() {
    let task = task(vec![]);
    for (member, gain) in [(0, 0.1), (1, 1.1)] {
        let paths = imagine(&task, member, 1000.0, 1);
        assert_eq!(paths.lengths, [HORIZON; ROLLOUTS]);
        assert_eq!(paths.terminated, [false; ROLLOUTS]);
        assert_follows_the_model(&paths, &task, gain);
    }
}

/// Fails when a terminated rollout goes on, is not restarted, or when only the episodes that fit into one horizon
/// count, which would favour short ones.
#[test]
fn terminated_rollouts_start_again() {
    let inside = |component| TerminationTerm::Outside {
        components: vec![component],
        low: -2.2,
        high: 2.2,
    };
    let task = task(vec![inside(0), inside(1)]);
    let paths = imagine(&task, 1, 1000.0, 2);
    assert_follows_the_model(&paths, &task, 1.1);
    assert!(
        paths.lengths.len() > ROLLOUTS,
        "some rollouts start again: {:?}",
        paths.lengths
    );
    assert!(paths.len() >= HORIZON * ROLLOUTS);
    for (path, &terminated) in paths.paths().zip(&paths.terminated) {
        let i = path.end - 1;
        let outside = paths.next_observation(i).iter().any(|x| x.abs() > 2.2);
        assert_eq!(terminated, outside);
        assert!(
            terminated || path.len() == HORIZON,
            "only whole episodes count"
        );
    }
}

/// Fails when predictions are not clipped, or the clipped state is not the one that goes on.
#[test]
fn predictions_are_clipped() {
    let paths = imagine(&task(vec![]), 1, 2.5, 3);
    let largest = paths
        .next_observations
        .iter()
        .fold(0.0f32, |m, x| m.max(x.abs()));
    assert_eq!(largest, 2.5);
    for path in paths.paths() {
        for i in path.start..path.end - 1 {
            assert_eq!(paths.observation(i + 1), paths.next_observation(i));
        }
    }
}

/// Fails when a random number comes from anywhere but the named streams.
#[test]
fn the_same_streams_give_the_same_paths() {
    let task = task(vec![]);
    assert_eq!(imagine(&task, 0, 1000.0, 4), imagine(&task, 0, 1000.0, 4));
    assert_ne!(imagine(&task, 0, 1000.0, 4), imagine(&task, 0, 1000.0, 5));
}

/// A model that predicts nonsense is an error, not a NaN in the policy.
#[test]
fn a_prediction_that_is_not_a_number_is_an_error() {
    struct Broken;
    impl DynamicsModel for Broken {
        fn members(&self) -> usize {
            1
        }
        fn predict(&self, _: usize, observations: Tensor<2>, _: Tensor<2>) -> Tensor<2> {
            observations * f32::NAN
        }
    }
    let config = PolicyConfig {
        hidden: vec![],
        initial_std: 0.5,
        min_std: 1e-6,
        output_scale: 1.0,
    };
    let network = GaussianMlp::new(&config.check().unwrap(), 2, 2);
    let task = task(vec![]);
    let imagination = Imagination {
        network: &network,
        task: &task,
        horizon: 3,
        rollouts: 2,
        observation_clip: 10.0,
        device: &Device::flex(),
    };
    let streams = Streams::new(0);
    let randomness = Randomness {
        starts: streams.stream(Purpose::ImaginedStart, 0, 0),
        actions: streams.stream(Purpose::ImaginedAction, 0, 0),
    };
    let mut environment = make("point-2d", Variant::Paper).unwrap();
    let theta = vec![0.0; network.parameter_count()];
    let error = imagination
        .rollouts(&Broken, 0, &theta, environment.as_mut(), randomness)
        .unwrap_err();
    assert!(error.to_string().contains("not finite"), "{error}");
}
