//! The choice of vector instructions, at run time.

use pulp::{Arch, WithSimd};
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Vector instructions that the kernels are compiled for. All of them give the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Instructions {
    /// x86-64 with AVX-512 (F, CD, BW, DQ, VL): vectors of 16 numbers.
    Avx512,
    /// x86-64 with AVX2 and FMA: vectors of 8 numbers.
    Avx2,
    /// 64-bit ARM: vectors of 4 numbers.
    Neon,
    /// Any processor. Slow, since it computes fused operations in double precision.
    Scalar,
}

/// Instructions that this processor does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unavailable(pub Instructions);

impl Instructions {
    /// Every set, the fastest first.
    pub const ALL: [Self; 4] = [Self::Avx512, Self::Avx2, Self::Neon, Self::Scalar];

    /// The sets that this processor has, the fastest first.
    pub fn available() -> impl Iterator<Item = Self> {
        machine().iter().map(|choice| choice.0)
    }

    /// The set in use: the fastest that the processor has, unless another one was selected.
    pub fn in_use() -> Self {
        Choice::default().0
    }

    /// Uses this set from now on, in the whole process; matrices that exist already keep theirs, and
    /// cannot be multiplied with those for another set. Changes the speed and no number.
    ///
    /// # Errors
    /// When the processor does not have it.
    pub fn select(self) -> Result<(), Unavailable> {
        let place = Self::available().position(|other| other == self);
        IN_USE.store(place.ok_or(Unavailable(self))?, Ordering::Relaxed);
        Ok(())
    }

    /// `avx512`, `avx2`, `neon` or `scalar`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Neon => "neon",
            Self::Scalar => "scalar",
        }
    }

    /// Columns of a tile, and numbers in a vector.
    pub(crate) fn tile(self) -> [usize; 2] {
        match self {
            Self::Avx512 => [64, 16],
            Self::Avx2 => [16, 8],
            Self::Neon => [16, 4],
            Self::Scalar => [2, 1],
        }
    }
}

impl fmt::Display for Instructions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Instructions {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|set| set.name() == name);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("unknown instructions '{name}': there are {names}")
        })
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has: Vec<_> = Instructions::available().map(Instructions::name).collect();
        let (wanted, has) = (self.0, has.join(", "));
        write!(
            f,
            "this processor has no {wanted} instructions: it has {has}"
        )
    }
}

impl std::error::Error for Unavailable {}

/// Instructions that this processor has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice(Instructions, Arch);

/// The instructions in use.
impl Default for Choice {
    fn default() -> Self {
        machine()[IN_USE.load(Ordering::Relaxed)]
    }
}

impl Choice {
    pub fn of(instructions: Instructions) -> Result<Self, Unavailable> {
        let found = machine().iter().find(|choice| choice.0 == instructions);
        found.copied().ok_or(Unavailable(instructions))
    }

    pub fn instructions(self) -> Instructions {
        self.0
    }

    /// # Panics
    /// When the other one is different.
    pub fn assert_same(self, other: Self) {
        assert!(
            self.0 == other.0,
            "matrices must be packed for the same instructions, not for {} and {}",
            self.0,
            other.0
        );
    }

    #[inline(always)]
    pub fn dispatch<W: WithSimd>(self, work: W) -> W::Output {
        self.1.dispatch(work)
    }

    /// The closure must be marked `#[inline(always)]`.
    #[inline(always)]
    pub fn run<R>(self, work: impl FnOnce() -> R) -> R {
        self.1.dispatch(work)
    }
}

/// Place of the selected set among those that the processor has.
static IN_USE: AtomicUsize = AtomicUsize::new(0);

/// The sets of this processor, the fastest first.
fn machine() -> &'static [Choice] {
    static MACHINE: OnceLock<Vec<Choice>> = OnceLock::new();
    MACHINE.get_or_init(|| {
        let sets = Instructions::ALL.into_iter();
        sets.filter_map(|set| Some(Choice(set, arch(set)?)))
            .collect()
    })
}

/// The set, where this processor has it.
fn arch(instructions: Instructions) -> Option<Arch> {
    match instructions {
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx512 => pulp::x86::V4::try_new().map(Arch::V4),
        #[cfg(target_arch = "x86_64")]
        Instructions::Avx2 => pulp::x86::V3::try_new().map(Arch::V3),
        #[cfg(target_arch = "aarch64")]
        Instructions::Neon => pulp::aarch64::Neon::try_new().map(Arch::Neon),
        Instructions::Scalar => Some(Arch::Scalar),
        _ => None,
    }
}

/// Runs `work`, compiled for the instructions in use. Meant for loops over slices that the compiler
/// can vectorise; the closure must be marked `#[inline(always)]`.
#[inline]
pub fn vectorized<R>(work: impl FnOnce() -> R) -> R {
    Choice::default().run(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when names do not lead back to their sets, or a processor is left without any.
    #[test]
    fn names_and_selection() {
        for set in Instructions::ALL {
            assert_eq!(set.name().parse(), Ok(set));
            if Instructions::available().all(|other| other != set) {
                let error = set.select().unwrap_err().to_string();
                assert!(
                    error.contains(set.name()) && error.contains("scalar"),
                    "{error}"
                );
            }
        }
        assert!("sse".parse::<Instructions>().unwrap_err().contains("avx2"));
        assert_eq!(Instructions::available().last(), Some(Instructions::Scalar));
    }
}
