//! What an ensemble must do: learn, tell its members apart, start warm, repeat itself to the bit,
//! and refuse what it cannot use.

// clippy's allowance for tests covers test functions, not their helpers
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use burn::tensor::{Device, Tensor, TensorData};
use mbmpo_core::{Check, DynamicsModel, Error, LearnedModel, Purpose, Streams, Trajectories};
use mbmpo_models::{Ensemble, EnsembleConfig, Predictor, Shuffle};
use rand::RngExt;

fn small() -> EnsembleConfig {
    EnsembleConfig {
        members: 3,
        hidden: vec![32, 32],
        learning_rate: 3e-3,
        batch_size: 100,
        max_epochs: 4,
        ..EnsembleConfig::default()
    }
}

fn ensemble(config: EnsembleConfig) -> Ensemble {
    Ensemble::new(
        config.check().unwrap(),
        3,
        2,
        &Streams::new(5),
        &Device::flex(),
    )
}

/// s' = A s + B a with a third component that never changes.
fn linear_system(n: usize, index: u64) -> Trajectories {
    let mut random = Streams::new(9).stream(Purpose::Test, 0, index);
    let mut data = Trajectories::new(3, 2);
    for _ in 0..n {
        let mut draw = || random.random_range(-1.0..1.0_f32);
        let (s, a) = ([2.0 * draw(), draw(), 0.7], [draw(), draw()]);
        let next = [
            0.95 * s[0] + 0.1 * s[1] + 0.05 * a[0],
            0.9 * s[1] - 0.1 * s[0] + 0.1 * a[1] + 0.02,
            0.7,
        ];
        data.push(&s, &a, &next, 0.0);
    }
    data.end_path(false);
    data
}

fn predict(model: &Predictor, member: usize, data: &Trajectories) -> Vec<f32> {
    let tensor = |values: &[f32], dim| {
        let shape = [data.len(), dim];
        Tensor::<2>::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
    };
    let next = model.step(
        member,
        tensor(&data.observations, 3),
        tensor(&data.actions, 2),
        &mut Streams::new(0).stream(Purpose::Test, 0, 0),
    );
    let next = next.unwrap();
    next.into_data().try_into_vec().unwrap()
}

fn all_predictions(ensemble: &Ensemble, data: &Trajectories) -> Vec<Vec<f32>> {
    let model = ensemble.freeze().unwrap();
    (0..model.members())
        .map(|member| predict(&model, member, data))
        .collect()
}

/// Fails when anything between the data and the prediction is wrong by more than a thousandth:
/// statistics, loss, gradient, optimiser, folding.
#[test]
fn recovers_a_linear_system() {
    let config = EnsembleConfig {
        members: 2,
        hidden: vec![64],
        max_epochs: 400,
        rolling_persistence: 0.99,
        ..small()
    };
    let mut ensemble = ensemble(config);
    let train = linear_system(3000, 0);
    ensemble.fit(&train, &Streams::new(1), 0).unwrap();
    let held_out = linear_system(500, 1);
    for next in all_predictions(&ensemble, &held_out) {
        let squares = next
            .iter()
            .zip(&held_out.next_observations)
            .map(|(p, s)| f64::from(p - s).powi(2));
        let rms = (squares.sum::<f64>() / next.len() as f64).sqrt();
        assert!(rms < 1e-3, "rms error {rms}");
    }
}

/// Fails when members share weights or splits: the ensemble would then be one model.
#[test]
fn members_differ() {
    let mut ensemble = ensemble(small());
    let data = linear_system(500, 0);
    let fresh = all_predictions(&ensemble, &data);
    assert_ne!(fresh[0], fresh[1]);
    let report = ensemble.fit(&data, &Streams::new(1), 0).unwrap();
    assert_ne!(report.validation_loss[0], report.validation_loss[1]);
    let fitted = all_predictions(&ensemble, &data);
    assert_ne!(fitted[1], fitted[2]);
}

/// Fails when a fit forgets the weights of the one before.
#[test]
fn second_fit_starts_from_the_first() {
    let config = EnsembleConfig {
        max_epochs: 1,
        ..small()
    };
    let data = linear_system(2000, 0);
    let mut warm = ensemble(config.clone());
    let first = warm.fit(&data, &Streams::new(1), 0).unwrap();
    let second = warm.fit(&data, &Streams::new(1), 1).unwrap();
    for (cold, warm) in first.train_loss.iter().zip(&second.train_loss) {
        assert!(*warm < 0.5 * cold, "{warm} after {cold}");
    }
}

/// Fails when a result depends on the number of threads, on the order in which members finish, or
/// on anything but the streams; and when the streams are ignored.
#[test]
fn same_bits_at_any_number_of_threads() {
    // wide enough that products are split among threads where there are several
    let config = |shuffle| EnsembleConfig {
        hidden: vec![300, 300],
        shuffle,
        ..small()
    };
    let data = linear_system(1111, 0);
    for shuffle in [Shuffle::Rows, Shuffle::Minibatches] {
        let run = |threads: usize, seed: u64| {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .build()
                .unwrap();
            pool.install(|| {
                let mut ensemble = ensemble(config(shuffle));
                let report = ensemble.fit(&data, &Streams::new(seed), 0).unwrap();
                (report, all_predictions(&ensemble, &data))
            })
        };
        let one = run(1, 1);
        assert_eq!(one, run(1, 1));
        assert_eq!(one, run(2, 1));
        assert_ne!(one, run(2, 2));
    }
}

/// Fails when a component without variance is divided by its deviation, or gains influence in the
/// folded weights: an imagined state that drifts by 0.1 from the constant must not change the
/// prediction of the others.
#[test]
fn constant_component_has_no_influence() {
    let mut ensemble = ensemble(small());
    let data = linear_system(500, 0);
    ensemble.fit(&data, &Streams::new(1), 0).unwrap();
    let mut drifted = data.clone();
    drifted.observations.chunks_mut(3).for_each(|s| s[2] += 0.1);
    let (at, off) = (
        all_predictions(&ensemble, &data),
        all_predictions(&ensemble, &drifted),
    );
    for (at, off) in at.iter().flatten().zip(off.iter().flatten()).enumerate() {
        let ((i, at), off) = ((at, off.0), off.1);
        assert!(at.is_finite());
        if i % 3 == 2 {
            assert_eq!((*at, *off), (0.7, 0.8));
        } else {
            assert_eq!(at, off);
        }
    }
}

/// Fails when the stopping rule is not consulted: pure noise cannot be learnt, so validation turns
/// up early.
#[test]
fn noise_stops_early() {
    let mut data = linear_system(300, 0);
    let mut random = Streams::new(2).stream(Purpose::Test, 0, 0);
    data.next_observations
        .iter_mut()
        .for_each(|s| *s = random.random_range(-1.0..1.0));
    let config = EnsembleConfig {
        max_epochs: 500,
        rolling_persistence: 0.5,
        ..small()
    };
    let report = ensemble(config).fit(&data, &Streams::new(1), 0).unwrap();
    assert!(
        report
            .epochs
            .iter()
            .all(|&epochs| (2..400).contains(&epochs)),
        "{report:?}"
    );
}

/// Fails when too few transitions, data of another size, or numbers that are not finite panic or
/// are accepted, and when a failed fit leaves half-trained members behind.
#[test]
fn refuses_unusable_data() {
    let streams = Streams::new(1);
    let mut ensemble = ensemble(small());
    let held_out = linear_system(10, 1);
    let before = all_predictions(&ensemble, &held_out);
    for n in [0, 1] {
        let error = ensemble.fit(&linear_system(n, 0), &streams, 0).unwrap_err();
        assert!(matches!(error, Error::Shape { expected: 2, .. }), "{error}");
    }
    let error = ensemble
        .fit(&Trajectories::new(4, 2), &streams, 0)
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::Shape {
                expected: 3,
                actual: 4,
                ..
            }
        ),
        "{error}"
    );
    let mut poisoned = linear_system(50, 0);
    poisoned.next_observations[7] = f32::NAN;
    let error = ensemble.fit(&poisoned, &streams, 0).unwrap_err();
    assert!(matches!(error, Error::NotFinite { .. }), "{error}");
    assert_eq!(before, all_predictions(&ensemble, &held_out));
    ensemble.fit(&linear_system(2, 0), &streams, 0).unwrap();
}

/// Fails when a violation goes unnoticed or is reported under another name.
#[test]
fn check_names_the_key() {
    type Spoil = fn(&mut EnsembleConfig);
    let cases: [(&str, Spoil); 9] = [
        ("members", |c| c.members = 0),
        ("hidden[1]", |c| c.hidden = vec![8, 0]),
        ("learning_rate", |c| c.learning_rate = f64::NAN),
        ("adam_epsilon", |c| c.adam_epsilon = 0.0),
        ("batch_size", |c| c.batch_size = 0),
        ("max_epochs", |c| c.max_epochs = 0),
        ("validation_share", |c| c.validation_share = 1.0),
        ("rolling_persistence", |c| c.rolling_persistence = 1.0),
        ("rolling_start", |c| c.rolling_start = -1.5),
    ];
    assert!(small().check().is_ok());
    for (key, spoil) in cases {
        let mut config = small();
        spoil(&mut config);
        let violations = config.check().unwrap_err().0;
        assert_eq!(violations.len(), 1);
        assert_eq!(violations[0].key, key);
    }
}
