//! "The value that I committed to lies in [min, max]": inputs value, min, max, blinding;
//! public: commitment, min, max.
//!
//! With n bits, min, max, value - min and max - value are each constrained to [0, 2^n). Then
//! value = min + (value - min) < 2^(n+1) and max = value + (max - value), all far below the modulus,
//! so that no sum wraps around and min <= value <= max holds for integers, whoever checks the proof.

use ark_std::rand::rngs::OsRng;
use ark_std::rand::RngCore;

use super::{check_size, Circuit};
use crate::error::Result;
use crate::hash::{Hash, HashDomain, HashField};
use crate::r1cs::Builder;

pub struct Range {
    bits: usize,
    hash: Hash,
}

impl Range {
    pub fn new(bits: usize, hash: Hash) -> Result<Self> {
        Ok(Range { bits: check_size("range", "bits", bits, [8, 128])?, hash })
    }
}

impl<F: HashField> Circuit<F> for Range {
    fn id(&self) -> String {
        format!("range-{}-{}", self.bits, self.hash.name())
    }

    fn publics(&self) -> usize {
        3
    }

    fn inputs(&self) -> Vec<String> {
        ["value", "min", "max", "blinding"].map(String::from).to_vec()
    }

    fn sample(&self) -> Vec<F> {
        let number = || {
            let wide = u128::from(OsRng.next_u64()) << 64 | u128::from(OsRng.next_u64());
            wide >> (128 - self.bits)
        };
        let mut ordered = [number(), number(), number()];
        ordered.sort_unstable();
        let [min, value, max] = ordered.map(F::from);
        vec![value, min, max, F::rand(&mut OsRng)]
    }

    fn synthesize(&self, builder: &mut Builder<F>, inputs: &[F]) {
        let value = builder.witness(inputs[0]);
        let min = builder.public(1, inputs[1]);
        let max = builder.public(2, inputs[2]);
        let blinding = builder.witness(inputs[3]);
        for part in [&min, &max, &value.minus(&min), &max.minus(&value)] {
            builder.bits(part, self.bits);
        }
        let commitment = self.hash.constrain(builder, HashDomain::Commitment, value, blinding);
        builder.expose(0, &commitment);
    }
}
