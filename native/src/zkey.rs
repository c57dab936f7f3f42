//! Groth16 keys of a ceremony: `.zkey` files as snarkjs writes them.
//!
//! Magic and version, then sections of a type (u32), a length (u64) and content, little-endian, in
//! any order. Coordinates are in Montgomery form, infinity is all zeros. Section 1: prover; 2:
//! moduli, counts and the single points; 3: IC; 4: coefficients of A and B, each times R²; 5 to 9:
//! queries A, B in G1, B in G2, C, H.
//!
//! What a file says is checked against our constraints as far as it can be: moduli, counts and all
//! coefficients of A and B. C is in no file; whether the key fits it shows when proofs by the key
//! are tried, which [`read`]'s caller does.

use std::collections::HashMap;

use ark_ec::short_weierstrass::{Affine, SWCurveConfig};
use ark_ec::{AffineRepr, CurveConfig};
use ark_ff::{BigInteger, Field, PrimeField, Zero};
use ark_groth16::{ProvingKey, VerifyingKey};
use num_bigint::BigUint;

use crate::curve::Curve;
use crate::error::{Error, Result};
use crate::key::{check_proving_key, check_verifying_key, ProverKey, Reader, Reduction, Statement};

const MAGIC: &[u8; 4] = b"zkey";
const VERSION: u64 = 1;
const GROTH16: u64 = 1;
/// More than any file of snarkjs has.
const MAX_SECTIONS: u64 = 64;

/// Whether bytes begin as a `.zkey` does.
pub fn is_zkey(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC)
}

/// Reads the key of a ceremony for `statement`, and refuses every other.
pub fn read<E: Curve>(statement: &Statement<E>, bytes: &[u8]) -> Result<ProverKey<E>> {
    let sections = Sections::read(bytes)?;
    if sections.get(1)?.number(4)? != GROTH16 {
        return Err(Error::key("this .zkey is for another prover than Groth16"));
    }
    let mut header = sections.get(2)?;
    check_moduli::<E>(&mut header)?;
    check_counts(statement, &mut header)?;
    check_coefficients(statement, sections.get(4)?)?;
    let alpha_g1 = one_point::<E::Config1>(&mut header)?;
    let beta_g1 = one_point::<E::Config1>(&mut header)?;
    let beta_g2 = one_point::<E::Config2>(&mut header)?;
    let gamma_g2 = one_point::<E::Config2>(&mut header)?;
    let delta_g1 = one_point::<E::Config1>(&mut header)?;
    let delta_g2 = one_point::<E::Config2>(&mut header)?;
    let gamma_abc_g1 = all_points::<E::Config1>(sections.get(3)?)?;
    let key = ProvingKey {
        vk: VerifyingKey { alpha_g1, beta_g2, gamma_g2, delta_g2, gamma_abc_g1 },
        beta_g1,
        delta_g1,
        a_query: all_points::<E::Config1>(sections.get(5)?)?,
        b_g1_query: all_points::<E::Config1>(sections.get(6)?)?,
        b_g2_query: all_points::<E::Config2>(sections.get(7)?)?,
        l_query: all_points::<E::Config1>(sections.get(8)?)?,
        h_query: all_points::<E::Config1>(sections.get(9)?)?,
    };
    if delta_g2 == E::G2Affine::generator() {
        return Err(Error::key(
            "this .zkey has no contribution yet: anyone could forge proofs under it",
        ));
    }
    let version = statement.version(&key.vk)?;
    check_verifying_key(statement, &key.vk, &version)?;
    let key = ProverKey { reduction: Reduction::Snarkjs, key };
    check_proving_key(statement, &key)?;
    Ok(key)
}

/// The sections of a file by type.
struct Sections<'a>(HashMap<u64, &'a [u8]>);

impl<'a> Sections<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self> {
        let mut rest = Reader(bytes);
        if rest.take(MAGIC.len())? != MAGIC {
            return Err(Error::key("this is not a .zkey file"));
        }
        let (version, count) = (rest.number(4)?, rest.number(4)?);
        if version != VERSION || count > MAX_SECTIONS {
            return Err(Error::key(format!(
                "a .zkey of version {version} with {count} sections is not known here"
            )));
        }
        let mut sections = HashMap::new();
        for _ in 0..count {
            let (kind, length) = (rest.number(4)?, rest.number(8)?);
            let content = rest.take(usize::try_from(length).unwrap_or(usize::MAX))?;
            if sections.insert(kind, content).is_some() {
                return Err(Error::key(format!("the .zkey has section {kind} twice")));
            }
        }
        Ok(Sections(sections))
    }

    fn get(&self, kind: u64) -> Result<Reader<'a>> {
        let content = self.0.get(&kind);
        content
            .map(|content| Reader(content))
            .ok_or_else(|| Error::key(format!("the .zkey has no section {kind}")))
    }
}

fn check_moduli<E: Curve>(header: &mut Reader) -> Result<()> {
    let mut check = |field: &str, wanted: BigUint| {
        let length = header.number(4)?;
        let modulus = header.take(usize::try_from(length).unwrap_or(usize::MAX))?;
        if BigUint::from_bytes_le(modulus) != wanted || length % 8 != 0 {
            let curve = E::NAME;
            return Err(Error::key(format!("this .zkey is not on {curve}: another {field}")));
        }
        Ok(())
    };
    check("base field", E::BaseField::MODULUS.into())?;
    check("scalar field", E::ScalarField::MODULUS.into())
}

fn check_counts<E: Curve>(statement: &Statement<E>, header: &mut Reader) -> Result<()> {
    let wanted = [
        ("variables", statement.shape.variables),
        ("public signals", statement.shape.publics),
        ("points in its domain", statement.domain(Reduction::Snarkjs)?.size()),
    ];
    for (what, wanted) in wanted {
        let found = header.number(4)?;
        if found != wanted as u64 {
            return Err(Error::key(format!(
                "this .zkey is of another circuit: it has {found} {what}, {} has {wanted}",
                statement.key_id()
            )));
        }
    }
    Ok(())
}

/// Compares every coefficient of A (0) and B (1); A has a row more for one and each public signal.
fn check_coefficients<E: Curve>(statement: &Statement<E>, mut section: Reader) -> Result<()> {
    let Statement { shape, .. } = statement;
    let another = |what: &str| {
        let key_id = statement.key_id();
        Err(Error::key(format!("this .zkey is of another circuit than {key_id}: {what}")))
    };
    let mut wanted = HashMap::new();
    for (number, row) in shape.rows.iter().enumerate() {
        for (matrix, terms) in [(0, &row.a), (1, &row.b)] {
            for (variable, coefficient) in terms {
                wanted.insert((matrix, number as u64, u64::from(*variable)), *coefficient);
            }
        }
    }
    for signal in 0..=shape.publics as u64 {
        wanted.insert((0, shape.rows.len() as u64 + signal, signal), E::ScalarField::ONE);
    }
    let count = section.number(4)?;
    if count != wanted.len() as u64 {
        return another(&format!("it has {count} coefficients, not {}", wanted.len()));
    }
    let factor = montgomery_factor::<E::ScalarField>().square();
    for _ in 0..count {
        let place = (section.number(4)?, section.number(4)?, section.number(4)?);
        let found = read_number::<E::ScalarField>(&mut section)?;
        if wanted.remove(&place).map(|coefficient| coefficient * factor) != Some(found) {
            let (matrix, row, variable) = place;
            let matrix = if matrix == 0 { "A" } else { "B" };
            return another(&format!("the coefficient of {matrix} at {row}, {variable} differs"));
        }
    }
    nothing_left(&section)
}

fn nothing_left(section: &Reader) -> Result<()> {
    if section.0.is_empty() {
        return Ok(());
    }
    Err(Error::key("a section of the .zkey is longer than it should be"))
}

/// R of the Montgomery form: 2 to the bits of all 64-bit words of an element.
fn montgomery_factor<F: PrimeField>() -> F {
    F::from(2u64).pow([64 * F::BigInt::NUM_LIMBS as u64])
}

/// A number below the modulus.
fn read_number<F: PrimeField>(from: &mut Reader) -> Result<F> {
    let number = BigUint::from_bytes_le(from.take(8 * F::BigInt::NUM_LIMBS)?);
    if number >= F::MODULUS.into() {
        return Err(Error::key("the .zkey has a number that is not below its modulus"));
    }
    Ok(F::from(number))
}

/// What takes a coordinate of `P` out of Montgomery form.
fn inverse_factor<P: SWCurveConfig>() -> Prime<P> {
    // R is a power of two and the modulus odd, so the inverse exists.
    montgomery_factor::<Prime<P>>().inverse().unwrap_or_default()
}

type Prime<P> = <<P as CurveConfig>::BaseField as Field>::BasePrimeField;

/// One point, its coordinates canonical; whether it is on the curve is checked with the whole key.
fn read_point<P: SWCurveConfig>(from: &mut Reader, factor: Prime<P>) -> Result<Affine<P>> {
    let mut coordinate = || -> Result<P::BaseField> {
        let parts = (0..P::BaseField::extension_degree())
            .map(|_| Ok(read_number::<Prime<P>>(from)? * factor))
            .collect::<Result<Vec<_>>>()?;
        P::BaseField::from_base_prime_field_elems(parts)
            .ok_or_else(|| Error::Internal("coordinates of another degree".into()))
    };
    let (x, y) = (coordinate()?, coordinate()?);
    if x.is_zero() && y.is_zero() {
        return Ok(Affine::zero());
    }
    Ok(Affine::new_unchecked(x, y))
}

fn one_point<P: SWCurveConfig>(from: &mut Reader) -> Result<Affine<P>> {
    read_point(from, inverse_factor::<P>())
}

fn all_points<P: SWCurveConfig>(mut section: Reader) -> Result<Vec<Affine<P>>> {
    let factor = inverse_factor::<P>();
    let mut points = Vec::new();
    while !section.0.is_empty() {
        points.push(read_point(&mut section, factor)?);
    }
    Ok(points)
}
