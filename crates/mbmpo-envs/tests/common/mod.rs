//! The MuJoCo reference, and how far a state is from it.
#![allow(dead_code, reason = "each test file uses its share")]

use mbmpo_core::{Environment, Purpose, Stream, Streams};
use mbmpo_envs::{RobotEnvironment, Variant};
use rand::RngExt;
use serde_json::Value;

pub fn cheetah() -> RobotEnvironment {
    RobotEnvironment::by_name("half-cheetah", Variant::Paper).unwrap()
}

pub fn reference() -> Value {
    read("halfcheetah.json")
}

pub fn read(file: &str) -> Value {
    let path = format!("{}/../../tests/data/{file}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub fn numbers(value: &Value) -> Vec<f64> {
    serde_json::from_value(value.clone()).unwrap()
}

/// Control steps that MuJoCo took: row `t` of `qpos` is the state after `actions[t]`.
pub struct Sequence {
    pub actions: Vec<Vec<f32>>,
    pub qpos: Vec<Vec<f64>>,
    pub qvel: Vec<Vec<f64>>,
    pub contacts: Vec<usize>,
}

impl Sequence {
    pub fn read(value: &Value) -> Self {
        let rows = |key: &str| serde_json::from_value(value[key].clone()).unwrap();
        Self {
            actions: serde_json::from_value(value["actions"].clone()).unwrap(),
            qpos: rows("qpos"),
            qvel: rows("qvel"),
            contacts: serde_json::from_value(value["contacts"].clone()).unwrap(),
        }
    }

    /// Relative error of `qpos` and `qvel` after `steps` steps from `start`, where `start` is the state before the
    /// first action: the distance to MuJoCo over the distance that MuJoCo went (of `qvel`: over its length).
    pub fn errors_from(&self, start: &[f64], steps: usize) -> (f64, f64) {
        let mut cheetah = cheetah();
        cheetah.set_state(start, &[0.0; 9]).unwrap();
        for action in &self.actions[..steps] {
            cheetah.step(action).unwrap();
        }
        let (qpos, qvel) = (cheetah.positions(), cheetah.velocities());
        let last = steps - 1;
        (
            distance(qpos, &self.qpos[last]) / distance(start, &self.qpos[last]),
            distance(qvel, &self.qvel[last]) / distance(&[0.0; 9], &self.qvel[last]),
        )
    }

    /// Relative errors of `qpos` and `qvel` over the `steps` steps that follow row `from`.
    pub fn errors_within(&self, from: usize, steps: usize) -> (f64, f64) {
        let mut cheetah = cheetah();
        cheetah
            .set_state(&self.qpos[from], &self.qvel[from])
            .unwrap();
        for action in &self.actions[from + 1..=from + steps] {
            cheetah.step(action).unwrap();
        }
        let (qpos, qvel) = (cheetah.positions(), cheetah.velocities());
        let relative = |ours: &[f64], rows: &[Vec<f64>]| {
            distance(ours, &rows[from + steps]) / distance(&rows[from], &rows[from + steps])
        };
        (relative(qpos, &self.qpos), relative(qvel, &self.qvel))
    }
}

pub fn distance(a: &[f64], b: &[f64]) -> f64 {
    let squares = a.iter().zip(b).map(|(a, b)| (a - b).powi(2));
    squares.sum::<f64>().sqrt()
}

pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

pub fn stream(index: u64) -> Stream {
    Streams::new(20180914).stream(Purpose::Test, 0, index)
}

pub fn uniform(dim: usize, stream: &mut Stream) -> Vec<f32> {
    (0..dim).map(|_| stream.random_range(-1.0..=1.0)).collect()
}
