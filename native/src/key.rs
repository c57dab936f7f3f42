//! Keys: setup, identity, version, and the files they travel in.
//!
//! A key file is, with little-endian numbers:
//! magic (8 bytes), format (u16), key id (u16 length, UTF-8), key version (the same),
//! body length (u64), body (arkworks uncompressed), SHA-256 of all that stands before.
//! Format 1 is a key as we make it; format 2, of proving keys only, one with snarkjs' H query.

use ark_ec::AffineRepr;
use ark_groth16::{Groth16, ProvingKey, VerifyingKey};
use ark_serialize::{CanonicalDeserialize, CanonicalSerialize};
use ark_std::rand::rngs::OsRng;
use sha2::{Digest, Sha256};

use crate::circuits::{self, Circuit};
use crate::curve::Curve;
use crate::domain::Domain;
use crate::error::{Error, Result};
use crate::hash::Hash;
use crate::qap::CosetReduction;
use crate::r1cs::Shape;

const PROVING_MAGIC: &[u8; 8] = b"MUSTERPK";
const VERIFYING_MAGIC: &[u8; 8] = b"MUSTERVK";
const VERSION_TAG: &str = "muster-groth16-key-v1";
const DIGEST_BYTES: usize = 32;

/// How a key commits to the quotient H: by its values on which coset of which domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// As our setup does it, see `qap`.
    Own = 1,
    /// As snarkjs does it, which makes the keys of ceremonies.
    Snarkjs = 2,
}

impl Reduction {
    pub fn from_number(number: u64) -> Option<Self> {
        [Reduction::Own, Reduction::Snarkjs].into_iter().find(|known| *known as u64 == number)
    }
}

/// A proving key and how it is to be used.
pub struct ProverKey<E: Curve> {
    pub reduction: Reduction,
    pub key: ProvingKey<E>,
}

/// Keys are our own unless something else is said.
impl<E: Curve> From<ProvingKey<E>> for ProverKey<E> {
    fn from(key: ProvingKey<E>) -> Self {
        ProverKey { reduction: Reduction::Own, key }
    }
}

/// A circuit on a curve with its constraints: all about a key that is not random.
pub struct Statement<E: Curve> {
    pub circuit: Box<dyn Circuit<E::ScalarField>>,
    pub shape: Shape<E::ScalarField>,
}

impl<E: Curve> Statement<E> {
    pub fn new(circuit: &str, size: usize, hash: Hash) -> Result<Self> {
        Ok(Self::of(circuits::find(circuit, size, hash)?))
    }

    /// The statement of a key id; the curve that it names must be `E`.
    pub fn of_key_id(key_id: &str) -> Result<Self> {
        Ok(Self::of(circuit_of::<E>(key_id)?))
    }

    fn of(circuit: Box<dyn Circuit<E::ScalarField>>) -> Self {
        let shape = circuits::shape(circuit.as_ref());
        Statement { circuit, shape }
    }

    /// The name of a key for this statement, e.g. `merkle-20-poseidon@bn254`.
    pub fn key_id(&self) -> String {
        id::<E>(self.circuit.as_ref())
    }

    /// The points that the key's polynomials are evaluated on.
    pub fn domain(&self, reduction: Reduction) -> Result<Domain<E::ScalarField>> {
        let points = self.shape.rows.len() + self.shape.publics + 1;
        let domain = match reduction {
            Reduction::Own => Domain::new(points),
            Reduction::Snarkjs => Domain::of_snarkjs(points),
        };
        domain.ok_or_else(|| Error::input("the circuit is too large for the curve"))
    }

    /// `sha256:` and the digest of tag, curve, circuit with its parameters, R1CS and verifying key.
    pub fn version(&self, key: &VerifyingKey<E>) -> Result<String> {
        let mut key_bytes = Vec::new();
        key.serialize_compressed(&mut key_bytes).map_err(internal)?;
        let (id, digest) = (self.circuit.id(), self.shape.digest());
        let mut hash = Sha256::new();
        let parts: [&[u8]; 5] =
            [VERSION_TAG.as_bytes(), E::NAME.as_bytes(), id.as_bytes(), &digest, &key_bytes];
        for part in parts {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        Ok(format!("sha256:{:x}", hash.finalize()))
    }
}

/// The circuit that a key id names; the curve must be `E`.
pub fn circuit_of<E: Curve>(key_id: &str) -> Result<Box<dyn Circuit<E::ScalarField>>> {
    let circuit = key_id.strip_suffix(E::NAME).and_then(|rest| rest.strip_suffix('@'));
    let wrong = || Error::input(format!("{key_id:.80?} is no key id of {}", E::NAME));
    circuits::parse(circuit.ok_or_else(wrong)?)
}

/// The name of the keys of a circuit on the curve `E`.
pub fn id<E: Curve>(circuit: &dyn Circuit<E::ScalarField>) -> String {
    format!("{}@{}", circuit.id(), E::NAME)
}

fn internal(error: impl std::fmt::Display) -> Error {
    Error::Internal(error.to_string())
}

/// A fresh key pair. Whoever runs this could forge proofs: for development only.
pub fn insecure_setup<E: Curve>(statement: &Statement<E>) -> Result<ProvingKey<E>> {
    Groth16::<E, CosetReduction>::generate_random_parameters_with_reduction(
        &statement.shape,
        &mut OsRng,
    )
    .map_err(internal)
}

/// The file of a proving key; it contains the verifying key.
pub fn write_proving_key<E: Curve>(
    statement: &Statement<E>,
    reduction: Reduction,
    key: &ProvingKey<E>,
) -> Result<Vec<u8>> {
    write(PROVING_MAGIC, reduction, statement, &key.vk, key)
}

/// The file of a verifying key.
pub fn write_verifying_key<E: Curve>(
    statement: &Statement<E>,
    key: &VerifyingKey<E>,
) -> Result<Vec<u8>> {
    write(VERIFYING_MAGIC, Reduction::Own, statement, key, key)
}

/// Reads a proving key for `statement`, and refuses every other.
pub fn read_proving_key<E: Curve>(
    statement: &Statement<E>,
    bytes: &[u8],
    expected_version: &str,
) -> Result<ProverKey<E>> {
    let (reduction, key): (_, ProvingKey<E>) =
        read(PROVING_MAGIC, statement, bytes, expected_version)?;
    check_verifying_key(statement, &key.vk, expected_version)?;
    let key = ProverKey { reduction, key };
    check_proving_key(statement, &key)?;
    Ok(key)
}

/// Whether bytes begin as the file of a proving key does.
pub fn is_proving_key(bytes: &[u8]) -> bool {
    bytes.starts_with(PROVING_MAGIC)
}

/// Reads a proving key in the version that the file itself names.
pub fn read_any_proving_key<E: Curve>(
    statement: &Statement<E>,
    bytes: &[u8],
) -> Result<ProverKey<E>> {
    let version = Header::read(&mut Reader(bytes), PROVING_MAGIC)?.version;
    read_proving_key(statement, bytes, version)
}

/// Reads a verifying key for `statement`, and refuses every other.
pub fn read_verifying_key<E: Curve>(
    statement: &Statement<E>,
    bytes: &[u8],
    expected_version: &str,
) -> Result<VerifyingKey<E>> {
    let (_, key): (_, VerifyingKey<E>) = read(VERIFYING_MAGIC, statement, bytes, expected_version)?;
    check_verifying_key(statement, &key, expected_version)?;
    Ok(key)
}

fn write<E: Curve>(
    magic: &[u8; 8],
    reduction: Reduction,
    statement: &Statement<E>,
    verifying: &VerifyingKey<E>,
    key: &impl CanonicalSerialize,
) -> Result<Vec<u8>> {
    let mut file = magic.to_vec();
    file.extend((reduction as u16).to_le_bytes());
    for text in [statement.key_id(), statement.version(verifying)?] {
        let length = u16::try_from(text.len()).map_err(internal)?;
        file.extend(length.to_le_bytes());
        file.extend(text.as_bytes());
    }
    file.extend((key.uncompressed_size() as u64).to_le_bytes());
    key.serialize_uncompressed(&mut file).map_err(internal)?;
    let digest = Sha256::digest(&file);
    file.extend(digest);
    Ok(file)
}

fn read<E: Curve, K: CanonicalDeserialize>(
    magic: &[u8; 8],
    statement: &Statement<E>,
    bytes: &[u8],
    expected_version: &str,
) -> Result<(Reduction, K)> {
    let mut rest = Reader(bytes);
    let Header { reduction, key_id, version } = Header::read(&mut rest, magic)?;
    if key_id != statement.key_id() {
        let wanted = statement.key_id();
        return Err(Error::key(format!("this is a key of {key_id:.80}, not of {wanted}")));
    }
    if version != expected_version {
        return Err(Error::key(format!(
            "this is version {version:.80} of {key_id}, not {expected_version:.80}"
        )));
    }
    let length = rest.number(8)?;
    let body = rest.take(usize::try_from(length).unwrap_or(usize::MAX))?;
    let signed = bytes.len() - rest.0.len();
    if rest.take(DIGEST_BYTES)? != Sha256::digest(&bytes[..signed]).as_slice() {
        return Err(Error::key(format!("the key file of {key_id} is damaged: wrong checksum")));
    }
    if !rest.0.is_empty() {
        return Err(Error::key(format!("the key file of {key_id} has trailing bytes")));
    }
    let mut body = body;
    // Points are checked below: the verifying key in full, the many others to be on the curve.
    let key = K::deserialize_uncompressed_unchecked(&mut body)
        .map_err(|error| Error::key(format!("the key of {key_id} cannot be read: {error}")))?;
    if !body.is_empty() {
        return Err(Error::key(format!("the key of {key_id} has trailing bytes")));
    }
    Ok((reduction, key))
}

/// What a key file says of itself.
struct Header<'a> {
    reduction: Reduction,
    key_id: &'a str,
    version: &'a str,
}

impl<'a> Header<'a> {
    fn read(rest: &mut Reader<'a>, magic: &[u8; 8]) -> Result<Self> {
        if rest.take(magic.len())? != magic {
            let kind = if magic == PROVING_MAGIC { "proving" } else { "verifying" };
            return Err(Error::key(format!("this is not a {kind} key of Muster")));
        }
        let format = rest.number(2)?;
        let reduction = Reduction::from_number(format)
            .filter(|known| magic == PROVING_MAGIC || *known == Reduction::Own)
            .ok_or_else(|| Error::key(format!("key format {format} is not known here")))?;
        Ok(Header { reduction, key_id: rest.text()?, version: rest.text()? })
    }
}

pub(crate) fn check_verifying_key<E: Curve>(
    statement: &Statement<E>,
    key: &VerifyingKey<E>,
    expected_version: &str,
) -> Result<()> {
    if key.gamma_abc_g1.len() != statement.shape.publics + 1 {
        return Err(Error::key("the verifying key has a wrong number of public signals"));
    }
    let in_g1 = |p: &E::G1Affine| p.is_on_curve() && p.is_in_correct_subgroup_assuming_on_curve();
    let in_g2 = |p: &E::G2Affine| {
        !p.is_zero() && p.is_on_curve() && p.is_in_correct_subgroup_assuming_on_curve()
    };
    let sound = !key.alpha_g1.is_zero()
        && in_g1(&key.alpha_g1)
        && key.gamma_abc_g1.iter().all(in_g1)
        && [&key.beta_g2, &key.gamma_g2, &key.delta_g2].into_iter().all(in_g2);
    if !sound {
        return Err(Error::key("the verifying key has a point outside of its group"));
    }
    let version = statement.version(key)?;
    if version != expected_version {
        return Err(Error::key(format!(
            "the key's content has version {version}, not {expected_version:.80}"
        )));
    }
    Ok(())
}

pub(crate) fn check_proving_key<E: Curve>(
    statement: &Statement<E>,
    key: &ProverKey<E>,
) -> Result<()> {
    let ProverKey { reduction, key } = key;
    let (variables, publics) = (statement.shape.variables, statement.shape.publics);
    let lengths = [
        ("A", key.a_query.len(), variables),
        ("B in G1", key.b_g1_query.len(), variables),
        ("B in G2", key.b_g2_query.len(), variables),
        ("L", key.l_query.len(), variables - publics - 1),
        ("H", key.h_query.len(), statement.domain(*reduction)?.size()),
    ];
    for (query, length, wanted) in lengths {
        if length != wanted {
            return Err(Error::key(format!("query {query} has {length} points, not {wanted}")));
        }
    }
    let first = [&key.a_query, &key.b_g1_query, &key.l_query, &key.h_query];
    let on_curve = key.beta_g1.is_on_curve()
        && key.delta_g1.is_on_curve()
        && first.into_iter().flatten().all(|point| point.is_on_curve())
        && key.b_g2_query.iter().all(|point| point.is_on_curve());
    if !on_curve {
        return Err(Error::key("the proving key has a point that is not on the curve"));
    }
    Ok(())
}

/// Bytes that are taken from the front.
pub(crate) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    pub fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        if count > self.0.len() {
            return Err(Error::key("the key file is cut off"));
        }
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        Ok(taken)
    }

    /// A little-endian number.
    pub fn number(&mut self, bytes: usize) -> Result<u64> {
        let little_endian = self.take(bytes)?.iter().rev();
        Ok(little_endian.fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    /// A text with its length before it (u16).
    pub fn text(&mut self) -> Result<&'a str> {
        let length = self.number(2)? as usize;
        std::str::from_utf8(self.take(length)?)
            .map_err(|_| Error::key("the key file's header is not text"))
    }
}
