//! Sorting many numbers that are spread evenly, in a few passes over memory.

use std::ops::Range;

/// Bits of a pass: its 2,048 counters and as many places to write to stay in the first-level cache.
const DIGIT_BITS: u32 = 11;

/// Sorts by some bits of each item, stably: a radix sort from the lowest digit.
pub(super) fn radix_sort(items: &mut Vec<u64>, bits: Range<u32>) {
    let passes = (bits.end - bits.start).div_ceil(DIGIT_BITS).max(1);
    let width = (bits.end - bits.start).div_ceil(passes);
    let mut scratch = vec![0; items.len()];
    for pass in 0..passes {
        let low = bits.start + pass * width;
        distribute(items, &mut scratch, low..(low + width).min(bits.end));
        std::mem::swap(items, &mut scratch);
    }
}

fn distribute(items: &[u64], out: &mut [u64], bits: Range<u32>) {
    let mask = (1_usize << (bits.end - bits.start)) - 1;
    let digit = |item: u64| (item >> bits.start) as usize & mask;
    let mut places = [0_u32; 1 << DIGIT_BITS];
    for item in items {
        places[digit(*item)] += 1;
    }
    let mut sum = 0;
    for place in &mut places[..=mask] {
        sum += std::mem::replace(place, sum);
    }
    for item in items {
        let place = &mut places[digit(*item)];
        out[*place as usize] = *item;
        *place += 1;
    }
}

/// The order in which the values ascend: indices, equal values by index. Fast when the upper bits are spread
/// evenly, right in any case.
pub(super) fn ascending(values: &[u128]) -> Vec<u32> {
    /// Two passes leave few values together, up to some millions.
    const BITS: u32 = 2 * DIGIT_BITS;
    let item = |(index, value): (usize, &u128)| ((value >> 96) as u64) << 32 | index as u64;
    let mut items: Vec<u64> = values.iter().enumerate().map(item).collect();
    radix_sort(&mut items, 64 - BITS..64);
    for run in items.chunk_by_mut(|a, b| a >> (64 - BITS) == b >> (64 - BITS)) {
        if run.len() > 1 {
            run.sort_unstable_by_key(|item| (values[*item as u32 as usize], *item as u32));
        }
    }
    items.iter().map(|item| *item as u32).collect()
}

#[cfg(test)]
mod tests {
    use windvane_kernels::aes::Prg;

    use super::*;

    fn random(count: usize) -> Vec<u128> {
        let mut values = vec![0; count];
        Prg::new(8).fill(&mut values);
        values
    }

    #[test]
    fn a_radix_sort_is_a_stable_sort_by_the_chosen_bits() {
        for bits in [32..33, 32..43, 32..44, 32..50, 32..64] {
            let mask = u64::MAX >> (64 - (bits.end - bits.start));
            let mut items: Vec<u64> = random(3_000).iter().map(|value| *value as u64).collect();
            let mut expected = items.clone();
            expected.sort_by_key(|item| item >> bits.start & mask);
            radix_sort(&mut items, bits);
            assert_eq!(items, expected);
        }
    }

    #[test]
    fn indices_ascend_by_value_even_where_the_upper_bits_agree() {
        let mut values = random(2_000);
        values.extend(random(700).iter().map(|value| value >> 40));
        values.extend(random(900));
        let mut expected: Vec<u32> = (0..values.len() as u32).collect();
        expected.sort_by_key(|index| values[*index as usize]);
        assert_eq!(ascending(&values), expected);
        assert!(ascending(&[]).is_empty());
    }
}
