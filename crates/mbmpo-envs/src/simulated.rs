use mbmpo_core::{Snapshot, Tasked};

/// An environment whose task is data and whose state can be saved, as are all environments of this
/// crate.
///
/// Every type that is [`Tasked`], [`Snapshot`] and [`Clone`] is `Simulated`. A `Box<dyn Simulated>`
/// coerces to `Box<dyn Tasked>` and to `Box<dyn Environment>` where less is needed.
pub trait Simulated: Tasked + Snapshot {
    /// An independent copy in the same state.
    fn boxed_simulated(&self) -> Box<dyn Simulated>;
}

impl<E: Tasked + Snapshot + Clone + 'static> Simulated for E {
    fn boxed_simulated(&self) -> Box<dyn Simulated> {
        Box::new(self.clone())
    }
}
