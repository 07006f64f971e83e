//! `--set key.path=value`, on one of several presets: the first byte says which.
#![no_main]

use libfuzzer_sys::fuzz_target;
use mbmpo_core::Check;
use mbmpo_experiments::{AlgorithmKind, ExperimentConfig, Selection, overrides, preset};
use std::sync::LazyLock;

static CONFIGS: LazyLock<Vec<ExperimentConfig>> = LazyLock::new(|| {
    let config = |kind| {
        let selection = Selection {
            algorithm: Some(kind),
            preset: None,
        };
        preset::resolve("half-cheetah", selection, &[])
            .unwrap()
            .into_inner()
    };
    AlgorithmKind::ALL.map(config).to_vec()
});

fuzz_target!(|input: (u8, &str)| {
    let (which, text) = input;
    let config = CONFIGS[usize::from(which) % CONFIGS.len()].clone();
    let Ok(changed) = overrides::apply(config, &[text.to_owned()]) else {
        return;
    };
    if let Ok(changed) = changed.check() {
        let written = changed.to_ron().unwrap();
        assert_eq!(preset::read(&written, "written.ron").unwrap(), changed);
    }
});
