//! The progress of training: nested bars on a terminal, one line for each iteration elsewhere.

use crate::output::{complain, say};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use mbmpo_core::{IterationMetrics, Observer, Phase};
use mbmpo_experiments::{Progress, Signals};
use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

/// Shows the progress of a run, and stops it on a signal.
pub struct Display {
    shown: Shown,
    signals: Signals,
}

enum Shown {
    /// For terminals.
    Bars(Bars),
    /// For pipes and files.
    Lines(Clock),
    /// `--quiet`
    Nothing,
}

/// A bar of real steps with the time left and the latest return, and one of the parts of the
/// present phase.
struct Bars {
    total: ProgressBar,
    phase: ProgressBar,
    clock: Clock,
}

/// Estimates the time left from the real steps so far.
struct Clock {
    start: Instant,
    /// Real steps at `start`.
    before: usize,
    budget: usize,
}

impl Display {
    /// Bars where both standard output and standard error are terminals.
    pub fn choose(quiet: bool, title: &str, budget: usize, signals: Signals) -> Self {
        let clock = Clock {
            start: Instant::now(),
            before: 0,
            budget,
        };
        let shown = if quiet {
            Shown::Nothing
        } else if io::stdout().is_terminal() && io::stderr().is_terminal() {
            Shown::Bars(Bars::new(title, clock))
        } else {
            Shown::Lines(clock)
        };
        Self { shown, signals }
    }

    /// Whether it prints a line for each iteration.
    pub fn is_lines(&self) -> bool {
        matches!(self.shown, Shown::Lines(_))
    }
}

impl Observer for Display {
    fn at(&mut self, phase: Phase, done: usize, total: usize) {
        if let Shown::Bars(bars) = &self.shown {
            bars.phase.set_message(describe(phase));
            bars.phase.set_length(total as u64);
            bars.phase.set_position(done as u64);
        }
    }
}

impl Progress for Display {
    fn iteration(&mut self, metrics: &IterationMetrics) {
        match &self.shown {
            Shown::Bars(bars) => {
                let left = bars.clock.left(metrics);
                let pre_update = metrics.return_pre_mean;
                bars.total.set_position(metrics.real_steps as u64);
                bars.total
                    .set_message(format!("{left} left, return {pre_update:.1}"));
            }
            Shown::Lines(clock) => {
                // learning goes on when the pipe is closed
                let _ = say(&clock.line(metrics));
            }
            Shown::Nothing => {}
        }
    }

    fn resumed(&mut self, real_steps: usize) {
        match &mut self.shown {
            Shown::Bars(bars) => {
                bars.clock.before = real_steps;
                bars.total.set_position(real_steps as u64);
            }
            Shown::Lines(clock) => {
                clock.before = real_steps;
                let _ = say(&format!("going on after {real_steps} real steps"));
            }
            Shown::Nothing => {}
        }
    }

    fn notice(&mut self, text: &str) {
        match &self.shown {
            Shown::Bars(bars) => bars.total.suspend(|| complain(text)),
            _ => complain(text),
        }
    }

    fn stopped(&self) -> Option<i32> {
        self.signals.latest()
    }
}

/// Removes the bars.
impl Drop for Bars {
    fn drop(&mut self) {
        self.phase.finish_and_clear();
        self.total.finish_and_clear();
    }
}

impl Bars {
    fn new(title: &str, clock: Clock) -> Self {
        let bars = MultiProgress::new();
        let total = bars.add(ProgressBar::new(clock.budget as u64));
        total.set_style(style(
            "{prefix:.bold} {elapsed:>4} {bar:32.cyan} {human_pos}/{human_len} real steps, {msg}",
        ));
        total.set_prefix(title.to_owned());
        total.set_message("first iteration");
        let phase = bars.add(ProgressBar::new(1));
        phase.set_style(style("  {spinner} {msg}"));
        for bar in [&total, &phase] {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Self {
            total,
            phase,
            clock,
        }
    }
}

impl Clock {
    fn line(&self, metrics: &IterationMetrics) -> String {
        let adapted = metrics
            .return_post_mean
            .map_or_else(String::new, |mean| format!(", adapted {mean:.1}"));
        format!(
            "iteration {:>3}: {:>7} of {} real steps, return {:>8.1} ± {:.1}{adapted}, {} ({} left)",
            metrics.iteration,
            metrics.real_steps,
            self.budget,
            metrics.return_pre_mean,
            metrics.return_pre_std,
            duration(metrics.wall_seconds),
            self.left(metrics),
        )
    }

    fn left(&self, metrics: &IterationMetrics) -> String {
        let remaining = self.budget.saturating_sub(metrics.real_steps) as f64;
        let done = metrics.real_steps.saturating_sub(self.before).max(1);
        let pace = self.start.elapsed().as_secs_f64() / done as f64;
        duration(pace * remaining)
    }
}

/// `42 s`, `3 min 20 s`, `2 h 5 min`
pub fn duration(seconds: f64) -> String {
    // the conversion saturates
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
}

fn describe(phase: Phase) -> &'static str {
    match phase {
        Phase::Collect => "collecting real rollouts",
        Phase::Fit => "fitting the models",
        Phase::Imagine => "learning in imagination",
        Phase::Update => "learning from real rollouts",
        Phase::Evaluate => "evaluating on the real environment",
    }
}
