//! Evaluation domains of 2^k or 3·2^k points with a Fourier transform on a coset.
//!
//! The size of the domain is the size of the key's H query, so the smaller of the two forms saves up
//! to a quarter of it. The transforms need no reordering: the inverse (decimation in frequency)
//! leaves the coefficients in digit-reversed order, where the forward one (decimation in time) takes
//! them up; the factors that move to the coset are stored in that order too.

use ark_ff::{batch_inversion, FftField, PrimeField};

pub struct Domain<F> {
    size: usize,
    /// The first point of the coset.
    offset: F,
    /// Powers of the group's generator and of its inverse, as many as the size.
    roots: Vec<F>,
    inverse_roots: Vec<F>,
    /// (coset offset)^i / size, at the digit-reversed place of coefficient i.
    to_coset: Vec<F>,
}

/// The smallest size of one of the two forms that is at least `points`, if the field has it.
fn smallest_size<F: FftField>(points: usize) -> Option<usize> {
    let power = points.max(2).checked_next_power_of_two()?;
    let three_quarters = power / 4 * 3;
    let adicity = power.trailing_zeros();
    if three_quarters >= points && power >= 8 && F::SMALL_SUBGROUP_BASE == Some(3) {
        return (adicity - 2 <= F::TWO_ADICITY).then_some(three_quarters);
    }
    (adicity <= F::TWO_ADICITY).then_some(power)
}

fn powers<F: FftField>(base: F, count: usize) -> Vec<F> {
    std::iter::successors(Some(F::one()), |last| Some(*last * base)).take(count).collect()
}

/// The digit reversal of the numbers below `size`: where decimation in frequency puts them.
fn reversal(size: usize) -> Vec<usize> {
    let mut order = vec![0];
    let mut stride = size;
    while stride > 1 {
        let radix = if stride % 3 == 0 { 3 } else { 2 };
        order = order
            .iter()
            .flat_map(|start| (0..radix).map(move |digit| start + digit * (size / stride)))
            .collect();
        stride /= radix;
    }
    order
}

impl<F: FftField> Domain<F> {
    /// The smallest domain of at least `points` points.
    pub fn new(points: usize) -> Option<Self> {
        let size = smallest_size::<F>(points)?;
        Self::with(size, F::get_root_of_unity(size as u64)?, F::GENERATOR)
    }

    fn with(size: usize, generator: F, offset: F) -> Option<Self> {
        let scale = F::from(size as u64).inverse()?;
        let offsets = powers(offset, size);
        Some(Domain {
            size,
            offset,
            roots: powers(generator, size),
            inverse_roots: powers(generator.inverse()?, size),
            to_coset: reversal(size).into_iter().map(|i| offsets[i] * scale).collect(),
        })
    }

    pub fn size(&self) -> usize {
        self.size
    }

    /// X^size - 1 at `point`.
    pub fn vanishing(&self, point: F) -> F {
        point.pow([self.size as u64]) - F::one()
    }

    /// The Lagrange polynomials of the domain at a point outside of it.
    pub fn lagrange(&self, point: F) -> Vec<F> {
        let mut distances: Vec<F> = self.roots.iter().map(|root| point - root).collect();
        batch_inversion(&mut distances);
        let factor = self.vanishing(point) / F::from(self.size as u64);
        distances.iter().zip(&self.roots).map(|(inverse, root)| factor * root * inverse).collect()
    }

    /// The Lagrange polynomials of the coset at a point outside of it.
    pub fn coset_lagrange(&self, point: F) -> Vec<F> {
        self.lagrange(point / self.offset)
    }

    /// X^size - 1 on the coset, where it is constant.
    pub fn vanishing_on_coset(&self) -> F {
        self.vanishing(self.offset)
    }

    /// Turns values on the domain into values of the same polynomial on the coset.
    pub fn move_to_coset(&self, values: &mut [F]) {
        assert_eq!(values.len(), self.size, "one value for each point of the domain");
        self.split(values);
        for (value, factor) in values.iter_mut().zip(&self.to_coset) {
            *value *= factor;
        }
        self.join(values);
    }

    /// Values in order to coefficients (times the size) in digit-reversed order.
    fn split(&self, values: &mut [F]) {
        let mut block = self.size;
        if block % 3 == 0 {
            let (third, w) = (block / 3, self.inverse_roots[block / 3]);
            for i in 0..third {
                let (a, b, c) = (values[i], values[i + third], values[i + 2 * third]);
                let turned = (b - c) * w;
                values[i] = a + b + c;
                values[i + third] = (a - c + turned) * self.inverse_roots[i];
                values[i + 2 * third] = (a - b - turned) * self.inverse_roots[2 * i];
            }
            block = third;
        }
        while block > 1 {
            let stride = self.size / block;
            for chunk in values.chunks_exact_mut(block) {
                let (low, high) = chunk.split_at_mut(block / 2);
                for (i, (a, b)) in low.iter_mut().zip(high).enumerate() {
                    let difference = *a - *b;
                    *a += *b;
                    *b = difference * self.inverse_roots[i * stride];
                }
            }
            block /= 2;
        }
    }

    /// Coefficients in digit-reversed order to values in order; undoes `split` up to the factor.
    fn join(&self, values: &mut [F]) {
        let two_part = if self.size % 3 == 0 { self.size / 3 } else { self.size };
        let mut block = 2;
        while block <= two_part {
            let stride = self.size / block;
            for chunk in values.chunks_exact_mut(block) {
                let (low, high) = chunk.split_at_mut(block / 2);
                for (i, (a, b)) in low.iter_mut().zip(high).enumerate() {
                    let turned = *b * self.roots[i * stride];
                    *b = *a - turned;
                    *a += turned;
                }
            }
            block *= 2;
        }
        if two_part < self.size {
            let w = self.roots[two_part];
            for i in 0..two_part {
                let a = values[i];
                let b = values[i + two_part] * self.roots[i];
                let c = values[i + 2 * two_part] * self.roots[2 * i];
                let turned = (b - c) * w;
                values[i] = a + b + c;
                values[i + two_part] = a - c + turned;
                values[i + 2 * two_part] = a - b - turned;
            }
        }
    }
}

impl<F: PrimeField> Domain<F> {
    /// The domain and coset of snarkjs' keys for at least `points` points: 2^k of them, and the
    /// coset of the odd powers of a root of order 2^(k+1).
    pub fn of_snarkjs(points: usize) -> Option<Self> {
        let size = points.max(2).checked_next_power_of_two()?;
        let bits = size.trailing_zeros() + 1;
        if bits > F::TWO_ADICITY {
            return None;
        }
        let mut root = snarkjs_root::<F>()?;
        for _ in bits..F::TWO_ADICITY {
            root.square_in_place();
        }
        Self::with(size, root.square(), root)
    }
}

/// The root of the largest two-power order: what snarkjs makes of the smallest non-residue.
fn snarkjs_root<F: PrimeField>() -> Option<F> {
    let non_residue = (2u64..100).map(F::from).find(|number| number.legendre().is_qnr())?;
    Some(non_residue.pow(F::TRACE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_ff::Field;
    use ark_std::rand::{rngs::StdRng, SeedableRng};

    fn evaluate<F: Field>(coefficients: &[F], point: F) -> F {
        coefficients.iter().rev().fold(F::zero(), |sum, c| sum * point + c)
    }

    fn check<F: FftField>(points: usize, size: usize) {
        transforms_match(&Domain::<F>::new(points).unwrap(), size);
    }

    fn transforms_match<F: FftField>(domain: &Domain<F>, size: usize) {
        let mut rng = StdRng::seed_from_u64(size as u64);
        assert_eq!(domain.size(), size);
        let coefficients: Vec<F> = (0..size).map(|_| F::rand(&mut rng)).collect();
        let mut values: Vec<F> = domain.roots.iter().map(|x| evaluate(&coefficients, *x)).collect();
        let point = F::rand(&mut rng);
        let interpolated: F = domain.lagrange(point).iter().zip(&values).map(|(l, v)| *l * v).sum();
        assert_eq!(interpolated, evaluate(&coefficients, point));
        domain.move_to_coset(&mut values);
        for (value, root) in values.iter().zip(&domain.roots) {
            assert_eq!(*value, evaluate(&coefficients, domain.offset * root));
        }
        let interpolated: F =
            domain.coset_lagrange(point).iter().zip(&values).map(|(l, v)| *l * v).sum();
        assert_eq!(interpolated, evaluate(&coefficients, point));
        for root in &domain.roots {
            assert!(domain.vanishing(*root).is_zero());
            assert_eq!(domain.vanishing(domain.offset * root), domain.vanishing_on_coset());
        }
        assert!(!domain.vanishing_on_coset().is_zero() && domain.roots[0].is_one());
    }

    #[test]
    fn transforms_match_plain_evaluation() {
        for (points, size) in [
            (1, 2),
            (2, 2),
            (3, 4),
            (5, 6),
            (7, 8),
            (9, 12),
            (13, 16),
            (17, 24),
            (90, 96),
            (100, 128),
        ] {
            check::<ark_bn254::Fr>(points, size);
            check::<ark_bls12_381::Fr>(points, size);
        }
    }

    #[test]
    fn snarkjs_has_only_powers_of_two_and_odd_roots() {
        for (points, size) in [(1, 2), (3, 4), (5, 8), (96, 128)] {
            let domain = Domain::<ark_bn254::Fr>::of_snarkjs(points).unwrap();
            transforms_match(&domain, size);
            assert_eq!(domain.offset.square(), domain.roots[1]);
            transforms_match(&Domain::<ark_bls12_381::Fr>::of_snarkjs(points).unwrap(), size);
        }
        assert!(Domain::<ark_bn254::Fr>::of_snarkjs(1 << 28).is_none());
    }

    #[test]
    fn a_domain_larger_than_the_field_allows_is_none() {
        assert!(smallest_size::<ark_bn254::Fr>((1 << 40) + 1).is_none());
        assert!(smallest_size::<ark_bn254::Fr>(usize::MAX).is_none());
    }
}
