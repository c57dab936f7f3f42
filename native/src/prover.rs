//! The prover of one key: Groth16 with a table for each of the three multiplications.

use ark_ec::short_weierstrass::{Affine, Projective, SWCurveConfig};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{PrimeField, Zero};
use ark_groth16::{Groth16, Proof, ProvingKey, VerifyingKey};
use ark_std::rand::rngs::OsRng;

use crate::circuits::{self, Circuit};
use crate::curve::Curve;
use crate::domain::Domain;
use crate::error::{Error, Result};
use crate::key::{ProverKey, Reduction, Statement};
use crate::qap::{quotient_on_coset, CosetReduction};
use crate::r1cs::Assignment;
use crate::table::Table;
use crate::verifier::Verifier;

/// A table, and which variable each of its points belongs to: points at infinity are left out.
pub(crate) struct Query<P: SWCurveConfig> {
    pub table: Table<P>,
    pub variables: Vec<usize>,
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

/// What a prover holds beside the circuit: all that a file of tables keeps.
pub(crate) struct Tables<E: Curve> {
    pub reduction: Reduction,
    pub vk: VerifyingKey<E>,
    pub beta_g1: E::G1Affine,
    pub delta_g1: E::G1Affine,
    pub a: Query<E::Config1>,
    pub b: Query<E::Config2>,
    /// C = L·z + H·h + r·(B in G1)·z + ..., so one table holds all three.
    pub c: Table<E::Config1>,
    pub b_variables: Vec<usize>,
}

impl<E: Curve> Tables<E> {
    fn build(key: ProverKey<E>) -> Self {
        let ProverKey { reduction, key } = key;
        let (b_variables, b_points) = without_infinity(&key.b_g1_query);
        let c_points = [key.l_query, key.h_query, b_points].concat();
        Tables {
            reduction,
            a: Query::new(&key.a_query),
            b: Query::new(&key.b_g2_query),
            c: Table::new(&c_points),
            b_variables,
            vk: key.vk,
            beta_g1: key.beta_g1,
            delta_g1: key.delta_g1,
        }
    }
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
    tables: Tables<E>,
    verifier: Verifier<E>,
}

impl<E: Curve> Prover<E> {
    /// Builds the tables; the key must have been made or read for this statement.
    pub fn new(statement: Statement<E>, key: impl Into<ProverKey<E>>) -> Result<Self> {
        Self::with_tables(statement, Tables::build(key.into()))
    }

    pub(crate) fn with_tables(statement: Statement<E>, tables: Tables<E>) -> Result<Self> {
        Ok(Prover {
            domain: statement.domain(tables.reduction)?,
            verifier: Verifier::new(statement.shape.publics, tables.vk.clone()),
            tables,
            circuit: statement.circuit,
        })
    }

    pub(crate) fn tables(&self) -> &Tables<E> {
        &self.tables
    }

    /// The memory that the tables take, their own or of a file that others share.
    pub fn table_bytes(&self) -> usize {
        let Tables { a, b, c, .. } = &self.tables;
        a.table.bytes() + b.table.bytes() + c.bytes()
    }

    /// Proves random true statements and checks the proofs: whether the key is one of the circuit.
    pub fn try_out(&self, times: usize) -> Result<()> {
        for _ in 0..times {
            let assignment = circuits::satisfying(self.circuit.as_ref(), &self.circuit.sample())?;
            let proof = self.prove_assignment(&assignment, Masks::random());
            if !self.verifier.verify(assignment.public_signals(), &proof) {
                let circuit = self.circuit.id();
                return Err(Error::key(format!(
                    "a proof of {circuit} by this key does not verify: it is of another circuit"
                )));
            }
        }
        Ok(())
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
        let tables = &self.tables;
        let Masks { r, s } = masks;
        let combine_c = || {
            let private = &z[assignment.publics + 1..];
            let mut scalars = Vec::with_capacity(tables.c.len());
            scalars.extend(private.iter().map(|value| value.into_bigint()));
            scalars.extend(self.quotient(assignment).iter().map(|value| value.into_bigint()));
            scalars.extend(tables.b_variables.iter().map(|i| (z[*i] * r).into_bigint()));
            tables.c.msm(&scalars)
        };
        let (c, (b, a)) =
            rayon::join(combine_c, || rayon::join(|| tables.b.apply(z), || tables.a.apply(z)));
        let a = a + tables.vk.alpha_g1 + tables.delta_g1 * r;
        let b = b + tables.vk.beta_g2 + tables.vk.delta_g2 * s;
        // r·B holds r·s·delta, which cancels against the -r·s·delta of the definition.
        let c = c + a * s + tables.beta_g1 * r;
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
