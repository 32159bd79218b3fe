//! RFC 6962 Merkle trees: hashing, roots, and proofs of inclusion and consistency.
//!
//! Promised: the same bytes as every RFC 6962 log with SHA-256. Not promised: storage; a tree is whatever
//! implements [`Subtrees`], be it a slice of leaf hashes or the tiles of a published log
//! ([`super::tiles::TiledTree`]).

use sha2::{Digest as _, Sha256};

/// A hash in a Merkle tree: SHA-256.
pub type TreeHash = [u8; 32];

/// Root of the empty tree: SHA-256 of nothing (RFC 6962, section 2.1).
pub const EMPTY_ROOT: TreeHash = [
    0xe3, 0xb0, 0xc4, 0x42, 0x98, 0xfc, 0x1c, 0x14, 0x9a, 0xfb, 0xf4, 0xc8, 0x99, 0x6f, 0xb9, 0x24, 0x27,
    0xae, 0x41, 0xe4, 0x64, 0x9b, 0x93, 0x4c, 0xa4, 0x95, 0x99, 0x1b, 0x78, 0x52, 0xb8, 0x55,
];

/// Hash of an entry: SHA-256(0x00 ‖ entry).
pub fn leaf_hash(entry: &[u8]) -> TreeHash {
    Sha256::new().chain_update([0]).chain_update(entry).finalize().into()
}

/// Hash of an inner node: SHA-256(0x01 ‖ left ‖ right).
pub fn node_hash(left: &TreeHash, right: &TreeHash) -> TreeHash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// Root over all leaf hashes (RFC 6962, section 2.1).
pub fn root_of(leaves: &[TreeHash]) -> TreeHash {
    match leaves {
        [] => EMPTY_ROOT,
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(leaves.len().next_power_of_two() / 2);
            node_hash(&root_of(left), &root_of(right))
        }
    }
}

/// Why a proof cannot be made, or does not prove what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MerkleError {
    /// The entry is not in a tree of this size.
    #[error("entry {index} is not in a tree of {size} entries")]
    OutsideTree {
        /// The entry's index.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// The earlier tree is larger than the later one.
    #[error("a tree of {old} entries is not the past of a tree of {new}")]
    Backwards {
        /// Size of the earlier tree.
        old: u64,
        /// Size of the later tree.
        new: u64,
    },
    /// The tree's storage has no hash for this subtree.
    #[error("the hash of subtree {index} at level {level} is missing")]
    Missing {
        /// Height of the subtree.
        level: u32,
        /// Index among the subtrees of that height.
        index: u64,
    },
    /// The proof has more or fewer hashes than the sizes ask for.
    #[error("the proof has a wrong number of hashes, {found}")]
    ProofLength {
        /// How many it has.
        found: usize,
    },
    /// The hashes lead to another root.
    #[error("the proof leads to another root")]
    Root,
}

/// A tree that knows the hashes of its complete subtrees.
pub trait Subtrees {
    /// Hash over entries `index·2^level .. (index+1)·2^level`, all of which are in the tree; `None` when the
    /// storage cannot tell.
    fn subtree(&self, level: u32, index: u64) -> Option<TreeHash>;
}

impl Subtrees for [TreeHash] {
    fn subtree(&self, level: u32, index: u64) -> Option<TreeHash> {
        let width = 1_usize.checked_shl(level)?;
        let first = usize::try_from(index).ok()?.checked_mul(width)?;
        self.get(first..first.checked_add(width)?).map(root_of)
    }
}

/// Root over the first `size` entries.
///
/// # Errors
/// [`MerkleError::Missing`].
pub fn root_at<T: Subtrees + ?Sized>(tree: &T, size: u64) -> Result<TreeHash, MerkleError> {
    if size == 0 { Ok(EMPTY_ROOT) } else { range_root(tree, 0, size) }
}

/// Proof that entry `index` is in the tree of the first `size` entries (RFC 6962, section 2.1.1), lowest
/// hash first.
///
/// # Errors
/// [`MerkleError`] when the entry is outside of the tree or a hash is missing.
pub fn inclusion_proof<T: Subtrees + ?Sized>(
    tree: &T,
    index: u64,
    size: u64,
) -> Result<Vec<TreeHash>, MerkleError> {
    if index >= size {
        return Err(MerkleError::OutsideTree { index, size });
    }
    let (mut proof, mut low, mut high) = (Vec::new(), 0, size);
    while high - low > 1 {
        let middle = low + split(high - low);
        if index < middle {
            proof.push(range_root(tree, middle, high)?);
            high = middle;
        } else {
            proof.push(range_root(tree, low, middle)?);
            low = middle;
        }
    }
    proof.reverse();
    Ok(proof)
}

/// Proof that the tree of the first `old` entries is the past of the tree of the first `new` entries
/// (RFC 6962, section 2.1.2). Nothing needs to be proven from the empty tree, or between equal sizes.
///
/// # Errors
/// [`MerkleError`] when `old` is larger than `new` or a hash is missing.
pub fn consistency_proof<T: Subtrees + ?Sized>(
    tree: &T,
    old: u64,
    new: u64,
) -> Result<Vec<TreeHash>, MerkleError> {
    if old > new {
        return Err(MerkleError::Backwards { old, new });
    }
    let mut proof = Vec::new();
    if old == 0 {
        return Ok(proof);
    }
    let (mut low, mut high) = (0, new);
    while high > old {
        let middle = low + split(high - low);
        if old <= middle {
            proof.push(range_root(tree, middle, high)?);
            high = middle;
        } else {
            proof.push(range_root(tree, low, middle)?);
            low = middle;
        }
    }
    // The verifier has the old root already, which is this last hash unless the descent went right.
    if low > 0 {
        proof.push(range_root(tree, low, high)?);
    }
    proof.reverse();
    Ok(proof)
}

/// Checks an inclusion proof (RFC 9162, section 2.1.3.2).
///
/// # Errors
/// [`MerkleError`] when the proof does not prove that `leaf` is entry `index` of the tree.
pub fn verify_inclusion(
    leaf: &TreeHash,
    index: u64,
    size: u64,
    root: &TreeHash,
    proof: &[TreeHash],
) -> Result<(), MerkleError> {
    if index >= size {
        return Err(MerkleError::OutsideTree { index, size });
    }
    let mut path = Path { node: index, last: size - 1, found: proof.len() };
    let mut hash = *leaf;
    for sibling in proof {
        hash = if path.step()? { node_hash(sibling, &hash) } else { node_hash(&hash, sibling) };
    }
    path.finish()?;
    if hash == *root { Ok(()) } else { Err(MerkleError::Root) }
}

/// Checks a consistency proof (RFC 9162, section 2.1.4.2) between two trees, given as size and root.
///
/// # Errors
/// [`MerkleError`] when the proof does not prove that the old tree is the new one's past.
pub fn verify_consistency(
    (old, old_root): (u64, &TreeHash),
    (new, new_root): (u64, &TreeHash),
    proof: &[TreeHash],
) -> Result<(), MerkleError> {
    if old > new {
        return Err(MerkleError::Backwards { old, new });
    }
    if old == 0 || old == new {
        return verify_trivial((old, old_root), (new, new_root), proof);
    }
    let (seed, rest) = if old.is_power_of_two() {
        (old_root, proof)
    } else {
        proof.split_first().ok_or(MerkleError::ProofLength { found: 0 })?
    };
    let shift = old.trailing_zeros();
    let mut path = Path { node: (old >> shift) - 1, last: (new - 1) >> shift, found: proof.len() };
    let (mut old_hash, mut new_hash) = (*seed, *seed);
    for sibling in rest {
        if path.step()? {
            old_hash = node_hash(sibling, &old_hash);
            new_hash = node_hash(sibling, &new_hash);
        } else {
            new_hash = node_hash(&new_hash, sibling);
        }
    }
    path.finish()?;
    if old_hash == *old_root && new_hash == *new_root { Ok(()) } else { Err(MerkleError::Root) }
}

fn verify_trivial(
    (old, old_root): (u64, &TreeHash),
    (new, new_root): (u64, &TreeHash),
    proof: &[TreeHash],
) -> Result<(), MerkleError> {
    if !proof.is_empty() {
        return Err(MerkleError::ProofLength { found: proof.len() });
    }
    let empty_is_empty = old > 0 || *old_root == EMPTY_ROOT;
    let equal_is_equal = old < new || old_root == new_root;
    if empty_is_empty && equal_is_equal { Ok(()) } else { Err(MerkleError::Root) }
}

/// The way from a node up to the root: RFC 9162's `fn` and `sn`.
struct Path {
    node: u64,
    last: u64,
    found: usize,
}

impl Path {
    /// One sibling up; true when that sibling stands on the left.
    fn step(&mut self) -> Result<bool, MerkleError> {
        if self.last == 0 {
            return Err(MerkleError::ProofLength { found: self.found });
        }
        let left = self.node & 1 == 1 || self.node == self.last;
        if left {
            // A node without a right neighbour rises until it has a left one. It is not zero here.
            let rise = self.node.trailing_zeros();
            self.node >>= rise;
            self.last >>= rise;
        }
        self.node >>= 1;
        self.last >>= 1;
        Ok(left)
    }

    fn finish(&self) -> Result<(), MerkleError> {
        if self.last == 0 { Ok(()) } else { Err(MerkleError::ProofLength { found: self.found }) }
    }
}

/// The largest power of two below `n`, which is at least two.
fn split(n: u64) -> u64 {
    1 << (n - 1).ilog2()
}

/// Root over entries `low..high`, where `low` is a multiple of the largest power of two in the range.
fn range_root<T: Subtrees + ?Sized>(tree: &T, low: u64, high: u64) -> Result<TreeHash, MerkleError> {
    let count = high - low;
    if count.is_power_of_two() {
        let level = count.ilog2();
        let index = low >> level;
        return tree.subtree(level, index).ok_or(MerkleError::Missing { level, index });
    }
    let middle = low + split(count);
    Ok(node_hash(&range_root(tree, low, middle)?, &range_root(tree, middle, high)?))
}

/// A growing tree that keeps only the roots of its complete subtrees, one for every set bit of its size: all
/// that is needed to append and to know the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<TreeHash>,
}

impl Frontier {
    /// The empty tree.
    pub fn new() -> Self {
        Self::default()
    }

    /// A tree of `size` entries from its peaks, largest first; `None` when their number does not fit.
    pub fn from_peaks(size: u64, peaks: Vec<TreeHash>) -> Option<Self> {
        (peaks.len() == size.count_ones() as usize).then_some(Self { size, peaks })
    }

    /// Appends an entry's hash.
    pub fn append(&mut self, leaf: TreeHash) {
        let mut hash = leaf;
        for _ in 0..self.size.trailing_ones() {
            let left = self.peaks.pop().expect("there is a peak for every set bit of the size");
            hash = node_hash(&left, &hash);
        }
        self.peaks.push(hash);
        self.size += 1;
    }

    /// How many entries the tree has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The roots of the complete subtrees, largest first.
    pub fn peaks(&self) -> &[TreeHash] {
        &self.peaks
    }

    /// The tree's root.
    pub fn root(&self) -> TreeHash {
        let rising = self.peaks.iter().rev().copied();
        rising.reduce(|right, left| node_hash(&left, &right)).unwrap_or(EMPTY_ROOT)
    }
}

#[cfg(test)]
mod tests;
