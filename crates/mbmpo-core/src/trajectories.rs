use crate::{Archive, Persist, Result};
use std::ops::Range;

/// Trajectories laid end to end: `n` transitions, and the length of each path.
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
    /// `[n, action_dim]`, as drawn by the policy (not clipped).
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
    /// An empty set of paths, for observations and actions of these sizes.
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

    /// Drops the oldest paths until at most `capacity` transitions are left; the newest path always
    /// stays.
    pub fn keep_latest(&mut self, capacity: usize) {
        let mut transitions = 0;
        let mut paths = 0;
        let mut excess = self.len().saturating_sub(capacity);
        while excess > 0 && paths + 1 < self.lengths.len() {
            transitions += self.lengths[paths];
            excess = excess.saturating_sub(self.lengths[paths]);
            paths += 1;
        }
        self.observations
            .drain(..transitions * self.observation_dim);
        self.actions.drain(..transitions * self.action_dim);
        self.next_observations
            .drain(..transitions * self.observation_dim);
        self.rewards.drain(..transitions);
        self.lengths.drain(..paths);
        self.terminated.drain(..paths);
    }

    /// The newest transitions: whole paths, as few as hold `count`, or all there are.
    #[must_use]
    pub fn newest(&self, count: usize) -> Self {
        let mut paths = self.lengths.len();
        let mut transitions = 0;
        while transitions < count && paths > 0 {
            paths -= 1;
            transitions += self.lengths[paths];
        }
        let start = self.len() - transitions;
        Self {
            observations: self.observations[start * self.observation_dim..].to_vec(),
            actions: self.actions[start * self.action_dim..].to_vec(),
            next_observations: self.next_observations[start * self.observation_dim..].to_vec(),
            rewards: self.rewards[start..].to_vec(),
            lengths: self.lengths[paths..].to_vec(),
            terminated: self.terminated[paths..].to_vec(),
            ..*self
        }
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

impl Persist for Trajectories {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        archive.list("observations", &mut self.observations)?;
        archive.list("actions", &mut self.actions)?;
        archive.list("next_observations", &mut self.next_observations)?;
        archive.list("rewards", &mut self.rewards)?;
        archive.counts("lengths", &mut self.lengths)?;
        let mut terminated = self.terminated.iter().map(|&x| usize::from(x)).collect();
        archive.counts("terminated", &mut terminated)?;
        self.terminated = terminated.iter().map(|&x| x > 0).collect();

        let n = self.rewards.len();
        let states = n.saturating_mul(self.observation_dim);
        for (name, length, wanted) in [
            ("observations", self.observations.len(), states),
            ("next_observations", self.next_observations.len(), states),
            (
                "actions",
                self.actions.len(),
                n.saturating_mul(self.action_dim),
            ),
            ("terminated", self.terminated.len(), self.lengths.len()),
        ] {
            if length != wanted {
                return Err(archive.refuse(name, &format!("{wanted} numbers, not {length}")));
            }
        }
        let total = self
            .lengths
            .iter()
            .try_fold(0, |sum: usize, &x| sum.checked_add(x));
        if total != Some(n) {
            return Err(archive.refuse("lengths", &format!("numbers that add up to {n}")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Array, State};

    fn three_paths() -> Trajectories {
        let mut all = Trajectories::new(2, 1);
        for (path, length) in [2, 3, 1].into_iter().enumerate() {
            for t in 0..length {
                let x = (10 * path + t) as f32;
                all.push(&[x, -x], &[x], &[x + 1.0, -x], x);
            }
            all.end_path(path == 1);
        }
        all
    }

    /// Fails when paths, returns or rows are cut at the wrong place.
    #[test]
    fn paths_by_hand() {
        let all = three_paths();
        assert_eq!(all.paths().collect::<Vec<_>>(), [0..2, 2..5, 5..6]);
        assert_eq!(all.returns(), [1.0, 33.0, 20.0]);
        assert_eq!(all.observation(3), [11.0, -11.0]);
        assert_eq!(all.next_observation(5), [21.0, -20.0]);
    }

    /// Fails when a column is not restored, or one whose length does not fit the others is
    /// accepted.
    #[test]
    fn paths_are_saved_whole() -> Result<()> {
        let state = State::of(&mut three_paths())?;
        let mut empty = Trajectories::new(2, 1);
        state.clone().restore(&mut empty)?;
        assert_eq!(empty, three_paths());
        for name in state.arrays.keys() {
            let mut state = state.clone();
            state.arrays.insert(
                name.clone(),
                match &state.arrays[name] {
                    Array::F32(_) => Array::F32(vec![]),
                    _ => Array::U64(vec![u64::MAX; 3]),
                },
            );
            let refused = state.restore(&mut Trajectories::new(2, 1));
            // any number above 0 means that a path was terminated
            assert!(refused.is_err() || name == "terminated", "{name}");
        }
        Ok(())
    }

    /// Fails when the newest paths are cut, or rows of other paths come with them.
    #[test]
    fn the_newest_paths_are_whole() {
        let newest = three_paths().newest(2);
        assert_eq!(newest.lengths, [3, 1]);
        assert_eq!(newest.terminated, [true, false]);
        assert_eq!(newest.rewards, [10.0, 11.0, 12.0, 20.0]);
        assert_eq!(newest.observation(0), [10.0, -10.0]);
        assert_eq!(newest.next_observation(3), [21.0, -20.0]);
        assert_eq!(three_paths().newest(1).lengths, [1]);
        assert_eq!(three_paths().newest(100), three_paths());
        assert!(three_paths().newest(0).is_empty());
    }

    /// Fails when the buffer drops half a path, the newest data, or different rows of different
    /// columns.
    #[test]
    fn the_buffer_drops_whole_old_paths() {
        let mut all = three_paths();
        all.keep_latest(6);
        assert_eq!(all, three_paths());
        all.keep_latest(5);
        assert_eq!(all.lengths, [3, 1]);
        assert_eq!(all.terminated, [true, false]);
        assert_eq!(all.rewards, [10.0, 11.0, 12.0, 20.0]);
        assert_eq!(all.observations.len(), 8);
        all.keep_latest(0);
        assert_eq!(all.lengths, [1]);
        assert_eq!(all.action(0), [20.0]);
    }
}
