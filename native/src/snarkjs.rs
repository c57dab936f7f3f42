//! Proofs and keys as the JSON files of snarkjs: decimal strings, projective with z = 1.

use ark_ec::short_weierstrass::{Affine, SWCurveConfig};
use ark_ec::AffineRepr;
use ark_ff::{Field, One};
use ark_groth16::{Proof, VerifyingKey};
use serde_json::{json, Value};

use crate::curve::Curve;
use crate::error::{Error, Result};
use crate::field::{parse_decimal, to_decimal};

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

/// Reads the content of `proof.json`: canonical finite points on the curve and in their subgroups.
pub fn read_proof<E: Curve>(text: &str) -> Result<Proof<E>> {
    let value: Value =
        serde_json::from_str(text).map_err(|_| Error::Proof("it is not JSON".into()))?;
    for (field, wanted) in [("protocol", "groth16"), ("curve", E::SNARKJS_NAME)] {
        if value[field] != wanted {
            return Err(Error::Proof(format!("{field} must be {wanted:?}")));
        }
    }
    Ok(Proof {
        a: read_point("pi_a", &value["pi_a"])?,
        b: read_point("pi_b", &value["pi_b"])?,
        c: read_point("pi_c", &value["pi_c"])?,
    })
}

/// An affine point given as [x, y, 1], its coordinates as numbers or lists of numbers.
fn read_point<P: SWCurveConfig>(name: &str, value: &Value) -> Result<Affine<P>> {
    let coordinates = list(name, value, 3)?;
    let x = read_element::<P::BaseField>(&format!("{name}[0]"), &coordinates[0])?;
    let y = read_element::<P::BaseField>(&format!("{name}[1]"), &coordinates[1])?;
    let z = read_element::<P::BaseField>(&format!("{name}[2]"), &coordinates[2])?;
    let point = Affine::<P>::new_unchecked(x, y);
    if !z.is_one() || !point.is_on_curve() || !point.is_in_correct_subgroup_assuming_on_curve() {
        return Err(Error::Proof(format!("{name} must be a point [x, y, 1] of its group")));
    }
    Ok(point)
}

fn read_element<F: Field>(name: &str, value: &Value) -> Result<F> {
    let parts = match value {
        Value::Array(_) => list(name, value, F::extension_degree() as usize)?,
        _ => std::slice::from_ref(value),
    };
    let parts = parts
        .iter()
        .map(|part| parse_decimal(name, part.as_str().unwrap_or_default()))
        .collect::<Result<Vec<F::BasePrimeField>>>()
        .map_err(|error| Error::Proof(error.to_string()))?;
    F::from_base_prime_field_elems(parts)
        .ok_or_else(|| Error::Proof(format!("{name} must be {} numbers", F::extension_degree())))
}

fn list<'a>(name: &str, value: &'a Value, length: usize) -> Result<&'a [Value]> {
    match value {
        Value::Array(entries) if entries.len() == length => Ok(entries),
        _ => Err(Error::Proof(format!("{name} must be a list of {length}"))),
    }
}
