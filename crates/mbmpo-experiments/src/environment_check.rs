//! Checks whether an environment satisfies the contract of its traits, also on tensors.

use crate::{DeviceKind, Result};
use burn::tensor::{Device, Tensor, TensorData};
use mbmpo_core::collect::{Plan, collect};
use mbmpo_core::task::{TensorTransitions, Transition};
use mbmpo_core::{Purpose, Streams, Tasked, Trajectories, UniformPolicy};
use mbmpo_envs::{CheckOutcome, CheckReport, Simulated};

/// Largest difference between the rewards on slices and on tensors, relative to 1 + |reward|.
const TOLERANCE: f32 = 1e-5;

/// The checks of [`mbmpo_envs::check_contract`], and whether reward and termination are the same on
/// slices, as the environment evaluates them, and on tensors, as imagination does.
///
/// # Errors
/// When the backend of the CPU is not compiled in.
pub fn check_environment(environment: &dyn Simulated) -> Result<CheckReport> {
    let device = DeviceKind::Cpu.device()?;
    let mut report = mbmpo_envs::check_contract(environment);
    // the comparison needs rows of equal length
    let sound = report
        .checks
        .iter()
        .take(2)
        .all(|check| check.failure.is_none());
    let outcome = if sound {
        evaluators(environment, &device)
    } else {
        Err("there are no sound transitions to compare on".to_owned())
    };
    let name = "the task is the same on tensors";
    report.checks.push(CheckOutcome::new(name, outcome));
    Ok(report)
}

fn evaluators(environment: &dyn Tasked, device: &Device) -> Result<(), String> {
    let policies = [UniformPolicy {
        action_dim: environment.action_dim(),
    }];
    let plan = Plan {
        horizon: environment.horizon().min(1000),
        min_steps: 1000,
        purpose: Purpose::Test,
        iteration: 0,
    };
    let mut paths = collect(environment, &policies, plan, &Streams::new(0))
        .map_err(|error| error.to_string())?;
    compare(environment, &paths, device)?;
    // states that random actions do not reach
    for x in &mut paths.next_observations {
        *x *= 3.0;
    }
    compare(environment, &paths, device)
}

fn compare(environment: &dyn Tasked, paths: &Trajectories, device: &Device) -> Result<(), String> {
    let (task, rows) = (environment.task(), paths.len());
    let matrix = |data: &[f32], columns: usize| {
        Tensor::<2>::from_data(TensorData::new(data.to_vec(), [rows, columns]), device)
    };
    let (columns, action_dim) = (paths.observation_dim, paths.action_dim);
    let batch = TensorTransitions {
        observations: matrix(&paths.observations, columns),
        actions: matrix(&paths.actions, action_dim),
        next_observations: matrix(&paths.next_observations, columns),
    };
    let numbers = |tensor: Tensor<1>| {
        let data = tensor.into_data().try_to_vec::<f32>();
        data.map_err(|error| format!("{error:?}"))
    };
    let rewards = numbers(task.reward(&batch))?;
    let ends = numbers(task.termination(&batch))?;
    for (i, (on_tensors, end)) in rewards.into_iter().zip(ends).enumerate() {
        let row = Transition {
            observation: &paths.observations[i * columns..][..columns],
            action: &paths.actions[i * action_dim..][..action_dim],
            next_observation: &paths.next_observations[i * columns..][..columns],
        };
        let reward = task.reward(&row);
        // false for NaN as well
        let close = (reward - on_tensors).abs() <= TOLERANCE * (1.0 + reward.abs());
        if !close {
            return Err(format!(
                "transition {i}: the reward is {reward}, on tensors {on_tensors}"
            ));
        }
        if task.termination(&row) != end {
            return Err(format!("transition {i}: the termination differs"));
        }
    }
    Ok(())
}
