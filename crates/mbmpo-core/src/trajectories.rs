use std::ops::Range;

/// Paths laid end to end: `n` transitions, and where each path begins and ends.
///
/// Matrices are row-major, one row a transition.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Trajectories {
    /// Number of components of an observation.
    pub observation_dim: usize,
    /// Number of components of an action.
    pub action_dim: usize,
    /// `[n, observation_dim]`.
    pub observations: Vec<f32>,
    /// `[n, action_dim]`, as the policy drew them (not clipped).
    pub actions: Vec<f32>,
    /// `[n, observation_dim]`.
    pub next_observations: Vec<f32>,
    /// `[n]`.
    pub rewards: Vec<f32>,
    /// Number of transitions of each path; they sum to `n`.
    pub lengths: Vec<usize>,
    /// Whether each path ended by the task's termination (else by the time limit).
    pub terminated: Vec<bool>,
}

impl Trajectories {
    /// No paths, for observations and actions of these sizes.
    pub fn new(observation_dim: usize, action_dim: usize) -> Self {
        Self {
            observation_dim,
            action_dim,
            ..Self::default()
        }
    }

    /// Number of transitions.
    pub fn len(&self) -> usize {
        self.rewards.len()
    }

    /// Whether there is no transition.
    pub fn is_empty(&self) -> bool {
        self.rewards.is_empty()
    }

    /// Adds a transition to the path under construction; [`Self::end_path`] completes it.
    pub fn push(&mut self, observation: &[f32], action: &[f32], next: &[f32], reward: f32) {
        self.observations.extend_from_slice(observation);
        self.actions.extend_from_slice(action);
        self.next_observations.extend_from_slice(next);
        self.rewards.push(reward);
    }

    /// Ends the path under construction.
    pub fn end_path(&mut self, terminated: bool) {
        let complete: usize = self.lengths.iter().sum();
        self.lengths.push(self.len() - complete);
        self.terminated.push(terminated);
    }

    /// Appends all paths of `other`.
    pub fn extend(&mut self, other: &Self) {
        self.observations.extend_from_slice(&other.observations);
        self.actions.extend_from_slice(&other.actions);
        self.next_observations
            .extend_from_slice(&other.next_observations);
        self.rewards.extend_from_slice(&other.rewards);
        self.lengths.extend_from_slice(&other.lengths);
        self.terminated.extend_from_slice(&other.terminated);
    }

    /// The transitions of each path, in order.
    pub fn paths(&self) -> impl Iterator<Item = Range<usize>> + '_ {
        self.lengths.iter().scan(0, |start, length| {
            let path = *start..*start + length;
            *start = path.end;
            Some(path)
        })
    }

    /// The observation of transition `i`.
    pub fn observation(&self, i: usize) -> &[f32] {
        &self.observations[i * self.observation_dim..][..self.observation_dim]
    }

    /// The action of transition `i`.
    pub fn action(&self, i: usize) -> &[f32] {
        &self.actions[i * self.action_dim..][..self.action_dim]
    }

    /// The observation after transition `i`.
    pub fn next_observation(&self, i: usize) -> &[f32] {
        &self.next_observations[i * self.observation_dim..][..self.observation_dim]
    }

    /// Undiscounted return of each path.
    pub fn returns(&self) -> Vec<f64> {
        self.paths()
            .map(|path| self.rewards[path].iter().map(|&r| f64::from(r)).sum())
            .collect()
    }
}
