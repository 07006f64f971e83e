//! The tables that the benchmark prints, in Markdown.

use super::machine::MachineReport;
use super::median;
use super::roofline::{self, Roof};
use super::timing::Rate;
use super::workload::Sample;
use serde::Serialize;
use std::fmt;

/// All measurements.
#[derive(Debug, Serialize)]
pub struct Report {
    pub threads: usize,
    pub rounds: usize,
    /// Name of the processor.
    pub cpu: String,
    /// Its instruction sets.
    pub features: Vec<&'static str>,
    #[serde(flatten)]
    pub machine: MachineReport,
    /// Matrix products \[GFLOP/s\]. In files the name is that of the ceiling which they once were.
    #[serde(rename = "ceiling")]
    pub products: Vec<Rate>,
    pub loops: Vec<LoopReport>,
    pub roofline: Vec<Roof>,
}

/// A loop.
#[derive(Debug, Serialize)]
pub struct LoopReport {
    pub name: String,
    /// \[s\]
    median: f64,
    /// \[s\]
    best: f64,
    /// Median of the rounds.
    pub gflops: f64,
    /// Floating-point operations of a run, median of the rounds.
    #[serde(skip)]
    pub flop: f64,
    /// Of these, the ones in narrow products: A B, and Aᵀ B.
    #[serde(skip)]
    pub narrow: [f64; 2],
    /// Bytes of a run, median of the rounds.
    #[serde(skip)]
    pub bytes: f64,
    /// Units per second, median of the rounds.
    rate: f64,
    unit: &'static str,
    /// Medians of the parts \[s\].
    parts: Vec<(&'static str, f64)>,
    /// Every round \[s\].
    rounds: Vec<f64>,
}

impl LoopReport {
    pub fn new(name: &str, unit: &'static str, samples: &[Sample]) -> Self {
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
            flop: over(|sample| sample.flop),
            narrow: [
                over(|sample| sample.narrow[0]),
                over(|sample| sample.narrow[1]),
            ],
            bytes: over(|sample| sample.bytes),
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

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            threads,
            rounds,
            cpu,
            machine,
            ..
        } = self;
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        writeln!(f, "{cpu}: {}", self.features.join(", "))?;
        writeln!(
            f,
            "{threads} thread{}, {rounds} round{}; medians; kernels use {}",
            plural(*threads),
            plural(*rounds),
            machine.instructions,
        )?;
        let speedup = machine.speedup();
        if let Some(speedup) = speedup.filter(|speedup| *speedup < 0.75 * *threads as f64) {
            writeln!(
                f,
                "warning: {threads} threads do {speedup:.1} times the arithmetic of one: other \
                 programs are running, or threads share cores"
            )?;
        }
        writeln!(f)?;
        let peak = machine.peak;
        let title = "multiply-adds in registers, GFLOP/s";
        rates(f, title, &machine.peaks, None)?;
        let sizes = machine.bandwidths.iter().map(|size| &size.rate);
        rates(f, "y += a x, by working set, GB/s", sizes, None)?;
        let title = "matrix product, GFLOP/s";
        rates(f, title, &self.products, Some(peak))?;
        self.loops(f)?;
        write!(f, "\n\n{}", roofline::table(&self.roofline))
    }
}

/// A table of rates, with their shares of `peak` if there is one.
fn rates<'a>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    rates: impl IntoIterator<Item = &'a Rate>,
    peak: Option<f64>,
) -> fmt::Result {
    let (of_peak, column) = match peak {
        Some(peak) => (format!(" of the peak ({peak:.0}) |"), "--:|"),
        None => (String::new(), ""),
    };
    writeln!(f, "| {title} | median | best | one thread |{of_peak}")?;
    writeln!(f, "|---|--:|--:|--:|{column}")?;
    for rate in rates {
        let Rate {
            name, median, best, ..
        } = rate;
        let one = rate.one_thread.map(readable).unwrap_or_default();
        let (median, best) = (readable(*median), readable(*best));
        write!(f, "| {name} | {median} | {best} | {one} |")?;
        match peak {
            Some(peak) => writeln!(f, " {:.0} % |", 100.0 * rate.median / peak)?,
            None => writeln!(f)?,
        }
    }
    writeln!(f)
}

impl Report {
    fn loops(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peak = self.machine.peak;
        writeln!(
            f,
            "| loop | median ms | best ms | GFLOP/s | of the peak ({peak:.0}) | a second |"
        )?;
        write!(f, "|---|--:|--:|--:|--:|--:|")?;
        for row in &self.loops {
            let (median, best) = (row.median * 1e3, row.best * 1e3);
            write!(
                f,
                "\n| {} | {median:.1} | {best:.1} | {:.0} | {:.0} % | {} {} |",
                row.name,
                row.gflops,
                100.0 * row.gflops / peak,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::machine::Bandwidth;

    fn rate(name: &str, median: f64) -> Rate {
        Rate {
            name: name.to_owned(),
            median,
            best: median,
            one_thread: None,
        }
    }

    fn report() -> Report {
        let sample = Sample {
            seconds: 0.5,
            flop: 20e9,
            narrow: [10e9, 10e9],
            bytes: 1e9,
            units: 3.0,
            parts: vec![("gradient", 0.25)],
        };
        let row = LoopReport::new("meta-update", "samples", &[sample]);
        Report {
            threads: 2,
            rounds: 1,
            cpu: "Some CPU".to_owned(),
            features: vec!["avx2", "fma"],
            machine: MachineReport {
                instructions: "avx2",
                peak: 80.0,
                peaks: vec![rate("avx2", 80.0)],
                bandwidths: vec![Bandwidth {
                    rate: rate("32 MiB in all", 20.0),
                    bytes: 32 << 20,
                }],
                bandwidth: 20.0,
            },
            products: vec![rate("[1x1] x [1x1]", 60.0)],
            roofline: roofline::of(&row, 80.0, 20.0, [50.0; 2]),
            loops: vec![row],
        }
    }

    /// Fails when a share is not of the peak of the instructions in use, or a table is left out.
    #[test]
    fn the_tables() {
        let text = report().to_string();
        for line in [
            "Some CPU: avx2, fma",
            "2 threads, 1 round; medians; kernels use avx2",
            "| avx2 | 80.0 | 80.0 |  |",
            "| 32 MiB in all | 20.0 | 20.0 |  |",
            "| [1x1] x [1x1] | 60.0 | 60.0 |  | 75 % |",
            "| meta-update | 500.0 | 500.0 | 40 | 50 % | 6.0 samples |",
            "| - gradient | 250.0 | | | | |",
            "| meta-update | 20.00 | 1000 | 20 | 80 | arithmetic | 40 | 50 % |",
            "| meta-update | 20.00 | 1000 | 20 | 50 | narrow products | 40 | 80 % |",
        ] {
            assert!(text.lines().any(|other| other == line), "{line}\n\n{text}");
        }
    }

    /// Fails when nothing is said about threads that have no core of their own, or a warning comes
    /// without cause.
    #[test]
    fn threads_without_a_core() {
        let with = |one_thread| {
            let mut report = report();
            report.machine.peaks[0].one_thread = one_thread;
            report.to_string()
        };
        let busy = with(Some(75.0));
        assert!(busy.contains("warning: 2 threads do 1.1 times"), "{busy}");
        for idle in [with(Some(41.0)), with(None)] {
            assert!(!idle.contains("warning"), "{idle}");
        }
    }

    /// Fails when a field is missing or has another name: other programs read the file.
    #[test]
    fn fields_of_the_file() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["peak"], 80.0);
        assert_eq!(json["instructions"], "avx2");
        assert_eq!(json["cpu"], "Some CPU");
        assert_eq!(json["features"][1], "fma");
        assert_eq!(json["peaks"][0]["name"], "avx2");
        assert_eq!(json["bandwidths"][0]["bytes"], 32 << 20);
        assert_eq!(json["bandwidths"][0]["median"], 20.0);
        assert_eq!(json["ceiling"][0]["median"], 60.0);
        assert_eq!(json["loops"][0]["name"], "meta-update");
        assert_eq!(json["loops"][0]["gflops"], 40.0);
        assert_eq!(json["loops"][0]["rounds"][0], 0.5);
        assert_eq!(json["roofline"][0]["bound"], 80.0);
        assert_eq!(json["roofline"][1]["by"], "narrow products");
    }
}
