//! Rates: how much work threads do in a fixed time.

use super::median;
use anyhow::Result;
use rayon::{ThreadPool, ThreadPoolBuilder};
use serde::Serialize;
use std::time::{Duration, Instant};

/// Work before it counts: meanwhile cores wake up, and the system gives each thread its own.
const WARM_UP: Duration = Duration::from_millis(20);
/// How long work counts.
const WINDOW: Duration = Duration::from_millis(40);

/// What all threads of the present pool do in a second, when thread i calls `work(i)` again and
/// again, which returns how much it did.
pub fn rate(work: impl Fn(usize) -> f64 + Sync) -> f64 {
    // One clock for all: a thread that starts late, because something else runs on its core, counts
    // less.
    let clock = Instant::now();
    let rates = rayon::broadcast(|thread| {
        let mut begin = WARM_UP;
        while clock.elapsed() < WARM_UP {
            work(thread.index());
            begin = clock.elapsed().max(WARM_UP);
        }
        let mut done = 0.0;
        loop {
            done += work(thread.index());
            let now = clock.elapsed();
            if now >= WARM_UP + WINDOW {
                return done / now.saturating_sub(begin).as_secs_f64();
            }
        }
    });
    rates.iter().sum()
}

/// A pool of one thread.
pub fn single() -> Result<ThreadPool> {
    Ok(ThreadPoolBuilder::new().num_threads(1).build()?)
}

/// A rate, measured in every round: on all threads and on one.
#[derive(Debug)]
pub struct Series {
    name: String,
    all: Vec<f64>,
    one: Vec<f64>,
}

/// The summary of a [`Series`], in its unit.
#[derive(Debug, Clone, Serialize)]
pub struct Rate {
    pub name: String,
    /// On all threads.
    pub median: f64,
    /// On all threads.
    pub best: f64,
    /// Median.
    pub one_thread: Option<f64>,
}

impl Series {
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            all: Vec::new(),
            one: Vec::new(),
        }
    }

    /// Measures `rate` in the present pool and in that of one thread, if there is one. What is
    /// measured to warm up is not kept.
    pub fn measure(
        &mut self,
        keep: bool,
        single: Option<&ThreadPool>,
        rate: impl Fn() -> f64 + Sync,
    ) {
        let all = rate();
        let one = single.map(|single| single.install(&rate));
        if keep {
            self.all.push(all);
            self.one.extend(one);
        }
    }

    pub fn report(&self) -> Rate {
        Rate {
            name: self.name.clone(),
            median: median(self.all.iter().copied()),
            best: self.all.iter().copied().fold(0.0, f64::max),
            one_thread: (!self.one.is_empty()).then(|| median(self.one.iter().copied())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread::sleep;

    /// Fails when the work of a thread is left out, or divided by anything but the time.
    #[test]
    fn rates_of_threads_are_added() {
        // each thread does 1 in at least 10 ms
        let work = |_| {
            sleep(Duration::from_millis(10));
            1.0
        };
        let pool = ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let three = pool.install(|| rate(work));
        assert!(three > 0.0 && three <= 300.0, "{three}");
        for one in 0..3 {
            let work = |thread| {
                sleep(Duration::from_millis(1));
                f64::from(u8::from(thread == one))
            };
            assert!(pool.install(|| rate(work)) > 0.0, "thread {one}");
        }

        let mut series = Series::new("sleep");
        let single = single().unwrap();
        let threads = || rate(|_| 1.0).min(1.0) * rayon::current_num_threads() as f64;
        for keep in [false, true, true] {
            pool.install(|| series.measure(keep, Some(&single), threads));
        }
        let report = series.report();
        assert_eq!(report.median, 3.0);
        assert_eq!(report.best, 3.0);
        assert_eq!(report.one_thread, Some(1.0));
    }
}
