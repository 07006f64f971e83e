//! Arithmetic of small networks on the CPU, in single precision.
//!
//! Networks of a few thousand to a few hundred thousand weights spend as much time around their matrix products as in
//! them: packing factors, allocating results, passing once more over memory for a bias, an activation, a slope.
//! Here the right factor is packed once for many products ([`Panels`]), results go to slices that the caller keeps,
//! and what follows a product is done while its rows are in the cache.
//!
//! ```
//! use mbmpo_kernels::Panels;
//!
//! // relu(x W + b) for two rows x
//! let weights = [1.0, -1.0, 0.5, 2.0]; // [in, out]
//! let bias = [0.0, 1.0];
//! let mut panels = Panels::default();
//! panels.pack(2, [&weights[..]]);
//! let mut y = [0.0; 4];
//! panels.product(&[1.0, 2.0, -3.0, 0.0], &mut y, |_, rows| {
//!     for row in rows.chunks_exact_mut(2) {
//!         for (y, b) in row.iter_mut().zip(&bias) {
//!             *y = (*y + b).max(0.0);
//!         }
//!     }
//! });
//! assert_eq!(y, [2.0, 4.0, 0.0, 4.0]);
//! ```
//!
//! Everything runs on one thread. An entry of a product is one sum in the order of its terms, whatever else is computed
//! beside it, so callers may divide rows among threads as they like: the bits stay the same. (They depend on the
//! processor, which may or may not fuse multiplications with additions.) The vector instructions of the processor at
//! hand are found when the program runs.

#![forbid(unsafe_code)]

mod gram;
mod pack;
mod product;
mod rows;
mod tanh;

pub use gram::add_transposed_product;
pub use product::{Panels, Strips, TILE_ROWS};
pub use rows::{add_to_rows, sum_rows};
pub use tanh::tanh;

/// Runs `work` compiled for the vector instructions of this processor: for loops over slices that the compiler can
/// vectorise. Mark the closure `#[inline(always)]`.
#[inline]
pub fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(work)
}
