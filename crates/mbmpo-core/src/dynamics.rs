use burn::tensor::Tensor;

/// Learned dynamics: an ensemble of guesses at what the environment does (the f_φk of section 4.1 of the paper).
///
/// A member seen as a Markov decision process is a task of the meta-optimisation.
pub trait DynamicsModel: Sync {
    /// Number of members K.
    fn members(&self) -> usize;

    /// Next observations `[rows, observation]` as `member` predicts them from `observations`
    /// `[rows, observation]` and `actions` `[rows, action]`, all on the model's device. Need not be differentiable.
    ///
    /// # Panics
    /// May panic where `member` is not below [`Self::members`].
    fn predict(&self, member: usize, observations: Tensor<2>, actions: Tensor<2>) -> Tensor<2>;
}
