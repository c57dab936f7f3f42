//! The verifier of one key: one proof, or many at once.

use ark_ec::{AffineRepr, CurveGroup, VariableBaseMSM};
use ark_ff::Zero;
use ark_groth16::{prepare_verifying_key, Groth16, PreparedVerifyingKey, Proof, VerifyingKey};
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use ark_std::rand::{rngs::OsRng, RngCore};
use rayon::prelude::*;

use crate::curve::Curve;
use crate::error::{Error, Result};
use crate::field::parse_decimals;
use crate::qap::CosetReduction;

/// Public signals and a proof whose points are known to be in their groups.
pub type Claim<E> = (Vec<<E as ark_ec::pairing::Pairing>::ScalarField>, Proof<E>);

/// The canonical compressed bytes of a proof.
pub fn write_proof<E: Curve>(proof: &Proof<E>) -> Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(proof.compressed_size());
    proof.serialize_compressed(&mut bytes).map_err(|error| Error::Internal(error.to_string()))?;
    Ok(bytes)
}

/// One proof: canonical coordinates, on the curve, in the subgroup, no byte more or less.
pub fn read_proof<E: Curve>(bytes: &[u8]) -> Result<Proof<E>> {
    let mut rest = bytes;
    let proof = Proof::<E>::deserialize_compressed(&mut rest)
        .map_err(|error| Error::Proof(error.to_string()))?;
    if !rest.is_empty() {
        return Err(Error::Proof(format!("{} trailing bytes", rest.len())));
    }
    // The flags of a point leave room for several encodings of infinity: only one is canonical.
    if write_proof(&proof)? != bytes {
        return Err(Error::Proof("the encoding is not canonical".into()));
    }
    Ok(proof)
}

pub struct Verifier<E: Curve> {
    publics: usize,
    key: PreparedVerifyingKey<E>,
}

impl<E: Curve> Verifier<E> {
    pub fn new(publics: usize, key: VerifyingKey<E>) -> Self {
        Verifier { publics, key: prepare_verifying_key(&key) }
    }

    pub fn key(&self) -> &VerifyingKey<E> {
        &self.key.vk
    }

    /// Decimal public signals and proof bytes, or what is wrong with them.
    pub fn read_claim(&self, public: &[String], proof: &[u8]) -> Result<Claim<E>> {
        Ok((parse_decimals("public", public, self.publics)?, read_proof(proof)?))
    }

    pub fn verify(&self, public: &[E::ScalarField], proof: &Proof<E>) -> bool {
        public.len() == self.publics
            && Groth16::<E, CosetReduction>::verify_proof(&self.key, proof, public).unwrap_or(false)
    }

    /// The verdict on each claim; `None`, something that could not be read, is refused.
    ///
    /// All claims are checked by one equation, random combination of theirs. Where it fails, the
    /// halves are checked, with fresh randomness, down to the single bad claim.
    pub fn verify_batch(&self, claims: &[Option<Claim<E>>]) -> Vec<bool> {
        let mut verdicts = vec![false; claims.len()];
        let (places, claims): (Vec<usize>, Vec<&Claim<E>>) = claims
            .iter()
            .enumerate()
            .filter_map(|(place, claim)| claim.as_ref().map(|claim| (place, claim)))
            .unzip();
        let mut good = vec![false; claims.len()];
        self.bisect(&claims, &mut good);
        for (place, verdict) in places.into_iter().zip(good) {
            verdicts[place] = verdict;
        }
        verdicts
    }

    fn bisect(&self, claims: &[&Claim<E>], good: &mut [bool]) {
        match claims {
            [] => {}
            [(public, proof)] => good[0] = self.verify(public, proof),
            _ if self.all_hold(claims) => good.fill(true),
            _ => {
                let middle = claims.len() / 2;
                let (low, high) = good.split_at_mut(middle);
                self.bisect(&claims[..middle], low);
                self.bisect(&claims[middle..], high);
            }
        }
    }

    /// One equation for all: n + 3 Miller loops and a single final exponentiation.
    fn all_hold(&self, claims: &[&Claim<E>]) -> bool {
        if claims.iter().any(|(public, _)| public.len() != self.publics) {
            return false;
        }
        let key = &self.key.vk;
        let weights: Vec<E::ScalarField> = claims.iter().map(|_| random_weight::<E>()).collect();
        let sum: E::ScalarField = weights.iter().sum();
        let weigh = |j: usize| -> E::ScalarField {
            claims.iter().zip(&weights).map(|((public, _), weight)| public[j] * weight).sum()
        };
        let signals: Vec<_> = std::iter::once(sum).chain((0..self.publics).map(weigh)).collect();
        let c_points: Vec<_> = claims.iter().map(|(_, proof)| proof.c).collect();
        let (Ok(inputs), Ok(c)) =
            (E::G1::msm(&key.gamma_abc_g1, &signals), E::G1::msm(&c_points, &weights))
        else {
            return false;
        };
        let a_points: Vec<E::G1> =
            claims.par_iter().zip(&weights).map(|((_, proof), weight)| proof.a * weight).collect();
        let alpha = key.alpha_g1.into_group() * -sum;
        let g1: Vec<E::G1> = [a_points, vec![inputs, c, alpha]].concat();
        let left = E::G1::normalize_batch(&g1).into_iter().map(E::G1Prepared::from);
        let mut right: Vec<E::G2Prepared> =
            claims.par_iter().map(|(_, proof)| proof.b.into()).collect();
        right.extend([
            self.key.gamma_g2_neg_pc.clone(),
            self.key.delta_g2_neg_pc.clone(),
            key.beta_g2.into(),
        ]);
        E::multi_pairing(left, right).is_zero()
    }
}

/// 128 random bits, not all zero.
fn random_weight<E: Curve>() -> E::ScalarField {
    loop {
        let weight = u128::from(OsRng.next_u64()) << 64 | u128::from(OsRng.next_u64());
        if weight != 0 {
            return weight.into();
        }
    }
}
