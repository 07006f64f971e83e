use crate::{Error, Result};
use burn::tensor::{Device, Tensor};

/// Whether single-precision tensors of `device` lie in this process's memory, so that arithmetic
/// may be done on slices: Burn's Flex backend, with autodiff or without. False without the feature
/// `cpu`.
#[cfg(feature = "cpu")]
pub fn is_cpu(device: &Device) -> bool {
    *device == Device::flex()
}

/// Whether single-precision tensors of `device` lie in this process's memory. False without the
/// feature `cpu`.
#[cfg(not(feature = "cpu"))]
pub fn is_cpu(_device: &Device) -> bool {
    false
}

/// Reads the entries of a tensor back to the host.
///
/// # Errors
/// When the device fails.
pub fn host<const D: usize>(tensor: Tensor<D>) -> Result<Vec<f32>> {
    tensor.try_into_vec_as::<f32>().map_err(|error| {
        Error::Description(format!(
            "a tensor could not be read back from its device: {error}"
        ))
    })
}

#[cfg(all(test, feature = "cpu"))]
mod tests {
    use super::*;

    /// Fails when the CPU device is not recognised, which would only show as slow computation on
    /// tensors.
    #[test]
    fn flex_is_recognised() {
        assert!(is_cpu(&Device::flex()));
    }
}
