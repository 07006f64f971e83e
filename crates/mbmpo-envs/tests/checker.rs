//! The checker passes environments that keep the contract, and each of its checks finds a
//! violation.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use mbmpo_core::{Environment, Error, Result, Snapshot, Step, Stream, Task, Tasked};
use mbmpo_envs::{NAMES, PointMass, Simulated, Variant, check_contract, make};
use std::sync::atomic::{AtomicU32, Ordering};

fn passes(environment: &dyn Simulated) {
    let report = check_contract(environment);
    assert_eq!(report.failures(), 0, "{report}");
    assert!(report.steps_per_second > 0.0);
}

/// Fails when an environment of this crate violates the contract in some variant.
#[test]
fn every_environment_passes_in_every_variant() {
    for &name in NAMES {
        for variant in Variant::ALL {
            passes(make(name, variant).unwrap().as_ref());
        }
    }
}

/// Fails when a robot from files violates the contract.
#[test]
fn the_example_robot_passes() {
    passes(&common::pendulum());
}

/// Ways to violate the contract.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Nothing,
    SizeOfObservation,
    Horizon,
    SizeOfAction,
    NotANumber,
    Fails,
    Unclipped,
    AnySize,
    RandomReset,
    DriftsBetweenCopies,
    Remembers,
    SharesState,
    CloneIsAnother,
    RestoreForgets,
    RestoreTakesAnything,
    RewardLies,
    AlwaysEnds,
}

/// A point mass with one fault.
#[derive(Clone)]
struct Broken {
    point: PointMass,
    fault: Fault,
    /// Part of the state that snapshots forget: shifts observations.
    hidden: f32,
}

/// Distinguishes its snapshots from those of a point mass.
const MARK: &[u8] = b"broken";

/// State that copies must not share.
static SHARED: AtomicU32 = AtomicU32::new(0);

impl Broken {
    fn new(fault: Fault) -> Self {
        Self {
            point: PointMass::new(Variant::Authors),
            fault,
            hidden: 0.0,
        }
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }
}

impl Environment for Broken {
    fn name(&self) -> &str {
        "broken"
    }
    fn observation_dim(&self) -> usize {
        if self.has(Fault::SizeOfObservation) {
            3
        } else {
            2
        }
    }
    fn action_dim(&self) -> usize {
        if self.has(Fault::SizeOfAction) { 3 } else { 2 }
    }
    fn horizon(&self) -> usize {
        usize::from(!self.has(Fault::Horizon))
    }
    fn control_time_step(&self) -> f64 {
        1.0
    }
    fn reset(&mut self, stream: &mut Stream) -> Vec<f32> {
        let mut first = self.point.reset(stream);
        match self.fault {
            Fault::RandomReset => first[0] += SHARED.fetch_add(1, Ordering::Relaxed) as f32,
            Fault::Remembers => first[0] += self.hidden,
            _ => self.hidden = 0.0,
        }
        first
    }
    fn step(&mut self, action: &[f32]) -> Result<Step> {
        if self.has(Fault::AnySize) && action.len() != 2 {
            return self.step(&[0.0; 2]);
        }
        let mut step = self.point.step(action)?;
        self.hidden += 1.0;
        match self.fault {
            Fault::NotANumber if self.hidden == 50.0 => step.observation[1] = f32::NAN,
            Fault::Fails if self.hidden == 50.0 => {
                return Err(Error::Description("too far".to_owned()));
            }
            Fault::Unclipped => step.reward = if action[0] > 1.0 { 0.0 } else { step.reward },
            Fault::DriftsBetweenCopies | Fault::SharesState => {
                step.observation[0] += SHARED.fetch_add(1, Ordering::Relaxed) as f32;
            }
            Fault::RestoreForgets => step.observation[0] += self.hidden,
            Fault::RewardLies => step.reward += 1e-3,
            Fault::AlwaysEnds => step.terminated = true,
            _ => {}
        }
        Ok(step)
    }
    fn boxed_clone(&self) -> Box<dyn Environment> {
        if self.has(Fault::CloneIsAnother) {
            return Box::new(PointMass::new(Variant::Authors));
        }
        Box::new(self.clone())
    }
}

impl Tasked for Broken {
    fn task(&self) -> &Task {
        self.point.task()
    }
}

impl Snapshot for Broken {
    fn snapshot(&self) -> Vec<u8> {
        [MARK, &self.point.snapshot()].concat()
    }
    fn restore(&mut self, snapshot: &[u8]) -> Result<()> {
        let outcome = match snapshot.strip_prefix(MARK) {
            Some(snapshot) => self.point.restore(snapshot),
            None => Err(Error::Description("not mine".to_owned())),
        };
        if self.has(Fault::RestoreTakesAnything) {
            return Ok(());
        }
        outcome
    }
}

/// Fails when a check does not find its fault, or a sound environment does not pass.
#[test]
fn every_check_can_fail() {
    passes(&Broken::new(Fault::Nothing));
    for (fault, expected) in [
        (Fault::SizeOfObservation, "shapes"),
        (Fault::Horizon, "shapes"),
        (Fault::SizeOfAction, "shapes"),
        (Fault::AnySize, "shapes"),
        (Fault::NotANumber, "finite under random actions"),
        (Fault::NotANumber, "finite under bang-bang actions"),
        (Fault::Fails, "finite under random actions"),
        (Fault::Unclipped, "actions are clipped"),
        (Fault::RandomReset, "resets are deterministic"),
        (Fault::DriftsBetweenCopies, "steps are deterministic"),
        (Fault::Remembers, "resets forget earlier episodes"),
        (Fault::SharesState, "copies are independent"),
        (Fault::CloneIsAnother, "copies are independent"),
        (Fault::RestoreForgets, "snapshots restore every byte"),
        (Fault::RestoreTakesAnything, "foreign snapshots are refused"),
        (Fault::RewardLies, "the reward is the task's"),
        (Fault::AlwaysEnds, "the termination is the task's"),
    ] {
        let report = check_contract(&Broken::new(fault));
        let mut failed = report.checks.iter().filter(|check| check.failure.is_some());
        assert!(
            failed.any(|check| check.name == expected),
            "{fault:?}: {report}"
        );
        assert!(report.to_string().contains(&format!("FAIL  {expected}: ")));
    }
}
