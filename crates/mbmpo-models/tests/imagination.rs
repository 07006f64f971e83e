//! Imagined rollouts are those of a controller that acts in the model: the transitions of the
//! model, the rewards of the task, contiguous paths, episodes that end and begin where the task
//! says.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use burn::tensor::{Device, Tensor, TensorData};
use mbmpo_core::task::{RewardTerm, Task, TerminationTerm, Transition};
use mbmpo_core::{
    Actor, DynamicsModel, Environment, Error, Purpose, Result, Step, Stream, Streams, Trajectories,
};
use mbmpo_models::imagination::{Bounds, Imagination, Members, Randomness};
use rand::RngExt;

/// s' = s + (0.1 + member) a
struct Linear;

impl DynamicsModel for Linear {
    fn members(&self) -> usize {
        2
    }

    fn step(
        &self,
        member: usize,
        observations: Tensor<2>,
        actions: Tensor<2>,
        _noise: &mut Stream,
    ) -> Result<Tensor<2>> {
        Ok(observations + actions * (0.1 + member as f64))
    }
}

/// Starts uniformly in `[-2, 2]²`; acting in it is an error, for imagination must not.
#[derive(Clone)]
struct Starts;

impl Environment for Starts {
    fn name(&self) -> &str {
        "starts"
    }
    fn observation_dim(&self) -> usize {
        2
    }
    fn action_dim(&self) -> usize {
        2
    }
    fn horizon(&self) -> usize {
        HORIZON
    }
    fn control_time_step(&self) -> f64 {
        1.0
    }
    fn reset(&mut self, stream: &mut Stream) -> Vec<f32> {
        (0..2).map(|_| stream.random_range(-2.0..2.0)).collect()
    }
    fn step(&mut self, _action: &[f32]) -> Result<Step> {
        Err(Error::Description(
            "a step in the real environment".to_owned(),
        ))
    }
    fn boxed_clone(&self) -> Box<dyn Environment> {
        Box::new(self.clone())
    }
}

/// a = -0.3 s + noise, plus the number of steps since its episode began over 100 in the second
/// component.
#[derive(Default)]
struct Counting {
    ages: Vec<f32>,
}

impl Actor for Counting {
    fn begin(&mut self, rows: &[bool]) {
        self.ages.resize(rows.len(), 0.0);
        for (age, begins) in self.ages.iter_mut().zip(rows) {
            *age = if *begins { 0.0 } else { *age };
        }
    }

    fn act(&mut self, observations: Tensor<2>, noise: &mut Stream) -> Result<Tensor<2>> {
        let rows: Vec<f32> = self
            .ages
            .iter_mut()
            .flat_map(|age| {
                *age += 1.0;
                [noise.random_range(-2.0..2.0_f32), (*age - 1.0) / 100.0]
            })
            .collect();
        let data = TensorData::new(rows, [self.ages.len(), 2]);
        Ok(observations * -0.3 + Tensor::from_data(data, &Device::flex()))
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

fn imagine_in(
    model: &impl DynamicsModel,
    task: &Task,
    members: Members,
    bounds: &Bounds,
    clip_actions: bool,
    seed: u64,
) -> Result<Trajectories> {
    let imagination = Imagination {
        task,
        horizon: HORIZON,
        rollouts: ROLLOUTS,
        bounds,
        clip_actions,
        device: &Device::flex(),
    };
    let streams = Streams::new(seed);
    let randomness = Randomness {
        starts: streams.stream(Purpose::ImaginedStart, 0, 0),
        actions: streams.stream(Purpose::ImaginedAction, 0, 0),
        steps: streams.stream(Purpose::ImaginedStep, 0, 0),
    };
    let actor = &mut Counting::default();
    imagination.rollouts(model, members, actor, &mut Starts, randomness)
}

fn wide() -> Bounds {
    Bounds::symmetric(1000.0, 2)
}

fn imagine(task: &Task, members: Members, seed: u64) -> Trajectories {
    imagine_in(&Linear, task, members, &wide(), false, seed).unwrap()
}

/// The gain of the model in transition i, from its first component.
fn gain(paths: &Trajectories, i: usize) -> f32 {
    let change = paths.next_observation(i)[0] - paths.observation(i)[0];
    change / paths.action(i)[0]
}

/// The member that made transition i.
fn member(paths: &Trajectories, i: usize) -> usize {
    let gain = gain(paths, i);
    let member = usize::from(gain > 0.6);
    assert!((gain - 0.1 - member as f32).abs() < 1e-2, "{gain}");
    member
}

fn assert_follows_the_model(paths: &Trajectories, task: &Task) {
    for path in paths.paths() {
        for i in path.clone() {
            let (s, a, next) = (
                paths.observation(i),
                paths.action(i),
                paths.next_observation(i),
            );
            let gain = 0.1 + member(paths, i) as f32;
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
                "a path is contiguous"
            );
            assert!(
                last || task.termination(&row) == 0.0,
                "a path ends where the task says"
            );
            let age = (a[1] + 0.3 * s[1]) * 100.0;
            assert!(
                (age - (i - path.start) as f32).abs() < 1e-3,
                "the controller begins anew with every episode"
            );
        }
        let first = paths.observation(path.start);
        assert!(first.iter().all(|x| x.abs() <= 2.0), "a path starts in p_0");
    }
}

/// Fails when rows of different rollouts are mixed up, or another member predicts.
#[test]
fn without_termination_every_rollout_is_one_full_path() {
    let task = task(vec![]);
    for chosen in [0, 1] {
        let paths = imagine(&task, Members::One(chosen), 1);
        assert_eq!(paths.lengths, [HORIZON; ROLLOUTS]);
        assert_eq!(paths.terminated, [false; ROLLOUTS]);
        assert_follows_the_model(&paths, &task);
        assert!((0..paths.len()).all(|i| member(&paths, i) == chosen));
    }
}

/// Fails when members are not drawn where they shall be, or predictions come back in another order
/// than the rows.
#[test]
fn members_are_drawn_for_each_step_or_each_episode() {
    let task = ending();
    for (members, changes) in [(Members::EachStep, true), (Members::EachRollout, false)] {
        let paths = imagine(&task, members, 2);
        assert_follows_the_model(&paths, &task);
        let drawn: Vec<Vec<usize>> = paths
            .paths()
            .map(|path| path.map(|i| member(&paths, i)).collect())
            .collect();
        let changed = drawn.iter().any(|path| path.iter().any(|m| *m != path[0]));
        assert_eq!(changed, changes, "{drawn:?}");
        for member in [0, 1] {
            assert!(drawn.iter().any(|path| path[0] == member), "{drawn:?}");
        }
    }
}

/// Fails when a member is left out, or the members' rollouts begin in different states.
#[test]
fn every_rollout_in_every_member() {
    let paths = imagine(&task(vec![]), Members::All, 3);
    assert_eq!(paths.lengths, [HORIZON; 2 * ROLLOUTS]);
    let first: Vec<usize> = paths.paths().map(|path| path.start).collect();
    for (rollout, &i) in first.iter().enumerate() {
        assert_eq!(member(&paths, i), rollout / ROLLOUTS);
        let same = first[rollout % ROLLOUTS];
        assert_eq!(paths.observation(i), paths.observation(same));
    }
}

fn ending() -> Task {
    let inside = |component| TerminationTerm::Outside {
        components: vec![component],
        low: -1.7,
        high: 1.7,
    };
    task(vec![inside(0), inside(1)])
}

/// Fails when a terminated rollout goes on or is not restarted, or when only the episodes that fit
/// into one horizon count, which would favour short ones.
#[test]
fn terminated_rollouts_start_again() {
    let task = ending();
    let paths = imagine(&task, Members::One(1), 2);
    assert_follows_the_model(&paths, &task);
    assert!(
        paths.lengths.len() > ROLLOUTS,
        "some rollouts start again: {:?}",
        paths.lengths
    );
    assert!(paths.len() >= HORIZON * ROLLOUTS);
    for (path, &terminated) in paths.paths().zip(&paths.terminated) {
        let i = path.end - 1;
        let outside = paths.next_observation(i).iter().any(|x| x.abs() > 1.7);
        assert_eq!(terminated, outside);
        assert!(
            terminated || path.len() == HORIZON,
            "only whole episodes count"
        );
    }
}

/// Fails when a prediction is not clipped to the bounds of its own component, or the rollout goes on
/// from the unclipped one.
#[test]
fn predictions_are_clipped() {
    let bounds = Bounds {
        low: vec![-0.8, -0.2],
        high: vec![0.5, 0.9],
    };
    let members = Members::One(1);
    let paths = imagine_in(&Linear, &task(vec![]), members, &bounds, false, 3).unwrap();
    for (i, (low, high)) in bounds.low.iter().zip(&bounds.high).enumerate() {
        let own = || paths.next_observations.iter().skip(i).step_by(2);
        assert_eq!(own().copied().fold(f32::INFINITY, f32::min), *low);
        assert_eq!(own().copied().fold(f32::NEG_INFINITY, f32::max), *high);
    }
    for path in paths.paths() {
        for i in path.start..path.end - 1 {
            assert_eq!(paths.observation(i + 1), paths.next_observation(i));
        }
    }
}

/// The contract of `Environment`. Fails when the model, the reward or the termination sees an
/// action beyond ±1, or when the likelihood would see anything but the action that was drawn.
#[test]
fn actions_take_effect_clipped_and_are_kept_as_drawn() {
    let end = TerminationTerm::Outside {
        components: vec![0],
        low: -1.5,
        high: 1.5,
    };
    let task = task(vec![end]);
    let members = Members::One(1);
    let paths = imagine_in(&Linear, &task, members, &wide(), true, 4).unwrap();
    let beyond = paths.actions.iter().filter(|a| a.abs() > 1.0).count();
    assert!(beyond > 10, "{beyond} of the actions are beyond 1");
    for i in 0..paths.len() {
        let (s, next) = (paths.observation(i), paths.next_observation(i));
        let applied = mbmpo_core::clip_action(paths.action(i));
        for j in 0..2 {
            assert!((next[j] - s[j] - 1.1 * applied[j]).abs() < 1e-5);
        }
        let row = Transition {
            observation: s,
            action: &applied,
            next_observation: next,
        };
        assert!((paths.rewards[i] - task.reward(&row)).abs() < 1e-5);
    }
}

/// Fails when bounds of another size are cut or repeated to fit.
#[test]
fn bounds_of_another_size_are_an_error() {
    let bounds = Bounds::symmetric(1.0, 3);
    let paths = imagine_in(&Linear, &task(vec![]), Members::One(0), &bounds, true, 0);
    let error = paths.unwrap_err().to_string();
    assert!(error.contains("bounds"), "{error}");
}

/// Fails when a random number comes from anywhere but the named streams.
#[test]
fn the_same_streams_give_the_same_paths() {
    let task = task(vec![]);
    for members in [Members::One(0), Members::EachStep] {
        let paths = |seed| imagine(&task, members, seed);
        assert_eq!(paths(4), paths(4));
        assert_ne!(paths(4), paths(5));
    }
}

/// A stochastic model; fails when its noise does not come from the stream of the steps.
#[test]
fn a_model_may_draw_noise() {
    struct Noisy;
    impl DynamicsModel for Noisy {
        fn members(&self) -> usize {
            1
        }
        fn step(
            &self,
            _member: usize,
            observations: Tensor<2>,
            _actions: Tensor<2>,
            noise: &mut Stream,
        ) -> Result<Tensor<2>> {
            Ok(observations.zeros_like() + noise.random_range(0.0..1.0_f64))
        }
    }
    let task = task(vec![]);
    let paths = imagine_in(&Noisy, &task, Members::One(0), &wide(), false, 6).unwrap();
    let mut stream = Streams::new(6).stream(Purpose::ImaginedStep, 0, 0);
    for i in 0..HORIZON {
        let drawn = stream.random_range(0.0..1.0_f64) as f32;
        assert_eq!(paths.next_observation(i), [drawn; 2]);
    }
}

/// Fails when a prediction that is not finite reaches the policy, or an error of the model is lost.
#[test]
fn a_failing_model_is_an_error() {
    struct Broken(bool);
    impl DynamicsModel for Broken {
        fn members(&self) -> usize {
            1
        }
        fn step(
            &self,
            _: usize,
            observations: Tensor<2>,
            _: Tensor<2>,
            _: &mut Stream,
        ) -> Result<Tensor<2>> {
            if self.0 {
                return Err(Error::Description("the device is lost".to_owned()));
            }
            Ok(observations * f32::NAN)
        }
    }
    let task = task(vec![]);
    for (lost, message) in [(false, "not finite"), (true, "the device is lost")] {
        let error = imagine_in(&Broken(lost), &task, Members::One(0), &wide(), true, 0);
        let error = error.unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

/// Fails when nothing to imagine causes a panic or an endless loop.
#[test]
fn nothing_to_imagine_is_an_error() {
    let task = task(vec![]);
    for (horizon, rollouts) in [(0, 1), (1, 0)] {
        let imagination = Imagination {
            task: &task,
            horizon,
            rollouts,
            bounds: &wide(),
            clip_actions: true,
            device: &Device::flex(),
        };
        let stream = || Streams::new(0).stream(Purpose::Test, 0, 0);
        let randomness = Randomness {
            starts: stream(),
            actions: stream(),
            steps: stream(),
        };
        let actor = &mut Counting::default();
        let members = Members::One(0);
        let paths = imagination.rollouts(&Linear, members, actor, &mut Starts, randomness);
        let error = paths.unwrap_err().to_string();
        assert!(error.contains("at least one rollout"), "{error}");
    }
}
