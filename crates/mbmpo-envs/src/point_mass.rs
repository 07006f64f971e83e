use crate::{Variant, snapshot};
use mbmpo_core::task::{Moment, Norm, RewardTerm, Task, TerminationTerm};
use mbmpo_core::{Environment, Error, Result, Snapshot, Step, Stream, Tasked, clip_action};
use rand::RngExt;

/// Half width of the square in which the first state is uniform.
const START: f32 = 2.0;
/// Displacement by an action of 1.
const STRIDE: f32 = 0.1;
/// Half width of the square in which the authors' episodes end.
const GOAL: f64 = 0.01;

/// A point in the plane whose task is to go to the origin (appendix A.3 of the paper; the authors'
/// `point_2d_env_plasticity.py`).
///
/// `s' = s + 0.1 clip(a, -1, 1)`. The optimal policy is known, so results can be compared with the
/// optimum.
///
/// | | [`Variant::Paper`], [`Variant::Gym`] | [`Variant::Authors`] |
/// |---|---|---|
/// | observation `[2]` | x and y | the same |
/// | action `[2]` | tenths of a unit along x and y | the same |
/// | reward | -‖s‖², of the state before the step | -‖s'‖ |
/// | first state | uniform in `[-2, 2]²` | the same |
/// | termination | none | x and y within 0.01 of the origin |
#[derive(Debug, Clone)]
pub struct PointMass {
    state: [f32; 2],
    task: Task,
}

impl PointMass {
    /// Its name in [`crate::make`].
    pub const NAME: &str = "point-2d";
    /// Components of an observation, and of an action.
    pub const DIM: usize = 2;
    /// Default length of an episode \[control steps\] (the authors' Fig. 3 script).
    pub const HORIZON: usize = 30;
    /// Length of a control step, by convention \[s\].
    pub const TIME_STEP: f64 = 1.0;

    /// A point at the origin.
    pub fn new(variant: Variant) -> Self {
        Self {
            state: [0.0; 2],
            task: task(variant),
        }
    }

    /// Expected return of the optimal policy over `horizon` steps in [`Variant::Paper`].
    ///
    /// It moves each coordinate towards 0 at full speed: from a distance `u` the distance after `t`
    /// steps is `max(u - 0.1 t, 0)`, whose square has the mean `max(2 - 0.1 t, 0)³ / 6` for `u`
    /// uniform in `[0, 2]`.
    pub fn optimal_return(horizon: usize) -> f64 {
        let start = f64::from(START);
        let square = |step: usize| {
            let reach = (start - 0.1 * step as f64).max(0.0);
            reach.powi(3) / (3.0 * start)
        };
        -(0..horizon).map(square).sum::<f64>() * Self::DIM as f64
    }

    /// The optimal action in `[-1, 1]²`: towards the origin at full speed, without overshooting.
    pub fn optimal_action(observation: &[f32]) -> Vec<f32> {
        let towards = observation.iter().map(|&x| (-x / STRIDE).clamp(-1.0, 1.0));
        towards.collect()
    }
}

fn task(variant: Variant) -> Task {
    let components = vec![0, 1];
    let (of, norm) = match variant {
        Variant::Paper | Variant::Gym => (Moment::Before, Norm::Squared),
        Variant::Authors => (Moment::After, Norm::Euclidean),
    };
    let termination = match variant {
        Variant::Paper | Variant::Gym => vec![],
        Variant::Authors => vec![TerminationTerm::Reached {
            components: components.clone(),
            half_width: GOAL,
        }],
    };
    Task {
        reward: vec![RewardTerm::Distance {
            components,
            of,
            norm,
            weight: 1.0,
        }],
        reward_clip: None,
        termination,
    }
}

impl Environment for PointMass {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn observation_dim(&self) -> usize {
        Self::DIM
    }

    fn action_dim(&self) -> usize {
        Self::DIM
    }

    fn horizon(&self) -> usize {
        Self::HORIZON
    }

    fn control_time_step(&self) -> f64 {
        Self::TIME_STEP
    }

    fn reset(&mut self, stream: &mut Stream) -> Vec<f32> {
        self.state = std::array::from_fn(|_| stream.random_range(-START..=START));
        self.state.to_vec()
    }

    fn step(&mut self, action: &[f32]) -> Result<Step> {
        Error::check_shape("action", Self::DIM, action.len())?;
        let action = clip_action(action);
        let observation = self.state;
        for (x, a) in self.state.iter_mut().zip(&action) {
            *x += STRIDE * a;
        }
        Ok(crate::finish(
            &self.task,
            &observation,
            &action,
            self.state.to_vec(),
        ))
    }

    fn boxed_clone(&self) -> Box<dyn Environment> {
        Box::new(self.clone())
    }
}

impl Tasked for PointMass {
    fn task(&self) -> &Task {
        &self.task
    }
}

impl Snapshot for PointMass {
    fn snapshot(&self) -> Vec<u8> {
        snapshot::write(Self::NAME, self.state.map(f64::from))
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<()> {
        let numbers = snapshot::read(Self::NAME, Self::DIM, snapshot)?;
        let state = std::array::from_fn(|i| numbers[i] as f32);
        if !state.iter().all(|x: &f32| x.is_finite()) {
            let what = "the snapshot has numbers that are not finite in single precision";
            return Err(Error::Description(format!("{}: {what}", Self::NAME)));
        }
        self.state = state;
        Ok(())
    }
}
