//! References for the tests in this folder: a tanh network in double precision, and derivatives by
//! finite differences.

/// Outputs of a tanh network whose parameters are, layer by layer, weights `[inputs, outputs]` and
/// biases.
#[allow(dead_code, reason = "not used by every test")]
pub fn network(sizes: &[usize], theta: &[f64], observation: &[f32]) -> Vec<f64> {
    let mut input: Vec<f64> = observation.iter().map(|&x| x.into()).collect();
    let mut start = 0;
    for (layer, pair) in sizes.windows(2).enumerate() {
        let (inputs, outputs) = (pair[0], pair[1]);
        let biases = start + inputs * outputs;
        let mut sums = theta[biases..biases + outputs].to_vec();
        for (j, sum) in sums.iter_mut().enumerate() {
            for (i, x) in input.iter().enumerate() {
                *sum += x * theta[start + i * outputs + j];
            }
            if layer + 2 < sizes.len() {
                *sum = sum.tanh();
            }
        }
        input = sums;
        start = biases + outputs;
    }
    input
}

/// The gradient of `f`, by finite differences of fourth order.
#[allow(dead_code, reason = "not used by every test")]
pub fn gradient(f: impl Fn(&[f64]) -> f64, theta: &[f64]) -> Vec<f64> {
    (0..theta.len())
        .map(|i| {
            let at = |by: f64| {
                let mut theta = theta.to_vec();
                theta[i] += by;
                f(&theta)
            };
            let h = 1e-4;
            (8.0 * (at(h) - at(-h)) - (at(2.0 * h) - at(-2.0 * h))) / (12.0 * h)
        })
        .collect()
}

/// Asserts that the distance of `actual` from `expected` is at most `tolerance` times the norm of
/// `expected`.
pub fn assert_close(actual: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let error = norm(&mut actual.iter().zip(expected).map(|(a, e)| a - e));
    let scale = norm(&mut expected.iter().copied());
    assert!(error <= tolerance * scale, "{what}: {error} of {scale}");
}
