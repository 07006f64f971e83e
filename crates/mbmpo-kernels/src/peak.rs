//! The speed limit of a core: multiplications and additions that wait for nothing.

use crate::fused::add_multiple;
use crate::instructions::{Choice, Instructions, Unavailable};
use pulp::{Simd, WithSimd};
use std::hint::black_box;

/// Performs at least `flop` floating-point operations in fused multiply-adds between registers, on
/// one thread, and returns their exact number. Divided by the time that it takes, that is the most
/// that any kernel can reach with these instructions; a fused multiply-add counts as two operations.
///
/// [`Instructions::Scalar`] has no fused operation: there it is the speed of our substitute.
///
/// # Errors
/// When the processor does not have the instructions.
pub fn fused_multiply_adds(instructions: Instructions, flop: u64) -> Result<u64, Unavailable> {
    Ok(Choice::of(instructions)?.dispatch(Peak { flop }))
}

/// At least so many floating-point operations.
struct Peak {
    flop: u64,
}

impl WithSimd for Peak {
    type Output = u64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> u64 {
        // As many sums as in a tile of a product: more than a processor starts while one of them
        // is computed, and all in registers.
        if S::REGISTER_COUNT >= 32 {
            self.repeat::<S, 24>(simd)
        } else {
            self.repeat::<S, 12>(simd)
        }
    }
}

impl Peak {
    /// sums += a b, again and again, for V independent sums.
    #[inline(always)]
    fn repeat<S: Simd, const V: usize>(self, simd: S) -> u64 {
        let of_a_repetition = (2 * V * S::F32_LANES) as u64;
        let repetitions = self.flop.div_ceil(of_a_repetition);
        // values that the compiler does not know, so that it cannot compute the sums in advance
        let a = black_box(0.999);
        let b = [simd.splat_f32s(black_box(1e-3)); V];
        let mut sums = [simd.splat_f32s(0.0); V];
        for sum in &mut sums {
            *sum = simd.splat_f32s(black_box(0.0));
        }
        for _ in 0..repetitions {
            add_multiple(simd, &mut sums, a, &b);
        }
        let total = (sums.into_iter()).fold(simd.splat_f32s(0.0), |x, y| simd.add_f32s(x, y));
        black_box(simd.reduce_sum_f32s(total));
        repetitions * of_a_repetition
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when operations are counted that were not asked for, or fewer than were.
    #[test]
    fn counts_whole_repetitions() {
        for set in Instructions::available() {
            let unit = fused_multiply_adds(set, 1).unwrap();
            let [_, lanes] = set.tile();
            assert_eq!(unit % (2 * lanes as u64), 0, "{set}");
            assert_eq!(fused_multiply_adds(set, 0), Ok(0), "{set}");
            assert_eq!(fused_multiply_adds(set, 3 * unit), Ok(3 * unit), "{set}");
            assert_eq!(
                fused_multiply_adds(set, 3 * unit + 1),
                Ok(4 * unit),
                "{set}"
            );
        }
    }

    /// Fails when instructions that the processor lacks are executed instead of refused.
    #[test]
    fn refuses_what_is_missing() {
        let lacks = |set: &Instructions| Instructions::available().all(|other| other != *set);
        for set in Instructions::ALL.into_iter().filter(lacks) {
            assert_eq!(fused_multiply_adds(set, 1), Err(Unavailable(set)));
        }
    }
}
