//! A robot with a task as an environment.

mod names;

#[cfg(feature = "pictures")]
use crate::Frame;
use crate::Simulation;
use crate::robot::{JointKind, RobotDescription};
use crate::snapshot;
use crate::task_file::TaskDescription;
use mbmpo_core::{
    Checked, Environment, Error, Result, Snapshot, Step, Stream, Task, Tasked, clip_action,
};
use names::Names;
pub(crate) use names::find;
use rand::RngExt;
use rand_distr::StandardNormal;
use std::sync::Arc;

/// A simulated robot with a task.
///
/// - Observations and the initial state follow the [`TaskDescription`]; a reset draws the noise of
///   the coordinates, then that of the velocities, then the goal.
/// - Actions are in policy units: -1 is the lowest control of a motor, 1 the highest.
/// - Reward and termination are those of the task for (observation, clipped action, next
///   observation). A velocity in them is that after the step, and clipped if the observation is.
///
/// ```
/// use mbmpo_core::{Environment, Purpose, Streams};
/// use mbmpo_envs::RobotEnvironment;
///
/// let robot = r#"<mujoco>
///     <worldbody>
///         <body name="cart">
///             <joint name="slider" type="slide" axis="1 0 0"/>
///             <geom type="capsule" fromto="-.1 0 0 .1 0 0" size=".05"
///                 contype="0" conaffinity="0"/>
///         </body>
///     </worldbody>
///     <actuator><motor joint="slider" gear="10" ctrllimited="true" ctrlrange="-1 1"/></actuator>
/// </mujoco>"#;
/// let task = r#"(
///     reward: [Distance(components: ["slider"], of: After, norm: Squared, weight: 1)],
/// )"#;
/// let mut cart = RobotEnvironment::from_text("cart", robot, task)?;
/// cart.reset(&mut Streams::new(1).stream(Purpose::Test, 0, 0));
/// let step = cart.step(&[1.0])?;
/// assert_eq!(cart.labels(), ["slider", "slider velocity"]);
/// assert_eq!(step.reward, -step.observation[0].powi(2));
/// # Ok::<(), mbmpo_core::Error>(())
/// ```
#[derive(Clone)]
pub struct RobotEnvironment {
    plan: Arc<Plan>,
    simulation: Simulation,
    /// Position of the goal in the world \[m\].
    goal: [f64; 3],
    /// Control steps since the reset.
    steps: usize,
}

/// Bound on the numbers of a snapshot, above those of any state that has not diverged.
const LARGEST: f64 = 1e15;

/// The constant part, shared by all copies.
struct Plan {
    name: String,
    labels: Vec<String>,
    sensors: Vec<Sensor>,
    task: Task,
    motors: Vec<Motor>,
    initial_positions: Vec<f64>,
    description: Checked<TaskDescription>,
    /// Index of the goal's site.
    site: Option<usize>,
}

/// The source of a component of the observation, and the bound on its absolute value.
struct Sensor {
    source: Source,
    clip: f64,
}

#[derive(Clone, Copy)]
enum Source {
    Position(usize),
    Velocity(usize),
    ToGoal(usize),
}

/// Controls are `center + half_range * action`.
struct Motor {
    center: f64,
    half_range: f64,
}

impl RobotEnvironment {
    /// The robot with the task, at rest in the initial pose. The environment is called `name`.
    ///
    /// # Errors
    /// When the robot has no part with a name in the task, no motor, or cannot be simulated, or
    /// when an observation appears twice.
    pub fn new(
        name: &str,
        robot: &RobotDescription,
        description: Checked<TaskDescription>,
    ) -> Result<Self> {
        let names = Names::of(robot)?;
        let mut initial_positions = robot.initial_positions();
        for (coordinate, value) in &description.reset.initial_positions {
            initial_positions[names.position("reset.initial_positions", coordinate)?] = *value;
        }
        require_orientations(robot, &initial_positions)?;
        let (labels, sensors) = names.observation(&description.observation)?;
        let task = description.task().try_map(|label| {
            let known = labels.iter().map(String::as_str);
            names::find(
                "reward or termination",
                "component of the observation",
                &label,
                known,
            )
        })?;
        let site = description.goal.as_ref().map(|goal| {
            let sites = robot.sites.iter().map(|site| site.name.as_str());
            names::find("goal.site", "site", &goal.site, sites)
        });
        let plan = Plan {
            name: name.to_owned(),
            site: site.transpose()?,
            task,
            motors: motors(robot)?,
            labels,
            sensors,
            initial_positions,
            description,
        };
        let mut simulation = Simulation::new(robot, plan.description.frame_skip)?;
        simulation.set_state(&plan.initial_positions, &vec![0.0; robot.dofs()])?;
        Ok(Self {
            goal: plan.description.goal.as_ref().map_or([0.0; 3], |g| g.low),
            plan: Arc::new(plan),
            simulation,
            steps: 0,
        })
    }

    /// A robot in MJCF with a task in RON, both as text.
    ///
    /// # Errors
    /// Those of [`RobotDescription::from_mjcf`], [`TaskDescription::from_ron`] and [`Self::new`].
    pub fn from_text(name: &str, mjcf: &str, task: &str) -> Result<Self> {
        let robot = RobotDescription::from_mjcf(mjcf)?;
        let task = TaskDescription::from_ron(task, &format!("task of {name}"))?;
        Self::new(name, &robot, task)
    }

    /// Labels of the components of the observation.
    pub fn labels(&self) -> &[String] {
        &self.plan.labels
    }

    /// The simulation of the robot.
    pub fn simulation(&self) -> &Simulation {
        &self.simulation
    }

    /// Generalised coordinates (`qpos`) in MuJoCo's order.
    pub fn positions(&self) -> &[f64] {
        self.simulation.positions()
    }

    /// Generalised velocities (`qvel`) in MuJoCo's order.
    pub fn velocities(&self) -> &[f64] {
        self.simulation.velocities()
    }

    /// Starts an episode in a given state, see [`Self::positions`] and [`Self::velocities`]; the
    /// goal stays.
    ///
    /// # Errors
    /// When a length is wrong.
    pub fn set_state(&mut self, positions: &[f64], velocities: &[f64]) -> Result<()> {
        self.simulation.set_state(positions, velocities)?;
        self.steps = 0;
        Ok(())
    }

    /// The present state for [`crate::picture()`], with the goal where there is one.
    #[cfg(feature = "pictures")]
    pub fn frame(&self) -> Frame {
        let time = self.steps as f64 * self.simulation.control_time_step();
        let mut frame = Frame::of(&self.simulation, time);
        frame.markers.extend(self.plan.site.map(|_| self.goal));
        frame
    }

    fn observe(&self) -> Vec<f32> {
        let to_goal = self.plan.site.map(|site| {
            let tip = self.simulation.site(site);
            std::array::from_fn(|i| self.goal[i] - tip[i])
        });
        let to_goal: [f64; 3] = to_goal.unwrap_or_default();
        let value = |sensor: &Sensor| {
            let value = match sensor.source {
                Source::Position(i) => self.simulation.positions()[i],
                Source::Velocity(i) => self.simulation.velocities()[i],
                Source::ToGoal(i) => to_goal[i],
            };
            value.clamp(-sensor.clip, sensor.clip) as f32
        };
        self.plan.sensors.iter().map(value).collect()
    }
}

/// Refuses quaternions of length 0.
fn require_orientations(robot: &RobotDescription, positions: &[f64]) -> Result<()> {
    for (joint, (kind, start, _)) in robot.joints.iter().zip(robot.layout()) {
        if kind == JointKind::Free {
            let squares = positions[start + 3..start + 7].iter().map(|x| x * x);
            if squares.sum::<f64>() < 1e-6 {
                let name = &joint.name;
                return Err(Error::Description(format!(
                    "the quaternion of `{name}` ({name}.qw to {name}.qz) in reset.initial_positions or the snapshot is 0"
                )));
            }
        }
    }
    Ok(())
}

fn motors(robot: &RobotDescription) -> Result<Vec<Motor>> {
    if robot.actuators.is_empty() {
        return Err(Error::Description(format!(
            "robot `{}` has no motors",
            robot.name
        )));
    }
    let motor = |actuator: &crate::robot::Actuator| {
        let [low, high] = actuator.control_range;
        if low.is_finite() && high.is_finite() && low <= high {
            return Ok(Motor {
                center: (low + high) / 2.0,
                half_range: (high - low) / 2.0,
            });
        }
        let joint = robot.joints.get(actuator.joint);
        Err(Error::Description(format!(
            "the motor of joint `{}` has the control range {low} to {high}; it must be finite and ordered",
            joint.map_or("?", |joint| joint.name.as_str())
        )))
    };
    robot.actuators.iter().map(motor).collect()
}

impl Environment for RobotEnvironment {
    fn name(&self) -> &str {
        &self.plan.name
    }

    fn observation_dim(&self) -> usize {
        self.plan.sensors.len()
    }

    fn action_dim(&self) -> usize {
        self.plan.motors.len()
    }

    fn horizon(&self) -> usize {
        self.plan.description.horizon
    }

    fn control_time_step(&self) -> f64 {
        self.simulation.control_time_step()
    }

    fn reset(&mut self, stream: &mut Stream) -> Vec<f32> {
        let plan = Arc::clone(&self.plan);
        let mut noise = |scale: f64| scale * stream.sample::<f64, _>(StandardNormal);
        let reset = &plan.description.reset;
        let initial = plan.initial_positions.iter();
        let positions: Vec<_> = initial.map(|x| x + noise(reset.position_noise)).collect();
        let velocities: Vec<_> = (0..self.velocities().len())
            .map(|_| noise(reset.velocity_noise))
            .collect();
        if let Some(goal) = &plan.description.goal {
            self.goal = std::array::from_fn(|i| {
                let share: f64 = stream.random();
                goal.low[i] + share * (goal.high[i] - goal.low[i])
            });
        }
        // the lengths are those of the simulation, so this cannot fail
        let _ = self.set_state(&positions, &velocities);
        self.observe()
    }

    fn step(&mut self, action: &[f32]) -> Result<Step> {
        Error::check_shape("action", self.action_dim(), action.len())?;
        let observation = self.observe();
        let action = clip_action(action);
        let control = |(motor, &a): (&Motor, &f32)| motor.center + motor.half_range * f64::from(a);
        let controls: Vec<_> = self.plan.motors.iter().zip(&action).map(control).collect();
        self.steps += 1;
        self.simulation
            .step(&controls)
            .map_err(|error| match error {
                Error::Diverged { what, .. } => Error::Diverged {
                    environment: self.plan.name.clone(),
                    step: self.steps,
                    what,
                },
                other => other,
            })?;
        let next = self.observe();
        Ok(crate::finish(&self.plan.task, &observation, &action, next))
    }

    fn boxed_clone(&self) -> Box<dyn Environment> {
        Box::new(self.clone())
    }
}

impl Tasked for RobotEnvironment {
    fn task(&self) -> &Task {
        &self.plan.task
    }
}

impl Snapshot for RobotEnvironment {
    fn snapshot(&self) -> Vec<u8> {
        let state = self.positions().iter().chain(self.velocities());
        let rest = self.goal.iter().copied().chain([self.steps as f64]);
        snapshot::write(&self.plan.name, state.copied().chain(rest))
    }

    fn restore(&mut self, snapshot: &[u8]) -> Result<()> {
        let (qpos, qvel) = (self.positions().len(), self.velocities().len());
        let numbers = snapshot::read(&self.plan.name, qpos + qvel + 4, snapshot)?;
        let (positions, rest) = numbers.split_at(qpos);
        let (velocities, rest) = rest.split_at(qvel);
        let steps = rest[3];
        let moderate = |x: &f64| x.abs() <= LARGEST;
        if !(numbers.iter().all(moderate) && steps >= 0.0 && steps.fract() == 0.0) {
            return Err(Error::Description(format!(
                "{}: the snapshot has numbers out of range",
                self.plan.name
            )));
        }
        require_orientations(self.simulation.robot(), positions)?;
        self.simulation.set_state(positions, velocities)?;
        self.goal.copy_from_slice(&rest[..3]);
        self.steps = steps as usize;
        Ok(())
    }
}
