//! The convolution of an expand-convolute code: every element is added to some of its 25 successors.
//!
//! Step `i` adds element `i`, as the steps before left it, to element `i + k` for every `k` in 1..=24 whose
//! bit `k - 1` of the step's coefficient is set, and always to element `i + 25`. Indices wrap around. What
//! that is good for is said where it is used.
//!
//! Time does not depend on the elements. Coefficients are public.

#[cfg(target_arch = "x86_64")]
mod x86;

/// How far an element reaches.
pub const REACH: usize = 25;

/// Bits of a coefficient: those of the reach but the last, which is always set.
const COEFFICIENT_BITS: usize = REACH - 1;

/// Runs the steps from `first` on, four for each block of coefficients: the low 24 bits of its 32-bit words,
/// lowest word first.
///
/// An element is `W` blocks, convolved side by side: 1 or 2 have a kernel.
///
/// # Panics
/// When there are fewer elements than steps, or not more elements than [`REACH`].
pub fn steps<const W: usize>(elements: &mut [[u128; W]], first: usize, coefficients: &[u128]) {
    let end = first + 4 * coefficients.len();
    assert!(end <= elements.len() && elements.len() > REACH, "steps lie within the elements");
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        let done = match W {
            // SAFETY: the feature was just detected.
            1 => unsafe { x86::one(elements.as_flattened_mut(), first, coefficients) },
            // SAFETY: the feature was just detected.
            2 => unsafe { x86::two(elements.as_flattened_mut(), first, coefficients) },
            _ => 0,
        };
        return portable(elements, first + 4 * done, &coefficients[done..]);
    }
    portable(elements, first, coefficients);
}

/// The portable twin.
fn portable<const W: usize>(elements: &mut [[u128; W]], first: usize, coefficients: &[u128]) {
    let words = coefficients.iter().flat_map(|block| [0, 32, 64, 96].map(|shift| (block >> shift) as u32));
    for (i, word) in (first..).zip(words) {
        let element = elements[i];
        for k in 1..=REACH {
            let bit = if k == REACH { 1 } else { (word >> (k - 1)) & 1 };
            let successor = if i + k < elements.len() { i + k } else { i + k - elements.len() };
            for (sum, part) in elements[successor].iter_mut().zip(element) {
                *sum ^= part & u128::from(bit).wrapping_neg();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples<const W: usize>(count: usize, seed: u128) -> Vec<[u128; W]> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(1);
            state ^ (state >> 67)
        };
        (0..count).map(|_| std::array::from_fn(|_| next())).collect()
    }

    fn agree<const W: usize>() {
        // Fewer where every operation is interpreted.
        for length in [28, 32, 36, 60, 64, 200].into_iter().take(if cfg!(miri) { 3 } else { 6 }) {
            let coefficients: Vec<u128> = samples(length / 4, 7).into_iter().map(|[block]| block).collect();
            let mut twin = samples::<W>(length, 3);
            let (mut whole, mut cut) = (twin.clone(), twin.clone());
            portable(&mut twin, 0, &coefficients);
            steps(&mut whole, 0, &coefficients);
            for (i, piece) in coefficients.chunks(3).enumerate() {
                steps(&mut cut, 12 * i, piece);
            }
            assert!(whole == twin, "{W} blocks an element, {length} elements");
            assert!(cut == twin, "{W} blocks an element, {length} elements in pieces");
        }
    }

    #[test]
    fn kernel_and_portable_twin_agree_at_every_cut() {
        agree::<1>();
        agree::<2>();
        agree::<3>();
    }

    #[test]
    fn an_element_reaches_where_its_coefficient_says_and_the_25th() {
        let mut elements = vec![[0_u128]; 64];
        elements[20] = [5];
        let mut coefficients = [0; 6];
        coefficients[5] = 0b101;
        steps(&mut elements, 0, &coefficients);
        let hit: Vec<usize> = (0..64).filter(|&i| elements[i] != [0]).collect();
        // Elements 21 and 23 reach their own 25th in turn.
        assert_eq!(hit, [20, 21, 23, 45, 46, 48]);
    }

    #[test]
    fn the_last_elements_wrap_around() {
        let mut elements = vec![[0_u128]; 28];
        elements[27] = [9];
        let mut coefficients = [0; 7];
        coefficients[6] = 1 << 96;
        steps(&mut elements, 0, &coefficients);
        let hit: Vec<usize> = (0..28).filter(|&i| elements[i] == [9]).collect();
        assert_eq!(hit, [0, 24, 27]);
    }
}
