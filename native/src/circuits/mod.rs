//! The catalogue of circuits. A new one is a file here and a line in [`find`].

mod addition;
mod merkle;
mod range;

use ark_ff::PrimeField;

use crate::error::{Error, Result};
use crate::field::parse_decimal;
use crate::hash::{Hash, HashField};
use crate::r1cs::{Assignment, Builder, Shape};

/// A statement that can be proved, over the scalar field `F`.
pub trait Circuit<F: PrimeField>: Send + Sync {
    /// The canonical name with size and hash instance, e.g. `merkle-20-poseidon`.
    fn id(&self) -> String;

    /// How many public signals a proof has.
    fn publics(&self) -> usize;

    /// The names of the values that the prover gives, in order.
    fn inputs(&self) -> Vec<String>;

    /// Random inputs that make a true statement: what a key is tried with.
    fn sample(&self) -> Vec<F>;

    /// Writes the constraints, computing all other values from `inputs`.
    fn synthesize(&self, builder: &mut Builder<F>, inputs: &[F]);
}

/// The circuit of a name (`merkle`, `range`, `addition`), a size and a hash.
pub fn find<F: HashField>(name: &str, size: usize, hash: Hash) -> Result<Box<dyn Circuit<F>>> {
    match name {
        "merkle" => Ok(Box::new(merkle::Merkle::new(size, hash)?)),
        "range" => Ok(Box::new(range::Range::new(size, hash)?)),
        "addition" => Ok(Box::new(addition::Addition::new(size, hash)?)),
        _ => {
            Err(Error::input(format!("circuit must be merkle, range or addition, not {name:.40?}")))
        }
    }
}

/// The circuit of an id such as `merkle-20-poseidon` or `addition-mimc`.
pub fn parse<F: HashField>(id: &str) -> Result<Box<dyn Circuit<F>>> {
    let wrong = || Error::input(format!("{id:.80?} is no circuit id such as merkle-20-poseidon"));
    let parts: Vec<&str> = id.split('-').collect();
    let circuit = match parts[..] {
        [name, hash] => find(name, 0, Hash::parse(hash)?)?,
        [name, size, hash] => find(name, size.parse().map_err(|_| wrong())?, Hash::parse(hash)?)?,
        _ => return Err(wrong()),
    };
    if circuit.id() == id {
        Ok(circuit)
    } else {
        Err(wrong())
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
    satisfying(circuit, &inputs)
}

/// The full assignment; an error if the inputs do not satisfy the circuit.
pub fn satisfying<F: PrimeField>(circuit: &dyn Circuit<F>, inputs: &[F]) -> Result<Assignment<F>> {
    let assignment = evaluate(circuit, inputs);
    match assignment.violated {
        Some(row) => Err(Error::Unsatisfied { circuit: circuit.id(), row }),
        None => Ok(assignment),
    }
}
