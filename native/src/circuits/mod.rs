//! The catalogue of circuits. A new one is a file here and a line in [`find`].

mod addition;
mod merkle;
mod range;

use ark_ff::PrimeField;

use crate::error::{Error, Result};
use crate::field::parse_decimal;
use crate::poseidon::PoseidonField;
use crate::r1cs::{Assignment, Builder, Shape};

/// A statement that can be proved, over the scalar field `F`.
pub trait Circuit<F: PrimeField>: Send + Sync {
    /// The canonical name with size and hash instance, e.g. `merkle-20-poseidon`.
    fn id(&self) -> String;

    /// How many public signals a proof has.
    fn publics(&self) -> usize;

    /// The names of the values that the prover gives, in order.
    fn inputs(&self) -> Vec<String>;

    /// Writes the constraints, computing all other values from `inputs`.
    fn synthesize(&self, builder: &mut Builder<F>, inputs: &[F]);
}

/// The circuit of a name (`merkle`, `range`, `addition`) and a size.
pub fn find<F: PoseidonField>(name: &str, size: usize) -> Result<Box<dyn Circuit<F>>> {
    match name {
        "merkle" => Ok(Box::new(merkle::Merkle::new(size)?)),
        "range" => Ok(Box::new(range::Range::new(size)?)),
        "addition" => Ok(Box::new(addition::Addition::new(size)?)),
        _ => {
            Err(Error::input(format!("circuit must be merkle, range or addition, not {name:.40?}")))
        }
    }
}

fn check_size(circuit: &str, what: &str, size: usize, allowed: [usize; 2]) -> Result<usize> {
    let [low, high] = allowed;
    if (low..=high).contains(&size) {
        return Ok(size);
    }
    Err(Error::input(format!("the {what} of {circuit} must be from {low} to {high}, not {size}")))
}

/// Records the constraints of a circuit.
pub fn shape<F: PrimeField>(circuit: &dyn Circuit<F>) -> Shape<F> {
    let mut builder = Builder::record(circuit.publics());
    let zeros = vec![F::zero(); circuit.inputs().len()];
    circuit.synthesize(&mut builder, &zeros);
    builder.into_shape()
}

/// Computes every variable from the inputs, whether or not the constraints hold.
pub fn evaluate<F: PrimeField>(circuit: &dyn Circuit<F>, inputs: &[F]) -> Assignment<F> {
    let mut builder = Builder::evaluate(circuit.publics());
    circuit.synthesize(&mut builder, inputs);
    builder.into_assignment()
}

/// The full assignment for decimal inputs; an error if they do not satisfy the circuit.
pub fn assign<F: PrimeField>(circuit: &dyn Circuit<F>, inputs: &[String]) -> Result<Assignment<F>> {
    let names = circuit.inputs();
    if names.len() != inputs.len() {
        let (wanted, given) = (names.len(), inputs.len());
        return Err(Error::input(format!("inputs must have {wanted} entries, not {given}")));
    }
    let inputs: Vec<F> = names
        .iter()
        .zip(inputs)
        .map(|(name, text)| parse_decimal(name, text))
        .collect::<Result<_>>()?;
    let assignment = evaluate(circuit, &inputs);
    match assignment.violated {
        Some(row) => Err(Error::Unsatisfied { circuit: circuit.id(), row }),
        None => Ok(assignment),
    }
}
