//! Multi-scalar multiplication with tables of a key's points.
//!
//! The points of a proving key never change, so `2^(width·window)` times every point is stored once.
//! Then all windows of all scalars share one set of buckets (Brickell and others, "Fast
//! exponentiation with precomputation", EUROCRYPT '92, with Pippenger's buckets), which are filled
//! by affine additions that share one field inversion per pass (Montgomery's trick).

use ark_ec::short_weierstrass::{Affine, Projective, SWCurveConfig};
use ark_ec::{AdditiveGroup, AffineRepr, CurveGroup};
use ark_ff::{PrimeField, Zero};
use rayon::prelude::*;

use crate::sums::{Point, Scratch};
use crate::table_file::MappedPoints;

pub struct Table<P: SWCurveConfig> {
    /// Bits of a digit; digits run from -2^(width-1) to 2^(width-1).
    width: usize,
    windows: usize,
    count: usize,
    /// `points[window * count + i]` is `2^(width * window)` times base i.
    points: Points<P>,
}

/// The points of a table: in memory, or in a file that is mapped into it.
enum Points<P: SWCurveConfig> {
    Owned(Vec<Point<P>>),
    Mapped(MappedPoints<P>),
}

/// Buckets of one task; their points should fit a second-level cache.
const BUCKETS_PER_TASK: usize = 256;
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
        Table { width, windows, count: bases.len(), points: Points::Owned(points) }
    }

    /// A table whose points are in a file; None where their number does not fit.
    pub(crate) fn mapped(width: usize, count: usize, points: MappedPoints<P>) -> Option<Self> {
        let windows = (4..=16).contains(&width).then(|| windows::<P>(width))?;
        let fits = count.checked_mul(windows) == Some(points.as_slice().len());
        fits.then_some(Table { width, windows, count, points: Points::Mapped(points) })
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// All points, window by window.
    pub(crate) fn points(&self) -> &[Point<P>] {
        match &self.points {
            Points::Owned(points) => points,
            Points::Mapped(points) => points.as_slice(),
        }
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
        std::mem::size_of_val(self.points())
    }

    /// The sum of `scalars[i]` times base i; there must be a scalar for every base.
    pub fn msm(&self, scalars: &[<P::ScalarField as PrimeField>::BigInt]) -> Projective<P> {
        assert_eq!(scalars.len(), self.count, "one scalar for each base");
        let sorted = self.sort_by_bucket(scalars);
        let mut buckets = vec![Point::INFINITY; 1 << (self.width - 1)];
        buckets.par_chunks_mut(BUCKETS_PER_TASK).enumerate().for_each_init(
            Scratch::new,
            |scratch, (task, buckets)| {
                self.gather(&sorted, task * BUCKETS_PER_TASK, buckets.len(), scratch);
                scratch.sum_runs(buckets);
            },
        );
        weighted_sum(&buckets)
    }

    /// Splits the scalars into signed digits and lists, bucket by bucket, which points go in: first
    /// those to add, then those to subtract, which spares the processor wrong guesses.
    fn sort_by_bucket(&self, scalars: &[<P::ScalarField as PrimeField>::BigInt]) -> Sorted {
        let buckets = 1usize << (self.width - 1);
        let mut digits = vec![0i32; self.count * self.windows];
        let mut starts = vec![0u32; 2 * buckets + 1];
        for (i, scalar) in scalars.iter().enumerate() {
            let mut carry = 0;
            for window in 0..self.windows {
                let raw = window_bits(scalar.as_ref(), window * self.width, self.width) + carry;
                carry = i32::from(raw as usize > buckets);
                let digit = raw - (carry << self.width);
                digits[window * self.count + i] = digit;
                if digit != 0 {
                    starts[half_bucket(digit) + 1] += 1;
                }
            }
        }
        for half in 1..starts.len() {
            starts[half] += starts[half - 1];
        }
        let mut next = starts.clone();
        let mut places = vec![0u32; starts[2 * buckets] as usize];
        for (place, digit) in digits.iter().enumerate() {
            if *digit != 0 {
                let next = &mut next[half_bucket(*digit)];
                places[*next as usize] = place as u32;
                *next += 1;
            }
        }
        Sorted { starts, places }
    }

    /// Copies the points of some buckets to the scratch space, one run for each bucket.
    fn gather(&self, sorted: &Sorted, first: usize, count: usize, scratch: &mut Scratch<P>) {
        let points = self.points();
        scratch.points.clear();
        scratch.runs.clear();
        for bucket in first..first + count {
            let before = scratch.points.len();
            let (added, subtracted) = sorted.bucket(bucket);
            scratch.points.extend(added.iter().map(|place| points[*place as usize]));
            scratch.points.extend(subtracted.iter().map(|place| {
                let Point { x, y } = points[*place as usize];
                Point { x, y: -y }
            }));
            scratch.runs.push((scratch.points.len() - before) as u32);
        }
    }
}

/// The list that a digit's point goes to: bucket |digit| - 1, in it the first for adding.
fn half_bucket(digit: i32) -> usize {
    2 * (digit.unsigned_abs() as usize - 1) + usize::from(digit < 0)
}

/// The places in a table that each bucket adds up.
struct Sorted {
    /// Half bucket h, which is `half_bucket` of its digits, has the places from start h to h + 1.
    starts: Vec<u32>,
    places: Vec<u32>,
}

impl Sorted {
    /// The places to add, and those to subtract.
    fn bucket(&self, bucket: usize) -> (&[u32], &[u32]) {
        let [start, middle, end] = [0, 1, 2].map(|i| self.starts[2 * bucket + i] as usize);
        (&self.places[start..middle], &self.places[middle..end])
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
    let mut scratch = Scratch::new();
    let mut rows = vec![Point::INFINITY; count];
    scratch.points.extend_from_slice(buckets);
    scratch.runs.resize(count, side as u32);
    scratch.sum_runs(&mut rows);
    let mut columns = vec![Point::INFINITY; side];
    scratch.points.clear();
    scratch.points.extend((0..side).flat_map(|column| buckets[column..].iter().step_by(side)));
    scratch.runs.clear();
    scratch.runs.resize(side, count as u32);
    scratch.sum_runs(&mut columns);
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
    use ark_ff::{Field, One, UniformRand};
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
