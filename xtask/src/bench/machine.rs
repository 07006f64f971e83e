//! What the machine can do: arithmetic in registers, and memory that is read and written.

use super::timing::{Rate, Series, rate, single};
use anyhow::Result;
use mbmpo_kernels::{Instructions, fused_multiply_adds, vectorized};
use rayon::ThreadPool;
use serde::Serialize;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Floating-point operations between two looks at the clock.
const FLOP: u64 = 2_000_000;

/// Numbers of a block of an array.
const BLOCK: usize = 32 * 1024;
/// Bytes of a block of both arrays: more than the first-level cache of a core holds, and less than
/// its second.
const BLOCK_BYTES: usize = 2 * BLOCK * size_of::<f32>();
/// Bytes of a working set like that of the loops: five networks with moments and transposes take
/// 23 MB, the samples of a meta-update 11 MB.
const LOOPS: usize = 32 << 20;
/// Bytes of a working set that is beyond most caches.
const MEMORY: usize = 512 << 20;

/// What arithmetic and memory reach.
pub struct Machine {
    sets: Vec<(Instructions, Series)>,
    streams: [Stream; 3],
    single: ThreadPool,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub struct MachineReport {
    /// Name of the instructions in use.
    pub instructions: &'static str,
    /// What these reach on all threads \[GFLOP/s\].
    pub peak: f64,
    /// What each set of instructions reaches \[GFLOP/s\].
    pub peaks: Vec<Rate>,
    /// y += a x over working sets of several sizes \[GB/s\], each x read, each y read and written.
    pub bandwidths: Vec<Bandwidth>,
    /// That of a working set like the loops', on all threads \[GB/s\].
    #[serde(skip)]
    pub bandwidth: f64,
}

#[derive(Debug, Serialize)]
pub struct Bandwidth {
    #[serde(flatten)]
    pub rate: Rate,
    /// Bytes of x and y, of all threads together.
    pub bytes: usize,
}

impl MachineReport {
    /// How many times the speed of one thread all threads reach together.
    pub fn speedup(&self) -> Option<f64> {
        let mut peaks = self.peaks.iter();
        let in_use = peaks.find(|rate| rate.name == self.instructions)?;
        Some(self.peak / in_use.one_thread?)
    }
}

impl Machine {
    /// For the present pool of threads.
    pub fn new() -> Result<Self> {
        let threads = rayon::current_num_threads();
        let mib = |bytes: usize| format!("{} MiB in all", bytes >> 20);
        Ok(Self {
            sets: Instructions::available()
                .map(|set| (set, Series::new(set.name())))
                .collect(),
            streams: [
                Stream::new(
                    format!("{} KiB a thread", BLOCK_BYTES >> 10),
                    threads,
                    threads,
                ),
                Stream::new(mib(LOOPS), LOOPS / BLOCK_BYTES, threads),
                Stream::new(mib(MEMORY), MEMORY / BLOCK_BYTES, threads),
            ],
            single: single()?,
        })
    }

    /// Measures everything once; a run that warms up is not kept.
    pub fn run(&mut self, keep: bool) {
        for (set, series) in &mut self.sets {
            let set = *set;
            series.measure(keep, Some(&self.single), || {
                // the processor has all of these sets
                rate(|_| fused_multiply_adds(set, FLOP).unwrap_or_default() as f64) / 1e9
            });
        }
        for stream in &mut self.streams {
            stream.run(keep, &self.single);
        }
    }

    pub fn report(&self) -> MachineReport {
        let in_use = Instructions::in_use();
        let peaks: Vec<Rate> = self.sets.iter().map(|(_, s)| s.report()).collect();
        let peak = peaks.iter().find(|rate| rate.name == in_use.name());
        let [_, loops, _] = &self.streams;
        MachineReport {
            instructions: in_use.name(),
            peak: peak.map_or(0.0, |rate| rate.median),
            peaks,
            bandwidths: self.streams.iter().map(Stream::report).collect(),
            bandwidth: loops.series.report().median,
        }
    }
}

/// y += a x over arrays that threads share, block by block.
struct Stream {
    series: Series,
    blocks: Vec<Mutex<Block>>,
    /// How many blocks each thread has done.
    done: Vec<AtomicUsize>,
}

struct Block {
    x: Vec<f32>,
    y: Vec<f32>,
}

impl Stream {
    fn new(name: String, blocks: usize, threads: usize) -> Self {
        let block = |_| {
            Mutex::new(Block {
                x: vec![1.0; BLOCK],
                y: vec![1.0; BLOCK],
            })
        };
        Self {
            series: Series::new(name),
            blocks: (0..blocks).map(block).collect(),
            done: (0..threads).map(|_| AtomicUsize::new(0)).collect(),
        }
    }

    fn run(&mut self, keep: bool, single: &ThreadPool) {
        let Self {
            series,
            blocks,
            done,
        } = self;
        let threads = done.len();
        // with a block for each thread, every thread keeps its own
        let own = blocks.len() == threads;
        series.measure(keep, Some(single), || {
            let threads = rayon::current_num_threads();
            rate(|thread| {
                let before = if own {
                    0
                } else {
                    done[thread].fetch_add(1, Ordering::Relaxed)
                };
                let block = &blocks[(thread + before * threads) % blocks.len()];
                let mut block = block.lock().unwrap_or_else(PoisonError::into_inner);
                block.add();
                // x is read, y is read and written
                (3 * BLOCK * size_of::<f32>()) as f64
            }) / 1e9
        });
    }

    fn report(&self) -> Bandwidth {
        Bandwidth {
            rate: self.series.report(),
            bytes: self.blocks.len() * BLOCK_BYTES,
        }
    }
}

impl Block {
    fn add(&mut self) {
        let Self { x, y } = self;
        let a = black_box(1e-3);
        vectorized(
            #[inline(always)]
            || {
                for (y, x) in y.iter_mut().zip(&*x) {
                    *y += a * x;
                }
            },
        );
        black_box(y);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rayon::ThreadPoolBuilder;

    /// Fails when threads leave out blocks, or take those of others while each should keep its own.
    #[test]
    fn streams_reach_every_block() {
        let pool = ThreadPoolBuilder::new().num_threads(2).build().unwrap();
        let one = single().unwrap();
        for blocks in [2, 6] {
            let mut stream = Stream::new(String::new(), blocks, 2);
            pool.install(|| stream.run(true, &one));
            for block in &stream.blocks {
                assert!(block.lock().unwrap().y.iter().all(|y| *y > 1.0));
            }
            let done = |i: usize| stream.done[i].load(Ordering::Relaxed);
            assert_eq!(done(0) + done(1) > 0, blocks > 2);
            let rate = stream.series.report();
            assert!(rate.median > 0.0 && rate.one_thread > Some(0.0));
        }
    }
}
