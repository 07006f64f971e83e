//! Line charts as SVG, the same bytes for the same numbers.

use kuva::prelude::{Layout, LegendPosition, LinePlot, Plot};

/// Colours of the lines, in order.
pub const COLORS: [&str; 6] = [
    "#1f5fa8", "#d07a1c", "#3b8a4d", "#8a4db0", "#b03a48", "#7a7a7a",
];

/// A line of a [`Chart`].
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// (x, y)
    pub points: Vec<(f64, f64)>,
    /// As in SVG.
    pub color: &'static str,
    /// Width of the stroke \[px\].
    pub width: f64,
    /// Whether it is dashed.
    pub dashed: bool,
    /// The band around it: half of its height at every point; empty for none.
    pub band: Vec<f64>,
    /// Its name in the legend; several lines of one name have it at the first.
    pub legend: Option<String>,
}

impl Line {
    /// A line without a band, dashes or a name.
    pub fn new(points: impl IntoIterator<Item = (f64, f64)>, color: &'static str) -> Self {
        Self {
            points: points.into_iter().collect(),
            color,
            width: 2.0,
            dashed: false,
            band: Vec::new(),
            legend: None,
        }
    }
}

/// Title, axes and legend of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Chart {
    /// Above the chart.
    pub title: String,
    /// Label of the horizontal axis.
    pub x_label: String,
    /// Label of the vertical axis.
    pub y_label: String,
    /// Whether the horizontal axis is logarithmic; otherwise it begins at 0.
    pub log_x: bool,
    /// Whether the vertical axis begins at 0.
    pub y_from_zero: bool,
    /// Whether the legend is inside, at the bottom right; otherwise it is below.
    pub legend_inside: bool,
}

impl Chart {
    /// Returns against real steps.
    pub fn of_returns(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            x_label: "real environment steps".to_owned(),
            y_label: "return of an episode".to_owned(),
            log_x: false,
            y_from_zero: false,
            legend_inside: false,
        }
    }
}

/// An SVG of the lines.
pub fn line_chart(chart: &Chart, lines: &[Line]) -> String {
    let plots: Vec<Plot> = lines.iter().map(plot).collect();
    let mut layout = Layout::auto_from_plots(&plots)
        .with_title(chart.title.as_str())
        .with_x_label(chart.x_label.as_str())
        .with_y_label(chart.y_label.as_str())
        .with_width(760.0)
        .with_height(440.0)
        .with_legend_box(false)
        .with_legend_position(if chart.legend_inside {
            LegendPosition::InsideBottomRight
        } else {
            LegendPosition::OutsideBottomColumns
        });
    layout = if chart.log_x {
        layout.with_log_x()
    } else {
        layout.with_x_axis_min(0.0)
    };
    if chart.y_from_zero {
        layout = layout.with_y_axis_min(0.0);
    }
    number_clips(&kuva::render_to_svg(plots, layout))
}

fn plot(line: &Line) -> Plot {
    let mut plot = LinePlot::new()
        .with_data(line.points.iter().copied())
        .with_color(line.color)
        .with_stroke_width(line.width);
    if !line.band.is_empty() {
        let edge = |sign: f64| {
            let points = line.points.iter().zip(&line.band);
            points.map(move |((_, y), half)| y + sign * half)
        };
        plot = plot.with_band(edge(-1.0), edge(1.0));
    }
    if line.dashed {
        plot = plot.with_dashed();
    }
    if let Some(legend) = &line.legend {
        plot = plot.with_legend(legend.as_str());
    }
    Plot::Line(plot)
}

const CLIP: &str = "kuva-clip-";

/// Numbers the clip paths of an SVG from 1 on: the library numbers them through the life of the
/// process.
fn number_clips(svg: &str) -> String {
    let mut parts = svg.split(CLIP);
    let mut text = parts.next().unwrap_or_default().to_owned();
    let mut numbers: Vec<&str> = Vec::new();
    for part in parts {
        let digits = part.find(|c: char| !c.is_ascii_digit());
        let (number, rest) = part.split_at(digits.unwrap_or(part.len()));
        let known = numbers.iter().position(|known| *known == number);
        let at = known.unwrap_or_else(|| {
            numbers.push(number);
            numbers.len() - 1
        });
        text += &format!("{CLIP}{}{rest}", at + 1);
    }
    text
}
