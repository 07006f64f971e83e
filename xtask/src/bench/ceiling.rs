//! What the machine can do: single-precision matrix products through Burn.

use super::report::ShapeReport;
use super::workload::Workload;
use anyhow::Result;
use burn::tensor::{Device, Tensor};
use rayon::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::hint::black_box;
use std::time::Instant;

/// Floating-point operations that are timed in one go: some tens of milliseconds.
const FLOP: f64 = 4e9;

/// A product `[m, k] x [k, n]`, its measurements on all threads and on one \[GFLOP/s\].
struct Shape {
    name: String,
    /// Products at the same time, a task each.
    copies: usize,
    left: Tensor<2>,
    right: Tensor<2>,
    flop: f64,
    all: Vec<f64>,
    one: Vec<f64>,
}

/// The products that set the ceiling: the ensemble's largest, alone and one on every thread, and a
/// big square.
pub struct Ceiling {
    shapes: Vec<Shape>,
    single: ThreadPool,
}

impl Ceiling {
    pub fn new(workload: &Workload) -> Result<Self> {
        let device = &workload.device;
        let batch = workload.config.ensemble.batch_size;
        let width = workload.config.ensemble.hidden[0];
        let threads = rayon::current_num_threads();
        let mut shapes = vec![
            Shape::new(1, [batch, width, width], device),
            Shape::new(1, [1024, 1024, 1024], device),
        ];
        if threads > 1 {
            shapes.push(Shape::new(threads, [batch, width, width], device));
        }
        Ok(Self {
            shapes,
            single: ThreadPoolBuilder::new().num_threads(1).build()?,
        })
    }

    /// Times every shape; a run that warms up is not kept.
    pub fn run(&mut self, keep: bool) {
        for shape in &mut self.shapes {
            let all = shape.rate();
            let one = (shape.copies == 1).then(|| self.single.install(|| shape.rate()));
            if keep {
                shape.all.push(all);
                shape.one.extend(one);
            }
        }
    }

    pub fn report(self) -> Vec<ShapeReport> {
        self.shapes
            .into_iter()
            .map(|shape| ShapeReport::new(shape.name, &shape.all, &shape.one))
            .collect()
    }
}

impl Shape {
    fn new(copies: usize, [m, k, n]: [usize; 3], device: &Device) -> Self {
        let name = format!("[{m}x{k}] x [{k}x{n}]");
        Self {
            name: if copies > 1 {
                format!("{copies} tasks of {name}")
            } else {
                name
            },
            copies,
            left: Tensor::full([m, k], 0.5, device),
            right: Tensor::full([k, n], 0.25, device),
            flop: 2.0 * (m * k * n) as f64,
            all: Vec::new(),
            one: Vec::new(),
        }
    }

    /// GFLOP/s of the present thread pool.
    fn rate(&self) -> f64 {
        let repetitions = (FLOP / self.flop / self.copies as f64).ceil() as usize;
        let work = || {
            for _ in 0..repetitions {
                black_box(self.left.clone().matmul(self.right.clone()));
            }
        };
        let clock = Instant::now();
        if self.copies == 1 {
            work();
        } else {
            (0..self.copies)
                .into_par_iter()
                .with_max_len(1)
                .for_each(|_| work());
        }
        let flop = self.flop * (repetitions * self.copies) as f64;
        flop / clock.elapsed().as_secs_f64() / 1e9
    }
}
