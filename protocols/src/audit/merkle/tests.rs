use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng as _;
use tlog_tiles::{HashReader, check_record, check_tree, prove_record, prove_tree, stored_hashes, tree_hash};

use super::*;

/// All randomness of these tests.
const SEED: u64 = 0x7106;

/// The eight entries of the test tree in google/certificate-transparency (`merkle_tree_test.cc`) and
/// transparency-dev/merkle (`testonly/constants.go`), with the roots and proofs published there.
const ENTRIES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];
const INCLUSION: [(u64, u64, &[&str]); 5] = [
    (0, 1, &[]),
    (
        0,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        &[
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, &["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        &[
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
];
const CONSISTENCY: [(u64, u64, &[&str]); 4] = [
    (1, 1, &[]),
    (
        1,
        8,
        &[
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        &[
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        &[
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
];

fn hash(text: &str) -> TreeHash {
    hex::decode(text).unwrap().try_into().unwrap()
}

fn published_leaves() -> Vec<TreeHash> {
    ENTRIES.iter().map(|entry| leaf_hash(&hex::decode(entry).unwrap())).collect()
}

fn leaves(count: u64) -> Vec<TreeHash> {
    (0..count).map(|i| leaf_hash(&i.to_be_bytes())).collect()
}

#[test]
fn roots_are_the_published_ones() {
    let leaves = published_leaves();
    let mut frontier = Frontier::new();
    for (size, root) in ROOTS.iter().enumerate() {
        assert_eq!(root_of(&leaves[..size]), hash(root));
        assert_eq!(root_at(leaves.as_slice(), size as u64), Ok(hash(root)));
        assert_eq!(frontier.root(), hash(root));
        if size < leaves.len() {
            frontier.append(leaves[size]);
        }
    }
}

#[test]
fn proofs_are_the_published_ones() {
    let leaves = published_leaves();
    for (index, size, hashes) in INCLUSION {
        let proof: Vec<_> = hashes.iter().map(|text| hash(text)).collect();
        assert_eq!(inclusion_proof(leaves.as_slice(), index, size), Ok(proof.clone()));
        let (leaf, root) = (leaves[index as usize], hash(ROOTS[size as usize]));
        assert_eq!(verify_inclusion(&leaf, index, size, &root, &proof), Ok(()));
    }
    for (old, new, hashes) in CONSISTENCY {
        let proof: Vec<_> = hashes.iter().map(|text| hash(text)).collect();
        assert_eq!(consistency_proof(leaves.as_slice(), old, new), Ok(proof.clone()));
        let (old_root, new_root) = (hash(ROOTS[old as usize]), hash(ROOTS[new as usize]));
        assert_eq!(verify_consistency((old, &old_root), (new, &new_root), &proof), Ok(()));
    }
}

#[test]
fn every_proof_of_small_trees_verifies_only_for_its_own_place() {
    let leaves = leaves(17);
    for size in 1..=17_u64 {
        let root = root_of(&leaves[..size as usize]);
        for index in 0..size {
            let proof = inclusion_proof(leaves.as_slice(), index, size).unwrap();
            for other in 0..=size {
                let verified = verify_inclusion(&leaves[index as usize], other, size, &root, &proof);
                assert_eq!(verified.is_ok(), other == index, "{index} as {other} of {size}");
            }
        }
        for old in 0..=size {
            let proof = consistency_proof(leaves.as_slice(), old, size).unwrap();
            for other in 0..=size {
                let old_root = root_of(&leaves[..old as usize]);
                let verified = verify_consistency((other, &old_root), (size, &root), &proof);
                assert_eq!(verified.is_ok(), other == old, "{old} as {other} of {size}");
            }
        }
    }
}

#[test]
fn a_longer_a_shorter_and_an_altered_proof_are_refused() {
    let leaves = leaves(300);
    let (old_root, root) = (root_of(&leaves[..77]), root_of(&leaves));
    let inclusion = inclusion_proof(leaves.as_slice(), 200, 300).unwrap();
    let consistency = consistency_proof(leaves.as_slice(), 77, 300).unwrap();
    let included = |proof: &[TreeHash]| verify_inclusion(&leaves[200], 200, 300, &root, proof).is_ok();
    let consistent = |proof: &[TreeHash]| verify_consistency((77, &old_root), (300, &root), proof).is_ok();
    assert!(included(&inclusion) && consistent(&consistency));
    for (proof, verifies) in
        [(&inclusion, &included as &dyn Fn(&[TreeHash]) -> bool), (&consistency, &consistent)]
    {
        assert!(!verifies(&proof[1..]) && !verifies(&proof[..proof.len() - 1]) && !verifies(&[]));
        assert!(!verifies(&[proof.as_slice(), &[root]].concat()));
        for (i, bit) in (0..proof.len()).flat_map(|i| (0..256).map(move |bit| (i, bit))) {
            let mut altered = proof.clone();
            altered[i][bit / 8] ^= 1 << (bit % 8);
            assert!(!verifies(&altered));
        }
    }
}

#[test]
fn questions_outside_of_the_tree_are_errors() {
    let leaves = leaves(4);
    let tree = leaves.as_slice();
    assert_eq!(inclusion_proof(tree, 4, 4), Err(MerkleError::OutsideTree { index: 4, size: 4 }));
    assert_eq!(inclusion_proof(tree, 0, 8), Err(MerkleError::Missing { level: 2, index: 1 }));
    assert_eq!(consistency_proof(tree, 5, 4), Err(MerkleError::Backwards { old: 5, new: 4 }));
    assert_eq!(Frontier::from_peaks(5, vec![leaves[0]]), None);
    assert!(tree.subtree(64, 0).is_none() && tree.subtree(63, u64::MAX).is_none());
}

/// The oracle's storage: `tlog` order, the crate's own hashing.
struct Stored(Vec<tlog_tiles::Hash>);

impl HashReader for Stored {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|i| self.0[*i as usize]).collect())
    }
}

#[test]
fn hashes_roots_and_proofs_agree_with_the_tlog_tiles_crate() {
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let (mut stored, mut leaves, mut frontier) = (Stored(Vec::new()), Vec::new(), Frontier::new());
    let mut roots = vec![EMPTY_ROOT];
    for size in 1..=600_u64 {
        let mut entry = vec![0; rng.random_range(0..200)];
        rng.fill(entry.as_mut_slice());
        let hashes = stored_hashes(size - 1, &entry, &stored).unwrap();
        stored.0.extend(hashes);
        leaves.push(leaf_hash(&entry));
        frontier.append(leaf_hash(&entry));
        let root = tree_hash(size, &stored).unwrap().0;
        assert_eq!(frontier.root(), root, "size {size}, seed {SEED:#x}");
        assert_eq!(root_of(&leaves), root, "size {size}, seed {SEED:#x}");
        roots.push(root);
        let (index, old) = (rng.random_range(0..size), rng.random_range(1..=size));
        agree_on_proofs(&stored, &leaves, &roots, (index, old, size));
    }
}

fn agree_on_proofs(
    stored: &Stored,
    leaves: &[TreeHash],
    roots: &[TreeHash],
    (index, old, size): (u64, u64, u64),
) {
    let root = roots[size as usize];
    let theirs: Vec<_> = prove_record(size, index, stored).unwrap().iter().map(|h| h.0).collect();
    let ours = inclusion_proof(leaves, index, size).unwrap();
    assert_eq!(ours, theirs);
    let proof = ours.into_iter().map(tlog_tiles::Hash).collect();
    let leaf = leaves[index as usize];
    check_record(&proof, size, tlog_tiles::Hash(root), index, tlog_tiles::Hash(leaf)).unwrap();
    let theirs: Vec<_> = prove_tree(size, old, stored).unwrap().iter().map(|h| h.0).collect();
    let ours = consistency_proof(leaves, old, size).unwrap();
    assert_eq!(ours, theirs);
    let old_root = roots[old as usize];
    assert_eq!(verify_consistency((old, &old_root), (size, &root), &ours), Ok(()));
    let proof = ours.into_iter().map(tlog_tiles::Hash).collect();
    check_tree(&proof, size, tlog_tiles::Hash(root), old, tlog_tiles::Hash(old_root)).unwrap();
}
