//! Fused multiplication and addition: rounded once, so that all instruction sets give the same
//! bits.

use pulp::{Simd, bytemuck};

/// sums += a b
#[inline(always)]
pub(crate) fn add_multiple<S: Simd, const V: usize>(
    simd: S,
    sums: &mut [S::f32s; V],
    a: f32,
    b: &[S::f32s; V],
) {
    if S::F32_LANES == 1 {
        // the C library's function would be called for each number, and is slow without hardware
        for v in 0..V {
            let (b, sum) = (bytemuck::cast(b[v]), bytemuck::cast(sums[v]));
            sums[v] = bytemuck::cast(multiply_add(a, b, sum));
        }
        return;
    }
    let a = simd.splat_f32s(a);
    for v in 0..V {
        sums[v] = simd.mul_add_e_f32s(a, b[v], sums[v]);
    }
}

/// a b + c, rounded once, for processors that cannot do it. In double precision the product is
/// exact and the sum is rounded to odd (Boldo and Melquiond 2008), after which rounding to single
/// precision gives the same as rounding the exact sum.
#[inline(always)]
fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    let (product, c) = (f64::from(a) * f64::from(b), f64::from(c));
    let sum = product + c;
    // the exact error of the sum (Knuth)
    let of_c = sum - product;
    let error = (product - (sum - of_c)) + (c - of_c);
    let bits = sum.to_bits();
    // an error that is not a number belongs to a sum that is infinite or not a number
    let inexact = error.abs() > 0.0 && bits & 1 == 0;
    let away = (error > 0.0) == (sum > 0.0);
    let odd = if away {
        bits.wrapping_add(1)
    } else {
        bits.wrapping_sub(1)
    };
    f64::from_bits(if inexact { odd } else { bits }) as f32
}

#[cfg(test)]
mod tests {
    use super::multiply_add;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(100_000))]

        /// Fails when a result is rounded twice, or differs for the largest, the smallest or
        /// infinite numbers.
        #[test]
        fn equals_the_fused_operation(a: f32, b: f32, c: f32) {
            let (ours, theirs) = (multiply_add(a, b, c), a.mul_add(b, c));
            prop_assert!(ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan());
        }

        /// The same where the terms are of similar size.
        #[test]
        fn equals_it_for_similar_terms(a in -1e3_f32..1e3, b in -1e3_f32..1e3, x in 0.0_f32..2.0) {
            for c in [-a * b * x, a * b * 1e-7 * x, x] {
                prop_assert_eq!(multiply_add(a, b, c), a.mul_add(b, c));
            }
        }
    }

    /// Fails at a tie that rounding twice breaks the wrong way.
    #[test]
    fn ties() {
        let (a, b) = (1.0 + f32::EPSILON, 1.0 + f32::EPSILON);
        for exponent in -60..0 {
            for sign in [-1.0, 1.0] {
                let c = sign * 2.0_f32.powi(exponent);
                assert_eq!(multiply_add(a, b, c), a.mul_add(b, c));
                assert_eq!(multiply_add(a, 0.5 * c, 1.0), a.mul_add(0.5 * c, 1.0));
            }
        }
    }
}
