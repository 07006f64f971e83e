//! A policy's file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mbmpo_core::{Policy, Purpose, Streams};
use mbmpo_policy::TrainedPolicy;

fuzz_target!(|bytes: &[u8]| {
    let Ok(policy) = TrainedPolicy::from_safetensors(bytes) else {
        return;
    };
    let (observation_dim, action_dim) = policy.dims();
    let mut stream = Streams::new(1).stream(Purpose::Test, 0, 0);
    let action = policy.act(&vec![0.5; observation_dim], &mut stream);
    assert_eq!(action.len(), action_dim);
    let written = policy.to_safetensors().unwrap();
    assert_eq!(TrainedPolicy::from_safetensors(&written).unwrap(), policy);
});
