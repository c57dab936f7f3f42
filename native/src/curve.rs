//! The two pairing-friendly curves, as one trait that the rest of the crate is written against.

use std::sync::OnceLock;

use ark_ec::pairing::Pairing;
use ark_ec::short_weierstrass::{Affine, Projective, SWCurveConfig};

use crate::hash::HashField;
use crate::{mimc, poseidon};

/// A pairing whose groups are short Weierstrass curves and whose scalar field has our hashes.
pub trait Curve:
    Pairing<
    ScalarField: HashField,
    G1Affine = Affine<Self::Config1>,
    G2Affine = Affine<Self::Config2>,
    G1 = Projective<Self::Config1>,
    G2 = Projective<Self::Config2>,
>
{
    type Config1: SWCurveConfig<ScalarField = Self::ScalarField>;
    type Config2: SWCurveConfig<ScalarField = Self::ScalarField>;

    /// The name in key ids and on the wire.
    const NAME: &'static str;
    /// The name in the JSON files of snarkjs.
    const SNARKJS_NAME: &'static str;
}

impl Curve for ark_bn254::Bn254 {
    type Config1 = ark_bn254::g1::Config;
    type Config2 = ark_bn254::g2::Config;
    const NAME: &'static str = "bn254";
    const SNARKJS_NAME: &'static str = "bn128";
}

impl Curve for ark_bls12_381::Bls12_381 {
    type Config1 = ark_bls12_381::g1::Config;
    type Config2 = ark_bls12_381::g2::Config;
    const NAME: &'static str = "bls12-381";
    const SNARKJS_NAME: &'static str = "bls12381";
}

/// gnark's numbers of MiMC's rounds.
const MIMC_ROUNDS_BN254: usize = 110;
const MIMC_ROUNDS_BLS12_381: usize = 111;

macro_rules! hash_field {
    ($field:ty, $mimc_rounds:expr) => {
        impl HashField for $field {
            fn poseidon() -> &'static poseidon::Constants<Self> {
                static CONSTANTS: OnceLock<poseidon::Constants<$field>> = OnceLock::new();
                CONSTANTS.get_or_init(poseidon::Constants::generate)
            }

            fn mimc() -> &'static [Self] {
                static CONSTANTS: OnceLock<Vec<$field>> = OnceLock::new();
                CONSTANTS.get_or_init(|| mimc::constants($mimc_rounds))
            }
        }
    };
}
hash_field!(ark_bn254::Fr, MIMC_ROUNDS_BN254);
hash_field!(ark_bls12_381::Fr, MIMC_ROUNDS_BLS12_381);
