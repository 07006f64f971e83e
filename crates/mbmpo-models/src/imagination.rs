//! Imagined rollouts: a controller acting in a learned model (lines 6 and 8 of Algorithm 1 of
//! MB-MPO; the same for every algorithm with a model).

use burn::tensor::{Device, Int, Tensor, TensorData};
use mbmpo_core::task::TensorTransitions;
use mbmpo_core::{
    Actor, DynamicsModel, Environment, Error, Result, Stream, Task, Trajectories, host,
};
use rand::RngExt;

/// The parameters that all imagined rollouts of a run have in common.
#[derive(Debug, Clone)]
pub struct Imagination<'a> {
    /// Reward and termination.
    pub task: &'a Task,
    /// Length of a rollout \[control steps\].
    pub horizon: usize,
    /// Rollouts side by side (with [`Members::All`]: in each member).
    pub rollouts: usize,
    /// Predicted observations are clipped to this box.
    pub bounds: &'a Bounds,
    /// Whether model, reward and termination see the actions as the real environment applies them,
    /// clipped to `[-1, 1]`. The trajectories keep the actions of the actor either way.
    pub clip_actions: bool,
    /// Device of the tensors.
    pub device: &'a Device,
}

/// A box of observations.
///
/// ```
/// use mbmpo_core::Trajectories;
/// use mbmpo_models::imagination::Bounds;
///
/// let mut data = Trajectories::new(2, 1);
/// data.push(&[0.0, 5.0], &[0.5], &[2.0, 5.0], 1.0);
/// let bounds = Bounds { low: vec![-0.5, 5.0], high: vec![2.5, 5.0] };
/// assert_eq!(Bounds::of(&data, Some(0.25), 1000.0), bounds);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Bounds {
    /// `[observation]`
    pub low: Vec<f32>,
    /// `[observation]`
    pub high: Vec<f32>,
}

impl Bounds {
    /// All observations of `dim` components between minus and plus `limit`.
    pub fn symmetric(limit: f64, dim: usize) -> Self {
        Self {
            low: vec![-limit as f32; dim],
            high: vec![limit as f32; dim],
        }
    }

    /// The range of every component in `data`, first and last observations of episodes included,
    /// longer at both ends by `margin` times its length, and nowhere beyond plus or minus `limit`.
    /// Without a margin only the limit is left.
    pub fn of(data: &Trajectories, margin: Option<f64>, limit: f64) -> Self {
        let dim = data.observation_dim;
        let Some(margin) = margin else {
            return Self::symmetric(limit, dim);
        };
        let mut bounds = Self {
            low: vec![f32::INFINITY; dim],
            high: vec![f32::NEG_INFINITY; dim],
        };
        let seen = data.observations.iter().chain(&data.next_observations);
        for (i, &x) in seen.enumerate() {
            bounds.low[i % dim] = bounds.low[i % dim].min(x);
            bounds.high[i % dim] = bounds.high[i % dim].max(x);
        }
        for (low, high) in bounds.low.iter_mut().zip(&mut bounds.high) {
            let (from, to) = (f64::from(*low), f64::from(*high));
            let margin = margin * (to - from);
            *low = (from - margin).clamp(-limit, limit) as f32;
            *high = (to + margin).clamp(-limit, limit) as f32;
        }
        bounds
    }
}

/// The member of the model that predicts a transition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Members {
    /// Always this one (MB-MPO: a member is a task).
    One(usize),
    /// Drawn uniformly for every step of every rollout (ME-TRPO).
    EachStep,
    /// Drawn uniformly for every episode.
    EachRollout,
    /// Every rollout in every member, from the same first states: the rollouts of the first member,
    /// then those of the second, and so on (planning).
    All,
}

/// The random numbers of a batch of rollouts.
#[derive(Debug)]
pub struct Randomness {
    /// For first states, drawn by [`Environment::reset`].
    pub starts: Stream,
    /// For the noise of the actions.
    pub actions: Stream,
    /// For the choice of members and the noise of a stochastic model.
    pub steps: Stream,
}

impl Imagination<'_> {
    /// Whole episodes of `actor` in `model`: at least `horizon` transitions for each rollout on
    /// average.
    ///
    /// All rollouts advance together. Where the task or the horizon ends an episode, its rollout
    /// starts another one, until enough transitions belong to complete episodes; incomplete ones
    /// are dropped (as in the authors' sampler).
    ///
    /// # Errors
    /// When there are no rollouts or steps, an imagined observation or reward is not finite, or the
    /// device fails.
    pub fn rollouts(
        &self,
        model: &impl DynamicsModel,
        members: Members,
        actor: &mut dyn Actor,
        environment: &mut dyn Environment,
        mut randomness: Randomness,
    ) -> Result<Trajectories> {
        if self.rollouts == 0 || self.horizon == 0 {
            let what = "imagination needs at least one rollout of one step";
            return Err(Error::Description(what.to_owned()));
        }
        let observation_dim = environment.observation_dim();
        let mut starts: Vec<f32> = (0..self.rollouts)
            .flat_map(|_| environment.reset(&mut randomness.starts))
            .collect();
        let expected = self.rollouts * observation_dim;
        Error::check_shape("components of first observations", expected, starts.len())?;
        if members == Members::All {
            starts = starts.repeat(model.members());
        }
        let rows = starts.len() / observation_dim.max(1);
        Error::check_shape("lower bounds", observation_dim, self.bounds.low.len())?;
        Error::check_shape("upper bounds", observation_dim, self.bounds.high.len())?;
        let mut observations = self.matrix(starts, observation_dim);
        let low = self.matrix(self.bounds.low.repeat(rows), observation_dim);
        let high = self.matrix(self.bounds.high.repeat(rows), observation_dim);
        let mut assignment = Assignment::new(members, model.members(), rows);
        let mut episodes = Episodes::new(rows, self.horizon);
        let mut began = vec![true; rows];
        let mut steps: [Vec<Tensor<2>>; 3] = Default::default();
        loop {
            if began.contains(&true) {
                actor.begin(&began);
            }
            assignment.draw(&began, &mut randomness.steps);
            let actions = actor.act(observations.clone(), &mut randomness.actions)?;
            steps[1].push(actions.clone());
            let applied = self.applied(actions);
            let transition = (observations.clone(), applied.clone());
            // unlike `f32::max`, both let NaN through
            let next = assignment
                .step(model, transition, &mut randomness.steps)?
                .max_pair(low.clone())
                .min_pair(high.clone());
            steps[0].push(observations.clone());
            steps[2].push(next.clone());
            let terminated = self.terminated(observations, applied, next.clone())?;
            began = episodes.advance(&terminated);
            if episodes.complete_steps >= rows * self.horizon {
                break;
            }
            observations = self.restart(next, &began, environment, &mut randomness.starts)?;
        }
        let [observations, actions, next_observations] = steps.map(|parts| Tensor::cat(parts, 0));
        let [_, action_dim] = actions.dims();
        let batch = TensorTransitions {
            observations,
            actions: self.applied(actions.clone()),
            next_observations,
        };
        let columns = Columns {
            rewards: host(self.task.reward(&batch))?,
            observations: host(batch.observations)?,
            actions: host(actions)?,
            next_observations: host(batch.next_observations)?,
        };
        for (what, numbers) in [
            ("an imagined observation", &columns.next_observations),
            ("an imagined reward", &columns.rewards),
        ] {
            if !numbers.iter().all(|x| x.is_finite()) {
                let what = match members {
                    Members::One(member) => format!("{what} in ensemble member {member}"),
                    _ => what.to_owned(),
                };
                return Err(Error::NotFinite { what });
            }
        }
        Ok(columns.into_paths(&episodes, observation_dim, action_dim))
    }

    /// What model, reward and termination see of `actions` `[rows, action]`.
    fn applied(&self, actions: Tensor<2>) -> Tensor<2> {
        if self.clip_actions {
            actions.clamp(-1.0, 1.0)
        } else {
            actions
        }
    }

    /// Which rollouts the task ends with this transition: `[rows]`, or empty where the task never
    /// ends any.
    fn terminated(&self, s: Tensor<2>, a: Tensor<2>, next: Tensor<2>) -> Result<Vec<bool>> {
        if self.task.termination.is_empty() {
            return Ok(Vec::new());
        }
        let ends = self.task.termination(&TensorTransitions {
            observations: s,
            actions: a,
            next_observations: next,
        });
        Ok(host(ends)?.into_iter().map(|end| end > 0.5).collect())
    }

    /// `next` `[rows, observation]` with a first state of the environment wherever an episode has
    /// `ended`.
    fn restart(
        &self,
        next: Tensor<2>,
        ended: &[bool],
        environment: &mut dyn Environment,
        starts: &mut Stream,
    ) -> Result<Tensor<2>> {
        if !ended.contains(&true) {
            return Ok(next);
        }
        let [_, dim] = next.dims();
        let mut rows = host(next)?;
        for (row, ended) in rows.chunks_exact_mut(dim).zip(ended) {
            if *ended {
                let first = environment.reset(starts);
                Error::check_shape("components of a first observation", dim, first.len())?;
                row.copy_from_slice(&first);
            }
        }
        Ok(self.matrix(rows, dim))
    }

    fn matrix(&self, entries: Vec<f32>, columns: usize) -> Tensor<2> {
        let rows = entries.len() / columns;
        Tensor::from_data(TensorData::new(entries, [rows, columns]), self.device)
    }
}

/// The member that predicts the next transition of each row.
struct Assignment {
    members: Members,
    count: usize,
    /// `[rows]`; unused with [`Members::One`].
    of_rows: Vec<usize>,
}

impl Assignment {
    fn new(members: Members, count: usize, rows: usize) -> Self {
        let per_member = rows.div_ceil(count).max(1);
        Self {
            members,
            count,
            of_rows: (0..rows).map(|row| row / per_member).collect(),
        }
    }

    /// Draws members where they change: in every row, or in those whose episode `began`.
    fn draw(&mut self, began: &[bool], stream: &mut Stream) {
        let each_step = match self.members {
            Members::One(_) | Members::All => return,
            Members::EachStep => true,
            Members::EachRollout => false,
        };
        for (member, began) in self.of_rows.iter_mut().zip(began) {
            if each_step || *began {
                *member = stream.random_range(0..self.count);
            }
        }
    }

    /// Next observations `[rows, observation]`. Rows of the same member go through it together.
    fn step(
        &self,
        model: &impl DynamicsModel,
        (observations, actions): (Tensor<2>, Tensor<2>),
        noise: &mut Stream,
    ) -> Result<Tensor<2>> {
        if let Members::One(member) = self.members {
            return model.step(member, observations, actions, noise);
        }
        let device = observations.device();
        let index = |rows: &[usize]| {
            let rows: Vec<i32> = rows.iter().map(|&row| row as i32).collect();
            Tensor::<1, Int>::from_data(TensorData::from(&rows[..]), &device)
        };
        let (mut parts, mut order) = (Vec::new(), Vec::new());
        for member in 0..self.count {
            let rows = self.of_rows.iter().enumerate();
            let rows: Vec<usize> = rows
                .filter(|(_, own)| **own == member)
                .map(|(row, _)| row)
                .collect();
            if rows.is_empty() {
                continue;
            }
            let (s, a) = (observations.clone(), actions.clone());
            let (s, a) = (s.select(0, index(&rows)), a.select(0, index(&rows)));
            parts.push(model.step(member, s, a, noise)?);
            order.extend(rows);
        }
        let mut place = vec![0; order.len()];
        for (i, &row) in order.iter().enumerate() {
            place[row] = i;
        }
        Ok(Tensor::cat(parts, 0).select(0, index(&place)))
    }
}

/// Beginnings and ends of the episodes of rollouts that run side by side.
struct Episodes {
    horizon: usize,
    /// Steps of the episode under way of each rollout.
    ages: Vec<usize>,
    /// Steps so far.
    time: usize,
    /// (rollout, first step, steps, whether the task ended it) of every complete episode, in order
    /// of their ends.
    complete: Vec<(usize, usize, usize, bool)>,
    complete_steps: usize,
}

impl Episodes {
    fn new(rollouts: usize, horizon: usize) -> Self {
        Self {
            horizon,
            ages: vec![0; rollouts],
            time: 0,
            complete: Vec::new(),
            complete_steps: 0,
        }
    }

    /// Counts a step of every rollout, `terminated` `[rollouts]` or empty; true where an episode
    /// ended.
    fn advance(&mut self, terminated: &[bool]) -> Vec<bool> {
        self.time += 1;
        let mut all_ended = vec![false; self.ages.len()];
        for (rollout, (age, ended)) in self.ages.iter_mut().zip(&mut all_ended).enumerate() {
            *age += 1;
            let terminated = terminated.get(rollout) == Some(&true);
            *ended = terminated || *age == self.horizon;
            if *ended {
                self.complete
                    .push((rollout, self.time - *age, *age, terminated));
                self.complete_steps += *age;
                *age = 0;
            }
        }
        all_ended
    }
}

/// Transitions of all rollouts, time-major.
struct Columns {
    observations: Vec<f32>,
    actions: Vec<f32>,
    next_observations: Vec<f32>,
    rewards: Vec<f32>,
}

impl Columns {
    fn into_paths(
        self,
        episodes: &Episodes,
        observation_dim: usize,
        action_dim: usize,
    ) -> Trajectories {
        fn row(data: &[f32], i: usize, dim: usize) -> &[f32] {
            &data[i * dim..][..dim]
        }
        let mut paths = Trajectories::new(observation_dim, action_dim);
        for &(rollout, start, steps, terminated) in &episodes.complete {
            for t in start..start + steps {
                let i = t * episodes.ages.len() + rollout;
                paths.push(
                    row(&self.observations, i, observation_dim),
                    row(&self.actions, i, action_dim),
                    row(&self.next_observations, i, observation_dim),
                    self.rewards[i],
                );
            }
            paths.end_path(terminated);
        }
        paths
    }
}
