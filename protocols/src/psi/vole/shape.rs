//! The sizes of a batch, which follow from its number of outputs alone.

use super::{BLOCK_BYTES, KAPPA, MAX_VOLE_OUTPUTS, VoleError};

/// Noise entries t of a batch, one for each tree; where the number comes from stands in [`super`].
pub const NOISE: usize = 176;

/// Leaves of a tree in the smallest batches. Fewer would do for the rate; 64 keep the noise as sparse as the
/// estimates suppose, for a millisecond.
const MIN_LEAVES: usize = 64;

/// The sizes of one batch. Both parties make it from the agreed number of outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    outputs: usize,
    leaves: usize,
}

impl Shape {
    /// The shape of a batch with so many outputs.
    ///
    /// # Errors
    /// [`VoleError::Outputs`] for more than [`MAX_VOLE_OUTPUTS`].
    pub fn for_outputs(outputs: usize) -> Result<Self, VoleError> {
        if outputs > MAX_VOLE_OUTPUTS {
            return Err(VoleError::Outputs { found: outputs });
        }
        let leaves = (2 * (outputs + NOISE)).div_ceil(NOISE).next_multiple_of(2);
        Ok(Self { outputs, leaves: leaves.max(MIN_LEAVES) })
    }

    /// Entries that the batch gives to each party.
    pub const fn outputs(&self) -> usize {
        self.outputs
    }

    /// Bytes of the receiver's request: a column of bits for each bit of Δ.
    pub const fn request_bytes(&self) -> usize {
        KAPPA * self.choice_blocks() * BLOCK_BYTES
    }

    /// Bytes of the sender's answer: two messages for each transfer, and a correction for each tree.
    pub const fn trees_bytes(&self) -> usize {
        (2 * self.transfers() + NOISE) * BLOCK_BYTES
    }

    /// Outputs with those that are kept for the next batch.
    pub(super) const fn entries(&self) -> usize {
        self.outputs + NOISE
    }

    /// Length N of the noise vector: the leaves of all trees. It is even, and at least twice the entries.
    pub(super) const fn length(&self) -> usize {
        NOISE * self.leaves
    }

    /// Leaves of a tree.
    pub(super) const fn leaves(&self) -> usize {
        self.leaves
    }

    /// Levels of a tree below its root.
    pub(super) const fn depth(&self) -> usize {
        self.leaves.next_power_of_two().trailing_zeros() as usize
    }

    /// Oblivious transfers: one for each level of each tree.
    pub(super) const fn transfers(&self) -> usize {
        NOISE * self.depth()
    }

    /// Blocks that hold a choice bit for each transfer.
    pub(super) const fn choice_blocks(&self) -> usize {
        self.transfers().div_ceil(KAPPA)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_noise_vector_is_twice_the_entries_and_not_much_longer() {
        for outputs in [0, 1, 500, 5_000, 5_457, 300_000, 1 << 20, MAX_VOLE_OUTPUTS] {
            let shape = Shape::for_outputs(outputs).unwrap();
            assert!(shape.length() >= 2 * shape.entries(), "{shape:?}");
            let least = (2 * shape.entries()).max(NOISE * MIN_LEAVES);
            assert!(shape.length() < least + 2 * NOISE, "{shape:?}");
            assert!(1 << shape.depth() >= shape.leaves() && 1 << (shape.depth() - 1) < shape.leaves());
        }
    }

    #[test]
    fn the_noise_holds_128_bits_at_the_librarys_pseudo_distance() {
        let weight = 128.0 / -(1.0_f64 - 2.0 * 0.2).log2();
        assert_eq!((weight.ceil() as usize).next_multiple_of(8), NOISE);
    }

    #[test]
    fn a_batch_of_300_000_costs_100_kilobytes() {
        let shape = Shape::for_outputs(300_000).unwrap();
        assert_eq!((shape.depth(), shape.request_bytes(), shape.trees_bytes()), (12, 34_816, 70_400));
    }

    #[test]
    fn too_many_outputs_are_refused() {
        let found = MAX_VOLE_OUTPUTS + 1;
        assert_eq!(Shape::for_outputs(found), Err(VoleError::Outputs { found }));
        assert_eq!(Shape::for_outputs(usize::MAX), Err(VoleError::Outputs { found: usize::MAX }));
    }
}
