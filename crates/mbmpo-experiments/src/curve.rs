use crate::figure::{COLORS, Chart, Line, line_chart};
use mbmpo_core::IterationMetrics;

/// An SVG of the return against real steps: of the reported policy with a band of one standard
/// deviation over the episodes, and of the adapted policies of MB-MPO.
pub fn learning_curve(title: &str, history: &[IterationMetrics]) -> String {
    let [pre_update, post_update, ..] = COLORS;
    let reported = history
        .iter()
        .map(|m| (m.real_steps as f64, m.return_pre_mean));
    let adapted: Vec<_> = history
        .iter()
        .filter_map(|m| Some((m.real_steps as f64, m.return_post_mean?)))
        .collect();
    let name = if adapted.is_empty() {
        "policy, ± std over episodes"
    } else {
        "pre-update, ± std over episodes"
    };
    let mut lines = vec![Line {
        width: 2.5,
        band: history.iter().map(|m| m.return_pre_std).collect(),
        legend: Some(name.to_owned()),
        ..Line::new(reported, pre_update)
    }];
    if !adapted.is_empty() {
        lines.push(Line {
            width: 1.5,
            dashed: true,
            legend: Some("adapted".to_owned()),
            ..Line::new(adapted, post_update)
        });
    }
    line_chart(&Chart::of_returns(title), &lines)
}
