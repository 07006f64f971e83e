//! Helpers of the tests: environments, MuJoCo references, distances and random streams.
#![allow(dead_code, reason = "each test file uses its share")]

use mbmpo_core::{Purpose, Stream, Streams};
use mbmpo_envs::{RobotEnvironment, Variant};
use rand::RngExt;
use serde_json::Value;

pub fn cheetah() -> RobotEnvironment {
    RobotEnvironment::by_name("half-cheetah", Variant::Paper).unwrap()
}

/// The example robot.
pub fn pendulum() -> RobotEnvironment {
    RobotEnvironment::from_text(
        "inverted-pendulum",
        include_str!("../../../../assets/inverted_pendulum.xml"),
        include_str!("../../../../assets/inverted_pendulum.ron"),
    )
    .unwrap()
}

pub fn read(file: &str) -> Value {
    let path = format!("{}/../../tests/data/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub fn numbers(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).unwrap()
}

pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    let squares = a.iter().zip(b).map(|(a, b)| (a - b).powi(2));
    squares.sum::<f64>().sqrt()
}

pub fn stream(index: u64) -> Stream {
    Streams::new(20180914).stream(Purpose::Test, 0, index)
}

pub fn uniform(dim: usize, stream: &mut Stream) -> Vec<f32> {
    (0..dim).map(|_| stream.random_range(-1.0..=1.0)).collect()
}
