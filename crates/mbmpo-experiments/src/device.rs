use crate::error::by_name;
use crate::{Error, Result};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The device of the tensors and the Burn backend that computes with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceKind {
    /// Burn's CPU backend (flex): results are the same bits at any number of threads.
    #[default]
    Cpu,
    /// Burn's older CPU backend.
    Ndarray,
    /// A graphics card, through WebGPU.
    Webgpu,
}

impl DeviceKind {
    /// All of them, compiled in or not.
    pub const ALL: [Self; 3] = [Self::Cpu, Self::Ndarray, Self::Webgpu];

    /// Name on the command line, and of the Cargo feature that compiles it in.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Ndarray => "ndarray",
            Self::Webgpu => "webgpu",
        }
    }

    /// The device.
    ///
    /// # Errors
    /// When its backend is not compiled in.
    pub fn device(self) -> Result<Device> {
        match self {
            #[cfg(feature = "cpu")]
            Self::Cpu => Ok(Device::flex()),
            #[cfg(feature = "ndarray")]
            #[allow(deprecated, reason = "still offered for comparison")]
            Self::Ndarray => Ok(Device::ndarray()),
            #[cfg(feature = "webgpu")]
            Self::Webgpu => Ok(Device::webgpu(burn::tensor::DeviceKind::DefaultDevice)),
            #[allow(
                unreachable_patterns,
                reason = "reached by the backends that are left out"
            )]
            other => Err(Error::Device {
                device: other.name(),
            }),
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for DeviceKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        by_name("device", name, Self::ALL, Self::name)
    }
}
