//! Sums of many short runs of points: affine additions that share one field inversion per pass
//! (Montgomery's trick).

use ark_ec::short_weierstrass::{Affine, SWCurveConfig};
use ark_ec::{AdditiveGroup, AffineRepr, CurveGroup};
use ark_ff::{Field, Zero};

/// An affine point without a flag: (0, 0), which no curve here contains, stands for infinity.
///
/// Two field elements fill whole cache lines, where arkworks' flag would straddle them.
pub(crate) struct Point<P: SWCurveConfig> {
    pub x: P::BaseField,
    pub y: P::BaseField,
}

// Derived, these would ask the same of `P`, which is never a value.
impl<P: SWCurveConfig> Copy for Point<P> {}
impl<P: SWCurveConfig> Clone for Point<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: SWCurveConfig> Point<P> {
    pub const INFINITY: Self = Point { x: P::BaseField::ZERO, y: P::BaseField::ZERO };

    pub fn new(affine: &Affine<P>) -> Self {
        affine.xy().map_or(Self::INFINITY, |(x, y)| Point { x, y })
    }

    fn is_infinity(&self) -> bool {
        self.x.is_zero() && self.y.is_zero()
    }

    pub fn affine(&self) -> Affine<P> {
        if self.is_infinity() {
            Affine::zero()
        } else {
            Affine::new_unchecked(self.x, self.y)
        }
    }

    /// The sum of two finite points with different x, given the inverse of the difference.
    #[inline(always)]
    fn sum(&self, other: &Self, inverse: &P::BaseField) -> Self {
        let mut slope = other.y;
        slope -= &self.y;
        slope *= inverse;
        let mut x = slope;
        x.square_in_place();
        x -= &self.x;
        x -= &other.x;
        let mut y = self.x;
        y -= &x;
        y *= &slope;
        y -= &self.y;
        Point { x, y }
    }

    /// Whether `sum` is not defined for the two points.
    #[inline(always)]
    fn is_special(&self, other: &Self, run: &P::BaseField) -> bool {
        run.is_zero() || self.x.is_zero() || other.x.is_zero()
    }

    /// The sum of any two points, one inversion each.
    #[cold]
    fn sum_any(&self, other: &Self) -> Self {
        let sum = self.affine() + other.affine();
        Self::new(&sum.into_affine())
    }
}

/// Memory that is used again and again while points are added up.
pub(crate) struct Scratch<P: SWCurveConfig> {
    pub points: Vec<Point<P>>,
    pub runs: Vec<u32>,
    inverses: Vec<P::BaseField>,
    products: Vec<P::BaseField>,
    /// Which pairs of a pass need `sum_any`: next to none on real input.
    special: Vec<u32>,
}

impl<P: SWCurveConfig> Scratch<P> {
    pub fn new() -> Self {
        Scratch {
            points: Vec::new(),
            runs: Vec::new(),
            inverses: Vec::new(),
            products: Vec::new(),
            special: Vec::new(),
        }
    }

    /// Adds up each of the consecutive runs of `points` whose lengths `runs` gives; `sums` gets one
    /// point for each run, infinity for an empty one.
    pub fn sum_runs(&mut self, sums: &mut [Point<P>]) {
        while self.runs.iter().any(|length| *length > 1) {
            self.take_differences();
            invert_all(&mut self.inverses, &mut self.products);
            self.add_pairs();
        }
        let mut points = self.points.iter();
        for (sum, length) in sums.iter_mut().zip(&self.runs) {
            let point = if *length == 0 { None } else { points.next() };
            *sum = point.copied().unwrap_or(Point::INFINITY);
        }
    }

    /// What the sum of each pair of neighbours divides by, or one where it does not divide.
    fn take_differences(&mut self) {
        self.inverses.clear();
        self.special.clear();
        let mut at = 0;
        for length in &self.runs {
            let length = *length as usize;
            for pair in self.points[at..at + length].chunks_exact(2) {
                let run = pair[1].x - pair[0].x;
                if pair[0].is_special(&pair[1], &run) {
                    self.special.push(self.inverses.len() as u32);
                    self.inverses.push(P::BaseField::ONE);
                } else {
                    self.inverses.push(run);
                }
            }
            at += length;
        }
    }

    /// Replaces each pair of neighbours by its sum; the odd one of a run stays.
    fn add_pairs(&mut self) {
        let points = &mut self.points;
        let mut special = self.special.iter().map(|pair| *pair as usize).peekable();
        let (mut read, mut write, mut pair) = (0, 0, 0);
        for length in &mut self.runs {
            let pairs = *length as usize / 2;
            for inverse in &self.inverses[pair..pair + pairs] {
                let (left, right) = (&points[read], &points[read + 1]);
                points[write] = if special.next_if_eq(&pair).is_some() {
                    left.sum_any(right)
                } else {
                    left.sum(right, inverse)
                };
                (read, write, pair) = (read + 2, write + 1, pair + 1);
            }
            if *length % 2 == 1 {
                points[write] = points[read];
                (read, write) = (read + 1, write + 1);
            }
            *length = length.div_ceil(2);
        }
        points.truncate(write);
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
    for (element, before) in elements.iter_mut().zip(products.iter_mut()).rev() {
        *before *= &inverse;
        inverse *= &*element;
        *element = *before;
    }
}
