//! How the cost grows with the work: time per unit should not.

use super::ensemble::EnsembleStep;
use super::imagination::Rollouts;
use super::meta_update::MetaUpdate;
use super::workload::{HotLoop, Workload};
use super::{ADAM_STEPS, ROLLOUTS, median};
use anyhow::Result;
use mbmpo_experiments::figure::{COLORS, Chart, Line, line_chart};
use serde::Serialize;

/// A loop at growing sizes.
#[derive(Debug, Serialize)]
pub struct Curve {
    /// What grows.
    grows: &'static str,
    /// Which loop.
    name: &'static str,
    /// What one unit is.
    unit: &'static str,
    points: Vec<Point>,
}

#[derive(Debug, Serialize)]
struct Point {
    /// How much of what grows.
    size: usize,
    /// Time per unit, median of the rounds \[us\].
    microseconds: f64,
}

/// A point to be measured: size, units of one run, and the loop.
struct Planned {
    size: usize,
    units: f64,
    hot_loop: Box<dyn HotLoop>,
    microseconds: Vec<f64>,
}

const MODELS: [usize; 4] = [1, 2, 5, 10];
const FACTORS: [usize; 3] = [1, 2, 4];

/// Every curve, all of its points once a round.
pub fn measure(workload: &Workload, rounds: usize) -> Result<Vec<Curve>> {
    let members = workload.members();
    let batch = workload.config.ensemble.batch_size;
    let mut curves = Vec::new();
    let mut add = |grows, name, unit, points: Vec<(usize, f64, Box<dyn HotLoop>)>| -> Result<()> {
        let mut points: Vec<Planned> = points
            .into_iter()
            .map(|(size, units, hot_loop)| Planned {
                size,
                units,
                hot_loop,
                microseconds: Vec::new(),
            })
            .collect();
        // the first round only warms up
        for round in 0..=rounds {
            for point in &mut points {
                let sample = point.hot_loop.run()?;
                if round > 0 {
                    point.microseconds.push(sample.seconds / point.units * 1e6);
                }
            }
        }
        curves.push(Curve {
            grows,
            name,
            unit,
            points: points
                .into_iter()
                .map(|point| Point {
                    size: point.size,
                    microseconds: median(point.microseconds),
                })
                .collect(),
        });
        Ok(())
    };

    let imagined = |members: usize, rollouts: usize| members * rollouts * workload.horizon;
    let rollouts = |members, rollouts| -> Result<_> {
        let hot_loop: Box<dyn HotLoop> = Box::new(Rollouts::new(workload, members, rollouts)?);
        Ok(hot_loop)
    };
    let meta_update = |members, rollouts| -> Result<_> {
        let hot_loop: Box<dyn HotLoop> = Box::new(MetaUpdate::new(workload, members, rollouts)?);
        Ok(hot_loop)
    };
    let ensemble = |members, steps| -> Result<_> {
        let hot_loop: Box<dyn HotLoop> = Box::new(EnsembleStep::new(workload, members, steps)?);
        Ok(hot_loop)
    };

    let points = FACTORS.into_iter().map(|factor| {
        let size = imagined(members, factor * ROLLOUTS);
        Ok((size, size as f64, rollouts(members, factor * ROLLOUTS)?))
    });
    let points = points.collect::<Result<_>>()?;
    add("imagined samples", "imagination", "sample", points)?;

    let points = FACTORS.into_iter().map(|factor| {
        let size = 2 * imagined(members, factor * ROLLOUTS);
        Ok((size, size as f64, meta_update(members, factor * ROLLOUTS)?))
    });
    let points = points.collect::<Result<_>>()?;
    add("imagined samples", "meta-update", "sample", points)?;

    let points = FACTORS.into_iter().map(|factor| {
        let steps = factor * ADAM_STEPS;
        // the sample of a loop is one step
        let units = (members * batch) as f64;
        Ok((steps * batch, units, ensemble(members, steps)?))
    });
    let points = points.collect::<Result<_>>()?;
    let unit = "sample, model and epoch";
    add("real samples", "fit", unit, points)?;

    let points = MODELS.into_iter().map(|models| {
        let units = (models * batch) as f64;
        Ok((models, units, ensemble(models, ADAM_STEPS)?))
    });
    let points = points.collect::<Result<_>>()?;
    add("models", "fit", unit, points)?;

    let points = MODELS.into_iter().map(|models| {
        let units = imagined(models, ROLLOUTS) as f64;
        Ok((models, units, rollouts(models, ROLLOUTS)?))
    });
    let points = points.collect::<Result<_>>()?;
    add("models", "imagination", "sample", points)?;

    let points = MODELS.into_iter().map(|models| {
        let units = 2.0 * imagined(models, ROLLOUTS) as f64;
        Ok((models, units, meta_update(models, ROLLOUTS)?))
    });
    let points = points.collect::<Result<_>>()?;
    add("models", "meta-update", "sample", points)?;
    Ok(curves)
}

/// The curves as a table in Markdown.
pub fn table(curves: &[Curve]) -> String {
    let mut text = "| what grows | loop | µs per | at each size |\n|---|---|---|---|".to_owned();
    for Curve {
        grows,
        name,
        unit,
        points,
    } in curves
    {
        let points: Vec<String> = points
            .iter()
            .map(|point| format!("{}: {:.3}", point.size, point.microseconds))
            .collect();
        text += &format!("\n| {grows} | {name} | {unit} | {} |", points.join(", "));
    }
    text
}

/// The curves as an SVG: cost of a unit against the amount of work, each divided by that of the
/// smallest amount. Linear growth is a level line.
pub fn figure(curves: &[Curve]) -> String {
    let line = |(curve, color): (&Curve, &&'static str)| {
        let first = &curve.points[0];
        let points = curve.points.iter().map(|point| {
            let size = point.size as f64 / first.size as f64;
            (size, point.microseconds / first.microseconds)
        });
        Line {
            legend: Some(format!("{} with {}", curve.name, curve.grows)),
            ..Line::new(points, color)
        }
    };
    let chart = Chart {
        title: "Cost of a unit of work as the work grows".to_owned(),
        x_label: "times the smallest amount".to_owned(),
        y_label: "times the cost there".to_owned(),
        log_x: false,
        y_from_zero: true,
        legend_inside: true,
    };
    let lines: Vec<Line> = curves.iter().zip(COLORS.iter().cycle()).map(line).collect();
    line_chart(&chart, &lines)
}
