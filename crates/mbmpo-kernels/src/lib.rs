//! Arithmetic of small networks on the CPU, in single precision.
//!
//! Networks of a few thousand to a few hundred thousand weights spend as much time around their
//! matrix products as in them: packing factors, allocating results, another pass over memory for a
//! bias, an activation or its derivative. Here matrices stay in the order in which products read and
//! write them ([`Panels`]), results are written to the caller's matrices, and a closure finishes
//! each part of a product while it is in the cache.
//!
//! ```
//! use mbmpo_kernels::{Panels, product};
//!
//! // relu(x W + b) for two rows x
//! let (mut x, mut weights) = (Panels::default(), Panels::factor());
//! x.pack(2, [&[1.0, 2.0, -3.0, 0.0][..]]);
//! weights.pack(2, [&[1.0, -1.0, 0.5, 2.0][..]]); // [in, out]
//! let mut y = Panels::zeros(2, 2);
//! let bias = weights.row(&[0.0, 1.0]);
//! product(&x, &[&weights], y.data_mut(), |panel, entries| {
//!     for row in entries.chunks_exact_mut(panel.stride) {
//!         for (y, b) in row.iter_mut().zip(&bias[panel.padded()]) {
//!             *y = (*y + b).max(0.0);
//!         }
//!     }
//! });
//! let mut rows = Vec::new();
//! y.unpack(&mut rows);
//! assert_eq!(rows, [2.0, 4.0, 0.0, 4.0]);
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

pub use instructions::{Instructions, Unavailable, vectorized};
pub use panels::{GROUP, Panel, Panels, TILE_ROWS};
pub use peak::fused_multiply_adds;
pub use product::{add_transposed_product, product, sum_of_products, transposed_product};
pub use rows::{add_to_rows, sum_rows};
pub use tanh::tanh;
