//! "The two values that I committed to add up to this sum": inputs a, b, blinding of a, blinding
//! of b; public: commitment of a, commitment of b, sum.
//!
//! Both operands are constrained to 128 bits: their sum cannot wrap around the modulus, so the
//! statement is one about integers. The commitments are those of the range circuit.

use ark_std::rand::rngs::OsRng;
use ark_std::rand::RngCore;

use super::{check_size, Circuit};
use crate::error::Result;
use crate::hash::{Hash, HashDomain, HashField};
use crate::r1cs::Builder;

const OPERAND_BITS: usize = 128;

pub struct Addition {
    hash: Hash,
}

impl Addition {
    pub fn new(size: usize, hash: Hash) -> Result<Self> {
        check_size("addition", "size", size, [0, 0])?;
        Ok(Addition { hash })
    }
}

impl<F: HashField> Circuit<F> for Addition {
    fn id(&self) -> String {
        format!("addition-{}", self.hash.name())
    }

    fn publics(&self) -> usize {
        3
    }

    fn inputs(&self) -> Vec<String> {
        ["a", "b", "blinding_a", "blinding_b"].map(String::from).to_vec()
    }

    fn sample(&self) -> Vec<F> {
        let operand = || F::from(OsRng.next_u64()) * F::from(OsRng.next_u64());
        vec![operand(), operand(), F::rand(&mut OsRng), F::rand(&mut OsRng)]
    }

    fn synthesize(&self, builder: &mut Builder<F>, inputs: &[F]) {
        let operands = [builder.witness(inputs[0]), builder.witness(inputs[1])];
        let blindings = [builder.witness(inputs[2]), builder.witness(inputs[3])];
        let sum = operands[0].plus(&operands[1]);
        for (i, (operand, blinding)) in operands.into_iter().zip(blindings).enumerate() {
            builder.bits(&operand, OPERAND_BITS);
            let commitment =
                self.hash.constrain(builder, HashDomain::Commitment, operand, blinding);
            builder.expose(i, &commitment);
        }
        builder.expose(2, &sum);
    }
}
