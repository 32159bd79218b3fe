//! The bit transpose of OT extension: 128 columns of bits become rows of 128 bits.
//!
//! There is no SIMD twin: the one user turns some 2,000 rows a batch, which costs about 10 µs.

/// Rows that are turned together.
pub const ROWS: usize = 128;

/// Transposes the 128 × 128 matrix of bits in place: bit `j` of row `i` changes places with bit `i` of row
/// `j`.
///
/// Recursive swap of the off-diagonal quarters (Warren, "Hacker's Delight", section 7-3), from halves of 64
/// bits down to single bits; branch-free, so it takes constant time.
pub fn square(rows: &mut [u128; ROWS]) {
    let mut half = ROWS / 2;
    while half != 0 {
        let low = u128::MAX / ((1 << half) + 1);
        for i in (0..ROWS).filter(|i| i & half == 0) {
            let swap = ((rows[i] >> half) ^ rows[i + half]) & low;
            rows[i] ^= swap << half;
            rows[i + half] ^= swap;
        }
        half /= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_changes_places_with_its_mirror() {
        let mut state = 1_u128;
        let before: [u128; ROWS] = std::array::from_fn(|_| {
            state = state.wrapping_mul(0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645).wrapping_add(1);
            state ^ (state >> 67)
        });
        let mut after = before;
        square(&mut after);
        for (i, row) in before.iter().enumerate() {
            for (j, column) in after.iter().enumerate() {
                assert_eq!((row >> j) & 1, (column >> i) & 1, "{i}, {j}");
            }
        }
    }
}
