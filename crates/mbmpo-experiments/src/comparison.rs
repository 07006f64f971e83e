//! Comparison of runs: learning curves, and the real steps that each algorithm needed (figure 1 of
//! the paper).

use crate::figure::{COLORS, Chart, Line, line_chart};
use crate::{
    AlgorithmConfig, EnvironmentConfig, Error, ExperimentConfig, Result, read_metrics, text,
};
use mbmpo_core::IterationMetrics;
use mbmpo_core::statistics::{deviation, mean};
use std::path::PathBuf;

/// Shares of the best final return for which the table has the real steps.
pub const SHARES: [f64; 3] = [0.5, 0.75, 0.95];

/// The runs of one environment.
#[derive(Debug, Clone, PartialEq)]
pub struct Comparison {
    /// Its name.
    pub environment: String,
    /// One entry an algorithm, in the order of the runs.
    pub algorithms: Vec<Compared>,
}

/// The runs of one algorithm.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// Its name.
    pub algorithm: String,
    /// (real steps, mean return) after every iteration, run by run.
    pub curves: Vec<Vec<(usize, f64)>>,
    /// Real steps of the longest run.
    pub real_steps: usize,
    /// Final return of every run: the mean over the last tenth of its iterations.
    pub finals: Vec<f64>,
    /// For each of [`SHARES`]: real steps of every run up to the first iteration that reached it;
    /// `None` for runs that never did.
    pub reached: [Vec<Option<usize>>; 3],
}

/// Groups `runs` by environment and algorithm. Runs that differ only in seed and length form one
/// group; several settings of one algorithm, or of one environment, are numbered.
///
/// # Errors
/// When a path is not a run, or its metrics are not in the format of this version.
pub fn compare(runs: &[PathBuf]) -> Result<Vec<Comparison>> {
    let mut names = Names::default();
    let mut all: Vec<Comparison> = Vec::new();
    for run in runs {
        let config = run.join("config.ron");
        if !config.is_file() {
            let looked_for = "config.ron".to_owned();
            let path = run.clone();
            return Err(Error::NotARun { path, looked_for });
        }
        let config = ExperimentConfig::read(&config)?;
        let metrics = read_metrics(run)?;
        if metrics.is_empty() {
            let looked_for = "iteration in metrics.jsonl".to_owned();
            let path = run.clone();
            return Err(Error::NotARun { path, looked_for });
        }
        let (environment, algorithm) = names.of(&config);
        let of_environment = find_or_push(
            &mut all,
            |comparison| comparison.environment == environment,
            || Comparison {
                environment: environment.clone(),
                algorithms: Vec::new(),
            },
        );
        let of_algorithm = find_or_push(
            &mut of_environment.algorithms,
            |compared| compared.algorithm == algorithm,
            || Compared {
                algorithm: algorithm.clone(),
                curves: Vec::new(),
                real_steps: 0,
                finals: Vec::new(),
                reached: Default::default(),
            },
        );
        of_algorithm.add(&metrics);
    }
    for comparison in &mut all {
        comparison.measure();
    }
    Ok(all)
}

/// The different environments and algorithms so far, from which names with numbers follow.
#[derive(Default)]
struct Names {
    environments: Vec<EnvironmentConfig>,
    algorithms: Vec<AlgorithmConfig>,
}

impl Names {
    /// The names of the environment and of the algorithm, from the second of a name on with a
    /// number.
    fn of(&mut self, config: &ExperimentConfig) -> (String, String) {
        let environment = &config.environment;
        let number = place(&mut self.environments, environment, |other| {
            other.name == environment.name
        });
        let kind = config.algorithm.kind();
        let of_algorithm = place(&mut self.algorithms, &config.algorithm, |other| {
            other.kind() == kind
        });
        let numbered = |name: &str, number: usize| match number {
            1 => name.to_owned(),
            number => format!("{name} ({number})"),
        };
        let algorithm = numbered(kind.name(), of_algorithm);
        (numbered(&environment.name, number), algorithm)
    }
}

/// The number of `item` among those in `seen` that are `alike`, from 1 on; a new one is added to
/// `seen`.
fn place<T: Clone + PartialEq>(seen: &mut Vec<T>, item: &T, alike: impl Fn(&T) -> bool) -> usize {
    if !seen.contains(item) {
        seen.push(item.clone());
    }
    let mut alike = seen.iter().filter(|other| alike(other));
    alike.position(|other| other == item).unwrap_or(0) + 1
}

fn find_or_push<T>(
    items: &mut Vec<T>,
    wanted: impl Fn(&T) -> bool,
    make: impl FnOnce() -> T,
) -> &mut T {
    let index = items.iter().position(wanted).unwrap_or_else(|| {
        items.push(make());
        items.len() - 1
    });
    &mut items[index]
}

impl Compared {
    fn add(&mut self, metrics: &[IterationMetrics]) {
        let curve: Vec<_> = metrics
            .iter()
            .map(|m| (m.real_steps, m.return_pre_mean))
            .collect();
        let last = &metrics[metrics.len() - metrics.len().div_ceil(10)..];
        let returns: Vec<f64> = last.iter().map(|m| m.return_pre_mean).collect();
        self.finals.push(mean(&returns));
        let steps = curve.last().map_or(0, |(steps, _)| *steps);
        self.real_steps = self.real_steps.max(steps);
        self.curves.push(curve);
    }
}

impl Comparison {
    /// The best of the algorithms' final returns, each averaged over its runs.
    pub fn best(&self) -> f64 {
        let finals = self
            .algorithms
            .iter()
            .map(|compared| mean(&compared.finals));
        finals.fold(f64::NEG_INFINITY, f64::max)
    }

    /// The worst of all first returns.
    pub fn start(&self) -> f64 {
        let curves = self.algorithms.iter().flat_map(|compared| &compared.curves);
        let firsts = curves.filter_map(|curve| curve.first().map(|(_, first)| *first));
        firsts.fold(f64::INFINITY, f64::min)
    }

    /// The return that is this share of [`Self::best`]; where that is below 0, this share of the
    /// way to it from [`Self::start`].
    pub fn threshold(&self, share: f64) -> f64 {
        let origin = if self.best() > 0.0 { 0.0 } else { self.start() };
        origin + share * (self.best() - origin)
    }

    fn measure(&mut self) {
        let thresholds = SHARES.map(|share| self.threshold(share));
        for compared in &mut self.algorithms {
            compared.reached = thresholds.map(|threshold| {
                let first = |curve: &Vec<(usize, f64)>| {
                    let reached = curve.iter().find(|(_, r)| *r >= threshold);
                    reached.map(|(steps, _)| *steps)
                };
                compared.curves.iter().map(first).collect()
            });
        }
    }

    /// One line for each algorithm: runs, real steps, final return, and the mean number of real
    /// steps to each of [`SHARES`]; where not all runs reached it, their number in brackets.
    pub fn table(&self) -> String {
        let [half, most, nearly] =
            SHARES.map(|share| format!("to {:.0} ({:.0} %)", self.threshold(share), 100.0 * share));
        let mut rows = vec![[
            self.environment.clone(),
            "runs".to_owned(),
            "real steps".to_owned(),
            "final return".to_owned(),
            half,
            most,
            nearly,
        ]];
        for compared in &self.algorithms {
            let [half, most, nearly] = compared.reached.each_ref().map(|steps| {
                let there: Vec<f64> = steps.iter().flatten().map(|&x| x as f64).collect();
                match there.len() {
                    0 => "never".to_owned(),
                    n if n == steps.len() => format!("{:.0}", mean(&there)),
                    n => format!("{:.0} ({n} of {})", mean(&there), steps.len()),
                }
            });
            let finals = &compared.finals;
            rows.push([
                compared.algorithm.clone(),
                finals.len().to_string(),
                compared.real_steps.to_string(),
                format!("{:.1} ± {:.1}", mean(finals), deviation(finals)),
                half,
                most,
                nearly,
            ]);
        }
        text::table(&rows, 1)
    }

    /// An SVG of all curves over real steps, on a logarithmic axis as in the paper: a colour for
    /// each algorithm, a line for each run.
    pub fn figure(&self) -> String {
        let mut lines = Vec::new();
        for (compared, color) in self.algorithms.iter().zip(COLORS.iter().cycle()) {
            for (i, curve) in compared.curves.iter().enumerate() {
                lines.push(Line {
                    width: 1.8,
                    legend: (i == 0).then(|| compared.algorithm.clone()),
                    ..Line::new(curve.iter().map(|&(steps, r)| (steps as f64, r)), color)
                });
            }
        }
        let chart = Chart {
            log_x: true,
            ..Chart::of_returns(&self.environment)
        };
        line_chart(&chart, &lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::preset;

    fn compared(algorithm: &str, curves: &[&[(usize, f64)]]) -> Compared {
        let mut compared = Compared {
            algorithm: algorithm.to_owned(),
            curves: Vec::new(),
            real_steps: 0,
            finals: Vec::new(),
            reached: Default::default(),
        };
        for curve in curves {
            let metrics = |&(real_steps, return_pre_mean): &(usize, f64)| IterationMetrics {
                real_steps,
                return_pre_mean,
                ..IterationMetrics::default()
            };
            compared.add(&curve.iter().map(metrics).collect::<Vec<_>>());
        }
        compared
    }

    /// Compares with numbers worked out by hand, also for negative returns. Fails when a share is
    /// taken of the wrong algorithm's return, a run that never reaches it counts, or the final
    /// return is not taken from the end of a run.
    #[test]
    fn shares_by_hand() {
        for shift in [0.0, -200.0] {
            let curve = |points: &[(usize, f64)]| -> Vec<(usize, f64)> {
                points
                    .iter()
                    .map(|(steps, r)| (*steps, r + shift))
                    .collect()
            };
            let first = curve(&[(10, 40.0), (20, 80.0), (30, 100.0)]);
            let second = curve(&[(10, 0.0), (20, 100.0)]);
            let third = curve(&[(5, 50.0), (10, 60.0)]);
            let fourth = curve(&[(5, 1.0), (10, 76.0)]);
            let mut comparison = Comparison {
                environment: "point".to_owned(),
                algorithms: vec![
                    compared("a", &[&first, &second]),
                    compared("b", &[&third, &fourth]),
                ],
            };
            comparison.measure();
            assert_eq!(comparison.best(), 100.0 + shift);
            assert_eq!(comparison.start(), shift);
            let [a, b] = [&comparison.algorithms[0], &comparison.algorithms[1]];
            assert_eq!(b.finals, [60.0 + shift, 76.0 + shift]);
            assert_eq!(a.reached[0], [Some(20), Some(20)]);
            assert_eq!(a.reached[2], [Some(30), Some(20)]);
            let expected = [
                vec![Some(5), Some(10)],
                vec![None, Some(10)],
                vec![None, None],
            ];
            assert_eq!(b.reached, expected);
            let table = comparison.table();
            let line = |name: &str| -> String {
                let line = table.lines().find(|line| line.starts_with(name));
                line.unwrap_or("")
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" ")
            };
            assert!(line("a ").ends_with(" ± 0.0 20 20 25"), "{table}");
            assert!(
                line("b ").ends_with(" ± 8.0 8 10 (1 of 2) never"),
                "{table}"
            );
            assert!(comparison.figure().starts_with("<svg"));
        }
    }

    /// Fails when runs with different settings or environments are grouped as seeds of one
    /// experiment.
    #[test]
    fn what_differs_is_numbered() {
        let mut names = Names::default();
        let mut name = |overrides: &[&str]| {
            let overrides: Vec<_> = overrides.iter().map(|x| (*x).to_owned()).collect();
            let config = preset::resolve("hopper", "quick", &overrides);
            config.map(|config| names.of(&config)).unwrap_or_default()
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(name(&[]), pair("hopper", "mb-mpo"));
        assert_eq!(name(&["real_steps=9"]), pair("hopper", "mb-mpo"));
        let heavy = ["env.physics.mass.all=2"];
        assert_eq!(name(&heavy), pair("hopper (2)", "mb-mpo"));
        let other = ["algorithm.meta_steps=2"];
        assert_eq!(name(&other), pair("hopper", "mb-mpo (2)"));
        assert_eq!(name(&heavy), pair("hopper (2)", "mb-mpo"));
    }
}
