//! A task has the same value on slices, for real environments, and on tensors, for imagination.
//! Each term is also compared with a number worked by hand.
#![cfg(feature = "tensor")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use burn::tensor::{Device, Tensor, TensorData};
use mbmpo_core::Check;
use mbmpo_core::task::{
    Moment, Norm, RewardTerm, Task, TensorTransitions, TerminationTerm, Transition,
};
use proptest::prelude::*;

const OBSERVATION: usize = 4;
const ACTION: usize = 3;

fn reward_term() -> impl Strategy<Value = RewardTerm> {
    let weight = -2.0..2.0;
    prop_oneof![
        (0..OBSERVATION, weight.clone())
            .prop_map(|(component, weight)| RewardTerm::NextObservation { component, weight }),
        weight
            .clone()
            .prop_map(|weight| RewardTerm::ControlCost { weight }),
        weight.clone().prop_map(|bonus| RewardTerm::Alive { bonus }),
        (
            prop::collection::vec(0..OBSERVATION, 1..4),
            any::<bool>(),
            any::<bool>(),
            weight
        )
            .prop_map(
                |(components, before, squared, weight)| RewardTerm::Distance {
                    components,
                    of: if before {
                        Moment::Before
                    } else {
                        Moment::After
                    },
                    norm: if squared {
                        Norm::Squared
                    } else {
                        Norm::Euclidean
                    },
                    weight,
                }
            ),
    ]
}

fn termination_term() -> impl Strategy<Value = TerminationTerm> {
    prop_oneof![
        (
            prop::collection::vec(0..OBSERVATION, 1..3),
            -2.0..0.0,
            0.0..2.0
        )
            .prop_map(|(components, low, high)| TerminationTerm::Outside {
                components,
                low,
                high,
            }),
        (prop::collection::vec(0..OBSERVATION, 1..3), 0.1..2.0).prop_map(
            |(components, half_width)| TerminationTerm::Reached {
                components,
                half_width
            }
        ),
    ]
}

fn task() -> impl Strategy<Value = Task> {
    (
        prop::collection::vec(reward_term(), 0..5),
        prop::option::of(0.1..5.0),
        prop::collection::vec(termination_term(), 0..4),
    )
        .prop_map(|(reward, reward_clip, termination)| Task {
            reward,
            reward_clip,
            termination,
        })
}

fn rows(dim: usize) -> impl Strategy<Value = Vec<f32>> {
    prop::collection::vec(-3.0f32..3.0, 5 * dim)
}

proptest! {
    /// Fails when a term differs between slices and tensors.
    #[test]
    fn slices_and_tensors_agree(
        task in task(),
        s in rows(OBSERVATION),
        a in rows(ACTION),
        next in rows(OBSERVATION),
    ) {
        let device = Device::flex();
        let matrix = |data: &[f32], dim| {
            Tensor::<2>::from_data(TensorData::new(data.to_vec(), [5, dim]), &device)
        };
        let batch = TensorTransitions {
            observations: matrix(&s, OBSERVATION),
            actions: matrix(&a, ACTION),
            next_observations: matrix(&next, OBSERVATION),
        };
        let rewards: Vec<f32> = task.reward(&batch).into_data().try_to_vec().unwrap();
        let ends: Vec<f32> = task.termination(&batch).into_data().try_to_vec().unwrap();
        for i in 0..5 {
            let row = Transition {
                observation: &s[i * OBSERVATION..][..OBSERVATION],
                action: &a[i * ACTION..][..ACTION],
                next_observation: &next[i * OBSERVATION..][..OBSERVATION],
            };
            prop_assert!((rewards[i] - task.reward(&row)).abs() < 1e-4);
            prop_assert_eq!(ends[i], task.termination(&row));
        }
    }
}

fn evaluate(task: &Task, s: [f32; 2], a: [f32; 2], next: [f32; 2]) -> (f32, f32) {
    let row = Transition {
        observation: &s,
        action: &a,
        next_observation: &next,
    };
    (task.reward(&row), task.termination(&row))
}

/// Fails when a term has a wrong sign, weight, norm or state, or the clip is not applied to the
/// sum.
#[test]
fn terms_by_hand() {
    let distance = |of, norm| Task {
        reward: vec![RewardTerm::Distance {
            components: vec![0, 1],
            of,
            norm,
            weight: 2.0,
        }],
        ..Task::default()
    };
    let (s, a, next) = ([3.0, 4.0], [1.0, 2.0], [6.0, 8.0]);
    let reward = |task: Task| evaluate(&task, s, a, next).0;
    assert_eq!(reward(distance(Moment::Before, Norm::Euclidean)), -10.0);
    assert_eq!(reward(distance(Moment::Before, Norm::Squared)), -50.0);
    assert_eq!(reward(distance(Moment::After, Norm::Euclidean)), -20.0);
    let sum = Task {
        reward: vec![
            RewardTerm::NextObservation {
                component: 1,
                weight: 0.5,
            },
            RewardTerm::ControlCost { weight: 0.1 },
            RewardTerm::Alive { bonus: 1.0 },
        ],
        reward_clip: None,
        termination: vec![],
    };
    assert_eq!(reward(sum.clone()), 4.0 - 0.5 + 1.0);
    assert_eq!(
        reward(Task {
            reward_clip: Some(3.0),
            ..sum
        }),
        3.0
    );
}

/// Fails when a bound is on the wrong side, or a value that is not finite does not end an episode.
#[test]
fn termination_by_hand() {
    let task = Task {
        termination: vec![
            TerminationTerm::Outside {
                components: vec![0],
                low: 0.7,
                high: 2.0,
            },
            TerminationTerm::Reached {
                components: vec![0, 1],
                half_width: 1.0,
            },
        ],
        ..Task::default()
    };
    let ends = |next| evaluate(&task, [0.0; 2], [0.0; 2], next).1;
    assert_eq!(ends([1.0, 5.0]), 0.0);
    assert_eq!(ends([0.6, 5.0]), 1.0);
    assert_eq!(ends([f32::NAN, 5.0]), 1.0);
    assert_eq!(ends([f32::INFINITY, 5.0]), 1.0);
    assert_eq!(ends([0.9, -0.9]), 1.0);
    assert_eq!(ends([0.9, -1.1]), 0.0);
}

/// Fails when an infinite bound lets an infinite state pass, or when only the first component
/// counts.
#[test]
fn outside_of_a_half_line() {
    let task = Task {
        termination: vec![TerminationTerm::Outside {
            components: vec![0, 1],
            low: 0.7,
            high: f64::INFINITY,
        }],
        ..Task::default()
    };
    let ends = |next| evaluate(&task, [0.0; 2], [0.0; 2], next).1;
    assert_eq!(ends([1.0, 1e30]), 0.0);
    assert_eq!(ends([1.0, 0.6]), 1.0);
    assert_eq!(ends([1.0, f32::INFINITY]), 1.0);
}

/// Fails when renaming loses or exchanges a component, or the first unknown name is not reported.
#[test]
fn components_are_renamed() {
    let by_name: Task<&str> = Task {
        reward: vec![
            RewardTerm::NextObservation {
                component: "y",
                weight: 2.0,
            },
            RewardTerm::ControlCost { weight: 0.1 },
            RewardTerm::Alive { bonus: 1.0 },
            RewardTerm::Distance {
                components: vec!["x", "y"],
                of: Moment::Before,
                norm: Norm::Squared,
                weight: 1.0,
            },
        ],
        reward_clip: Some(5.0),
        termination: vec![
            TerminationTerm::Outside {
                components: vec!["y"],
                low: 0.0,
                high: 1.0,
            },
            TerminationTerm::Reached {
                components: vec!["x"],
                half_width: 1.0,
            },
        ],
    };
    let index = |known: &'static [&str]| {
        move |name: &str| known.iter().position(|k| *k == name).ok_or(name.to_owned())
    };
    let by_index = by_name.clone().try_map(index(&["x", "y"])).unwrap();
    assert_eq!(by_index.required_observation_dim(), 2);
    assert_eq!(
        by_index.try_map(|i| Ok::<_, ()>(["x", "y"][i])),
        Ok(by_name.clone())
    );
    assert_eq!(by_name.try_map(index(&["y"])), Err("x".to_owned()));
}

/// Fails when a number that makes a task meaningless is accepted, or its key is not named.
#[test]
fn meaningless_numbers() {
    let task = Task {
        reward: vec![
            RewardTerm::Alive { bonus: f64::NAN },
            RewardTerm::Distance {
                components: vec![],
                of: Moment::After,
                norm: Norm::Squared,
                weight: f64::INFINITY,
            },
        ],
        reward_clip: Some(0.0),
        termination: vec![
            TerminationTerm::Outside {
                components: vec![0],
                low: 1.0,
                high: 1.0,
            },
            TerminationTerm::Reached {
                components: vec![0],
                half_width: -1.0,
            },
        ],
    };
    let violations = task.check().err().unwrap();
    let keys: Vec<_> = violations.0.iter().map(|v| v.key.as_str()).collect();
    let expected = [
        "reward[0].bonus",
        "reward[1].weight",
        "reward[1].components",
        "reward_clip",
        "termination[0].low",
        "termination[1].half_width",
    ];
    assert_eq!(keys, expected);
}
