//! The two pairing-friendly curves, as one trait that the rest of the crate is written against.

use ark_ec::pairing::Pairing;
use ark_ec::short_weierstrass::{Affine, Projective, SWCurveConfig};

use crate::poseidon::PoseidonField;

/// A pairing whose groups are short Weierstrass curves and whose scalar field has our Poseidon.
pub trait Curve:
    Pairing<
    ScalarField: PoseidonField,
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
