//! Every environment can be made by name and is what the catalogue says.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::stream;
use mbmpo_envs::{NAMES, Variant, catalogue, make};

/// Sizes, horizon and time step of the catalogue are those of the environment, in both variants.
#[test]
fn catalogue_tells_the_truth() {
    let catalogue = catalogue();
    let names: Vec<_> = catalogue.iter().map(|info| info.name).collect();
    assert_eq!(names, NAMES);
    for info in catalogue {
        for variant in [Variant::Paper, Variant::Authors] {
            let mut environment = make(info.name, variant).unwrap();
            assert_eq!(environment.name(), info.name);
            assert_eq!(environment.observation_dim(), info.observation_dim);
            assert_eq!(environment.action_space().dim(), info.action_dim);
            assert_eq!(environment.horizon(), info.horizon);
            assert_eq!(environment.control_time_step(), info.control_time_step);
            assert!(environment.task().required_observation_dim() <= info.observation_dim);
            assert_eq!(
                environment.reset(&mut stream(0)).len(),
                info.observation_dim
            );
            let step = environment.step(&vec![0.0; info.action_dim]).unwrap();
            assert_eq!(step.observation.len(), info.observation_dim);
        }
    }
}

/// An unknown name is refused with the names that there are.
#[test]
fn unknown_name() {
    let error = make("half-cheeta", Variant::Paper)
        .err()
        .unwrap()
        .to_string();
    assert!(error.contains("half-cheeta`"), "{error}");
    assert!(
        error.contains("`half-cheetah`") && error.contains("`point-2d`"),
        "{error}"
    );
}
