//! The constraints of a circuit as a `.r1cs` file, which is what a ceremony with snarkjs starts from.
//!
//! The format is iden3's (r1cs_bin_format): magic and version, then sections of a type (u32), a
//! length (u64) and content, all little-endian. Wire 0 is one, the public signals follow as outputs.

use ark_ff::{BigInteger, PrimeField};

use crate::r1cs::Shape;

const MAGIC: &[u8; 4] = b"r1cs";
const VERSION: u32 = 1;
const HEADER: u32 = 1;
const CONSTRAINTS: u32 = 2;
const LABELS: u32 = 3;

/// The file of `shape`.
pub fn write<F: PrimeField>(shape: &Shape<F>) -> Vec<u8> {
    let mut file = MAGIC.to_vec();
    file.extend(VERSION.to_le_bytes());
    let sections =
        [(HEADER, header(shape)), (CONSTRAINTS, constraints(shape)), (LABELS, labels(shape))];
    file.extend((sections.len() as u32).to_le_bytes());
    for (kind, content) in sections {
        file.extend(kind.to_le_bytes());
        file.extend((content.len() as u64).to_le_bytes());
        file.extend(content);
    }
    file
}

fn header<F: PrimeField>(shape: &Shape<F>) -> Vec<u8> {
    let modulus = F::MODULUS.to_bytes_le();
    let mut content = (modulus.len() as u32).to_le_bytes().to_vec();
    content.extend(modulus);
    let (public_inputs, private_inputs) = (0u32, 0u32);
    for count in [shape.variables as u32, shape.publics as u32, public_inputs, private_inputs] {
        content.extend(count.to_le_bytes());
    }
    content.extend((shape.variables as u64).to_le_bytes());
    content.extend((shape.rows.len() as u32).to_le_bytes());
    content
}

fn constraints<F: PrimeField>(shape: &Shape<F>) -> Vec<u8> {
    let mut content = Vec::new();
    for row in &shape.rows {
        for terms in [&row.a, &row.b, &row.c] {
            content.extend((terms.len() as u32).to_le_bytes());
            for (variable, coefficient) in terms {
                content.extend(variable.to_le_bytes());
                content.extend(coefficient.into_bigint().to_bytes_le());
            }
        }
    }
    content
}

/// Every wire is its own label.
fn labels<F: PrimeField>(shape: &Shape<F>) -> Vec<u8> {
    (0..shape.variables as u64).flat_map(u64::to_le_bytes).collect()
}
