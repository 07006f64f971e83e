//! Arithmetic of small networks on the CPU, in single precision.
//!
//! Networks of a few thousand to a few hundred thousand weights spend as much time around their
//! matrix products as in them: packing factors, allocating results, another pass over memory for a
//! bias, an activation or its derivative. Here the right factor is packed once for many products
//! ([`Panels`]), results are written to the caller's slices, and a closure finishes the rows of a
//! product while they are in the cache.
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
//! Everything runs on one thread. An entry of a product is one sum in the order of its terms,
//! whatever is computed beside it, so callers may divide rows among threads in any way and get the
//! same bits. The vector [`Instructions`] are chosen at run time; multiplications are fused with
//! additions in all of them, so the bits do not depend on the processor either.

#![forbid(unsafe_code)]

mod fused;
mod instructions;
mod panels;
mod peak;
mod product;
mod rows;
mod tanh;
mod transposed_product;

pub use instructions::{Instructions, Unavailable, vectorized};
pub use panels::{GROUP, Panel, Panels, TILE_ROWS};
pub use peak::fused_multiply_adds;
pub use product::{product, transposed_product};
pub use rows::{add_to_rows, sum_rows};
pub use tanh::tanh;
pub use transposed_product::add_transposed_product;
