//! The instructions of AVX-512 F and IFMA that the lanes use, word by word as Intel's manual defines them: a processor
//! without them tests everything else of the lanes with these (feature `emulated-ifma`).

#![allow(non_camel_case_types, reason = "the names are those of `std::arch`")]
#![allow(unsafe_code, clippy::missing_safety_doc, reason = "signatures are those of `std::arch`")]

use std::array::from_fn;

/// Eight words.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(in crate::ristretto) struct __m512i([u64; 8]);

/// Two words.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(16))]
pub(in crate::ristretto) struct __m128i([u64; 2]);

type Mask = u8;

fn words(word: impl Fn(usize) -> u64) -> __m512i {
    __m512i(from_fn(word))
}

fn mask(bit: impl Fn(usize) -> bool) -> Mask {
    (0..8).fold(0, |mask, lane| mask | Mask::from(bit(lane)) << lane)
}

/// The product of the lowest 52 bits.
fn product(a: u64, b: u64) -> u128 {
    const LOW: u64 = (1 << 52) - 1;
    u128::from(a & LOW) * u128::from(b & LOW)
}

/// Defines an instruction, whose only condition is that the processor has it.
macro_rules! instructions {
    ($($name:ident$(::<$bits:ident: $integer:ty>)?($($argument:ident: $type:ty),*) -> $result:ty { $body:expr })*) => {
        $(pub(super) unsafe fn $name$(<const $bits: $integer>)?($($argument: $type),*) -> $result {
            $body
        })*
    };
}

instructions! {
    _mm512_madd52lo_epu64(c: __m512i, a: __m512i, b: __m512i) -> __m512i {
        words(|i| c.0[i].wrapping_add(product(a.0[i], b.0[i]) as u64 & ((1 << 52) - 1)))
    }
    _mm512_madd52hi_epu64(c: __m512i, a: __m512i, b: __m512i) -> __m512i {
        words(|i| c.0[i].wrapping_add((product(a.0[i], b.0[i]) >> 52) as u64))
    }
    _mm512_add_epi64(a: __m512i, b: __m512i) -> __m512i { words(|i| a.0[i].wrapping_add(b.0[i])) }
    _mm512_sub_epi64(a: __m512i, b: __m512i) -> __m512i { words(|i| a.0[i].wrapping_sub(b.0[i])) }
    _mm512_mask_sub_epi64(src: __m512i, k: Mask, a: __m512i, b: __m512i) -> __m512i {
        words(|i| if k >> i & 1 == 1 { a.0[i].wrapping_sub(b.0[i]) } else { src.0[i] })
    }
    _mm512_maskz_add_epi64(k: Mask, a: __m512i, b: __m512i) -> __m512i {
        words(|i| if k >> i & 1 == 1 { a.0[i].wrapping_add(b.0[i]) } else { 0 })
    }
    _mm512_abs_epi64(a: __m512i) -> __m512i { words(|i| a.0[i].cast_signed().unsigned_abs()) }
    _mm512_srli_epi64::<BITS: u32>(a: __m512i) -> __m512i { words(|i| a.0[i] >> BITS) }
    _mm512_slli_epi64::<BITS: u32>(a: __m512i) -> __m512i { words(|i| a.0[i] << BITS) }
    _mm512_srlv_epi64(a: __m512i, count: __m512i) -> __m512i {
        words(|i| if count.0[i] < 64 { a.0[i] >> count.0[i] } else { 0 })
    }
    _mm512_and_si512(a: __m512i, b: __m512i) -> __m512i { words(|i| a.0[i] & b.0[i]) }
    _mm512_or_si512(a: __m512i, b: __m512i) -> __m512i { words(|i| a.0[i] | b.0[i]) }
    _mm512_xor_si512(a: __m512i, b: __m512i) -> __m512i { words(|i| a.0[i] ^ b.0[i]) }
    _mm512_test_epi64_mask(a: __m512i, b: __m512i) -> Mask { mask(|i| a.0[i] & b.0[i] != 0) }
    _mm512_testn_epi64_mask(a: __m512i, b: __m512i) -> Mask { mask(|i| a.0[i] & b.0[i] == 0) }
    _mm512_cmpgt_epu64_mask(a: __m512i, b: __m512i) -> Mask { mask(|i| a.0[i] > b.0[i]) }
    _mm512_cmplt_epi64_mask(a: __m512i, b: __m512i) -> Mask {
        mask(|i| a.0[i].cast_signed() < b.0[i].cast_signed())
    }
    _mm512_mask_blend_epi64(k: Mask, a: __m512i, b: __m512i) -> __m512i {
        words(|i| if k >> i & 1 == 1 { b.0[i] } else { a.0[i] })
    }
    _mm512_set1_epi64(a: i64) -> __m512i { words(|_| a.cast_unsigned()) }
    _mm512_mask_permutexvar_epi64(src: __m512i, k: Mask, idx: __m512i, a: __m512i) -> __m512i {
        words(|i| if k >> i & 1 == 1 { a.0[(idx.0[i] & 7) as usize] } else { src.0[i] })
    }
    _mm512_mask2_permutex2var_epi64(a: __m512i, idx: __m512i, k: Mask, b: __m512i) -> __m512i {
        words(|i| match (k >> i & 1, if idx.0[i] & 8 == 0 { a } else { b }) {
            (1, from) => from.0[(idx.0[i] & 7) as usize],
            _ => idx.0[i],
        })
    }
    _mm512_castsi128_si512(a: __m128i) -> __m512i { words(|i| if i < 2 { a.0[i] } else { 0 }) }
    _mm512_inserti32x4::<PLACE: i32>(a: __m512i, b: __m128i) -> __m512i {
        words(|i| if i / 2 == PLACE as usize { b.0[i % 2] } else { a.0[i] })
    }
    // SAFETY: the caller's pointers are to vectors, aligned.
    _mm512_load_si512(from: *const __m512i) -> __m512i { unsafe { *from } }
    // SAFETY: the caller's pointers are to vectors, aligned.
    _mm512_store_si512(into: *mut __m512i, vector: __m512i) -> () { unsafe { *into = vector } }
    // SAFETY: the caller's pointers are to vectors, aligned.
    _mm_load_si128(from: *const __m128i) -> __m128i { unsafe { *from } }
}
