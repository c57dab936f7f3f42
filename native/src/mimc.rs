//! MiMC as gnark has it: x^5, Miyaguchi-Preneel over blocks of one field element, initial state 0.
//!
//! The constant of a round is the Keccak-256 of the one before, of the first the Keccak-256 of the
//! Keccak-256 of "seed", each read as a big-endian number modulo the field. A leaf is one block and
//! a node two, so that no node's hash is computed as a leaf's is.

use sha3::{Digest, Keccak256};

use ark_ff::PrimeField;

use crate::hash::HashField;
use crate::r1cs::{Builder, Lc};

const SEED: &[u8] = b"seed";

/// The first `rounds` constants.
pub(crate) fn constants<F: PrimeField>(rounds: usize) -> Vec<F> {
    let next = |digest: &[u8]| Keccak256::digest(digest).to_vec();
    std::iter::successors(Some(next(&next(SEED))), |digest| Some(next(digest)))
        .take(rounds)
        .map(|digest| F::from_be_bytes_mod_order(&digest))
        .collect()
}

pub fn hash<F: HashField>(blocks: &[F]) -> F {
    blocks.iter().fold(F::zero(), |state, block| {
        let mut word = *block;
        for constant in F::mimc() {
            word += state + constant;
            word *= word.square().square();
        }
        word + state.double() + block
    })
}

/// The same hash as constraints: 3 for each round and one for the new state.
pub fn constrain_hash<F: HashField>(builder: &mut Builder<F>, blocks: &[Lc<F>]) -> Lc<F> {
    let one = builder.constant(F::one());
    let mut state = builder.constant(F::zero());
    for block in blocks {
        let mut word = block.clone();
        for constant in F::mimc() {
            let sum = word.plus(&state).plus(&builder.constant(*constant));
            word = builder.fifth_power(&sum);
        }
        let next = word.plus_times(&state, F::from(2u64)).plus(block);
        // A variable of its own: sums of earlier states would make the rows longer and longer.
        state = builder.product(&next, &one);
    }
    state
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::to_decimal;

    /// gnark-crypto's digests of [1], [1, 2] and [1, 2, 3].
    const VECTORS_BN254: [&str; 3] = [
        "18045289051299654077710208499747278752099041449041972372412271818361923969579",
        "3603165980089455451357404308887091638931600328866147122487556210589417494548",
        "1594628425784724590720470781298820968689131300912933114724835803309940639844",
    ];
    const VECTORS_BLS12_381: [&str; 3] = [
        "35137972692771717943992759113612269767581262500164574105059686144346651628747",
        "36040415061072206798463799910266068602431683724372222702157405103174059440570",
        "9993898537563818088819423916172510317847849227220577326150777783415094160939",
    ];

    fn check<F: HashField>(expected: [&str; 3]) {
        let numbers = [1u64, 2, 3].map(F::from);
        let digests = [1, 2, 3].map(|count| to_decimal(hash(&numbers[..count])));
        assert_eq!(digests, expected);
    }

    #[test]
    fn agrees_with_gnark_on_bn254() {
        check::<ark_bn254::Fr>(VECTORS_BN254);
    }

    #[test]
    fn agrees_with_gnark_on_bls12_381() {
        check::<ark_bls12_381::Fr>(VECTORS_BLS12_381);
    }

    #[test]
    fn constraints_compute_the_same_hash() {
        let numbers = [ark_bn254::Fr::from(77u64), -ark_bn254::Fr::from(5u64)];
        for count in [1, 2] {
            let mut builder = Builder::evaluate(0);
            let blocks: Vec<_> = numbers[..count].iter().map(|n| builder.witness(*n)).collect();
            let digest = constrain_hash(&mut builder, &blocks);
            assert_eq!(digest.value(), hash(&numbers[..count]));
            assert_eq!(builder.into_assignment().violated, None);
        }
    }
}
