//! The table that the benchmark prints, in Markdown.

use super::median;
use super::workload::Sample;
use serde::Serialize;
use std::fmt;

/// All measurements.
#[derive(Debug, Serialize)]
pub struct Report {
    pub threads: usize,
    pub rounds: usize,
    pub ceiling: Vec<ShapeReport>,
    pub loops: Vec<LoopReport>,
}

/// A matrix product \[GFLOP/s\].
#[derive(Debug, Serialize)]
pub struct ShapeReport {
    name: String,
    median: f64,
    best: f64,
    one_thread: Option<f64>,
}

/// A loop.
#[derive(Debug, Serialize)]
pub struct LoopReport {
    name: String,
    /// \[s\]
    median: f64,
    /// \[s\]
    best: f64,
    /// Median of the rounds.
    gflops: f64,
    /// Units per second, median of the rounds.
    rate: f64,
    unit: &'static str,
    /// Medians of the parts \[s\].
    parts: Vec<(&'static str, f64)>,
    /// Every round \[s\].
    rounds: Vec<f64>,
}

impl ShapeReport {
    pub fn new(name: String, all: &[f64], one: &[f64]) -> Self {
        Self {
            name,
            median: median(all.iter().copied()),
            best: all.iter().copied().fold(0.0, f64::max),
            one_thread: (!one.is_empty()).then(|| median(one.iter().copied())),
        }
    }
}

impl LoopReport {
    pub fn new(name: &str, unit: &'static str, samples: Vec<Sample>) -> Self {
        let over = |f: fn(&Sample) -> f64| median(samples.iter().map(f));
        let parts = samples.first().map_or(&[][..], |sample| &sample.parts);
        Self {
            name: name.to_owned(),
            median: over(|sample| sample.seconds),
            best: samples
                .iter()
                .map(|sample| sample.seconds)
                .fold(f64::INFINITY, f64::min),
            gflops: over(|sample| sample.flop / sample.seconds / 1e9),
            rate: over(|sample| sample.units / sample.seconds),
            unit,
            parts: (0..parts.len())
                .map(|i| {
                    let seconds = samples.iter().map(|sample| sample.parts[i].1);
                    (parts[i].0, median(seconds))
                })
                .collect(),
            rounds: samples.iter().map(|sample| sample.seconds).collect(),
        }
    }
}

impl Report {
    /// The best of the shapes \[GFLOP/s\].
    fn ceiling(&self) -> f64 {
        let medians = self.ceiling.iter().map(|shape| shape.median);
        medians.fold(0.0, f64::max)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            threads, rounds, ..
        } = self;
        let plural = if *threads == 1 { "" } else { "s" };
        writeln!(
            f,
            "{threads} thread{plural}, {rounds} rounds; GFLOP/s of medians\n"
        )?;
        writeln!(f, "| matrix product | median | best | one thread |")?;
        writeln!(f, "|---|--:|--:|--:|")?;
        for shape in &self.ceiling {
            let ShapeReport {
                name, median, best, ..
            } = shape;
            write!(f, "| {name} | {median:.0} | {best:.0} | ")?;
            match shape.one_thread {
                Some(rate) => writeln!(f, "{rate:.0} |")?,
                None => writeln!(f, "|")?,
            }
        }
        let ceiling = self.ceiling();
        writeln!(
            f,
            "\n| loop | median ms | best ms | GFLOP/s | of the ceiling ({ceiling:.0}) | a second |"
        )?;
        write!(f, "|---|--:|--:|--:|--:|--:|")?;
        for row in &self.loops {
            let (median, best) = (row.median * 1e3, row.best * 1e3);
            write!(
                f,
                "\n| {} | {median:.1} | {best:.1} | {:.0} | {:.0} % | {} {} |",
                row.name,
                row.gflops,
                100.0 * row.gflops / ceiling,
                readable(row.rate),
                row.unit,
            )?;
            for (part, seconds) in &row.parts {
                write!(f, "\n| - {part} | {:.1} | | | | |", seconds * 1e3)?;
            }
        }
        Ok(())
    }
}

/// A number with three digits, and `k` for thousands.
fn readable(number: f64) -> String {
    match number {
        100_000.0.. => format!("{:.0}k", number / 1e3),
        1_000.0.. => format!("{:.1}k", number / 1e3),
        100.0.. => format!("{number:.0}"),
        _ => format!("{number:.1}"),
    }
}
