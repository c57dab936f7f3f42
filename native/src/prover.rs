//! The prover of one key: Groth16 with a table for each of the three multiplications.

use ark_ec::short_weierstrass::{Affine, Projective, SWCurveConfig};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{PrimeField, Zero};
use ark_groth16::{Groth16, Proof, ProvingKey};
use ark_std::rand::rngs::OsRng;

use crate::circuits::{self, Circuit};
use crate::curve::Curve;
use crate::domain::Domain;
use crate::error::{Error, Result};
use crate::key::Statement;
use crate::qap::{quotient_on_coset, CosetReduction};
use crate::r1cs::Assignment;
use crate::table::Table;
use crate::verifier::Verifier;

/// A table, and which variable each of its points belongs to: points at infinity are left out.
struct Query<P: SWCurveConfig> {
    table: Table<P>,
    variables: Vec<usize>,
}

impl<P: SWCurveConfig> Query<P> {
    fn new(points: &[Affine<P>]) -> Self {
        let (variables, points) = without_infinity(points);
        Query { table: Table::new(&points), variables }
    }

    fn apply(&self, z: &[P::ScalarField]) -> Projective<P> {
        let scalars: Vec<_> = self.variables.iter().map(|i| z[*i].into_bigint()).collect();
        self.table.msm(&scalars)
    }
}

fn without_infinity<A: AffineRepr>(points: &[A]) -> (Vec<usize>, Vec<A>) {
    points.iter().enumerate().filter(|(_, point)| !point.is_zero()).map(|(i, p)| (i, *p)).unzip()
}

/// The points that the three tables do not hold.
struct Constants<E: Curve> {
    alpha_g1: E::G1Affine,
    beta_g1: E::G1Affine,
    delta_g1: E::G1Affine,
    beta_g2: E::G2Affine,
    delta_g2: E::G2Affine,
}

/// The two random numbers that keep a proof from saying anything about the witness.
#[derive(Clone, Copy)]
pub struct Masks<F> {
    r: F,
    s: F,
}

impl<F: PrimeField> Masks<F> {
    /// Fresh ones for one proof, from the operating system.
    pub fn random() -> Self {
        Masks { r: F::rand(&mut OsRng), s: F::rand(&mut OsRng) }
    }
}

pub struct Prover<E: Curve> {
    circuit: Box<dyn Circuit<E::ScalarField>>,
    domain: Domain<E::ScalarField>,
    constants: Constants<E>,
    a: Query<E::Config1>,
    b: Query<E::Config2>,
    /// C = L·z + H·h + r·(B in G1)·z + ..., so one table holds all three.
    c: Table<E::Config1>,
    b_variables: Vec<usize>,
    verifier: Verifier<E>,
}

impl<E: Curve> Prover<E> {
    /// Builds the tables; the key must have been made or read for this statement.
    pub fn new(statement: Statement<E>, key: ProvingKey<E>) -> Result<Self> {
        let domain = statement.domain()?;
        let (b_variables, b_points) = without_infinity(&key.b_g1_query);
        let c_points = [key.l_query, key.h_query, b_points].concat();
        Ok(Prover {
            domain,
            a: Query::new(&key.a_query),
            b: Query::new(&key.b_g2_query),
            c: Table::new(&c_points),
            b_variables,
            constants: Constants {
                alpha_g1: key.vk.alpha_g1,
                beta_g1: key.beta_g1,
                delta_g1: key.delta_g1,
                beta_g2: key.vk.beta_g2,
                delta_g2: key.vk.delta_g2,
            },
            verifier: Verifier::new(statement.shape.publics, key.vk),
            circuit: statement.circuit,
        })
    }

    pub fn table_bytes(&self) -> usize {
        self.a.table.bytes() + self.b.table.bytes() + self.c.bytes()
    }

    /// Proves decimal inputs and checks the proof before handing it out.
    pub fn prove(&self, inputs: &[String]) -> Result<(Vec<E::ScalarField>, Proof<E>)> {
        let assignment = circuits::assign(self.circuit.as_ref(), inputs)?;
        let proof = self.prove_assignment(&assignment, Masks::random());
        let public = assignment.public_signals().to_vec();
        if !self.verifier.verify(&public, &proof) {
            // A true statement and a proof that fails: a damaged table or a machine that errs.
            return Err(Error::Internal("the finished proof does not verify".into()));
        }
        Ok((public, proof))
    }

    /// The proof of an assignment that satisfies the circuit.
    pub fn prove_assignment(
        &self,
        assignment: &Assignment<E::ScalarField>,
        masks: Masks<E::ScalarField>,
    ) -> Proof<E> {
        let z = &assignment.z;
        let Masks { r, s } = masks;
        let combine_c = || {
            let private = &z[assignment.publics + 1..];
            let mut scalars = Vec::with_capacity(self.c.len());
            scalars.extend(private.iter().map(|value| value.into_bigint()));
            scalars.extend(self.quotient(assignment).iter().map(|value| value.into_bigint()));
            scalars.extend(self.b_variables.iter().map(|i| (z[*i] * r).into_bigint()));
            self.c.msm(&scalars)
        };
        let (c, (b, a)) =
            rayon::join(combine_c, || rayon::join(|| self.b.apply(z), || self.a.apply(z)));
        let Constants { alpha_g1, beta_g1, delta_g1, beta_g2, delta_g2 } = self.constants;
        let a = a + alpha_g1 + delta_g1 * r;
        let b = b + beta_g2 + delta_g2 * s;
        // r·B holds r·s·delta, which cancels against the -r·s·delta of the definition.
        let c = c + a * s + beta_g1 * r;
        Proof { a: a.into_affine(), b: b.into_affine(), c: c.into_affine() }
    }

    fn quotient(&self, assignment: &Assignment<E::ScalarField>) -> Vec<E::ScalarField> {
        let (mut a, mut b) = (assignment.az.clone(), assignment.bz.clone());
        a.extend_from_slice(&assignment.z[..=assignment.publics]);
        a.resize(self.domain.size(), E::ScalarField::zero());
        b.resize(self.domain.size(), E::ScalarField::zero());
        quotient_on_coset(&self.domain, a, b)
    }
}

/// arkworks' own prover on the same key: slower, and the measure of ours.
pub fn prove_with_arkworks<E: Curve>(
    statement: &Statement<E>,
    key: &ProvingKey<E>,
    assignment: &Assignment<E::ScalarField>,
    masks: Masks<E::ScalarField>,
) -> Result<Proof<E>> {
    Groth16::<E, CosetReduction>::create_proof_with_reduction_and_matrices(
        key,
        masks.r,
        masks.s,
        &statement.shape.matrices(),
        statement.shape.publics + 1,
        statement.shape.rows.len(),
        &assignment.z,
    )
    .map_err(|error| Error::Internal(error.to_string()))
}
