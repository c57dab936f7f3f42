//! Poseidon with x^5, width 3, 8 full and 57 partial rounds, on both scalar fields.
//!
//! The constants come from the Grain LFSR of the Poseidon paper: on BN254 this is the instance of
//! circomlib, on BLS12-381 the `poseidonperm_x5_255_3` of the authors' reference. The first word of
//! the state is the capacity; it holds the domain, so that the uses of the hash never collide. A node's hash is circomlib's
//! `poseidon([left, right])`.

use ark_crypto_primitives::sponge::poseidon::find_poseidon_ark_and_mds;
use ark_ff::PrimeField;

use crate::hash::{HashDomain, HashField};
use crate::r1cs::{Builder, Lc};

const FULL_ROUNDS: usize = 8;
const PARTIAL_ROUNDS: usize = 57;
const ROUNDS: usize = FULL_ROUNDS + PARTIAL_ROUNDS;

pub struct Constants<F> {
    round: [[F; 3]; ROUNDS],
    mds: [[F; 3]; 3],
}

fn is_full(round: usize) -> bool {
    let partial = FULL_ROUNDS / 2..FULL_ROUNDS / 2 + PARTIAL_ROUNDS;
    !partial.contains(&round)
}

impl<F: PrimeField> Constants<F> {
    pub(crate) fn generate() -> Self {
        let (round, mds) = find_poseidon_ark_and_mds::<F>(
            u64::from(F::MODULUS_BIT_SIZE),
            2,
            FULL_ROUNDS as u64,
            PARTIAL_ROUNDS as u64,
            0,
        );
        Constants {
            round: std::array::from_fn(|r| std::array::from_fn(|i| round[r][i])),
            mds: std::array::from_fn(|i| std::array::from_fn(|j| mds[i][j])),
        }
    }

    fn permute(&self, mut state: [F; 3]) -> [F; 3] {
        for (round, constants) in self.round.iter().enumerate() {
            for (word, constant) in state.iter_mut().zip(constants) {
                *word += constant;
            }
            let boxes = if is_full(round) { 3 } else { 1 };
            for word in &mut state[..boxes] {
                *word *= word.square().square();
            }
            state = std::array::from_fn(|i| F::sum_of_products(&self.mds[i], &state));
        }
        state
    }
}

/// The hash of two field elements in a domain: the first word of the permuted state.
pub fn hash<F: HashField>(domain: HashDomain, left: F, right: F) -> F {
    F::poseidon().permute([F::from(domain as u64), left, right])[0]
}

/// The same hash as constraints: 3 for each power of five of something that is not a constant.
pub fn constrain_hash<F: HashField>(
    builder: &mut Builder<F>,
    domain: HashDomain,
    left: Lc<F>,
    right: Lc<F>,
) -> Lc<F> {
    let constants = F::poseidon();
    let mut state = [builder.constant(F::from(domain as u64)), left, right];
    for (round, additions) in constants.round.iter().enumerate() {
        for (word, addition) in state.iter_mut().zip(additions) {
            *word = word.plus(&builder.constant(*addition));
        }
        let boxes = if is_full(round) { 3 } else { 1 };
        for word in &mut state[..boxes] {
            *word = builder.fifth_power(word);
        }
        state = std::array::from_fn(|i| {
            let row = &constants.mds[i];
            state[0].times(row[0]).plus_times(&state[1], row[1]).plus_times(&state[2], row[2])
        });
    }
    let [digest, _, _] = state;
    digest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::to_decimal;

    fn vector<F: HashField>() -> String {
        to_decimal(hash(HashDomain::Node, F::from(1u64), F::from(2u64)))
    }

    #[test]
    fn agrees_with_circomlib_on_bn254() {
        let expected =
            "7853200120776062878684798364095072458815029376092732009249414926327459813530";
        assert_eq!(vector::<ark_bn254::Fr>(), expected);
    }

    #[test]
    fn agrees_with_the_reference_on_bls12_381() {
        let expected =
            "18456658763349757341014058622209659766100673761449600566550821987295786346378";
        assert_eq!(vector::<ark_bls12_381::Fr>(), expected);
    }

    #[test]
    fn agrees_with_the_permutation_vector_of_the_reference() {
        let state = [0u64, 1, 2].map(ark_bn254::Fr::from);
        let expected = [
            "7853200120776062878684798364095072458815029376092732009249414926327459813530",
            "7142104613055408817911962100316808866448378443474503659992478482890339429929",
            "6549537674122432311777789598043107870002137484850126429160507761192163713804",
        ];
        let permuted = ark_bn254::Fr::poseidon().permute(state).map(to_decimal);
        assert_eq!(permuted, expected);
    }

    #[test]
    fn domains_do_not_collide() {
        let (a, b) = (ark_bn254::Fr::from(1u64), ark_bn254::Fr::from(0u64));
        let digests = [HashDomain::Node, HashDomain::Leaf, HashDomain::Commitment]
            .map(|domain| hash(domain, a, b));
        assert!(digests[0] != digests[1] && digests[1] != digests[2] && digests[0] != digests[2]);
    }

    #[test]
    fn constraints_compute_the_same_hash() {
        for domain in [HashDomain::Node, HashDomain::Leaf, HashDomain::Commitment] {
            let (a, b) = (ark_bn254::Fr::from(77u64), -ark_bn254::Fr::from(5u64));
            let mut builder = Builder::evaluate(0);
            let (left, right) = (builder.witness(a), builder.witness(b));
            let digest = constrain_hash(&mut builder, domain, left, right);
            assert_eq!(digest.value(), hash(domain, a, b));
        }
    }
}
