//! Rank-1 constraint systems: one builder that records the constraints or computes a witness.
//!
//! A circuit is written once against [`Builder`]. In recording mode the builder collects the sparse
//! rows of A, B and C ([`Shape`]); in evaluating mode linear combinations carry only their values,
//! and the builder collects A·z and B·z on the way, which spares the prover two matrix products.

use ark_ff::{BigInteger, PrimeField};
use ark_relations::gr1cs::{
    ConstraintSynthesizer, ConstraintSystemRef, LinearCombination, SynthesisError, Variable,
};
use sha2::{Digest, Sha256};

use crate::field::to_bytes;

/// The index of the constant one in every assignment.
const ONE: u32 = 0;

/// A linear combination of variables: its value, and (while recording) its terms by variable.
#[derive(Clone, Debug)]
pub struct Lc<F> {
    value: F,
    constant: bool,
    terms: Vec<(u32, F)>,
}

impl<F: PrimeField> Lc<F> {
    pub fn value(&self) -> F {
        self.value
    }

    pub fn plus(&self, other: &Self) -> Self {
        self.plus_times(other, F::one())
    }

    pub fn minus(&self, other: &Self) -> Self {
        self.plus_times(other, -F::one())
    }

    pub fn times(&self, factor: F) -> Self {
        Lc {
            value: self.value * factor,
            constant: self.constant,
            terms: self.terms.iter().map(|(var, coeff)| (*var, *coeff * factor)).collect(),
        }
    }

    /// `self + factor * other`.
    pub fn plus_times(&self, other: &Self, factor: F) -> Self {
        Lc {
            value: self.value + other.value * factor,
            constant: self.constant && other.constant,
            terms: merge(&self.terms, &other.terms, factor),
        }
    }
}

/// Adds two lists of terms that are sorted by variable; terms that cancel disappear.
fn merge<F: PrimeField>(left: &[(u32, F)], right: &[(u32, F)], factor: F) -> Vec<(u32, F)> {
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    loop {
        let term = match (left.peek(), right.peek()) {
            (Some((a, x)), Some((b, y))) if a == b => {
                let sum = (*a, *x + *y * factor);
                left.next();
                right.next();
                sum
            }
            (Some((a, x)), Some((b, _))) if a < b => {
                left.next();
                (*a, *x)
            }
            (Some((a, x)), None) => {
                left.next();
                (*a, *x)
            }
            (_, Some((b, y))) => {
                right.next();
                (*b, *y * factor)
            }
            (None, None) => return merged,
        };
        if !term.1.is_zero() {
            merged.push(term);
        }
    }
}

/// One constraint: a·z times b·z equals c·z.
#[derive(Clone, Debug)]
pub struct Row<F> {
    pub a: Vec<(u32, F)>,
    pub b: Vec<(u32, F)>,
    pub c: Vec<(u32, F)>,
}

/// The constraints of a circuit. Variable 0 is one, 1 to `publics` are the public signals.
#[derive(Clone, Debug)]
pub struct Shape<F> {
    pub publics: usize,
    pub variables: usize,
    pub rows: Vec<Row<F>>,
}

/// A full assignment, and A·z and B·z of it.
#[derive(Clone, Debug)]
pub struct Assignment<F> {
    pub publics: usize,
    pub z: Vec<F>,
    pub az: Vec<F>,
    pub bz: Vec<F>,
    /// The first constraint that does not hold, if one does not.
    pub violated: Option<usize>,
}

impl<F: PrimeField> Assignment<F> {
    pub fn public_signals(&self) -> &[F] {
        &self.z[1..=self.publics]
    }
}

pub struct Builder<F> {
    recording: bool,
    publics: usize,
    z: Vec<F>,
    rows: Vec<Row<F>>,
    az: Vec<F>,
    bz: Vec<F>,
    violated: Option<usize>,
}

impl<F: PrimeField> Builder<F> {
    pub fn record(publics: usize) -> Self {
        Self::new(publics, true)
    }

    pub fn evaluate(publics: usize) -> Self {
        Self::new(publics, false)
    }

    fn new(publics: usize, recording: bool) -> Self {
        let mut z = vec![F::zero(); publics + 1];
        z[0] = F::one();
        Builder {
            recording,
            publics,
            z,
            rows: Vec::new(),
            az: Vec::new(),
            bz: Vec::new(),
            violated: None,
        }
    }

    fn terms(&self, var: u32, coefficient: F) -> Vec<(u32, F)> {
        if self.recording && !coefficient.is_zero() {
            vec![(var, coefficient)]
        } else {
            Vec::new()
        }
    }

    fn variable(&self, index: usize) -> Lc<F> {
        // A circuit of 2^32 variables would need terabytes of key long before.
        let terms = self.terms(index as u32, F::one());
        Lc { value: self.z[index], constant: false, terms }
    }

    pub fn constant(&self, value: F) -> Lc<F> {
        Lc { value, constant: true, terms: self.terms(ONE, value) }
    }

    /// A new private variable.
    pub fn witness(&mut self, value: F) -> Lc<F> {
        self.z.push(value);
        self.variable(self.z.len() - 1)
    }

    /// Public signal `index`, counted from 0, with a value that the prover chooses.
    pub fn public(&mut self, index: usize, value: F) -> Lc<F> {
        assert!(index < self.publics, "the circuit has no public signal {index}");
        self.z[index + 1] = value;
        self.variable(index + 1)
    }

    /// Makes public signal `index` equal to `lc`.
    pub fn expose(&mut self, index: usize, lc: &Lc<F>) {
        let public = self.public(index, lc.value);
        self.enforce_equal(lc, &public);
    }

    pub fn enforce(&mut self, a: &Lc<F>, b: &Lc<F>, c: &Lc<F>) {
        if self.recording {
            let (a, b, c) = (a.terms.clone(), b.terms.clone(), c.terms.clone());
            self.rows.push(Row { a, b, c });
            return;
        }
        if self.violated.is_none() && a.value * b.value != c.value {
            self.violated = Some(self.az.len());
        }
        self.az.push(a.value);
        self.bz.push(b.value);
    }

    pub fn enforce_equal(&mut self, left: &Lc<F>, right: &Lc<F>) {
        let one = self.constant(F::one());
        self.enforce(left, &one, right);
    }

    /// A new variable that equals `left * right`.
    pub fn product(&mut self, left: &Lc<F>, right: &Lc<F>) -> Lc<F> {
        let product = self.witness(left.value * right.value);
        self.enforce(left, right, &product);
        product
    }

    /// `word` to the power of five: 3 constraints, none for a constant.
    pub fn fifth_power(&mut self, word: &Lc<F>) -> Lc<F> {
        if word.constant {
            let value = word.value;
            return self.constant(value.square().square() * value);
        }
        let square = self.product(word, word);
        let fourth = self.product(&square, &square);
        // The dense factor stands right, so that the fourth power is no part of the costly G2 query.
        self.product(&fourth, word)
    }

    /// The `count` low bits of `lc`, lowest first; constrains that there are no higher ones.
    ///
    /// `2^count` must be at most the modulus for the decomposition to be unique.
    pub fn bits(&mut self, lc: &Lc<F>, count: usize) -> Vec<Lc<F>> {
        assert!(count < F::MODULUS_BIT_SIZE as usize, "{count} bits wrap around the modulus");
        let number = lc.value.into_bigint();
        let one = self.constant(F::one());
        let zero = self.constant(F::zero());
        let mut sum = zero.clone();
        let mut weight = F::one();
        let bits = (0..count)
            .map(|i| {
                let bit = self.witness(F::from(number.get_bit(i)));
                self.enforce(&bit, &bit.minus(&one), &zero);
                sum = sum.plus_times(&bit, weight);
                weight.double_in_place();
                bit
            })
            .collect();
        self.enforce_equal(&sum, lc);
        bits
    }

    pub fn into_shape(self) -> Shape<F> {
        Shape { publics: self.publics, variables: self.z.len(), rows: self.rows }
    }

    pub fn into_assignment(self) -> Assignment<F> {
        Assignment {
            publics: self.publics,
            z: self.z,
            az: self.az,
            bz: self.bz,
            violated: self.violated,
        }
    }
}

fn dot<F: PrimeField>(terms: &[(u32, F)], z: &[F]) -> F {
    terms.iter().map(|(var, coeff)| z[*var as usize] * coeff).sum()
}

impl<F: PrimeField> Shape<F> {
    /// The first row that `z` violates.
    pub fn violated_by(&self, z: &[F]) -> Option<usize> {
        self.rows.iter().position(|row| dot(&row.a, z) * dot(&row.b, z) != dot(&row.c, z))
    }

    /// The rows of A, B and C in the form that arkworks' own prover takes.
    pub fn matrices(&self) -> [Vec<Vec<(F, usize)>>; 3] {
        let side = |pick: fn(&Row<F>) -> &Vec<(u32, F)>| {
            let turn = |terms: &Vec<(u32, F)>| {
                terms.iter().map(|(var, coeff)| (*coeff, *var as usize)).collect()
            };
            self.rows.iter().map(|row| turn(pick(row))).collect()
        };
        [side(|row| &row.a), side(|row| &row.b), side(|row| &row.c)]
    }

    /// SHA-256 over the counts and every term, in order: the same circuit, the same digest.
    pub fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for count in [self.publics, self.variables, self.rows.len()] {
            hash.update((count as u64).to_le_bytes());
        }
        for row in &self.rows {
            for terms in [&row.a, &row.b, &row.c] {
                hash.update((terms.len() as u64).to_le_bytes());
                for (var, coeff) in terms {
                    hash.update(var.to_le_bytes());
                    hash.update(to_bytes(*coeff));
                }
            }
        }
        hash.finalize().into()
    }
}

/// Lets arkworks' generator read the recorded constraints.
impl<F: PrimeField> ConstraintSynthesizer<F> for &Shape<F> {
    fn generate_constraints(self, system: ConstraintSystemRef<F>) -> Result<(), SynthesisError> {
        let mut variables = vec![Variable::One];
        for index in 1..self.variables {
            variables.push(if index <= self.publics {
                system.new_input_variable(|| Ok(F::zero()))?
            } else {
                system.new_witness_variable(|| Ok(F::zero()))?
            });
        }
        let combine = |terms: &[(u32, F)]| {
            LinearCombination(
                terms.iter().map(|(var, coeff)| (*coeff, variables[*var as usize])).collect(),
            )
        };
        for row in &self.rows {
            system.enforce_r1cs_constraint(
                || combine(&row.a),
                || combine(&row.b),
                || combine(&row.c),
            )?;
        }
        Ok(())
    }
}
