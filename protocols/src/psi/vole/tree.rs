//! Puncturable pseudorandom functions: trees of O. Goldreich, S. Goldwasser, S. Micali (1986), which the
//! receiver learns but for one leaf.
//!
//! A node has two children, h_0 and h_1 of it, with h_k(x) = π_k(σ(x)) + σ(x)
//! ([`Aes128::hash_slice`]) under two public keys that are fresh for each batch, so that work on one batch
//! does not carry over to another. For each level, the receiver gets the sum of the left or the sum of the
//! right children by oblivious transfer: that of the side on which its leaf's path does not lie. It knows all
//! the other nodes, so it finds the path's sibling (Boyle et al., CCS 2019, section 5.1; Schoppmann et al.,
//! CCS 2019).
//!
//! A level stands in place: the left children of nodes 0..w take places 0..w, the right ones w..2w. So bit
//! ℓ − 1 of a leaf's index is its path's turn to level ℓ, and the last level may end early, when the number
//! of leaves is no power of two.

use windvane_kernels::aes::Aes128;

use super::blocks::{mask, sum};

/// The two hashes.
#[derive(Debug)]
pub(super) struct Growth {
    hashes: [Aes128; 2],
}

impl Growth {
    pub(super) fn new(keys: [u128; 2]) -> Self {
        Self { hashes: keys.map(Aes128::new) }
    }

    /// Grows a whole tree from its root; `level` gets the sums of the left and right children of each level.
    pub(super) fn full(&self, root: u128, leaves: &mut [u128], mut level: impl FnMut([u128; 2])) {
        leaves[0] = root;
        let mut width = 1;
        while width < leaves.len() {
            let right = self.split(leaves, width);
            level([sum(&leaves[..width]), sum(&leaves[width..width + right])]);
            width += right;
        }
    }

    /// Grows a tree from the sum of one side of each level, leaving zero at the leaf `hole`.
    ///
    /// `sums[ℓ]` is the sum of the side that bit ℓ of `hole` does not name.
    pub(super) fn punctured(&self, hole: usize, sums: &[u128], leaves: &mut [u128]) {
        leaves[0] = 0;
        let (mut width, mut path) = (1, 0);
        for (level, known) in sums.iter().enumerate() {
            let right = self.split(leaves, width);
            let turn = mask(hole as u128, level);
            let side_sum = (sum(&leaves[..width]) & turn) ^ (sum(&leaves[width..width + right]) & !turn);
            // The path's node stood as zero, so its children are no nodes of the tree: one is replaced by
            // what the sum lacks, the other is the path.
            let turned = width & turn as usize;
            let (sibling, next) = (path + width - turned, path + turned);
            // Where the last level ends early, a left child may have no sibling.
            if let Some(sibling) = leaves.get_mut(sibling) {
                *sibling ^= side_sum ^ known;
            }
            leaves[next] = 0;
            path = next;
            width += right;
        }
    }

    /// Replaces the first `width` nodes by their children, and returns how many of them are right children.
    fn split(&self, nodes: &mut [u128], width: usize) -> usize {
        let right = width.min(nodes.len() - width);
        nodes.copy_within(..right, width);
        self.hashes[0].hash_slice(&mut nodes[..width]);
        self.hashes[1].hash_slice(&mut nodes[width..width + right]);
        right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_leaves_but_the_hole_are_those_of_the_whole_tree() {
        let growth = Growth::new([1, 2]);
        for count in [2, 3, 4, 6, 64, 90, 100, 127, 128] {
            let mut whole = vec![0; count];
            let mut sums = Vec::new();
            growth.full(77, &mut whole, |sides| sums.push(sides));
            assert_eq!(1 << sums.len(), count.next_power_of_two());
            for hole in 0..count {
                let known: Vec<u128> =
                    sums.iter().enumerate().map(|(level, sides)| sides[1 - ((hole >> level) & 1)]).collect();
                let mut punctured = vec![9; count];
                growth.punctured(hole, &known, &mut punctured);
                let mut expected = whole.clone();
                expected[hole] = 0;
                assert_eq!(punctured, expected, "{count} leaves without {hole}");
            }
        }
    }

    #[test]
    fn leaves_do_not_repeat() {
        let mut leaves = vec![0; 10_000];
        Growth::new([1, 2]).full(5, &mut leaves, |_| ());
        leaves.sort_unstable();
        assert!(leaves.windows(2).all(|pair| pair[0] != pair[1]));
    }
}
