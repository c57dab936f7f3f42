//! Multi-scalar multiplication with tables of a key's points.
//!
//! The points of a proving key never change, so `2^(width·window)` times every point is stored once.
//! Then all windows of all scalars share one set of buckets (Brickell and others, "Fast
//! exponentiation with precomputation", EUROCRYPT '92, with Pippenger's buckets), which are filled
//! by affine additions that share one field inversion per pass (Montgomery's trick).

use ark_ec::short_weierstrass::{Affine, Projective, SWCurveConfig};
use ark_ec::{AdditiveGroup, AffineRepr, CurveGroup};
use ark_ff::{Field, PrimeField, Zero};
use rayon::prelude::*;

/// An affine point without a flag: (0, 0), which no curve here contains, stands for infinity.
///
/// Two field elements fill whole cache lines, where arkworks' flag would straddle them.
struct Point<P: SWCurveConfig> {
    x: P::BaseField,
    y: P::BaseField,
}

// Derived, these would ask the same of `P`, which is never a value.
impl<P: SWCurveConfig> Copy for Point<P> {}
impl<P: SWCurveConfig> Clone for Point<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: SWCurveConfig> Point<P> {
    const INFINITY: Self = Point { x: P::BaseField::ZERO, y: P::BaseField::ZERO };

    fn new(affine: &Affine<P>) -> Self {
        affine.xy().map_or(Self::INFINITY, |(x, y)| Point { x, y })
    }

    fn is_infinity(&self) -> bool {
        self.x.is_zero() && self.y.is_zero()
    }

    fn affine(&self) -> Affine<P> {
        if self.is_infinity() {
            Affine::zero()
        } else {
            Affine::new_unchecked(self.x, self.y)
        }
    }

    /// What `sum` divides by, or one where it does not divide.
    #[inline(always)]
    fn divisor(&self, other: &Self) -> P::BaseField {
        let run = other.x - self.x;
        if !run.is_zero() && !self.is_infinity() && !other.is_infinity() {
            return run;
        }
        if run.is_zero() && self.y == other.y && !self.y.is_zero() {
            return self.y.double();
        }
        P::BaseField::ONE
    }

    /// The sum, given the inverse of `divisor`.
    #[inline(always)]
    fn sum(&self, other: &Self, inverse: &P::BaseField) -> Self {
        if self.is_infinity() {
            return *other;
        }
        if other.is_infinity() {
            return *self;
        }
        let slope = if self.x != other.x {
            (other.y - self.y) * inverse
        } else if self.y == other.y && !self.y.is_zero() {
            let square = self.x.square();
            (square.double() + square + P::COEFF_A) * inverse
        } else {
            return Self::INFINITY;
        };
        let x = slope.square() - self.x - other.x;
        Point { x, y: slope * (self.x - x) - self.y }
    }
}

/// Adds up each of the consecutive runs of `points` whose lengths `runs` gives: on return run i is
/// the one point i, infinity for an empty run.
fn sum_runs<P: SWCurveConfig>(points: &mut Vec<Point<P>>, runs: &mut [u32]) {
    let mut inverses: Vec<P::BaseField> = Vec::with_capacity(points.len() / 2);
    let mut products: Vec<P::BaseField> = Vec::with_capacity(points.len() / 2);
    while runs.iter().any(|length| *length > 1) {
        inverses.clear();
        let mut at = 0;
        for length in runs.iter() {
            let length = *length as usize;
            let pairs = points[at..at + length].chunks_exact(2);
            inverses.extend(pairs.map(|pair| pair[0].divisor(&pair[1])));
            at += length;
        }
        invert_all(&mut inverses, &mut products);
        let mut inverse = inverses.iter();
        let (mut read, mut write) = (0, 0);
        for length in runs.iter_mut() {
            let end = read + *length as usize;
            while read + 1 < end {
                // `divisor` was taken of every pair in this same order.
                let Some(inverse) = inverse.next() else { break };
                points[write] = points[read].sum(&points[read + 1], inverse);
                (read, write) = (read + 2, write + 1);
            }
            if read < end {
                points[write] = points[read];
                (read, write) = (read + 1, write + 1);
            }
            *length = length.div_ceil(2);
        }
        points.truncate(write);
    }
    spread(points, runs);
}

/// Puts infinity where a run is empty.
fn spread<P: SWCurveConfig>(points: &mut Vec<Point<P>>, runs: &[u32]) {
    let mut from = points.len();
    points.resize(runs.len(), Point::INFINITY);
    for (to, length) in runs.iter().enumerate().rev() {
        points[to] = if *length == 0 {
            Point::INFINITY
        } else {
            from -= 1;
            points[from]
        };
    }
}

/// Inverts every element (none is zero); `products` is scratch space.
fn invert_all<F: Field>(elements: &mut [F], products: &mut Vec<F>) {
    products.clear();
    let mut product = F::ONE;
    for element in elements.iter() {
        products.push(product);
        product *= element;
    }
    let mut inverse = product.inverse().unwrap_or(F::ONE);
    for (element, before) in elements.iter_mut().zip(products.iter()).rev() {
        let inverted = inverse * before;
        inverse *= *element;
        *element = inverted;
    }
}

pub struct Table<P: SWCurveConfig> {
    /// Bits of a digit; digits run from -2^(width-1) to 2^(width-1).
    width: usize,
    windows: usize,
    count: usize,
    /// `points[window * count + i]` is `2^(width * window)` times base i.
    points: Vec<Point<P>>,
}

/// Buckets of one task; their points should fit a second-level cache.
const BUCKETS_PER_TASK: usize = 128;
/// Points that are doubled and normalised together while the table is built.
const BUILD_CHUNK: usize = 256;

impl<P: SWCurveConfig> Table<P> {
    /// The table of `bases`, with the digit width that makes a multiplication cheapest.
    pub fn new(bases: &[Affine<P>]) -> Self {
        Self::with_width(bases, best_width::<P>(bases.len()))
    }

    fn with_width(bases: &[Affine<P>], width: usize) -> Self {
        let windows = windows::<P>(width);
        let mut points: Vec<Point<P>> = Vec::with_capacity(bases.len() * windows);
        points.extend(bases.iter().map(Point::new));
        let mut current = bases.to_vec();
        for _ in 1..windows {
            current = current
                .par_chunks(BUILD_CHUNK)
                .flat_map_iter(|chunk| {
                    let raised: Vec<Projective<P>> = chunk
                        .iter()
                        .map(|point| (0..width).fold(point.into_group(), |p, _| p.double()))
                        .collect();
                    Projective::normalize_batch(&raised)
                })
                .collect();
            points.extend(current.iter().map(Point::new));
        }
        Table { width, windows, count: bases.len(), points }
    }

    /// How many bases the table has.
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The memory that the table takes.
    pub fn bytes(&self) -> usize {
        std::mem::size_of_val(self.points.as_slice())
    }

    /// The sum of `scalars[i]` times base i; there must be a scalar for every base.
    pub fn msm(&self, scalars: &[<P::ScalarField as PrimeField>::BigInt]) -> Projective<P> {
        assert_eq!(scalars.len(), self.count, "one scalar for each base");
        let sorted = self.sort_by_bucket(scalars);
        let buckets: Vec<Point<P>> = (0..sorted.buckets())
            .into_par_iter()
            .step_by(BUCKETS_PER_TASK)
            .flat_map_iter(|first| {
                self.fill(&sorted, first, BUCKETS_PER_TASK.min(sorted.buckets() - first))
            })
            .collect();
        weighted_sum(&buckets)
    }

    /// Splits the scalars into signed digits and lists, bucket by bucket, which points go in.
    fn sort_by_bucket(&self, scalars: &[<P::ScalarField as PrimeField>::BigInt]) -> Sorted {
        let buckets = 1usize << (self.width - 1);
        let mut digits = vec![0i32; self.count * self.windows];
        let mut starts = vec![0u32; buckets + 1];
        for (i, scalar) in scalars.iter().enumerate() {
            let mut carry = 0;
            for window in 0..self.windows {
                let raw = window_bits(scalar.as_ref(), window * self.width, self.width) + carry;
                carry = i32::from(raw as usize > buckets);
                let digit = raw - (carry << self.width);
                digits[window * self.count + i] = digit;
                if digit != 0 {
                    starts[digit.unsigned_abs() as usize] += 1;
                }
            }
        }
        for bucket in 1..starts.len() {
            starts[bucket] += starts[bucket - 1];
        }
        let mut next = starts.clone();
        let mut entries = vec![0u32; starts[buckets] as usize];
        for (place, digit) in digits.iter().enumerate() {
            if *digit != 0 {
                let next = &mut next[digit.unsigned_abs() as usize - 1];
                entries[*next as usize] = (place as u32) << 1 | u32::from(*digit < 0);
                *next += 1;
            }
        }
        Sorted { starts, entries }
    }

    fn fill(&self, sorted: &Sorted, first: usize, count: usize) -> Vec<Point<P>> {
        let starts = &sorted.starts[first..=first + count];
        let entries = &sorted.entries[starts[0] as usize..starts[count] as usize];
        let mut points: Vec<Point<P>> = entries
            .iter()
            .map(|entry| {
                let Point { x, y } = self.points[(entry >> 1) as usize];
                Point { x, y: if entry & 1 == 1 { -y } else { y } }
            })
            .collect();
        let mut runs: Vec<u32> = starts.windows(2).map(|ends| ends[1] - ends[0]).collect();
        sum_runs(&mut points, &mut runs);
        points
    }
}

/// The places in a table that each bucket adds up, sign in the lowest bit.
struct Sorted {
    /// `entries[starts[b]..starts[b + 1]]` belongs to bucket b, whose digit is b + 1.
    starts: Vec<u32>,
    entries: Vec<u32>,
}

impl Sorted {
    fn buckets(&self) -> usize {
        self.starts.len() - 1
    }
}

/// The sum of (b + 1) times bucket b.
///
/// The buckets are laid out as a square. With rows R and columns C summed up by cheap affine
/// additions, the result is side·Σ row·R + Σ (column + 1)·C, and only these few sums need running
/// sums in projective coordinates.
fn weighted_sum<P: SWCurveConfig>(buckets: &[Point<P>]) -> Projective<P> {
    let side = 1usize << (buckets.len().ilog2() / 2);
    let count = buckets.len() / side;
    let mut rows = buckets.to_vec();
    sum_runs(&mut rows, &mut vec![side as u32; count]);
    let mut columns: Vec<Point<P>> = (0..side)
        .flat_map(|column| (0..count).map(move |row| buckets[row * side + column]))
        .collect();
    sum_runs(&mut columns, &mut vec![count as u32; side]);
    let mut total = running_sum(&rows[1..]);
    for _ in 0..side.ilog2() {
        total.double_in_place();
    }
    total + running_sum(&columns)
}

/// The sum of (i + 1) times point i.
fn running_sum<P: SWCurveConfig>(points: &[Point<P>]) -> Projective<P> {
    let (mut sum, mut total) = (Projective::zero(), Projective::zero());
    for point in points.iter().rev() {
        sum += point.affine();
        total += sum;
    }
    total
}

/// Bits `from` to `from + width` of a little-endian number.
fn window_bits(limbs: &[u64], from: usize, width: usize) -> i32 {
    let (limb, shift) = (from / 64, from % 64);
    let mut bits = limbs.get(limb).map_or(0, |limb| limb >> shift);
    if shift + width > 64 {
        bits |= limbs.get(limb + 1).map_or(0, |limb| limb << (64 - shift));
    }
    (bits & ((1 << width) - 1)) as i32
}

/// Windows of a scalar, with one spare bit for the carry of the signed digits.
fn windows<P: SWCurveConfig>(width: usize) -> usize {
    (P::ScalarField::MODULUS_BIT_SIZE as usize + 1).div_ceil(width)
}

/// Weighs one addition for each digit against two for each bucket.
fn best_width<P: SWCurveConfig>(count: usize) -> usize {
    (4..=16).min_by_key(|width| count * windows::<P>(*width) + (2 << (width - 1))).unwrap_or(8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ark_ec::VariableBaseMSM;
    use ark_ff::{One, UniformRand};
    use ark_std::rand::{rngs::StdRng, RngCore, SeedableRng};
    use proptest::prelude::*;

    type Scalar<P> = <P as ark_ec::CurveConfig>::ScalarField;

    fn agree<P: SWCurveConfig>(bases: &[Affine<P>], scalars: &[Scalar<P>], width: usize) {
        let numbers: Vec<_> = scalars.iter().map(|scalar| scalar.into_bigint()).collect();
        let expected = Projective::<P>::msm(bases, scalars).unwrap();
        let table = Table::with_width(bases, width);
        assert_eq!(table.msm(&numbers), expected, "{} bases, width {width}", bases.len());
    }

    fn random<P: SWCurveConfig>(count: usize, rng: &mut StdRng) -> Vec<Affine<P>> {
        (0..count).map(|_| Projective::<P>::rand(rng).into_affine()).collect()
    }

    /// Scalars and bases that double, cancel and vanish in every stage.
    fn hostile<P: SWCurveConfig>(seed: u64, count: usize) -> (Vec<Affine<P>>, Vec<Scalar<P>>) {
        let rng = &mut StdRng::seed_from_u64(seed);
        let mut bases = random::<P>(count, rng);
        let mut scalars: Vec<Scalar<P>> = (0..count).map(|_| Scalar::<P>::rand(rng)).collect();
        for i in 1..count {
            let earlier = rng.next_u64() as usize % i;
            match rng.next_u32() % 8 {
                0 => (bases[i], scalars[i]) = (bases[earlier], scalars[earlier]),
                1 => (bases[i], scalars[i]) = (-bases[earlier], scalars[earlier]),
                2 => (bases[i], scalars[i]) = (bases[earlier], -scalars[earlier]),
                3 => bases[i] = Affine::zero(),
                4 => scalars[i] = Scalar::<P>::zero(),
                5 => scalars[i] = Scalar::<P>::one(),
                6 => scalars[i] = -Scalar::<P>::one(),
                _ => {}
            }
        }
        (bases, scalars)
    }

    fn check<P: SWCurveConfig>() {
        for width in [4, 5, 8, 11, 13, 16] {
            for count in [0, 1, 2, 3, 17, 300] {
                let (bases, scalars) = hostile::<P>((count * width) as u64, count);
                agree(&bases, &scalars, width);
            }
        }
    }

    #[test]
    fn bn254_g1_agrees_with_arkworks() {
        check::<ark_bn254::g1::Config>();
    }

    #[test]
    fn bn254_g2_agrees_with_arkworks() {
        check::<ark_bn254::g2::Config>();
    }

    #[test]
    fn bls12_381_g1_agrees_with_arkworks() {
        check::<ark_bls12_381::g1::Config>();
    }

    #[test]
    fn bls12_381_g2_agrees_with_arkworks() {
        check::<ark_bls12_381::g2::Config>();
    }

    #[test]
    fn digits_at_the_ends_of_the_field_agree() {
        type P = ark_bn254::g1::Config;
        let rng = &mut StdRng::seed_from_u64(1);
        let bases = random::<P>(260, rng);
        let scalars: Vec<Scalar<P>> = (0..260u64)
            .map(|i| {
                let power = Scalar::<P>::from(2u64).pow([i / 2]);
                if i % 2 == 0 {
                    power
                } else {
                    -power
                }
            })
            .collect();
        for width in 4..=16 {
            agree(&bases, &scalars, width);
        }
    }

    #[test]
    fn the_sum_of_one_base_many_times_agrees() {
        type P = ark_bls12_381::g1::Config;
        let base = random::<P>(1, &mut StdRng::seed_from_u64(2))[0];
        agree::<P>(&[base; 64], &[Scalar::<P>::from(3u64); 64], 8);
        agree::<P>(&[Affine::zero(); 5], &[Scalar::<P>::from(3u64); 5], 8);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn any_mixture_agrees(seed in any::<u64>(), count in 0usize..80, width in 4usize..=13) {
            let (bases, scalars) = hostile::<ark_bn254::g1::Config>(seed, count);
            agree(&bases, &scalars, width);
            let (bases, scalars) = hostile::<ark_bls12_381::g2::Config>(seed, count / 4);
            agree(&bases, &scalars, width);
        }
    }
}
