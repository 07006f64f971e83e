//! Matrix products in single precision: Burn's, and those that the loops consist of.

use super::timing::{Rate, Series, rate, single};
use super::workload::Workload;
use anyhow::Result;
use burn::tensor::{Device, Tensor};
use mbmpo_kernels::{GROUP, Panels, add_transposed_product, product};
use rayon::ThreadPool;
use rayon::prelude::*;
use std::hint::black_box;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Floating-point operations of Burn's products that are timed in one go: some tens of
/// milliseconds.
const FLOP: f64 = 4e9;
/// Samples that the policy's products are measured with: those of a block in the meta-update.
const SAMPLES: usize = 200;

/// A product and its measurements \[GFLOP/s\].
struct Product {
    series: Series,
    /// Whether it is measured on one thread as well.
    on_one: bool,
    /// GFLOP/s of the present pool.
    rate: Box<dyn Fn() -> f64 + Send + Sync>,
}

/// Burn's products and our kernels'. Ours run on one thread, so each thread has its own.
pub struct Products {
    wide: Vec<Product>,
    /// As wide as the policy: A B, and Aᵀ B.
    narrow: [Product; 2],
    single: ThreadPool,
}

impl Products {
    /// For the present pool of threads.
    pub fn new(workload: &Workload) -> Result<Self> {
        let device = &workload.device;
        let batch = workload.config.ensemble.batch_size;
        let width = workload.config.ensemble.hidden[0];
        let policy = workload.network.sizes()[1];
        let threads = rayon::current_num_threads();
        let mut wide = vec![
            Product::burn(1, [batch, width, width], device),
            Product::burn(1, [1024, 1024, 1024], device),
        ];
        if threads > 1 {
            wide.push(Product::burn(threads, [batch, width, width], device));
        }
        wide.push(Product::in_panels([batch, width, width]));
        Ok(Self {
            wide,
            narrow: [
                Product::in_panels([SAMPLES, policy, policy]),
                Product::transposed([policy, SAMPLES, policy]),
            ],
            single: single()?,
        })
    }

    /// Measures every product once; a run that warms up is not kept.
    pub fn run(&mut self, keep: bool) {
        for product in self.wide.iter_mut().chain(&mut self.narrow) {
            let single = product.on_one.then_some(&self.single);
            product.series.measure(keep, single, &product.rate);
        }
    }

    /// GFLOP/s of the products that are as wide as the policy, on all threads: A B, and Aᵀ B.
    pub fn narrow(&self) -> [f64; 2] {
        self.narrow
            .each_ref()
            .map(|product| product.series.report().median)
    }

    pub fn report(&self) -> Vec<Rate> {
        let all = self.wide.iter().chain(&self.narrow);
        all.map(|product| product.series.report()).collect()
    }
}

impl Product {
    /// `[m, k] x [k, n]` by Burn, so many at the same time, a task each.
    fn burn(copies: usize, [m, k, n]: [usize; 3], device: &Device) -> Self {
        let name = format!("[{m}x{k}] x [{k}x{n}]");
        let (left, right) = (
            Tensor::<2>::full([m, k], 0.5, device),
            Tensor::<2>::full([k, n], 0.25, device),
        );
        let flop = 2.0 * (m * k * n) as f64;
        let repetitions = (FLOP / flop / copies as f64).ceil() as usize;
        let work = move || {
            for _ in 0..repetitions {
                black_box(left.clone().matmul(right.clone()));
            }
        };
        let rate = move || {
            let clock = Instant::now();
            if copies == 1 {
                work();
            } else {
                let tasks = (0..copies).into_par_iter().with_max_len(1);
                tasks.for_each(|_| work());
            }
            flop * (repetitions * copies) as f64 / clock.elapsed().as_secs_f64() / 1e9
        };
        Self {
            series: Series::new(if copies > 1 {
                format!("Burn: {copies} tasks of {name}")
            } else {
                format!("Burn: {name}")
            }),
            on_one: copies == 1,
            rate: Box::new(rate),
        }
    }

    /// `[m, k] x [k, n]` by our kernels, one on each thread; `work` multiplies in the `buffers`.
    fn ours<B: Send + 'static>(
        name: String,
        [m, k, n]: [usize; 3],
        buffers: impl Fn() -> B,
        work: impl Fn(&mut B) + Send + Sync + 'static,
    ) -> Self {
        let flop = 2.0 * (m * k * n) as f64;
        let buffers = (0..rayon::current_num_threads()).map(|_| Mutex::new(buffers()));
        let buffers: Vec<Mutex<B>> = buffers.collect();
        let one = move |thread: usize| {
            let buffers = &buffers[thread];
            work(&mut buffers.lock().unwrap_or_else(PoisonError::into_inner));
            flop
        };
        Self {
            series: Series::new(name),
            on_one: true,
            rate: Box::new(move || rate(&one) / 1e9),
        }
    }

    /// A B, as in the networks of the ensemble and the policy.
    fn in_panels([m, k, n]: [usize; 3]) -> Self {
        let buffers = move || (packed(m, k), factor(k, n), packed(m, n));
        let name = format!("kernels: [{m}x{k}] x [{k}x{n}]");
        Self::ours(name, [m, k, n], buffers, |(a, b, c)| {
            product(black_box(a), &[b], c.data_mut(), |_, _| {});
            black_box(c);
        })
    }

    /// C += Aᵀ B, as in the gradient by the policy's weights.
    fn transposed([m, k, n]: [usize; 3]) -> Self {
        let buffers = move || (packed(k, m), packed(k, n), factor(m, n));
        let name = format!("kernels: [{k}x{m}]^T x [{k}x{n}]");
        Self::ours(name, [m, k, n], buffers, move |(a, b, c)| {
            for group in 0..n.div_ceil(GROUP) {
                add_transposed_product(&[(black_box(&*a), &*b)], group, c.group_mut(group));
            }
            black_box(c);
        })
    }
}

/// A matrix of ones.
fn packed(rows: usize, columns: usize) -> Panels {
    ones(Panels::default(), rows, columns)
}

/// A right factor of ones.
fn factor(rows: usize, columns: usize) -> Panels {
    ones(Panels::factor(), rows, columns)
}

fn ones(mut matrix: Panels, rows: usize, columns: usize) -> Panels {
    matrix.pack(columns, [&vec![1.0; rows * columns][..]]);
    matrix
}
