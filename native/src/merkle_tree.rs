//! The tree that the merkle circuit speaks of: given leaves first, the rest of 2^depth are zero.

use rayon::prelude::*;

use crate::error::{Error, Result};
use crate::hash::{Hash, HashDomain, HashField};

/// Below this many hashes, splitting the work costs more than it saves.
const PARALLEL_FROM: usize = 64;

/// The root of a tree, and the siblings on the way from one leaf up to it.
#[derive(Debug, PartialEq, Eq)]
pub struct Path<F> {
    pub root: F,
    pub siblings: Vec<F>,
}

/// Hashes only the subtrees that hold given leaves; the others are all-zero subtrees, one per level.
pub fn path<F: HashField>(hash: Hash, depth: usize, leaves: &[F], index: usize) -> Result<Path<F>> {
    if !(1..=32).contains(&depth) {
        return Err(Error::input(format!("depth must be from 1 to 32, not {depth}")));
    }
    if leaves.is_empty() || leaves.len() > 1 << depth {
        let count = leaves.len();
        return Err(Error::input(format!("leaves must be 1 to 2^{depth} values, not {count}")));
    }
    if index >= 1 << depth {
        return Err(Error::input(format!("index must be below 2^{depth}, not {index}")));
    }
    let mut empty = hash.two(HashDomain::Leaf, F::zero(), F::zero());
    let mut level: Vec<F> = leaves
        .par_iter()
        .with_min_len(PARALLEL_FROM)
        .map(|leaf| hash.two(HashDomain::Leaf, *leaf, F::zero()))
        .collect();
    let mut siblings = Vec::with_capacity(depth);
    for height in 0..depth {
        siblings.push(*level.get((index >> height) ^ 1).unwrap_or(&empty));
        level = level
            .par_chunks(2)
            .with_min_len(PARALLEL_FROM)
            .map(|pair| hash.two(HashDomain::Node, pair[0], *pair.get(1).unwrap_or(&empty)))
            .collect();
        empty = hash.two(HashDomain::Node, empty, empty);
    }
    Ok(Path { root: level[0], siblings })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_bn254::Fr;
    use proptest::prelude::*;

    const HASH: Hash = Hash::Poseidon;

    /// The definition, without any shortcut.
    fn naive_root(depth: usize, leaves: &[Fr]) -> Fr {
        let mut level: Vec<Fr> = (0..1 << depth)
            .map(|i| leaves.get(i).copied().unwrap_or_default())
            .map(|leaf| HASH.two(HashDomain::Leaf, leaf, Fr::from(0u64)))
            .collect();
        while level.len() > 1 {
            level =
                level.chunks(2).map(|pair| HASH.two(HashDomain::Node, pair[0], pair[1])).collect();
        }
        level[0]
    }

    fn climb(leaf: Fr, index: usize, siblings: &[Fr]) -> Fr {
        let start = HASH.two(HashDomain::Leaf, leaf, Fr::from(0u64));
        siblings.iter().enumerate().fold(start, |node, (height, sibling)| {
            let (left, right) =
                if index >> height & 1 == 1 { (*sibling, node) } else { (node, *sibling) };
            HASH.two(HashDomain::Node, left, right)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn root_and_path_follow_the_definition(
            depth in 1usize..7,
            values in prop::collection::vec(any::<u64>(), 1..65),
            at in any::<prop::sample::Index>(),
        ) {
            let leaves: Vec<Fr> = values.into_iter().take(1 << depth).map(Fr::from).collect();
            let index = at.index(1 << depth);
            let found = path(HASH, depth, &leaves, index).unwrap();
            prop_assert_eq!(found.root, naive_root(depth, &leaves));
            let leaf = leaves.get(index).copied().unwrap_or_default();
            prop_assert_eq!(climb(leaf, index, &found.siblings), found.root);
        }
    }

    #[test]
    fn a_deep_tree_needs_only_the_given_leaves() {
        let leaves = [Fr::from(1u64), Fr::from(2u64), Fr::from(3u64)];
        let found = path(HASH, 32, &leaves, 2).unwrap();
        assert_eq!(climb(leaves[2], 2, &found.siblings), found.root);
        let far = path(HASH, 32, &leaves, (1 << 32) - 1).unwrap();
        assert_eq!(climb(Fr::from(0u64), (1 << 32) - 1, &far.siblings), found.root);
    }

    #[test]
    fn sizes_outside_the_tree_are_refused() {
        let leaf = [Fr::from(1u64)];
        assert!(path(HASH, 0, &leaf, 0).is_err());
        assert!(path(HASH, 33, &leaf, 0).is_err());
        assert!(path::<Fr>(HASH, 1, &[], 0).is_err());
        assert!(path(HASH, 1, &[leaf[0]; 3], 0).is_err());
        assert!(path(HASH, 1, &leaf, 2).is_err());
    }
}
