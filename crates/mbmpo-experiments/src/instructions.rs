use crate::error::by_name;
use crate::{DeviceKind, Error, Result};
use mbmpo_kernels::Instructions;
use std::fmt;
use std::str::FromStr;

/// The vector instructions with which networks compute on the CPU. They decide the speed and no
/// number, as all of them give the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InstructionChoice {
    /// The fastest set that the processor has.
    #[default]
    Auto,
    /// This set.
    Only(Instructions),
}

impl InstructionChoice {
    /// All of them, on this processor or not.
    pub const ALL: [Self; 5] = [
        Self::Auto,
        Self::Only(Instructions::Avx512),
        Self::Only(Instructions::Avx2),
        Self::Only(Instructions::Neon),
        Self::Only(Instructions::Scalar),
    ];

    /// Name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Only(set) => set.name(),
        }
    }

    /// Uses these instructions from now on, in the whole process. Must not be called while an
    /// algorithm exists: matrices that were packed for different sets cannot be multiplied.
    ///
    /// # Errors
    /// When the processor does not have them.
    pub fn select(self) -> Result<()> {
        let set = match self {
            Self::Auto => Instructions::available().next(),
            Self::Only(set) => Some(set),
        };
        // every processor has at least the scalar set
        Ok(set.unwrap_or(Instructions::Scalar).select()?)
    }
}

/// Name of the set in use, for `run.json`; nothing for a device that does not compute with it.
pub(crate) fn in_use(device: DeviceKind) -> Option<String> {
    (device == DeviceKind::Cpu).then(|| Instructions::in_use().to_string())
}

impl fmt::Display for InstructionChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for InstructionChoice {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        by_name("instruction set", name, Self::ALL, Self::name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when a set of the kernels cannot be chosen, or a name leads to another choice.
    #[test]
    fn every_set_can_be_chosen_by_its_name() {
        for set in Instructions::ALL {
            let choice: InstructionChoice = set.name().parse().unwrap();
            assert_eq!(choice, InstructionChoice::Only(set));
        }
        assert_eq!(
            "auto".parse::<InstructionChoice>().unwrap(),
            InstructionChoice::default()
        );
        for choice in InstructionChoice::ALL {
            assert_eq!(
                choice.to_string().parse::<InstructionChoice>().unwrap(),
                choice
            );
        }
    }
}
