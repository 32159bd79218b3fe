//! GF(2^128) = GF(2)\[x\] / (x^128 + x^7 + x^2 + x + 1): bit `i` of a `u128` is the coefficient of x^i, and
//! addition is XOR.
//!
//! The polynomial is the one of GCM (NIST SP 800-38D, section 6.3), with bits in the plain order. Everything
//! here takes constant time: carry-less multiplication instructions, or integer multiplications that leave
//! room for the carries.

#[cfg(target_arch = "x86_64")]
mod x86;

/// x^128 = x^7 + x^2 + x + 1; the portable twin has it in shifts.
#[cfg(any(test, target_arch = "x86_64"))]
const POLYNOMIAL: u64 = 0x87;

/// The product of two elements.
pub fn mul(a: u128, b: u128) -> u128 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("pclmulqdq") {
        // SAFETY: the feature was just detected.
        return unsafe { x86::mul(a, b) };
    }
    portable::mul(a, b)
}

/// `values[i] *= factor`.
pub fn mul_slice(values: &mut [u128], factor: u128) {
    #[cfg(target_arch = "x86_64")]
    if x86::wide() {
        // SAFETY: the features were just detected.
        return unsafe { x86::mul_slice_wide(values, factor) };
    } else if is_x86_feature_detected!("pclmulqdq") {
        // SAFETY: the feature was just detected.
        return unsafe { x86::mul_slice(values, factor) };
    }
    portable::mul_slice(values, factor);
}

/// `out[i] = values[i] * factor`.
///
/// # Panics
/// When the lengths differ.
pub fn mul_slice_by(out: &mut [u128], values: &[u128], factor: u128) {
    out.copy_from_slice(values);
    mul_slice(out, factor);
}

/// `out[i] += values[i] * factor`.
///
/// # Panics
/// When the lengths differ.
pub fn mul_add_slice(out: &mut [u128], values: &[u128], factor: u128) {
    assert_eq!(out.len(), values.len(), "one product for each sum");
    #[cfg(target_arch = "x86_64")]
    if x86::wide() {
        // SAFETY: the features were just detected.
        return unsafe { x86::mul_add_slice_wide(out, values, factor) };
    } else if is_x86_feature_detected!("pclmulqdq") {
        // SAFETY: the feature was just detected.
        return unsafe { x86::mul_add_slice(out, values, factor) };
    }
    portable::mul_add_slice(out, values, factor);
}

/// The portable twin.
mod portable {
    pub(super) fn mul(a: u128, b: u128) -> u128 {
        let (a0, a1, b0, b1) = (a as u64, (a >> 64) as u64, b as u64, (b >> 64) as u64);
        let (low, high) = (clmul(a0, b0), clmul(a1, b1));
        let middle = clmul(a0 ^ a1, b0 ^ b1) ^ low ^ high;
        reduce(low ^ (middle << 64), high ^ (middle >> 64))
    }

    pub(super) fn mul_slice(values: &mut [u128], factor: u128) {
        for value in values {
            *value = mul(*value, factor);
        }
    }

    pub(super) fn mul_add_slice(out: &mut [u128], values: &[u128], factor: u128) {
        for (sum, value) in out.iter_mut().zip(values) {
            *sum ^= mul(*value, factor);
        }
    }

    /// Folds the upper half twice: the first fold leaves at most seven bits above x^128.
    fn reduce(low: u128, high: u128) -> u128 {
        let overflow = (high >> 127) ^ (high >> 126) ^ (high >> 121);
        let high = high ^ overflow;
        low ^ high ^ (high << 1) ^ (high << 2) ^ (high << 7)
    }

    /// The 127-bit carry-less product.
    fn clmul(a: u64, b: u64) -> u128 {
        let low = clmul_low(a, b);
        let high = clmul_low(a.reverse_bits(), b.reverse_bits()).reverse_bits() >> 1;
        u128::from(high) << 64 | u128::from(low)
    }

    /// The low 64 bits of the carry-less product, by integer multiplications "with holes" (Pornin, BearSSL,
    /// "Constant-time multiplication"): operands with every fourth bit leave three bits for the carries; a
    /// column has 16 terms only at the top, where the carry falls off.
    fn clmul_low(a: u64, b: u64) -> u64 {
        const HOLES: u64 = 0x1111_1111_1111_1111;
        let part = |x: u64, i: u32| x & (HOLES << i);
        (0..4).fold(0, |product, column| {
            let sum = (0..4).fold(0, |sum, i| sum ^ part(a, i).wrapping_mul(part(b, (4 + column - i) % 4)));
            product | part(sum, column)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Schoolbook, one bit at a time: the definition.
    fn defined(a: u128, b: u128) -> u128 {
        let mut product = 0;
        for i in (0..128).rev() {
            let carry = product >> 127;
            product = (product << 1) ^ (carry * u128::from(POLYNOMIAL));
            product ^= a * ((b >> i) & 1);
        }
        product
    }

    fn samples(count: usize) -> Vec<u128> {
        let mut state = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834_u128;
        let mut samples = vec![0, 1, u128::MAX, 1 << 127, 1 << 64, u128::from(u64::MAX)];
        samples.resize_with(count.max(6), || {
            state = state.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(1);
            state ^ (state >> 61)
        });
        samples.truncate(count);
        samples
    }

    /// Fewer where every operation is interpreted.
    const COUNT: usize = if cfg!(miri) { 10 } else { 70 };

    #[test]
    fn products_are_those_of_the_definition() {
        for a in samples(COUNT.min(40)) {
            for b in samples(COUNT.min(40)) {
                assert_eq!(mul(a, b), defined(a, b), "{a:x} * {b:x}");
                assert_eq!(portable::mul(a, b), defined(a, b), "{a:x} * {b:x}");
            }
        }
    }

    #[test]
    fn x_to_the_128_is_the_polynomial() {
        assert_eq!(mul(1 << 127, 2), u128::from(POLYNOMIAL));
        assert_eq!(mul(1 << 64, 1 << 64), u128::from(POLYNOMIAL));
    }

    #[test]
    fn slices_equal_the_portable_twin_at_every_length() {
        for length in 0..COUNT {
            let (values, sums) = (samples(length), samples(length + 7).split_off(7));
            let factor = samples(9)[8];
            let mut twin = values.clone();
            portable::mul_slice(&mut twin, factor);
            let mut found = vec![0; length];
            mul_slice_by(&mut found, &values, factor);
            assert_eq!(found, twin, "{length}");
            let (mut found, mut twin) = (sums.clone(), sums);
            mul_add_slice(&mut found, &values, factor);
            portable::mul_add_slice(&mut twin, &values, factor);
            assert_eq!(found, twin, "{length}");
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn every_instruction_set_gives_the_same_products() {
        let (values, factor) = (samples(67), samples(9)[7]);
        let mut twin = values.clone();
        portable::mul_slice(&mut twin, factor);
        let mut sums = values.clone();
        portable::mul_add_slice(&mut sums, &values, factor);
        if is_x86_feature_detected!("pclmulqdq") {
            let (mut products, mut added) = (values.clone(), values.clone());
            // SAFETY: the feature was just detected.
            unsafe {
                x86::mul_slice(&mut products, factor);
                x86::mul_add_slice(&mut added, &values, factor);
            }
            assert_eq!((products, added), (twin.clone(), sums.clone()));
        }
        if x86::wide() {
            let (mut products, mut added) = (values.clone(), values.clone());
            // SAFETY: the features were just detected.
            unsafe {
                x86::mul_slice_wide(&mut products, factor);
                x86::mul_add_slice_wide(&mut added, &values, factor);
            }
            assert_eq!((products, added), (twin, sums));
        }
    }
}
