//! "I know a leaf of the tree with this root": inputs leaf, index and the siblings from the leaf up;
//! public: the root.
//!
//! Leaves and inner nodes are hashed in different domains, so an inner node can never be passed off
//! as a leaf. The index is a variable of its own whose `depth` bits choose left or right at each
//! level: there is exactly one position for a path.

use ark_std::rand::rngs::OsRng;
use ark_std::rand::RngCore;

use super::{check_size, Circuit};
use crate::error::Result;
use crate::hash::{Hash, HashDomain, HashField};
use crate::r1cs::Builder;

pub struct Merkle {
    depth: usize,
    hash: Hash,
}

impl Merkle {
    pub fn new(depth: usize, hash: Hash) -> Result<Self> {
        Ok(Merkle { depth: check_size("merkle", "depth", depth, [1, 32])?, hash })
    }
}

impl<F: HashField> Circuit<F> for Merkle {
    fn id(&self) -> String {
        format!("merkle-{}-{}", self.depth, self.hash.name())
    }

    fn publics(&self) -> usize {
        1
    }

    fn inputs(&self) -> Vec<String> {
        let siblings = (0..self.depth).map(|level| format!("sibling[{level}]"));
        ["leaf".into(), "index".into()].into_iter().chain(siblings).collect()
    }

    fn sample(&self) -> Vec<F> {
        let mut inputs: Vec<F> = (0..self.depth + 2).map(|_| F::rand(&mut OsRng)).collect();
        inputs[1] = F::from(OsRng.next_u64() & ((1 << self.depth) - 1));
        inputs
    }

    fn synthesize(&self, builder: &mut Builder<F>, inputs: &[F]) {
        let leaf = builder.witness(inputs[0]);
        let index = builder.witness(inputs[1]);
        let bits = builder.bits(&index, self.depth);
        let zero = builder.constant(F::zero());
        let mut node = self.hash.constrain(builder, HashDomain::Leaf, leaf, zero);
        for (bit, sibling) in bits.iter().zip(&inputs[2..]) {
            let sibling = builder.witness(*sibling);
            // A set bit means that the node is the right child: swap by adding the difference.
            let shift = builder.product(&sibling.minus(&node), bit);
            let (left, right) = (node.plus(&shift), sibling.minus(&shift));
            node = self.hash.constrain(builder, HashDomain::Node, left, right);
        }
        builder.expose(0, &node);
    }
}
