//! SHA-512 (FIPS 180-4) of many messages at a time: eight lanes of AVX-512, or the `sha2` crate.
//!
//! A lane is a message: an instruction does one step of the hash for eight of them, where a single message
//! would wait for each step's result. Messages go on from a [`Midstate`], so that what they begin with alike
//! is hashed once, and they are lists of parts, so that nobody has to join them. With
//! `WINDVANE_KERNELS=portable` in the environment, and where AVX-512 is missing, the `sha2` crate hashes one
//! message after the other. Both give the same bytes.
//!
//! # What is promised
//! - What messages and states hold is secret: no branch and no address depends on it. How many messages there
//!   are, and the lengths of their parts, are public.
//! - Midstates, and the blocks on the way, are wiped. What the compiler spilled to the stack, and registers,
//!   are not; digests belong to the caller.
//! - Messages of one length are best. Eight neighbours of different lengths cost as much as eight of the
//!   longest.

use sha2::block_api::compress512;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

#[cfg(target_arch = "x86_64")]
mod x86;

/// Bytes of a block.
pub const BLOCK_BYTES: usize = 128;
/// Bytes of a digest.
pub const DIGEST_BYTES: usize = 64;

/// Messages that the kernel hashes at a time.
const LANES: usize = 8;
/// Messages from which on eight lanes cost less than the portable twin.
const WORTHWHILE: usize = 3;
/// Section 5.1.2: behind the message comes a bit in a byte of its own,
const MARK: u8 = 0x80;
/// and the last block ends with the message's bits, in as many bytes.
const LENGTH_BYTES: usize = 16;

type Words = [u64; 8];
type Block = [u8; BLOCK_BYTES];

/// SHA-512 after whole blocks. Wiped when dropped.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Midstate {
    words: Words,
    /// How many.
    blocks: u64,
}

/// Before the first block: section 5.3.5.
pub static INITIAL: Midstate = Midstate {
    words: [
        0x6a09_e667_f3bc_c908,
        0xbb67_ae85_84ca_a73b,
        0x3c6e_f372_fe94_f82b,
        0xa54f_f53a_5f1d_36f1,
        0x510e_527f_ade6_82d1,
        0x9b05_688c_2b3e_6c1f,
        0x1f83_d9ab_fb41_bd6b,
        0x5be0_cd19_137e_2179,
    ],
    blocks: 0,
};

impl Midstate {
    /// After one more block.
    #[must_use]
    pub fn after(&self, block: &[u8; BLOCK_BYTES]) -> Self {
        let mut after = Self { words: self.words, blocks: self.blocks + 1 };
        compress512(&mut after.words, std::slice::from_ref(block));
        after
    }

    /// After one more block, for each block that may come next.
    pub fn after_each(&self, blocks: &[[u8; BLOCK_BYTES]]) -> Vec<Self> {
        self.after_each_with(Backend::chosen(), blocks)
    }

    fn after_each_with(&self, backend: Backend, blocks: &[Block]) -> Vec<Self> {
        let mut after = vec![Self { words: self.words, blocks: self.blocks + 1 }; blocks.len()];
        let mut states = Zeroizing::new([[0; 8]; LANES]);
        for (after, blocks) in after.chunks_mut(LANES).zip(blocks.chunks(LANES)) {
            states.fill(self.words);
            backend.compress(&mut states[..blocks.len()], blocks);
            after.iter_mut().zip(states.iter()).for_each(|(after, state)| after.words = *state);
        }
        after
    }
}

impl std::fmt::Debug for Midstate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Midstate(after {} blocks)", self.blocks)
    }
}

/// What is hashed, in parts, which no bytes stand between.
#[derive(Clone, Copy)]
pub struct Message<'a, const N: usize> {
    /// The blocks that it begins with.
    pub start: &'a Midstate,
    /// What follows,
    pub parts: [&'a [u8]; N],
    /// and the last part, often the same for many.
    pub end: &'a [u8],
}

impl<const N: usize> Message<'_, N> {
    fn len(&self) -> usize {
        self.parts.iter().map(|part| part.len()).sum::<usize>() + self.end.len()
    }

    /// Blocks of the parts and the padding.
    fn blocks(&self) -> usize {
        (self.len() + 1 + LENGTH_BYTES).div_ceil(BLOCK_BYTES)
    }

    /// Writes one of these blocks; zeros where it is none.
    fn write(&self, index: usize, block: &mut Block) {
        block.fill(0);
        let window = index * BLOCK_BYTES..(index + 1) * BLOCK_BYTES;
        let mut at = 0;
        for part in self.parts.into_iter().chain([self.end, &[MARK]]) {
            let [from, to] = [window.start, window.end].map(|edge| edge.clamp(at, at + part.len()));
            if from < to {
                block[from - window.start..to - window.start].copy_from_slice(&part[from - at..to - at]);
            }
            at += part.len();
        }
        if index + 1 == self.blocks() {
            let bits = 8 * (u128::from(self.start.blocks) * BLOCK_BYTES as u128 + self.len() as u128);
            block[BLOCK_BYTES - LENGTH_BYTES..].copy_from_slice(&bits.to_be_bytes());
        }
    }
}

impl<const N: usize> std::fmt::Debug for Message<'_, N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Message({} bytes behind {:?})", self.len(), self.start)
    }
}

/// The digest of each message.
pub fn digest_each<'a, const N: usize>(
    messages: impl ExactSizeIterator<Item = Message<'a, N>>,
) -> Vec<[u8; DIGEST_BYTES]> {
    digest_each_with(Backend::chosen(), messages)
}

fn digest_each_with<'a, const N: usize>(
    backend: Backend,
    mut messages: impl ExactSizeIterator<Item = Message<'a, N>>,
) -> Vec<[u8; DIGEST_BYTES]> {
    let mut digests = vec![[0; DIGEST_BYTES]; messages.len()];
    let mut blocks = Zeroizing::new([[0; BLOCK_BYTES]; LANES]);
    let mut group = Vec::with_capacity(LANES);
    for digests in digests.chunks_mut(LANES) {
        group.clear();
        group.extend(messages.by_ref().take(LANES));
        digest_group(backend, &group, &mut blocks, digests);
    }
    digests
}

/// The digests of up to eight messages.
fn digest_group<const N: usize>(
    backend: Backend,
    messages: &[Message<'_, N>],
    blocks: &mut [Block; LANES],
    digests: &mut [[u8; DIGEST_BYTES]],
) {
    let mut states = Zeroizing::new([[0; 8]; LANES]);
    let (states, blocks) = (&mut states[..messages.len()], &mut blocks[..messages.len()]);
    states.iter_mut().zip(messages).for_each(|(state, message)| *state = message.start.words);
    let longest = messages.iter().map(Message::blocks).max().unwrap_or_default();
    for index in 0..longest {
        messages.iter().zip(&mut *blocks).for_each(|(message, block)| message.write(index, block));
        backend.compress(states, blocks);
        // What becomes of a state behind its message's last block is not looked at.
        for ((message, state), digest) in messages.iter().zip(&*states).zip(&mut *digests) {
            if index + 1 == message.blocks() {
                write_digest(state, digest);
            }
        }
    }
}

fn write_digest(state: &Words, digest: &mut [u8; DIGEST_BYTES]) {
    let (bytes, _) = digest.as_chunks_mut();
    bytes.iter_mut().zip(state).for_each(|(bytes, word)| *bytes = word.to_be_bytes());
}

/// Which of the twins runs.
#[derive(Clone, Copy, Debug)]
enum Backend {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Lanes(x86::Avx512),
}

impl Backend {
    fn chosen() -> Self {
        if crate::switch::is_portable_forced() { Self::Portable } else { Self::detected() }
    }

    #[cfg(target_arch = "x86_64")]
    fn detected() -> Self {
        x86::Avx512::detect().map_or(Self::Portable, Self::Lanes)
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn detected() -> Self {
        Self::Portable
    }

    /// Takes up to eight states, each behind its block.
    fn compress(self, states: &mut [Words], blocks: &[Block]) {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Lanes(avx512) if blocks.len() >= WORTHWHILE => avx512.compress(states, blocks),
            _ => states.iter_mut().zip(blocks).for_each(|(s, b)| compress512(s, std::slice::from_ref(b))),
        }
    }
}

#[cfg(test)]
mod tests;
