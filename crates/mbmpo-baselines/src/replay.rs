//! The replay buffer of DDPG.

use burn::tensor::{Device, Tensor, TensorData};
use mbmpo_core::{Archive, Persist, Result, Stream, Trajectories};
use mbmpo_policy::Normalizer;
use rand::RngExt;

/// Ring buffer of the latest transitions.
pub(crate) struct Replay {
    observation_dim: usize,
    action_dim: usize,
    capacity: usize,
    /// Index of the row that the next transition overwrites.
    next: usize,
    /// `[n, observation + action + observation + 2]`: s, a, s', r, whether the task ended the
    /// episode.
    rows: Vec<f32>,
}

/// Raw transitions.
pub(crate) struct Minibatch {
    observation_dim: usize,
    action_dim: usize,
    observations: Vec<f32>,
    actions: Vec<f32>,
    next_observations: Vec<f32>,
    rewards: Vec<f32>,
    ended: Vec<f32>,
}

/// Transitions with normalised observations and scaled rewards, on the device.
pub(crate) struct TensorBatch {
    pub(crate) observations: Tensor<2>,
    pub(crate) actions: Tensor<2>,
    pub(crate) next_observations: Tensor<2>,
    pub(crate) rewards: Tensor<2>,
    pub(crate) ended: Tensor<2>,
}

impl Replay {
    pub(crate) fn new(observation_dim: usize, action_dim: usize, capacity: usize) -> Self {
        Self {
            observation_dim,
            action_dim,
            capacity,
            next: 0,
            rows: Vec::new(),
        }
    }

    fn width(&self) -> usize {
        2 * self.observation_dim + self.action_dim + 2
    }

    fn len(&self) -> usize {
        self.rows.len() / self.width()
    }

    pub(crate) fn add(&mut self, paths: &Trajectories) {
        for (path, &terminated) in paths.paths().zip(&paths.terminated) {
            let last = path.end - 1;
            for i in path {
                let ended = terminated && i == last;
                // environments clip actions; their reward is that of the clipped one
                let action = paths.action(i).iter().map(|a| a.clamp(-1.0, 1.0));
                let observation = paths.observation(i).iter().copied();
                let next = paths.next_observation(i).iter().copied();
                let end = [paths.rewards[i], f32::from(u8::from(ended))];
                let row: Vec<f32> = observation.chain(action).chain(next).chain(end).collect();
                if self.len() < self.capacity {
                    self.rows.extend(row);
                } else {
                    let start = self.next * self.width();
                    self.rows[start..start + row.len()].copy_from_slice(&row);
                }
                self.next = (self.next + 1) % self.capacity;
            }
        }
    }

    /// Transitions drawn with replacement.
    pub(crate) fn sample(&self, count: usize, stream: &mut Stream) -> Minibatch {
        let (o, a) = (self.observation_dim, self.action_dim);
        let mut batch = Minibatch {
            observation_dim: o,
            action_dim: a,
            observations: Vec::with_capacity(count * o),
            actions: Vec::with_capacity(count * a),
            next_observations: Vec::with_capacity(count * o),
            rewards: Vec::with_capacity(count),
            ended: Vec::with_capacity(count),
        };
        for _ in 0..count {
            let i = stream.random_range(0..self.len());
            let row = &self.rows[i * self.width()..(i + 1) * self.width()];
            batch.observations.extend_from_slice(&row[..o]);
            batch.actions.extend_from_slice(&row[o..o + a]);
            batch
                .next_observations
                .extend_from_slice(&row[o + a..2 * o + a]);
            batch.rewards.push(row[2 * o + a]);
            batch.ended.push(row[2 * o + a + 1]);
        }
        batch
    }
}

impl Minibatch {
    pub(crate) fn on(
        &self,
        device: &Device,
        normalizer: &Normalizer,
        reward_scale: f64,
    ) -> TensorBatch {
        let matrix = |entries: Vec<f32>, columns: usize| {
            let shape = [entries.len() / columns, columns];
            Tensor::from_data(TensorData::new(entries, shape), device)
        };
        TensorBatch {
            observations: matrix(normalizer.apply(&self.observations), self.observation_dim),
            actions: matrix(self.actions.clone(), self.action_dim),
            next_observations: matrix(
                normalizer.apply(&self.next_observations),
                self.observation_dim,
            ),
            rewards: matrix(self.rewards.clone(), 1).mul_scalar(reward_scale),
            ended: matrix(self.ended.clone(), 1),
        }
    }
}

impl Persist for Replay {
    fn persist(&mut self, archive: &mut Archive) -> Result<()> {
        archive.list("rows", &mut self.rows)?;
        archive.count("next", &mut self.next)?;
        let whole = self.rows.len().is_multiple_of(self.width()) && self.len() <= self.capacity;
        if !whole {
            return Err(archive.refuse("rows", "whole rows, no more than the capacity"));
        }
        // a buffer that is not full grows at its end
        let next = if self.len() < self.capacity {
            self.len()
        } else {
            self.next
        };
        if self.next != next || next >= self.capacity {
            return Err(archive.refuse("next", "the place of the next row"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mbmpo_core::Purpose;

    fn paths(count: usize, terminated: bool) -> Trajectories {
        let mut paths = Trajectories::new(1, 1);
        for t in 0..count {
            let x = t as f32;
            paths.push(&[x], &[2.0 * x - 1.0], &[x + 1.0], 10.0 * x);
        }
        paths.end_path(terminated);
        paths
    }

    /// Fails when the time limit counts as termination.
    #[test]
    fn only_the_task_ends_an_episode() {
        let mut replay = Replay::new(1, 1, 10);
        replay.add(&paths(2, true));
        replay.add(&paths(1, false));
        let ended: Vec<f32> = replay.rows.chunks(5).map(|row| row[4]).collect();
        assert_eq!(ended, [0.0, 1.0, 0.0]);
    }

    /// Fails when the buffer grows beyond its capacity, or drops the newest instead of the oldest.
    #[test]
    fn the_replay_buffer_forgets_the_oldest() {
        let mut replay = Replay::new(1, 1, 4);
        replay.add(&paths(6, false));
        let mut kept: Vec<f32> = replay.rows.chunks(5).map(|row| row[0]).collect();
        kept.sort_by(f32::total_cmp);
        assert_eq!(kept, [2.0, 3.0, 4.0, 5.0]);
        let mut stream = mbmpo_core::Streams::new(1).stream(Purpose::Test, 0, 0);
        let batch = replay.sample(50, &mut stream);
        let rows = batch.observations.iter().zip(&batch.next_observations);
        assert!(
            rows.zip(&batch.rewards)
                .all(|((s, next), r)| *next == s + 1.0 && *r == 10.0 * s)
        );
        assert!(batch.actions.iter().all(|a| a.abs() <= 1.0));
    }
}
