use kuva::prelude::{Layout, LegendPosition, LinePlot, Plot};
use mbmpo_core::IterationMetrics;

const PRE_UPDATE: &str = "#1f5fa8";
const POST_UPDATE: &str = "#d07a1c";

/// An SVG of the return against real steps: of the pre-update policy with a band of one standard deviation over the
/// episodes, and of the adapted policies.
pub fn learning_curve(title: &str, history: &[IterationMetrics]) -> String {
    let points = |value: fn(&IterationMetrics) -> f64| {
        history.iter().map(move |m| (m.real_steps as f64, value(m)))
    };
    let band = |sign: f64| {
        let edge = move |m: &IterationMetrics| m.return_pre_mean + sign * m.return_pre_std;
        history.iter().map(edge)
    };
    let pre_update = LinePlot::new()
        .with_data(points(|m| m.return_pre_mean))
        .with_color(PRE_UPDATE)
        .with_band(band(-1.0), band(1.0))
        .with_stroke_width(2.5)
        .with_legend("pre-update, ± std over episodes");
    let post_update = LinePlot::new()
        .with_data(points(|m| m.return_post_mean))
        .with_color(POST_UPDATE)
        .with_stroke_width(1.5)
        .with_dashed()
        .with_legend("adapted");
    let plots = vec![Plot::Line(pre_update), Plot::Line(post_update)];
    let layout = Layout::auto_from_plots(&plots)
        .with_title(title)
        .with_x_label("real environment steps")
        .with_y_label("return of an episode")
        .with_width(760.0)
        .with_height(440.0)
        .with_x_axis_min(0.0)
        .with_legend_box(false)
        .with_legend_position(LegendPosition::OutsideBottomColumns);
    kuva::render_to_svg(plots, layout)
}
