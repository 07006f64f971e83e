//! The roofline of each loop (Williams, Waterman and Patterson 2009): what arithmetic and memory
//! allow, and how close to it the loop comes.

use super::report::LoopReport;
use serde::Serialize;

/// A loop beside one of its bounds.
#[derive(Debug, Serialize)]
pub struct Roof {
    name: String,
    /// Floating-point operations of a run \[FLOP\].
    flop: f64,
    /// Bytes of a run, in the model of the loop.
    bytes: f64,
    /// Operations a byte \[FLOP/B\].
    intensity: f64,
    /// The most that can be reached \[GFLOP/s\].
    bound: f64,
    /// What sets the bound.
    by: &'static str,
    /// Measured \[GFLOP/s\].
    gflops: f64,
    /// Measured, divided by the bound.
    share: f64,
}

/// The rows for a loop: the lower one of the peak \[GFLOP/s\] and what the `bandwidth` \[GB/s\]
/// allows; and, if all of its products are narrow, what these reach \[GFLOP/s\].
pub fn of(row: &LoopReport, peak: f64, bandwidth: f64, narrow: [f64; 2]) -> Vec<Roof> {
    let intensity = row.flop / row.bytes;
    let roof = |name: &str, bound, by| Roof {
        name: name.to_owned(),
        flop: row.flop,
        bytes: row.bytes,
        intensity,
        bound,
        by,
        gflops: row.gflops,
        share: row.gflops / bound,
    };
    let memory = intensity * bandwidth;
    let mut roofs = vec![if memory < peak {
        roof(&row.name, memory, "memory")
    } else {
        roof(&row.name, peak, "arithmetic")
    }];
    let [plain, transposed] = row.narrow;
    if plain + transposed > 0.0 {
        // both kinds one after another
        let bound = (plain + transposed) / (plain / narrow[0] + transposed / narrow[1]);
        roofs.push(roof(&row.name, bound, "narrow products"));
    }
    roofs
}

/// The rows as a table in Markdown.
pub fn table(roofs: &[Roof]) -> String {
    let mut text =
        "| loop | GFLOP | MB | FLOP/B | bound, GFLOP/s | set by | GFLOP/s | of the bound |\n\
                    |---|--:|--:|--:|--:|---|--:|--:|"
            .to_owned();
    for roof in roofs {
        text += &format!(
            "\n| {} | {:.2} | {:.0} | {:.0} | {:.0} | {} | {:.0} | {:.0} % |",
            roof.name,
            roof.flop / 1e9,
            roof.bytes / 1e6,
            roof.intensity,
            roof.bound,
            roof.by,
            roof.gflops,
            100.0 * roof.share,
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::workload::Sample;

    /// Fails when the higher of two bounds is taken, or a share is not of its own bound.
    #[test]
    fn the_lower_bound_counts() {
        let row = |narrow| {
            let sample = Sample {
                seconds: 1.0,
                flop: 40e9,
                narrow,
                bytes: 4e9,
                ..Sample::default()
            };
            LoopReport::new("loop", "runs", &[sample])
        };
        let only = |roofs: Vec<Roof>| {
            assert_eq!(roofs.len(), 1);
            (roofs[0].bound, roofs[0].by, roofs[0].share)
        };
        let wide = row([0.0, 0.0]);
        // ten operations a byte
        assert_eq!(only(of(&wide, 100.0, 8.0, [1.0; 2])), (80.0, "memory", 0.5));
        assert_eq!(
            only(of(&wide, 100.0, 16.0, [1.0; 2])),
            (100.0, "arithmetic", 0.4)
        );
        // half a second for either kind
        let roofs = of(&row([30e9, 10e9]), 100.0, 16.0, [60.0, 20.0]);
        assert_eq!(roofs.len(), 2);
        assert_eq!((roofs[1].bound, roofs[1].share), (40.0, 1.0));
        assert_eq!(table(&roofs).lines().count(), 4);
    }
}
