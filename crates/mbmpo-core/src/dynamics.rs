use crate::{FitReport, Persist, Result, Stream, Streams, Trajectories};
use burn::tensor::Tensor;

/// A learned transition function that can be sampled: K members, each an estimate of the dynamics of
/// the environment (f_φk in section 4.1 of the paper).
pub trait DynamicsModel: Send + Sync {
    /// Number of members K, at least 1.
    fn members(&self) -> usize;

    /// Next observations `[rows, observation]` of `member` for `observations` `[rows, observation]`
    /// and `actions` `[rows, action]`, all on the model's device. Need not be differentiable.
    ///
    /// A stochastic model draws its noise from `noise`; a deterministic one draws nothing.
    ///
    /// # Errors
    /// When the device fails, or `member` is not below [`Self::members`].
    fn step(
        &self,
        member: usize,
        observations: Tensor<2>,
        actions: Tensor<2>,
        noise: &mut Stream,
    ) -> Result<Tensor<2>>;
}

/// A model of the dynamics in training. Everything that a later fit depends on is part of its
/// [`Persist`] state.
pub trait LearnedModel: Persist + Send + Sync {
    /// The model as a function, with its parameters fixed.
    type Frozen: DynamicsModel;

    /// Number of members K, at least 1.
    fn members(&self) -> usize;

    /// Trains on all of `data`. Random numbers come from `streams`, under the number of the
    /// `iteration`.
    ///
    /// # Errors
    /// When the data do not fit the model, or a loss is not finite; the model is then unchanged.
    fn fit(&mut self, data: &Trajectories, streams: &Streams, iteration: u64) -> Result<FitReport>;

    /// The transition function as of the last fit.
    ///
    /// # Errors
    /// When the device fails.
    fn freeze(&self) -> Result<Self::Frozen>;
}

/// A controller that acts in many episodes side by side, one for each row of a batch. Unlike a
/// [`Policy`](crate::Policy) it may have state that lasts for an episode, such as the last plan of
/// a planner.
pub trait Actor {
    /// Actions `[rows, action]` for `observations` `[rows, observation]`; exploration noise comes
    /// from `noise`. All calls between two [`Self::begin`] of all rows have the same number of
    /// rows.
    ///
    /// # Errors
    /// When the device fails.
    fn act(&mut self, observations: Tensor<2>, noise: &mut Stream) -> Result<Tensor<2>>;

    /// Resets the per-episode state of the rows that are true in `rows` `[rows]`.
    /// Before the first step it is called with all rows. A controller without such state needs no
    /// implementation.
    fn begin(&mut self, rows: &[bool]) {
        let _ = rows;
    }
}
