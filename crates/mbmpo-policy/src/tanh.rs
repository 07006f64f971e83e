//! The hyperbolic tangent of hidden layers.

use burn::tensor::Tensor;
use mbmpo_core::is_cpu;
use mbmpo_kernels::{tanh, vectorized};

/// tanh of every entry, differentiable to first order.
pub(crate) fn tanh_tensor(x: Tensor<2>) -> Tensor<2> {
    if !runs_on_host(&x) {
        return x.tanh();
    }
    if !x.is_autodiff() {
        return on_host(x);
    }
    // The graph sees y + (x - x₀)·(1 - y²): the value of tanh at x₀ with its slope.
    let x0 = x.clone().inner();
    let y = on_host(x0.clone());
    let slope = (y.clone() * y.clone()).neg().add_scalar(1.0);
    (x - Tensor::from_inner(x0)) * Tensor::from_inner(slope) + Tensor::from_inner(y)
}

/// Whether the entries are single-precision numbers in this process's memory.
fn runs_on_host(x: &Tensor<2>) -> bool {
    x.dtype() == burn::tensor::DType::F32 && is_cpu(&x.device())
}

/// Applies [`tanh`] without copying: the CPU backend hands over its buffer when nobody else holds it.
fn on_host(x: Tensor<2>) -> Tensor<2> {
    let device = x.device();
    let mut data = x.into_data();
    match data.as_mut_slice::<f32>() {
        Ok(entries) => {
            vectorized(
                #[inline(always)]
                || entries.iter_mut().for_each(|entry| *entry = tanh(*entry)),
            );
            Tensor::from_data(data, &device)
        }
        Err(_) => Tensor::<2>::from_data(data, &device).tanh(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    /// Fails when the value or the slope that autodiff sees is not that of tanh.
    #[test]
    fn value_and_slope() {
        let device = Device::flex();
        let points = [[-2.0f32, -0.3, 0.0], [0.1, 1.0, 9.0]];
        let x = Tensor::<2>::from_data(points, &device.clone().autodiff()).require_grad();
        let y = tanh_tensor(x.clone());
        let gradients = y.clone().sum().backward();
        let slope: Vec<f32> = x
            .grad(&gradients)
            .unwrap()
            .into_data()
            .try_to_vec()
            .unwrap();
        let value: Vec<f32> = y.into_data().try_to_vec().unwrap();
        for (i, &x) in points.as_flattened().iter().enumerate() {
            assert!((value[i] - x.tanh()).abs() < 1e-6);
            assert!((slope[i] - (1.0 - x.tanh().powi(2))).abs() < 2e-6);
        }
    }
}
