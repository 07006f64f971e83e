use crate::{RobotDescription, Simulation};
use mbmpo_core::task::{RewardTerm, Task};
use mbmpo_core::{BoxSpace, Environment, Error, Result, Step, Stream};
use rand::RngExt;
use rand_distr::StandardNormal;

const MODEL: &str = include_str!("../../../assets/half_cheetah.xml");

/// Standard deviation of the initial coordinates \[m or rad\] (the authors' `mujoco_env.py`).
const POSITION_NOISE: f64 = 0.01;
/// Standard deviation of the initial velocities \[m/s or rad/s\] (the authors' `mujoco_env.py`).
const VELOCITY_NOISE: f64 = 0.1;

/// A planar cheetah that shall run forward: forward velocity minus a control cost (appendix A.3 of the paper; the
/// authors' `half_cheetah_env.py`).
///
/// | | |
/// |---|---|
/// | observation `[17]` | `qpos` but for x (height relative to 0.7 m, pitch, back thigh, shin, foot, front thigh, shin, foot), then `qvel` (of x, height, pitch and the joints) |
/// | action `[6]` | torque of the six joints in the same order, as a fraction of 120, 90, 60, 120, 60, 30 N m |
/// | reward | component 8 of s' (forward velocity) minus 0.1 ‖a‖², clipped to ±1000 |
/// | first state | zero plus normal noise: 0.01 on coordinates, 0.1 on velocities |
/// | termination | none |
/// | control step | 0.01 s, as in the authors' code (OpenAI Gym's environment of this name takes 0.05 s) |
///
/// The authors' code divides the displacement in x by the time step where this takes the velocity after the step:
/// the two are equal, as the integrator is semi-implicit.
#[derive(Clone)]
pub struct HalfCheetah {
    simulation: Simulation,
    action_space: BoxSpace,
    task: Task,
    time_step: f64,
}

impl HalfCheetah {
    /// The name under which [`crate::make`] knows it.
    pub const NAME: &str = "half-cheetah";
    /// Components of an observation.
    pub const OBSERVATION_DIM: usize = 17;
    /// Components of an action.
    pub const ACTION_DIM: usize = 6;
    /// Default length of an episode \[control steps\].
    pub const HORIZON: usize = 200;
    /// Length of a control step \[s\].
    pub const TIME_STEP: f64 = 0.01;

    /// A cheetah at rest in its initial state.
    ///
    /// # Errors
    /// When the embedded model cannot be simulated, which tests exclude.
    pub fn new() -> Result<Self> {
        let robot = Self::robot()?;
        Ok(Self {
            simulation: Simulation::new(&robot, 1)?,
            action_space: BoxSpace::unit(robot.actuators.len()),
            task: task(),
            time_step: robot.time_step,
        })
    }

    /// The robot.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn robot() -> Result<RobotDescription> {
        RobotDescription::from_mjcf(MODEL)
    }

    /// `qpos` and `qvel`, each `[9]`: x, height relative to 0.7 m, pitch, then the joints.
    pub fn state(&self) -> (Vec<f64>, Vec<f64>) {
        (
            self.simulation.positions().to_vec(),
            self.simulation.velocities().to_vec(),
        )
    }

    /// Starts an episode in a given state, see [`Self::state`].
    ///
    /// # Errors
    /// When a length is not 9.
    pub fn set_state(&mut self, positions: &[f64], velocities: &[f64]) -> Result<()> {
        self.simulation.set_state(positions, velocities)
    }

    fn observe(&self) -> Vec<f32> {
        let all = self.simulation.positions().iter().skip(1);
        let all = all.chain(self.simulation.velocities());
        all.map(|&x| x as f32).collect()
    }
}

fn task() -> Task {
    Task {
        reward: vec![
            RewardTerm::NextObservation {
                component: 8,
                weight: 1.0,
            },
            RewardTerm::ControlCost { weight: 0.1 },
        ],
        reward_clip: Some(1000.0),
        termination: vec![],
    }
}

impl Environment for HalfCheetah {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn observation_dim(&self) -> usize {
        Self::OBSERVATION_DIM
    }

    fn action_space(&self) -> &BoxSpace {
        &self.action_space
    }

    fn horizon(&self) -> usize {
        Self::HORIZON
    }

    fn control_time_step(&self) -> f64 {
        self.time_step
    }

    fn task(&self) -> &Task {
        &self.task
    }

    fn reset(&mut self, stream: &mut Stream) -> Vec<f32> {
        let mut noise = |scale: f64| -> Vec<f64> {
            (0..self.simulation.velocities().len())
                .map(|_| scale * stream.sample::<f64, _>(StandardNormal))
                .collect()
        };
        let positions = noise(POSITION_NOISE);
        let velocities = noise(VELOCITY_NOISE);
        let _ = self.simulation.set_state(&positions, &velocities);
        self.observe()
    }

    fn step(&mut self, action: &[f32]) -> Result<Step> {
        Error::check_shape("action", self.action_space.dim(), action.len())?;
        let observation = self.observe();
        let action = self.action_space.clip(action);
        let controls: Vec<_> = action.iter().map(|&a| f64::from(a)).collect();
        self.simulation.step(&controls)?;
        Ok(crate::finish(
            &self.task,
            &observation,
            &action,
            self.observe(),
        ))
    }

    fn boxed_clone(&self) -> Box<dyn Environment> {
        Box::new(self.clone())
    }
}
