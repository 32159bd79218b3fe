//! Eight compressions of SHA-512 at once with AVX-512F and AVX-512BW.
//!
//! Section numbers are FIPS 180-4's. The word of one index stands in one vector for all eight lanes. A
//! rotation is one instruction (`VPRORQ`), and so is each function of three words (`VPTERNLOGQ`).

use std::arch::x86_64::*;

use super::{BLOCK_BYTES, Block, LANES, Words};

/// Words of a block.
const BLOCK_WORDS: usize = 16;

/// Truth tables of three inputs for `VPTERNLOGQ`: bit 4·a + 2·b + c is the value at (a, b, c).
const PARITY: i32 = 0b1001_0110;
const CHOICE: i32 = 0b1100_1010;
const MAJORITY: i32 = 0b1110_1000;

/// Section 4.2.3: the first 64 bits of the fractional parts of the cube roots of the first eighty primes.
static CONSTANTS: [[u64; BLOCK_WORDS]; 5] = [
    [
        0x428a_2f98_d728_ae22,
        0x7137_4491_23ef_65cd,
        0xb5c0_fbcf_ec4d_3b2f,
        0xe9b5_dba5_8189_dbbc,
        0x3956_c25b_f348_b538,
        0x59f1_11f1_b605_d019,
        0x923f_82a4_af19_4f9b,
        0xab1c_5ed5_da6d_8118,
        0xd807_aa98_a303_0242,
        0x1283_5b01_4570_6fbe,
        0x2431_85be_4ee4_b28c,
        0x550c_7dc3_d5ff_b4e2,
        0x72be_5d74_f27b_896f,
        0x80de_b1fe_3b16_96b1,
        0x9bdc_06a7_25c7_1235,
        0xc19b_f174_cf69_2694,
    ],
    [
        0xe49b_69c1_9ef1_4ad2,
        0xefbe_4786_384f_25e3,
        0x0fc1_9dc6_8b8c_d5b5,
        0x240c_a1cc_77ac_9c65,
        0x2de9_2c6f_592b_0275,
        0x4a74_84aa_6ea6_e483,
        0x5cb0_a9dc_bd41_fbd4,
        0x76f9_88da_8311_53b5,
        0x983e_5152_ee66_dfab,
        0xa831_c66d_2db4_3210,
        0xb003_27c8_98fb_213f,
        0xbf59_7fc7_beef_0ee4,
        0xc6e0_0bf3_3da8_8fc2,
        0xd5a7_9147_930a_a725,
        0x06ca_6351_e003_826f,
        0x1429_2967_0a0e_6e70,
    ],
    [
        0x27b7_0a85_46d2_2ffc,
        0x2e1b_2138_5c26_c926,
        0x4d2c_6dfc_5ac4_2aed,
        0x5338_0d13_9d95_b3df,
        0x650a_7354_8baf_63de,
        0x766a_0abb_3c77_b2a8,
        0x81c2_c92e_47ed_aee6,
        0x9272_2c85_1482_353b,
        0xa2bf_e8a1_4cf1_0364,
        0xa81a_664b_bc42_3001,
        0xc24b_8b70_d0f8_9791,
        0xc76c_51a3_0654_be30,
        0xd192_e819_d6ef_5218,
        0xd699_0624_5565_a910,
        0xf40e_3585_5771_202a,
        0x106a_a070_32bb_d1b8,
    ],
    [
        0x19a4_c116_b8d2_d0c8,
        0x1e37_6c08_5141_ab53,
        0x2748_774c_df8e_eb99,
        0x34b0_bcb5_e19b_48a8,
        0x391c_0cb3_c5c9_5a63,
        0x4ed8_aa4a_e341_8acb,
        0x5b9c_ca4f_7763_e373,
        0x682e_6ff3_d6b2_b8a3,
        0x748f_82ee_5def_b2fc,
        0x78a5_636f_4317_2f60,
        0x84c8_7814_a1f0_ab72,
        0x8cc7_0208_1a64_39ec,
        0x90be_fffa_2363_1e28,
        0xa450_6ceb_de82_bde9,
        0xbef9_a3f7_b2c6_7915,
        0xc671_78f2_e372_532b,
    ],
    [
        0xca27_3ece_ea26_619c,
        0xd186_b8c7_21c0_c207,
        0xeada_7dd6_cde0_eb1e,
        0xf57d_4f7f_ee6e_d178,
        0x06f0_67aa_7217_6fba,
        0x0a63_7dc5_a2c8_98a6,
        0x113f_9804_bef9_0dae,
        0x1b71_0b35_131c_471b,
        0x28db_77f5_2304_7d84,
        0x32ca_ab7b_40c7_2493,
        0x3c9e_be0a_15c9_bebc,
        0x431d_67c4_9c10_0d4c,
        0x4cc5_d4be_cb3e_42b6,
        0x597f_299c_fc65_7e2a,
        0x5fcb_6fab_3ad6_faec,
        0x6c44_198c_4a47_5817,
    ],
];

/// Proof that this processor has the features: only [`Avx512::detect`] makes one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx512(());

impl Avx512 {
    pub(super) fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")).then_some(Self(()))
    }

    /// Takes up to eight states, each behind its block.
    pub(super) fn compress(self, states: &mut [Words], blocks: &[Block]) {
        // SAFETY: the function is unsafe for its target features alone, which were detected when `self` was
        // made.
        unsafe { compress(states, blocks) }
    }
}

/// Section 6.4.2.
#[target_feature(enable = "avx512f,avx512bw")]
fn compress(states: &mut [Words], blocks: &[Block]) {
    let before = transpose(load_states(states));
    let mut words = load_blocks(blocks);
    let mut state = before;
    let (last, rest) = CONSTANTS.split_last().expect("there are five");
    for constants in rest {
        sixteen_rounds::<true>(&mut state, &mut words, constants);
    }
    sixteen_rounds::<false>(&mut state, &mut words, last);
    for (word, before) in state.iter_mut().zip(before) {
        *word = _mm512_add_epi64(*word, before);
    }
    store_states(transpose(state), states);
}

/// Sixteen rounds; and if more follow, each word of the schedule becomes the one sixteen places on.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn sixteen_rounds<const MORE: bool>(
    state: &mut [__m512i; 8],
    words: &mut [__m512i; BLOCK_WORDS],
    constants: &[u64; BLOCK_WORDS],
) {
    macro_rules! rounds {
        ($($t:literal)*) => {$(
            round::<$t>(state, _mm512_add_epi64(words[$t], _mm512_set1_epi64(constants[$t].cast_signed())));
            if MORE {
                words[$t] = scheduled::<$t>(words);
            }
        )*};
    }
    rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
}

/// Round T of sixteen. Instead of moving a to b, b to c and so on, letters move: a stands one place further
/// down after each round.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn round<const T: usize>(state: &mut [__m512i; 8], word: __m512i) {
    let at = |letter: usize| (letter + 8 - T % 8) % 8;
    let [a, b, c, d, e, f, g, h] = std::array::from_fn(|letter| state[at(letter)]);
    let choice = _mm512_ternarylogic_epi64::<CHOICE>(e, f, g);
    let t1 = _mm512_add_epi64(_mm512_add_epi64(h, word), _mm512_add_epi64(choice, sum::<14, 18, 41>(e)));
    let majority = _mm512_ternarylogic_epi64::<MAJORITY>(a, b, c);
    let t2 = _mm512_add_epi64(sum::<28, 34, 39>(a), majority);
    state[at(3)] = _mm512_add_epi64(d, t1);
    state[at(7)] = _mm512_add_epi64(t1, t2);
}

/// The word sixteen places behind word T: σ₁ of the one two places before it, σ₀ of the one fifteen before it.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn scheduled<const T: usize>(words: &[__m512i; BLOCK_WORDS]) -> __m512i {
    let word = |behind: usize| words[(T + behind) % BLOCK_WORDS];
    let first = _mm512_add_epi64(word(0), word(9));
    let second = _mm512_add_epi64(small::<1, 8, 7>(word(1)), small::<19, 61, 6>(word(14)));
    _mm512_add_epi64(first, second)
}

/// Σ₀ and Σ₁: three rotations (section 4.1.3).
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn sum<const A: i32, const B: i32, const C: i32>(x: __m512i) -> __m512i {
    let (a, b, c) = (_mm512_ror_epi64::<A>(x), _mm512_ror_epi64::<B>(x), _mm512_ror_epi64::<C>(x));
    _mm512_ternarylogic_epi64::<PARITY>(a, b, c)
}

/// σ₀ and σ₁: two rotations and a shift (section 4.1.3).
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn small<const A: i32, const B: i32, const SHIFT: u32>(x: __m512i) -> __m512i {
    let (a, b, c) = (_mm512_ror_epi64::<A>(x), _mm512_ror_epi64::<B>(x), _mm512_srli_epi64::<SHIFT>(x));
    _mm512_ternarylogic_epi64::<PARITY>(a, b, c)
}

/// One state a vector; zeros where there is none.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn load_states(states: &[Words]) -> [__m512i; LANES] {
    let mut rows = [_mm512_setzero_si512(); LANES];
    for (row, state) in rows.iter_mut().zip(states) {
        // SAFETY: the reference covers 64 readable bytes; the load needs no alignment.
        *row = unsafe { _mm512_loadu_si512(state.as_ptr().cast()) };
    }
    rows
}

#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn store_states(rows: [__m512i; LANES], states: &mut [Words]) {
    for (state, row) in states.iter_mut().zip(rows) {
        // SAFETY: the reference covers 64 writable bytes; the store needs no alignment.
        unsafe { _mm512_storeu_si512(state.as_mut_ptr().cast(), row) };
    }
}

/// Word t of every block in vector t; zeros where there is no block.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn load_blocks(blocks: &[Block]) -> [__m512i; BLOCK_WORDS] {
    let mut halves = [[_mm512_setzero_si512(); LANES]; 2];
    for (lane, block) in blocks.iter().take(LANES).enumerate() {
        let (left, right) = block.split_at(BLOCK_BYTES / 2);
        for (half, bytes) in halves.iter_mut().zip([left, right]) {
            // SAFETY: the slice covers 64 readable bytes; the load needs no alignment.
            let row = unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) };
            half[lane] = from_big_endian(row);
        }
    }
    let [left, right] = halves.map(|half| transpose(half));
    std::array::from_fn(|t| if t < LANES { left[t] } else { right[t - LANES] })
}

/// Turns the bytes of each word around.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn from_big_endian(words: __m512i) -> __m512i {
    let turned = _mm_set_epi64x(0x0809_0a0b_0c0d_0e0f, 0x0001_0203_0405_0607);
    _mm512_shuffle_epi8(words, _mm512_broadcast_i32x4(turned))
}

/// Word j of row i becomes word i of row j.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn transpose(rows: [__m512i; 8]) -> [__m512i; 8] {
    let [a, b, c, d, e, f, g, h] = rows;
    let even = [(a, b), (c, d), (e, f), (g, h)].map(|(x, y)| _mm512_unpacklo_epi64(x, y));
    let odd = [(a, b), (c, d), (e, f), (g, h)].map(|(x, y)| _mm512_unpackhi_epi64(x, y));
    let [r0, r2, r4, r6] = transpose_pairs(even);
    let [r1, r3, r5, r7] = transpose_pairs(odd);
    [r0, r1, r2, r3, r4, r5, r6, r7]
}

/// The transpose of four by four pairs of words.
#[target_feature(enable = "avx512f,avx512bw")]
#[inline]
fn transpose_pairs([a, b, c, d]: [__m512i; 4]) -> [__m512i; 4] {
    const EVEN: i32 = 0b10_00_10_00;
    const ODD: i32 = 0b11_01_11_01;
    let (even_ab, odd_ab) = (_mm512_shuffle_i64x2::<EVEN>(a, b), _mm512_shuffle_i64x2::<ODD>(a, b));
    let (even_cd, odd_cd) = (_mm512_shuffle_i64x2::<EVEN>(c, d), _mm512_shuffle_i64x2::<ODD>(c, d));
    [
        _mm512_shuffle_i64x2::<EVEN>(even_ab, even_cd),
        _mm512_shuffle_i64x2::<EVEN>(odd_ab, odd_cd),
        _mm512_shuffle_i64x2::<ODD>(even_ab, even_cd),
        _mm512_shuffle_i64x2::<ODD>(odd_ab, odd_cd),
    ]
}
