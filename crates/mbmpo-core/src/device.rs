use burn::tensor::Device;

/// Whether single-precision tensors of `device` are plain numbers in this process's memory, so that arithmetic may be
/// done on slices: Burn's CPU backend, with or without automatic differentiation. Never without the feature `cpu`.
#[cfg(feature = "cpu")]
pub fn is_cpu(device: &Device) -> bool {
    *device == Device::flex() || *device == Device::flex().autodiff()
}

/// Whether single-precision tensors of `device` are plain numbers in this process's memory: never without the feature
/// `cpu`.
#[cfg(not(feature = "cpu"))]
pub fn is_cpu(_device: &Device) -> bool {
    false
}
