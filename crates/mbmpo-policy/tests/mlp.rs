//! A perceptron must be the same on slices, on tensors and by its formula, its derivatives must be
//! those of finite differences, and a policy must be the same after a round trip through its file,
//! while damaged files are errors.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod by_hand;

use burn::tensor::{Device, Tensor, TensorData};
use by_hand::assert_close;
use mbmpo_core::{Check, Policy, Purpose, Stream, Streams, host};
use mbmpo_policy::{
    Activation, DeterministicPolicy, GaussianMlp, GaussianPolicy, LoadError, Mlp, Normalizer,
    PolicyConfig, TrainedPolicy,
};
use rand::RngExt;

const ACTIVATIONS: [Activation; 3] = [Activation::Tanh, Activation::Relu, Activation::Identity];

fn stream(index: u64) -> Stream {
    Streams::new(8).stream(Purpose::Test, 0, index)
}

fn draw(stream: &mut Stream, n: usize) -> Vec<f32> {
    (0..n).map(|_| stream.random_range(-1.5..1.5)).collect()
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|&x| x.into()).collect()
}

fn matrix(data: &[f32], columns: usize) -> Tensor<2> {
    let shape = [data.len() / columns, columns];
    Tensor::from_data(TensorData::new(data.to_vec(), shape), &Device::flex())
}

fn activate(activation: Activation, x: f64) -> f64 {
    match activation {
        Activation::Tanh => x.tanh(),
        Activation::Relu => x.max(0.0),
        Activation::Identity => x,
    }
}

/// Outputs for one row, in double precision, from the documented layout of the parameters.
fn outputs(mlp: &Mlp, parameters: &[f64], input: &[f64], joining: &[f64]) -> Vec<f64> {
    let last = mlp.sizes.len() - 2;
    let mut values = input.to_vec();
    let mut rest = parameters;
    let mut take = |count: usize| {
        let (part, after) = rest.split_at(count);
        rest = after;
        part
    };
    for (layer, &width) in mlp.sizes[1..].iter().enumerate() {
        if layer == 1.min(last) {
            values.extend(joining);
        }
        let weights = take(values.len() * width);
        let biases = take(width);
        let sum = |j: usize| -> f64 {
            let terms = values.iter().enumerate();
            biases[j] + terms.map(|(i, x)| x * weights[i * width + j]).sum::<f64>()
        };
        let mut sums: Vec<f64> = (0..width).map(sum).collect();
        if mlp.layer_norm && layer < last {
            let (gains, shifts) = (take(width), take(width));
            let mean = sums.iter().sum::<f64>() / width as f64;
            let variance = sums.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / width as f64;
            for (j, sum) in sums.iter_mut().enumerate() {
                *sum = (*sum - mean) / (variance + 1e-5).sqrt() * gains[j] + shifts[j];
            }
        }
        let activation = if layer == last {
            mlp.output
        } else {
            mlp.hidden
        };
        values = sums.into_iter().map(|x| activate(activation, x)).collect();
    }
    assert!(rest.is_empty());
    values
}

/// Every activation in hidden layers and at the output, with and without layer normalisation, one
/// to three layers.
fn networks(joining: usize) -> Vec<Mlp> {
    let mut networks = Vec::new();
    for sizes in [vec![3, 2], vec![3, 6, 2], vec![3, 5, 4, 2]] {
        for hidden in ACTIVATIONS {
            for output in ACTIVATIONS {
                for layer_norm in [false, true] {
                    networks.push(Mlp {
                        sizes: sizes.clone(),
                        joining,
                        hidden,
                        output,
                        layer_norm,
                    });
                }
            }
        }
    }
    networks
}

/// Parameters away from their initial values, where biases and shifts are 0 and the last layer is
/// small.
fn parameters(mlp: &Mlp, stream: &mut Stream) -> Vec<f64> {
    let start = mlp.initial_parameters(stream);
    let moved = start.iter().map(|x| x + stream.random_range(-0.5..0.5));
    moved.map(|x| f64::from(x as f32)).collect()
}

/// Fails when a layer, its activation or its normalisation is left out or read from the wrong
/// place, on slices or on tensors.
#[test]
fn slices_and_tensors_agree_with_the_formula() {
    let mut stream = stream(0);
    for mlp in networks(0) {
        let parameters = parameters(&mlp, &mut stream);
        assert_eq!(parameters.len(), mlp.parameter_count());
        let inputs = draw(&mut stream, 7 * 3);
        let tensor = Mlp::tensor(&parameters, &Device::flex());
        let by_tensors = mlp.forward(&tensor, matrix(&inputs, 3), None);
        let by_tensors = wide(&host(by_tensors).unwrap());
        let narrow: Vec<f32> = parameters.iter().map(|&x| x as f32).collect();
        let rows = || inputs.chunks(3);
        let by_slices = rows().flat_map(|row| mlp.forward_one(&narrow, row));
        let by_slices: Vec<f32> = by_slices.collect();
        let expected: Vec<f64> = rows()
            .flat_map(|row| outputs(&mlp, &parameters, &wide(row), &[]))
            .collect();
        assert_close(&by_tensors, &expected, 1e-5, &format!("tensors, {mlp:?}"));
        let what = format!("slices, {mlp:?}");
        assert_close(&wide(&by_slices), &expected, 1e-5, &what);
    }
}

/// Pre-activations 1, 2 and 6 have mean 3 and variance 14/3. Fails when the variance is that of a
/// sample, when its floor is outside the root or missing, when gains and shifts are swapped, or
/// when the output is normalised as well.
#[test]
fn layer_normalisation_by_hand() {
    let mlp = Mlp {
        sizes: vec![1, 3, 2],
        joining: 0,
        hidden: Activation::Identity,
        output: Activation::Identity,
        layer_norm: true,
    };
    let first = [[1.0, 2.0, 5.0], [0.0, 0.0, 1.0]];
    let normalization = [[1.0, 2.0, 3.0], [0.5, 0.0, -1.0]];
    let second = [1.0, 0.0, 0.0, 1.0, 0.0, 1.0];
    let biases = [10.0, 20.0];
    let parameters = [
        first.concat(),
        normalization.concat(),
        second.to_vec(),
        biases.to_vec(),
    ];
    let parameters: Vec<f32> = parameters.concat();
    assert_eq!(parameters.len(), mlp.parameter_count());
    // -2, -1 and 3 over the standard deviation
    let deviation = (14.0_f64 / 3.0 + 1e-5).sqrt();
    let hidden = [
        -2.0 / deviation + 0.5,
        -2.0 / deviation,
        9.0 / deviation - 1.0,
    ];
    let expected = [hidden[0] + 10.0, hidden[1] + hidden[2] + 20.0];
    let output = wide(&mlp.forward_one(&parameters, &[1.0]));
    assert_close(&output, &expected, 1e-6, "slices");
    let tensor = Mlp::tensor(&wide(&parameters), &Device::flex());
    let output = host(mlp.forward(&tensor, matrix(&[1.0], 1), None)).unwrap();
    assert_close(&wide(&output), &expected, 1e-6, "tensors");

    // equal pre-activations: the floor of the variance keeps the output finite
    let mut alike = parameters;
    alike[..6].copy_from_slice(&[1.0, 1.0, 1.0, 0.0, 0.0, 0.0]);
    let output = mlp.forward_one(&alike, &[1.0]);
    assert_eq!(output, [0.5 + 10.0, -1.0 + 20.0]);
}

/// Fails when the graph is cut between the output and a parameter or an input, or when the second
/// input is appended at another layer: the gradient of DDPG's actor goes through that input.
#[test]
fn derivatives_are_those_of_finite_differences() {
    const ROWS: usize = 5;
    const JOINING: usize = 2;
    let mut stream = stream(1);
    for mlp in networks(JOINING) {
        let parameters = parameters(&mlp, &mut stream);
        let inputs = draw(&mut stream, ROWS * 3);
        let joining = draw(&mut stream, ROWS * JOINING);
        let weights = draw(&mut stream, ROWS * 2);

        let leaf = |x: Tensor<1>| Tensor::from_inner(x).require_grad();
        let by_parameters = leaf(Mlp::tensor(&parameters, &Device::flex()));
        let by_joining = Tensor::from_inner(matrix(&joining, JOINING)).require_grad();
        let weighted = mlp.forward(
            &by_parameters,
            Tensor::from_inner(matrix(&inputs, 3)),
            Some(by_joining.clone()),
        ) * Tensor::from_inner(matrix(&weights, 2));
        let gradients = weighted.sum().backward();
        let of_parameters = host(by_parameters.grad(&gradients).unwrap()).unwrap();
        let of_joining = host(by_joining.grad(&gradients).unwrap()).unwrap();

        let objective = |parameters: &[f64], joining: &[f64]| -> f64 {
            let rows = inputs.chunks(3).zip(joining.chunks(JOINING));
            let outputs =
                rows.flat_map(|(input, second)| outputs(&mlp, parameters, &wide(input), second));
            outputs
                .zip(&weights)
                .map(|(output, w)| output * f64::from(*w))
                .sum()
        };
        let joining = wide(&joining);
        let expected = by_hand::gradient(|x| objective(x, &joining), &parameters);
        let what = format!("by parameters, {mlp:?}");
        assert_close(&wide(&of_parameters), &expected, 1e-4, &what);
        let expected = by_hand::gradient(|x| objective(&parameters, x), &joining);
        let what = format!("by the second input, {mlp:?}");
        assert_close(&wide(&of_joining), &expected, 1e-4, &what);
    }
}

/// 3 inputs, 4 normalised units, a second input of 2, 2 outputs. Fails when gains or shifts count
/// as affine (they would get noise), when biases or gains count as weights (they would decay), or
/// when an initial value is not as documented.
#[test]
fn the_layout_by_hand() {
    let mlp = Mlp {
        sizes: vec![3, 4, 2],
        joining: 2,
        hidden: Activation::Relu,
        output: Activation::Tanh,
        layer_norm: true,
    };
    // weights, biases, gains and shifts; weights, biases
    assert_eq!(mlp.parameter_count(), 12 + 4 + 4 + 4 + 6 * 2 + 2);
    let gains_and_shifts = 16..24;
    let weights = |i: usize| i < 12 || (24..36).contains(&i);
    for (i, (affine, weight)) in mlp.is_affine().iter().zip(mlp.is_weight()).enumerate() {
        assert_eq!(*affine, !gains_and_shifts.contains(&i), "{i}");
        assert_eq!(weight, weights(i), "{i}");
    }
    let start = mlp.initial_parameters(&mut stream(2));
    let glorot = (6.0_f64 / 7.0).sqrt();
    let spread = |range: &[f64]| range.iter().fold(0.0_f64, |most, x| most.max(x.abs()));
    assert!((0.5 * glorot..=glorot).contains(&spread(&start[..12])));
    assert_eq!(start[12..16], [0.0; 4]);
    assert_eq!(start[16..20], [1.0; 4]);
    assert_eq!(start[20..24], [0.0; 4]);
    assert!((1.5e-3..=3e-3).contains(&spread(&start[24..])));
    assert!(start[36..].iter().all(|x| *x != 0.0));

    // the second input of a network with one layer is appended to the first
    let single = Mlp {
        sizes: vec![3, 2],
        ..mlp
    };
    assert_eq!(single.parameter_count(), 5 * 2 + 2);
    assert!(single.is_affine().iter().all(|affine| *affine));
}

fn normalizer() -> Normalizer {
    Normalizer {
        mean: vec![0.1, -2.0, 1.0 / 3.0],
        std: vec![0.5, 3.0, 1e-3],
        clip: 4.2,
    }
}

fn gaussian() -> GaussianPolicy {
    let config = PolicyConfig {
        hidden: vec![4, 5],
        initial_std: 0.3,
        min_std: 0.1,
        ..PolicyConfig::default()
    };
    let config = config.check().unwrap();
    let network = GaussianMlp::new(&config, 3, 2);
    let mut theta = network.initial_parameters(&config, &mut stream(3));
    // below the lower bound, which must be in the file as well
    *theta.last_mut().unwrap() = -9.0;
    GaussianPolicy::new(network, &theta)
}

fn deterministic(layer_norm: bool) -> DeterministicPolicy {
    let network = Mlp {
        sizes: vec![3, 4, 2],
        joining: 0,
        hidden: Activation::Relu,
        output: Activation::Tanh,
        layer_norm,
    };
    let parameters = parameters(&network, &mut stream(4));
    DeterministicPolicy {
        parameters: parameters.iter().map(|&x| x as f32).collect(),
        network,
        normalizer: normalizer(),
    }
}

fn policies() -> [TrainedPolicy; 5] {
    [
        gaussian().into(),
        gaussian().with_normalizer(normalizer()).into(),
        gaussian().with_return_std(1.0 / 3.0).into(),
        deterministic(false).into(),
        deterministic(true).into(),
    ]
}

/// Fails when the file loses the normaliser, its clip, the lower bound of log σ or the deviation of
/// returns, when it changes an activation, or when parameters are rounded.
#[test]
fn policies_round_trip_through_their_files() {
    for policy in policies() {
        let bytes = policy.to_safetensors().unwrap();
        let back = TrainedPolicy::from_safetensors(&bytes).unwrap();
        assert_eq!(back, policy);
        assert_eq!(back.dims(), (3, 2));
        assert_eq!(back.to_safetensors().unwrap().len(), bytes.len());
        let mut observations = stream(5);
        let (mut before, mut after) = (stream(6), stream(6));
        for _ in 0..20 {
            let observation = draw(&mut observations, 3);
            let action = policy.act(&observation, &mut before);
            assert_eq!(back.act(&observation, &mut after), action);
            assert!(action.iter().all(|x| x.is_finite()));
        }
    }
}

/// Fails when a truncated file is read as a policy, or causes a panic.
#[test]
fn truncated_files_are_errors() {
    for policy in policies() {
        let bytes = policy.to_safetensors().unwrap();
        for length in 0..bytes.len() {
            let error = TrainedPolicy::from_safetensors(&bytes[..length]).unwrap_err();
            assert!(matches!(error, LoadError::Format(_)), "{length}: {error}");
        }
        let longer = [bytes.as_slice(), &[0]].concat();
        TrainedPolicy::from_safetensors(&longer).unwrap_err();
    }
}

/// Fails when a flipped bit causes a panic, in reading or in acting.
#[test]
fn a_flipped_bit_never_panics() {
    for policy in policies() {
        let bytes = policy.to_safetensors().unwrap();
        let (mut readable, mut total) = (0, 0);
        for bit in 0..8 * bytes.len() {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            total += 1;
            if let Ok(policy) = TrainedPolicy::from_safetensors(&bytes) {
                let (observation, action) = policy.dims();
                let acted = policy.act(&vec![0.5; observation], &mut stream(7));
                assert_eq!(acted.len(), action);
                readable += 1;
            }
        }
        // most flips in parameters are valid, most flips in the header are not
        assert!(0 < readable && readable < total, "{readable} of {total}");
    }
}

/// The file with `from` in its header replaced by `to`, which must have the same length.
fn replaced(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = bytes
        .windows(from.len())
        .position(|window| window == from.as_bytes())
        .unwrap();
    let mut bytes = bytes.to_vec();
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    bytes
}

fn refusal(bytes: &[u8]) -> String {
    match TrainedPolicy::from_safetensors(bytes).unwrap_err() {
        LoadError::Part(name, _) => name,
        LoadError::Format(error) => format!("format: {error}"),
    }
}

/// Fails when a tensor of another name, shape or type is accepted, or one with invalid entries.
#[test]
fn wrong_parts_of_a_gaussian_are_refused() {
    let bytes = gaussian().to_safetensors().unwrap();
    let refused = |from, to| refusal(&replaced(&bytes, from, to));
    let name = refused("layers.0.weight", "layers.9.weight");
    assert_eq!(name, "layers.0.weight");
    assert_eq!(refused("layers.1.bias", "layers.7.bias"), "layers.1.bias");
    assert_eq!(refused("log_std\":{", "log_Std\":{"), "log_std");
    // does not fit the layer before
    assert_eq!(refused("[4,5]", "[5,4]"), "layers.1.weight");
    // entries of the same size, but of another type
    let name = refused("F32", "I32");
    assert!(name.starts_with("layers.") || name == "log_std", "{name}");
    for (std, mean) in [
        (f32::NAN, 0.0),
        (0.0, 0.0),
        (-1.0, 0.0),
        (f32::INFINITY, 0.0),
        (1.0, f32::NAN),
    ] {
        let mut normalizer = normalizer();
        normalizer.std[1] = std;
        normalizer.mean[2] = mean;
        let policy = gaussian().with_normalizer(normalizer);
        let bytes = policy.to_safetensors().unwrap();
        let wrong = if mean.is_nan() { "mean" } else { "std" };
        assert_eq!(refusal(&bytes), format!("observation.{wrong}"));
    }
    for clip in [f32::NAN, 0.0, -1.0, f32::INFINITY] {
        let policy = gaussian().with_normalizer(Normalizer {
            clip,
            ..normalizer()
        });
        let bytes = policy.to_safetensors().unwrap();
        assert_eq!(refusal(&bytes), "observation.clip", "{clip}");
    }
    let mut short = normalizer();
    short.mean.pop();
    let bytes = gaussian().with_normalizer(short).to_safetensors().unwrap();
    assert_eq!(refusal(&bytes), "observation.mean");
}

/// Fails when the architecture in the metadata is not checked: sizes whose product overflows,
/// layers without units, a second input, which policies do not have, another number of parameters.
#[test]
fn wrong_parts_of_a_deterministic_policy_are_refused() {
    let written = |change: &dyn Fn(&mut DeterministicPolicy)| {
        let mut policy = deterministic(true);
        change(&mut policy);
        TrainedPolicy::from(policy).to_safetensors().unwrap()
    };
    let sizes = [
        vec![],
        vec![3],
        vec![3, 0, 2],
        vec![0, 4, 2],
        vec![3, usize::MAX, 2],
        vec![3, usize::MAX / 2, usize::MAX / 2],
        vec![3, 1 << 32, 1 << 32, 2],
        vec![3; 19],
    ];
    for sizes in sizes {
        let bytes = written(&|policy| policy.network.sizes = sizes.clone());
        assert_eq!(refusal(&bytes), "network", "{sizes:?}");
    }
    let bytes = written(&|policy| policy.network.joining = 1);
    assert_eq!(refusal(&bytes), "network");
    // within the bounds, but not the number of parameters in the file
    for sizes in [vec![3, 5, 2], vec![8192; 18], vec![3, 4, 4, 2]] {
        let bytes = written(&|policy| policy.network.sizes = sizes.clone());
        assert_eq!(refusal(&bytes), "parameters", "{sizes:?}");
    }
    let bytes = written(&|policy| policy.network.layer_norm = false);
    assert_eq!(refusal(&bytes), "parameters");
    let bytes = written(&|policy| policy.parameters.truncate(5));
    assert_eq!(refusal(&bytes), "parameters");
    let bytes = written(&|policy| policy.normalizer.std[0] = f32::NAN);
    assert_eq!(refusal(&bytes), "observation.std");
    let bytes = written(&|policy| policy.normalizer.mean.push(0.0));
    assert_eq!(refusal(&bytes), "observation.mean");
    let bytes = written(&|_| ());
    assert_eq!(refusal(&replaced(&bytes, "Relu", "Gelu")), "network");
    assert_eq!(
        refusal(&replaced(&bytes, "layer_norm", "layer_form")),
        "network"
    );
    let bytes = replaced(&bytes, "observation.clip", "observation.flip");
    assert_eq!(refusal(&bytes), "observation.mean");
}
