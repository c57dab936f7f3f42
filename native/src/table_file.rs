//! A prover's tables as a file that any number of processes map into their memory.
//!
//! Building tables takes seconds and holding them takes tens of megabytes, so one process builds
//! and all others of a node share its pages. The file holds points as they lie in memory, so it is
//! for the machine and the build that made it: samples show whether the layout is still the same.
//!
//! Magic (8 bytes), length of the header (u64), header, zeros up to a multiple of 64, the points of
//! tables A, B and C, SHA-256 of all before. Header, in arkworks' encoding: key id, key version,
//! samples, reduction, verifying key, beta and delta in G1, then for each table width, count and
//! the variables of its points.
//!
//! A mapped file must never be cut short while it is in use: write another beside it and rename.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::marker::PhantomData;
use std::path::Path;
use std::sync::Arc;

use ark_ec::short_weierstrass::{Affine, SWCurveConfig};
use ark_ff::{Field, PrimeField};
use ark_groth16::VerifyingKey;
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use memmap2::Mmap;
use sha2::{Digest, Sha256};

use crate::curve::Curve;
use crate::error::{self, Error};
use crate::key::{check_verifying_key, Reader, Reduction, Statement};
use crate::prover::{Prover, Query, Tables};
use crate::sums::Point;
use crate::table::Table;

const MAGIC: &[u8; 8] = b"MUSTERTB";
const ALIGNMENT: usize = 64;
const DIGEST_BYTES: usize = 32;

/// Points in a mapped file.
pub(crate) struct MappedPoints<P: SWCurveConfig> {
    file: Arc<Mmap>,
    /// In bytes; a multiple of `ALIGNMENT`.
    offset: usize,
    /// In points.
    length: usize,
    kind: PhantomData<P>,
}

impl<P: SWCurveConfig> MappedPoints<P> {
    fn new(file: &Arc<Mmap>, offset: usize, length: usize) -> Option<Self> {
        let end = length.checked_mul(size_of::<Point<P>>())?.checked_add(offset)?;
        let sound = offset % ALIGNMENT == 0 && end <= file.len() && is_plain::<P>();
        sound.then(|| MappedPoints { file: file.clone(), offset, length, kind: PhantomData })
    }

    pub fn as_slice(&self) -> &[Point<P>] {
        let bytes = &self.file[self.offset..];
        // SAFETY: `new` checked that the points lie within the file, which is mapped at the start
        // of a page, so that they are aligned; that a point is nothing but 64-bit words
        // (`is_plain`), for which any bytes are a value. The file is never written again.
        unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), self.length) }
    }
}

/// Whether a point is nothing but the 64-bit words of its coordinates, without any padding.
fn is_plain<P: SWCurveConfig>() -> bool {
    type Words<F> = <<F as Field>::BasePrimeField as PrimeField>::BigInt;
    let words = 2 * P::BaseField::extension_degree() as usize * size_of::<Words<P::BaseField>>();
    size_of::<Point<P>>() == words && align_of::<Point<P>>() <= ALIGNMENT
}

fn bytes_of<P: SWCurveConfig>(points: &[Point<P>]) -> &[u8] {
    assert!(is_plain::<P>(), "points have padding");
    // SAFETY: the points are plain words, so each of their bytes is initialised.
    unsafe { std::slice::from_raw_parts(points.as_ptr().cast(), size_of_val(points)) }
}

/// A point as it lies in memory here: another layout of the same point is another file's.
fn sample<P: SWCurveConfig>() -> Vec<u8> {
    bytes_of::<P>(&[Point::new(&Affine::new_unchecked(P::GENERATOR.x, P::GENERATOR.y))]).to_vec()
}

/// How the points of a table lie in the file.
#[derive(CanonicalSerialize, CanonicalDeserialize)]
struct Layout {
    width: u32,
    count: u64,
    points: u64,
    variables: Vec<u32>,
}

impl Layout {
    fn of<P: SWCurveConfig>(table: &Table<P>, variables: &[usize]) -> Self {
        Layout {
            width: table.width() as u32,
            count: table.len() as u64,
            points: table.points().len() as u64,
            variables: variables.iter().map(|variable| *variable as u32).collect(),
        }
    }

    /// The table at `offset`, which moves on behind it.
    fn map<P: SWCurveConfig>(
        &self,
        file: &Arc<Mmap>,
        offset: &mut usize,
    ) -> error::Result<Table<P>> {
        let points = MappedPoints::new(file, *offset, self.points as usize).ok_or_else(cut_off)?;
        *offset += (size_of_val(points.as_slice())).next_multiple_of(ALIGNMENT);
        Table::mapped(self.width as usize, self.count as usize, points).ok_or_else(cut_off)
    }

    fn variables(&self) -> Vec<usize> {
        self.variables.iter().map(|variable| *variable as usize).collect()
    }
}

#[derive(CanonicalSerialize, CanonicalDeserialize)]
struct Header<E: Curve> {
    key_id: String,
    version: String,
    samples: [Vec<u8>; 2],
    reduction: u16,
    vk: VerifyingKey<E>,
    beta_g1: E::G1Affine,
    delta_g1: E::G1Affine,
    layouts: [Layout; 3],
}

fn cut_off() -> Error {
    Error::key("the file of tables is cut off")
}

fn file_error(error: impl std::fmt::Display) -> Error {
    Error::File(error.to_string())
}

/// Writes the tables of `prover`, and makes sure that they are on the disk.
pub fn write<E: Curve>(
    prover: &Prover<E>,
    key_id: &str,
    version: &str,
    path: &Path,
) -> error::Result<()> {
    let Tables { reduction, vk, beta_g1, delta_g1, a, b, c, b_variables } = prover.tables();
    let header = Header::<E> {
        key_id: key_id.into(),
        version: version.into(),
        samples: [sample::<E::Config1>(), sample::<E::Config2>()],
        reduction: *reduction as u16,
        vk: vk.clone(),
        beta_g1: *beta_g1,
        delta_g1: *delta_g1,
        layouts: [
            Layout::of(&a.table, &a.variables),
            Layout::of(&b.table, &b.variables),
            Layout::of(c, b_variables),
        ],
    };
    let mut header_bytes = Vec::new();
    header.serialize_uncompressed(&mut header_bytes).map_err(file_error)?;
    let mut start = MAGIC.to_vec();
    start.extend((header_bytes.len() as u64).to_le_bytes());
    start.extend(header_bytes);
    let mut file = BufWriter::new(File::create(path).map_err(file_error)?);
    let mut hash = Sha256::new();
    let parts =
        [&start, bytes_of(a.table.points()), bytes_of(b.table.points()), bytes_of(c.points())];
    for part in parts {
        let padding = vec![0; part.len().next_multiple_of(ALIGNMENT) - part.len()];
        for bytes in [part, &padding] {
            hash.update(bytes);
            file.write_all(bytes).map_err(file_error)?;
        }
    }
    file.write_all(&hash.finalize()).map_err(file_error)?;
    file.into_inner().map_err(file_error)?.sync_all().map_err(file_error)
}

/// A prover over the tables in a file, which must be of `statement` in `expected_version`.
pub fn open<E: Curve>(
    statement: Statement<E>,
    path: &Path,
    expected_version: &str,
) -> error::Result<Prover<E>> {
    let file = File::open(path).map_err(file_error)?;
    // SAFETY: whoever writes such files replaces them as a whole and never changes one in place.
    let file = Arc::new(unsafe { Mmap::map(&file) }.map_err(file_error)?);
    let Some(signed) = file.len().checked_sub(DIGEST_BYTES) else {
        return Err(cut_off());
    };
    if Sha256::digest(&file[..signed]).as_slice() != &file[signed..] {
        return Err(Error::key("the file of tables is damaged: wrong checksum"));
    }
    let mut rest = Reader(&file[..signed]);
    if rest.take(MAGIC.len())? != MAGIC {
        return Err(Error::key("this is not a file of tables"));
    }
    let length = rest.number(8)?;
    let mut header = rest.take(usize::try_from(length).unwrap_or(usize::MAX))?;
    let header = Header::<E>::deserialize_uncompressed(&mut header)
        .map_err(|error| Error::key(format!("the header of the tables cannot be read: {error}")))?;
    check(&statement, &header, expected_version)?;
    let mut offset = (signed - rest.0.len()).next_multiple_of(ALIGNMENT);
    let [a, b, c] = &header.layouts;
    let tables = Tables {
        reduction: Reduction::from_number(header.reduction.into()).ok_or_else(cut_off)?,
        a: Query { table: a.map(&file, &mut offset)?, variables: a.variables() },
        b: Query { table: b.map(&file, &mut offset)?, variables: b.variables() },
        c: c.map(&file, &mut offset)?,
        b_variables: c.variables(),
        vk: header.vk,
        beta_g1: header.beta_g1,
        delta_g1: header.delta_g1,
    };
    Prover::with_tables(statement, tables)
}

fn check<E: Curve>(
    statement: &Statement<E>,
    header: &Header<E>,
    expected_version: &str,
) -> error::Result<()> {
    let found = (header.key_id.as_str(), header.version.as_str());
    if found != (statement.key_id().as_str(), expected_version) {
        let (key_id, version) = found;
        return Err(Error::key(format!("these tables are of {key_id:.80} {version:.80}")));
    }
    if header.samples != [sample::<E::Config1>(), sample::<E::Config2>()] {
        return Err(Error::key(
            "these tables were made by a program that lays out points otherwise",
        ));
    }
    check_verifying_key(statement, &header.vk, expected_version)?;
    let (variables, publics) = (statement.shape.variables, statement.shape.publics);
    let reduction = Reduction::from_number(header.reduction.into()).ok_or_else(cut_off)?;
    let [a, b, c] = &header.layouts;
    let wanted = [
        a.variables.len(),
        b.variables.len(),
        variables - publics - 1 + statement.domain(reduction)?.size() + c.variables.len(),
    ];
    let fits = header.layouts.iter().zip(wanted).all(|(layout, count)| {
        layout.count == count as u64
            && layout.variables.iter().all(|variable| (*variable as usize) < variables)
    });
    if fits {
        Ok(())
    } else {
        Err(Error::key("these tables have another number of points"))
    }
}
