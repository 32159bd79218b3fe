//! The expander of an expand-convolute code: every output adds up elements at random places.
//!
//! Output `o` gains, for each tap, the element at `first + ((word · count) >> 32)`, with `word` the tap's
//! 32-bit word number `o`: a place in `first..first + count`, uniform but for count / 2^32. What that is
//! good for is said where it is used; places are public.

#[cfg(target_arch = "x86_64")]
mod x86;

/// The range from which a tap takes an element for each output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tap {
    /// The first element of the range.
    pub first: u32,
    /// Elements in the range.
    pub count: u32,
}

/// Adds the taps' elements to the outputs.
///
/// `words[t]` has the words of `taps[t]`, four to a block, lowest first, and at least one for each output.
/// An element is `W` blocks: 1 or 2 have a kernel.
///
/// # Panics
/// When a tap's range does not lie within the elements, there are not as many streams of words as taps, or
/// words are missing.
pub fn add<const W: usize>(
    outputs: &mut [[u128; W]],
    elements: &[[u128; W]],
    taps: &[Tap],
    words: &[&[u128]],
) {
    assert_eq!(taps.len(), words.len(), "one stream of words for each tap");
    assert!(words.iter().all(|words| words.len() * 4 >= outputs.len()), "a word for each output");
    assert!(taps.iter().all(|tap| within(*tap, elements.len())), "a tap takes from the elements");
    #[cfg(target_arch = "x86_64")]
    if x86::detected() && elements.len() <= x86::MAX_ELEMENTS {
        match W {
            // SAFETY: the features were just detected; ranges and numbers of words were just checked.
            1 => unsafe { x86::one(outputs.as_flattened_mut(), elements.as_flattened(), taps, words) },
            // SAFETY: as above.
            2 => unsafe { x86::two(outputs.as_flattened_mut(), elements.as_flattened(), taps, words) },
            _ => portable(outputs, elements, taps, words),
        }
        return;
    }
    portable(outputs, elements, taps, words);
}

const fn within(tap: Tap, elements: usize) -> bool {
    tap.count > 0 && tap.first as usize + tap.count as usize <= elements
}

/// The portable twin.
fn portable<const W: usize>(
    outputs: &mut [[u128; W]],
    elements: &[[u128; W]],
    taps: &[Tap],
    words: &[&[u128]],
) {
    for (tap, words) in taps.iter().zip(words) {
        let words = words.iter().flat_map(|block| [0, 32, 64, 96].map(|shift| (block >> shift) as u32));
        for (output, word) in outputs.iter_mut().zip(words) {
            let place = tap.first as usize + ((u64::from(word) * u64::from(tap.count)) >> 32) as usize;
            output.iter_mut().zip(elements[place]).for_each(|(sum, part)| *sum ^= part);
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
        let elements = samples::<W>(1_000, 3);
        let sizes = [(1, 1), (2, 15), (3, 16), (4, 255), (5, 300), (7, 257), (10, 513), (11, 100)];
        // Fewer where every operation is interpreted.
        for (taps, outputs) in sizes.into_iter().take(if cfg!(miri) { 1 } else { 8 }) {
            let words: Vec<Vec<u128>> = (0..taps as u128)
                .map(|tap| samples(129, 100 + tap).into_iter().map(|[block]| block).collect())
                .collect();
            let words: Vec<&[u128]> = words.iter().map(Vec::as_slice).collect();
            let taps: Vec<Tap> = (0..taps).map(|t| Tap { first: 90 * t, count: 100 - t }).collect();
            let mut found = samples::<W>(outputs, 9);
            let mut twin = found.clone();
            add(&mut found, &elements, &taps, &words);
            portable(&mut twin, &elements, &taps, &words);
            assert!(found == twin, "{W} blocks an element, {} taps, {outputs} outputs", taps.len());
        }
    }

    #[test]
    fn kernel_and_portable_twin_agree() {
        agree::<1>();
        agree::<2>();
        agree::<3>();
    }

    #[test]
    fn words_reach_from_the_first_to_the_last_of_the_range() {
        let elements: Vec<[u128; 1]> = (0..20).map(|i| [i]).collect();
        let mut outputs = [[0]; 3];
        let words = [u128::from(u32::MAX) << 32 | 1 << (64 + 31)];
        add(&mut outputs, &elements, &[Tap { first: 4, count: 10 }], &[&words]);
        assert_eq!(outputs, [[4], [13], [9]]);
    }

    #[test]
    #[should_panic(expected = "takes from the elements")]
    fn a_tap_beyond_the_elements_is_refused() {
        add(&mut [[0]], &[[1], [2]], &[Tap { first: 1, count: 2 }], &[&[0]]);
    }
}
