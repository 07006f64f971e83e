//! Pictures of a robot, at rest and in motion.

use crate::evaluation::require_fit;
use crate::run_directory::Finished;
use crate::{AlgorithmConfig, EnvironmentChoice, Error, Result};
use mbmpo_core::{Environment, Policy, Purpose, Streams, UniformPolicy};
use mbmpo_envs::{Frame, RobotEnvironment, Variant, picture};
use std::path::Path;

/// Two SVG documents.
#[derive(Debug, Clone, PartialEq)]
pub struct Drawing {
    /// Name of the robot.
    pub name: String,
    /// The robot in its initial state, without noise.
    pub portrait: String,
    /// Moments of a rollout, side by side.
    pub strip: String,
}

/// The rollout to draw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrawingOptions {
    /// Length of the rollout \[control steps\], unless the episode ends before.
    pub steps: usize,
    /// Number of moments that are shown.
    pub frames: usize,
    /// Decides the first state and the actions.
    pub seed: u64,
}

/// Draws a robot under random actions.
///
/// # Errors
/// When there is no such environment or it has no robot, a file is wrong, or the simulation
/// diverges.
pub fn draw(
    environment: &EnvironmentChoice,
    variant: Variant,
    options: DrawingOptions,
) -> Result<Drawing> {
    let robot = environment.make_robot(variant)?;
    let policy = UniformPolicy {
        action_dim: robot.action_dim(),
    };
    rollout(robot, &policy, options)
}

/// Draws a robot under the policy of a run.
///
/// # Errors
/// When `path` is not a run, its environment has no robot, or the simulation diverges.
pub fn draw_run(path: &Path, options: DrawingOptions) -> Result<Drawing> {
    let run = Finished::<AlgorithmConfig>::read(path)?;
    let policy = run.saved_policy()?;
    let robot = run.config.environment.make_robot()?;
    require_fit(policy.dims(), &robot, path)?;
    rollout(robot, policy.as_ref(), options)
}

fn rollout(
    mut robot: RobotEnvironment,
    policy: &dyn Policy,
    options: DrawingOptions,
) -> Result<Drawing> {
    let DrawingOptions {
        steps,
        frames,
        seed,
    } = options;
    if steps == 0 || frames == 0 {
        return Err(Error::Mismatch(
            "steps and frames: allowed is at least 1".to_owned(),
        ));
    }
    let portrait = robot.frame();
    let mut stream = Streams::new(seed).stream(Purpose::Evaluate, u64::MAX, 0);
    let mut observation = robot.reset(&mut stream);
    let mut moments = vec![robot.frame()];
    while moments.len() <= steps {
        let step = robot.step(&policy.act(&observation, &mut stream))?;
        moments.push(robot.frame());
        observation = step.observation;
        if step.terminated {
            break;
        }
    }
    let last = moments.len() - 1;
    let at = |i: usize| moments[i * last / (frames - 1).max(1)].clone();
    let shown: Vec<Frame> = (0..frames).map(at).collect();
    let description = robot.simulation().robot();
    Ok(Drawing {
        name: robot.name().to_owned(),
        portrait: picture(description, &[portrait]),
        strip: picture(description, &shown),
    })
}
