use crate::figure::render;
use kuva::prelude::{Layout, LegendPosition, LinePlot, Plot};
use mbmpo_core::IterationMetrics;

const PRE_UPDATE: &str = "#1f5fa8";
const POST_UPDATE: &str = "#d07a1c";

/// An SVG of the return against real steps: of the reported policy with a band of one standard deviation over the
/// episodes, and of the adapted policies of MB-MPO.
pub fn learning_curve(title: &str, history: &[IterationMetrics]) -> String {
    let band = |sign: f64| {
        let edge = move |m: &IterationMetrics| m.return_pre_mean + sign * m.return_pre_std;
        history.iter().map(edge)
    };
    let adapted: Vec<_> = history
        .iter()
        .filter_map(|m| Some((m.real_steps as f64, m.meta.as_ref()?.return_post_mean)))
        .collect();
    let mut plots = Vec::new();
    let pre_update = LinePlot::new()
        .with_data(
            history
                .iter()
                .map(|m| (m.real_steps as f64, m.return_pre_mean)),
        )
        .with_color(PRE_UPDATE)
        .with_band(band(-1.0), band(1.0))
        .with_stroke_width(2.5)
        .with_legend(if adapted.is_empty() {
            "policy, ± std over episodes"
        } else {
            "pre-update, ± std over episodes"
        });
    plots.push(Plot::Line(pre_update));
    if !adapted.is_empty() {
        let post_update = LinePlot::new()
            .with_data(adapted)
            .with_color(POST_UPDATE)
            .with_stroke_width(1.5)
            .with_dashed()
            .with_legend("adapted");
        plots.push(Plot::Line(post_update));
    }
    let layout = Layout::auto_from_plots(&plots)
        .with_title(title)
        .with_x_label("real environment steps")
        .with_y_label("return of an episode")
        .with_width(760.0)
        .with_height(440.0)
        .with_x_axis_min(0.0)
        .with_legend_box(false)
        .with_legend_position(LegendPosition::OutsideBottomColumns);
    render(plots, layout)
}
