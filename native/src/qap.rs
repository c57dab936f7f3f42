//! The reduction of constraints to polynomials that our keys are made with.
//!
//! It differs from arkworks' default in two ways that a verifier cannot see: the domain may have
//! 3·2^k points, and the quotient H is committed to by its values on a coset instead of its
//! coefficients, so that the prover needs no last inverse transform. As an `R1CSToQAP` it works with
//! arkworks' own generator and prover, against which ours is tested.

use ark_ff::PrimeField;
use ark_groth16::r1cs_to_qap::{evaluate_constraint, R1CSToQAP};
use ark_poly::EvaluationDomain;
use ark_relations::gr1cs::{ConstraintSystemRef, SynthesisError, R1CS_PREDICATE_LABEL};
use ark_relations::utils::matrix::Matrix;

use crate::domain::Domain;

pub struct CosetReduction;

type QapInstance<F> = (Vec<F>, Vec<F>, Vec<F>, F, usize, usize);

fn domain<F: PrimeField>(points: usize) -> Result<Domain<F>, SynthesisError> {
    Domain::new(points).ok_or(SynthesisError::PolynomialDegreeTooLarge)
}

/// (a·b - c) on the coset for values on the domain; h is that over the vanishing constant, which
/// the key's H query already contains.
pub fn quotient_on_coset<F: PrimeField>(
    domain: &Domain<F>,
    mut a: Vec<F>,
    mut b: Vec<F>,
) -> Vec<F> {
    let mut c: Vec<F> = a.iter().zip(&b).map(|(a, b)| *a * b).collect();
    rayon::join(
        || domain.move_to_coset(&mut a),
        || rayon::join(|| domain.move_to_coset(&mut b), || domain.move_to_coset(&mut c)),
    );
    for ((a, b), c) in a.iter_mut().zip(&b).zip(&c) {
        *a = *a * b - c;
    }
    a
}

impl R1CSToQAP for CosetReduction {
    fn instance_map_with_evaluation<F: PrimeField, D: EvaluationDomain<F>>(
        system: ConstraintSystemRef<F>,
        point: &F,
    ) -> Result<QapInstance<F>, SynthesisError> {
        let matrices = system.to_matrices()?;
        let matrices = &matrices[R1CS_PREDICATE_LABEL];
        let (inputs, rows) = (system.num_instance_variables(), system.num_constraints());
        let variables = inputs + system.num_witness_variables();
        let domain = domain::<F>(rows + inputs)?;
        let lagrange = domain.lagrange(*point);
        let column_sums = |matrix: &Matrix<F>| {
            let mut sums = vec![F::zero(); variables];
            for (row, weight) in matrix.iter().zip(&lagrange) {
                for (coefficient, variable) in row {
                    sums[*variable] += *weight * coefficient;
                }
            }
            sums
        };
        let mut a = column_sums(&matrices[0]);
        // One more row `input * 0 = 0` for each input makes the inputs' polynomials independent.
        for (sum, weight) in a.iter_mut().zip(&lagrange[rows..rows + inputs]) {
            *sum += weight;
        }
        let (b, c) = (column_sums(&matrices[1]), column_sums(&matrices[2]));
        Ok((a, b, c, domain.vanishing(*point), variables - 1, domain.size()))
    }

    fn witness_map_from_matrices<F: PrimeField, D: EvaluationDomain<F>>(
        matrices: &[Matrix<F>],
        inputs: usize,
        rows: usize,
        assignment: &[F],
    ) -> Result<Vec<F>, SynthesisError> {
        let domain = domain::<F>(rows + inputs)?;
        let product = |matrix: &Matrix<F>| {
            let mut values: Vec<F> =
                matrix.iter().map(|row| evaluate_constraint(row, assignment)).collect();
            values.resize(domain.size(), F::zero());
            values
        };
        let (mut a, b) = (product(&matrices[0]), product(&matrices[1]));
        a[rows..rows + inputs].copy_from_slice(&assignment[..inputs]);
        Ok(quotient_on_coset(&domain, a, b))
    }

    fn h_query_scalars<F: PrimeField, D: EvaluationDomain<F>>(
        max_power: usize,
        point: F,
        vanishing: F,
        delta_inverse: F,
    ) -> Result<Vec<F>, SynthesisError> {
        let domain = domain::<F>(max_power + 1)?;
        let factor = vanishing * delta_inverse / domain.vanishing_on_coset();
        Ok(domain.coset_lagrange(point).into_iter().map(|value| value * factor).collect())
    }
}
