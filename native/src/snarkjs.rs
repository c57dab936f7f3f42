//! Proofs and keys as the JSON files of snarkjs: decimal strings, projective with z = 1.

use ark_ec::AffineRepr;
use ark_ff::Field;
use ark_groth16::{Proof, VerifyingKey};
use serde_json::{json, Value};

use crate::curve::Curve;
use crate::field::to_decimal;

fn coordinates<F: Field>(element: F) -> Vec<String> {
    element.to_base_prime_field_elements().map(to_decimal).collect()
}

fn g1<A: AffineRepr>(point: &A) -> Value {
    match point.xy() {
        Some((x, y)) => json!([coordinates(x)[0], coordinates(y)[0], "1"]),
        None => json!(["0", "1", "0"]),
    }
}

fn g2<A: AffineRepr>(point: &A) -> Value {
    match point.xy() {
        Some((x, y)) => json!([coordinates(x), coordinates(y), ["1", "0"]]),
        None => json!([["0", "0"], ["1", "0"], ["0", "0"]]),
    }
}

/// The content of `proof.json`.
pub fn proof<E: Curve>(proof: &Proof<E>) -> Value {
    json!({
        "protocol": "groth16",
        "curve": E::SNARKJS_NAME,
        "pi_a": g1(&proof.a),
        "pi_b": g2(&proof.b),
        "pi_c": g1(&proof.c),
    })
}

/// The content of `verification_key.json`.
pub fn verifying_key<E: Curve>(key: &VerifyingKey<E>) -> Value {
    json!({
        "protocol": "groth16",
        "curve": E::SNARKJS_NAME,
        "nPublic": key.gamma_abc_g1.len() - 1,
        "vk_alpha_1": g1(&key.alpha_g1),
        "vk_beta_2": g2(&key.beta_g2),
        "vk_gamma_2": g2(&key.gamma_g2),
        "vk_delta_2": g2(&key.delta_g2),
        "IC": key.gamma_abc_g1.iter().map(g1).collect::<Vec<_>>(),
    })
}
