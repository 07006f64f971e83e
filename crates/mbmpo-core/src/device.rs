use crate::{Error, Result};
use burn::tensor::{Device, Tensor};

/// Whether single-precision tensors of `device` are plain numbers in this process's memory, so that arithmetic may be
/// done on slices: Burn's Flex backend, with a graph or without. Never without the feature `cpu`.
#[cfg(feature = "cpu")]
pub fn is_cpu(device: &Device) -> bool {
    *device == Device::flex()
}

/// Whether single-precision tensors of `device` are plain numbers in this process's memory: never without the feature
/// `cpu`.
#[cfg(not(feature = "cpu"))]
pub fn is_cpu(_device: &Device) -> bool {
    false
}

/// The entries of a tensor, on the host.
///
/// # Errors
/// When the device does not give them.
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

    /// Fails when the one device that computes on slices is not recognised: everything would be right, and slow.
    #[test]
    fn flex_is_recognised() {
        assert!(is_cpu(&Device::flex()));
    }
}
