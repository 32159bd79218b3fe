//! Decode: RFC 9496 section 4.3.1.

use super::constants::{D, ONE};
use super::field::Element;
use super::lanes::{LANES, Lanes, Masks, ZERO};
use super::point::Extended;
use super::sqrt::either;

/// The canonical generator, RFC 9496 appendix A.1.
pub(super) const BASE: [u8; 32] = [
    0xe2, 0xf2, 0xae, 0x0a, 0x6a, 0xbc, 0x4e, 0x71, 0xa8, 0x84, 0xa9, 0x61, 0xc5, 0x00, 0x51, 0x5f, 0x58,
    0xe3, 0x0b, 0x6a, 0xa5, 0x82, 0xdd, 0x8d, 0xb6, 0xa6, 0x59, 0x45, 0xe0, 0x8d, 0x2d, 0x76,
];

/// Points of up to 8·N encodings, and which lanes hold a valid one. Lanes without an encoding hold the
/// identity.
#[inline(always)]
pub(super) fn decode<L: Lanes, const N: usize>(
    lanes: L,
    encodings: &[[u8; 32]],
) -> (Extended<L, N>, Masks<N>) {
    let words = load_words(lanes, encodings);
    let s = Element::from_words(lanes, &words);
    let bad = either(is_noncanonical(&s, &words), s.is_negative());
    let one = Element::splat(lanes, &ONE);
    let ss = s.square();
    let (u1, u2) = (one.minus(ss), one.plus(ss));
    let u2_squared = u2.square();
    let minus_d = Element::splat(lanes, &D).negated();
    let v = minus_d.mul(&u1.square()).minus(u2_squared);
    let (was_square, inverse) = Element::inverse_sqrt(&v.mul(&u2_squared));
    let den_x = inverse.mul(&u2);
    let den_y = inverse.mul(&den_x).mul(&v);
    let x = s.plus(s).mul(&den_x).absolute();
    let y = u1.mul(&den_y);
    let t = x.mul(&y);
    let bad = either(bad, either(t.is_negative(), y.is_zero()));
    (Extended { x, y, z: one, t }, std::array::from_fn(|n| was_square[n] & !bad[n]))
}

/// Whether the words are p or more.
#[inline(always)]
fn is_noncanonical<L: Lanes, const N: usize>(s: &Element<L, N>, words: &[[L::Vector; 4]; N]) -> Masks<N> {
    let canonical = s.canonical().to_words();
    let mut masks = [0; N];
    for n in 0..N {
        for k in 0..4 {
            masks[n] |= !s.lanes.zeros(s.lanes.xor(canonical[n][k], words[n][k]));
        }
    }
    masks
}

/// Up to 8·N strings of 32 bytes as little-endian words, one string a lane; zero where there is none.
#[inline(always)]
pub(super) fn load_words<L: Lanes, const N: usize>(lanes: L, strings: &[[u8; 32]]) -> [[L::Vector; 4]; N] {
    let mut rows = [[ZERO; 4]; N];
    for (i, string) in strings.iter().enumerate() {
        for (k, word) in string.as_chunks::<8>().0.iter().enumerate() {
            rows[i / LANES][k].0[i % LANES] = u64::from_le_bytes(*word);
        }
    }
    let mut words = [[lanes.splat(0); 4]; N];
    for n in 0..N {
        for k in 0..4 {
            words[n][k] = lanes.load(&rows[n][k]);
        }
    }
    words
}

/// What [`load_words`] undoes, of one group.
#[inline(always)]
pub(super) fn store_words<L: Lanes>(lanes: L, words: &[L::Vector; 4], strings: &mut [[u8; 32]]) {
    let mut rows = [ZERO; 4];
    for k in 0..4 {
        lanes.store(words[k], &mut rows[k]);
    }
    for (lane, string) in strings.iter_mut().enumerate().filter(|(lane, _)| lanes.held().contains(lane)) {
        for (k, word) in string.as_chunks_mut::<8>().0.iter_mut().enumerate() {
            *word = rows[k].0[lane].to_le_bytes();
        }
    }
}
