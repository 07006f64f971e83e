//! The metrics of a run.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mbmpo_experiments::{learning_curve, parse_metrics};

fuzz_target!(|text: &str| {
    if let Ok(metrics) = parse_metrics(text, "metrics.jsonl") {
        learning_curve("fuzz", &metrics);
    }
});
