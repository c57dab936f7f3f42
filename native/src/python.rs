//! The Python face, `muster_native._native`. Every call that computes runs without the GIL.

use std::path::{Path, PathBuf};

use ark_ff::PrimeField;
use pyo3::create_exception;
use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use sha3::{Digest, Keccak256};

use crate::circuits;
use crate::curve::Curve;
use crate::error::{Error, Result};
use crate::field::{parse_decimal, parse_words, to_decimal, to_decimals};
use crate::hash::{Hash, HashDomain};
use crate::key::{self, ProverKey, Statement};
use crate::merkle_tree;
use crate::prover::Prover;
use crate::r1cs_file;
use crate::snarkjs;
use crate::table_file;
use crate::threads;
use crate::verifier::{read_proof, write_proof, Verifier};
use crate::zkey;

create_exception!(muster_native, InputError, PyValueError, "An argument is not allowed.");
create_exception!(muster_native, UnsatisfiedError, PyValueError, "The statement is false.");
create_exception!(muster_native, KeyFileError, PyValueError, "Not the key that was asked for.");
create_exception!(muster_native, ProofError, PyValueError, "The bytes are not one proof.");
create_exception!(
    muster_native,
    InternalError,
    PyRuntimeError,
    "A fault that is not the caller's."
);

impl From<Error> for PyErr {
    fn from(error: Error) -> PyErr {
        let message = error.to_string();
        match error {
            Error::Input(_) => InputError::new_err(message),
            Error::Unsatisfied { .. } => UnsatisfiedError::new_err(message),
            Error::Key(_) => KeyFileError::new_err(message),
            Error::Proof(_) => ProofError::new_err(message),
            Error::File(_) => PyOSError::new_err(message),
            Error::Internal(_) => InternalError::new_err(message),
        }
    }
}

/// Runs `work` for the curve of that name, as `E`, without the GIL.
macro_rules! on_curve {
    ($py:expr, $threads:expr, $curve:expr, $E:ident => $work:expr) => {
        $py.detach(|| {
            threads::run($threads, || match $curve {
                "bn254" => {
                    type $E = ark_bn254::Bn254;
                    $work
                }
                "bls12-381" => {
                    type $E = ark_bls12_381::Bls12_381;
                    $work
                }
                other => Err(unknown_curve(other)),
            })
        })
    };
}

type Field<E> = <E as ark_ec::pairing::Pairing>::ScalarField;

fn unknown_curve(name: &str) -> Error {
    Error::input(format!("curve must be bn254 or bls12-381, not {name:.40?}"))
}

/// The curve that a key id names.
fn curve_of(key_id: &str) -> &str {
    key_id.rsplit('@').next().unwrap_or_default()
}

type KeyFiles<'py> = (String, Bound<'py, PyBytes>, Bound<'py, PyBytes>);

/// Version, proving key file and verifying key file.
fn key_files<E: Curve>(
    statement: &Statement<E>,
    key: &ProverKey<E>,
) -> Result<(String, Vec<u8>, Vec<u8>)> {
    let ProverKey { reduction, key } = key;
    Ok((
        statement.version(&key.vk)?,
        key::write_proving_key(statement, *reduction, key)?,
        key::write_verifying_key(statement, &key.vk)?,
    ))
}

/// Makes a fresh key: (version, proving key file, verifying key file). Insecure: one party knows
/// the secret that forges proofs. `threads` 0 means all.
#[pyfunction]
#[pyo3(signature = (key_id, *, threads = 0))]
fn insecure_setup<'py>(py: Python<'py>, key_id: &str, threads: usize) -> PyResult<KeyFiles<'py>> {
    let (version, proving, verifying) = on_curve!(py, threads, curve_of(key_id), E => {
        let statement = Statement::<E>::of_key_id(key_id)?;
        let key = key::insecure_setup(&statement)?;
        key_files(&statement, &key.into())
    })?;
    Ok((version, PyBytes::new(py, &proving), PyBytes::new(py, &verifying)))
}

/// How many random statements an imported key has to prove.
const TRIALS: usize = 3;

/// Reads a `.zkey` of a ceremony, or a proving key file of ours: the same three as a fresh key.
#[pyfunction]
#[pyo3(signature = (key_id, data, *, threads = 0))]
fn import_key<'py>(
    py: Python<'py>,
    key_id: &str,
    data: &[u8],
    threads: usize,
) -> PyResult<KeyFiles<'py>> {
    let (version, proving, verifying) = on_curve!(py, threads, curve_of(key_id), E => {
        let statement = Statement::<E>::of_key_id(key_id)?;
        let key = if zkey::is_zkey(data) {
            zkey::read(&statement, data)?
        } else if key::is_proving_key(data) {
            key::read_any_proving_key(&statement, data)?
        } else {
            return Err(Error::key("this is neither a .zkey nor a proving key of Muster"));
        };
        let files = key_files(&statement, &key)?;
        Prover::new(statement, key)?.try_out(TRIALS)?;
        Ok(files)
    })?;
    Ok((version, PyBytes::new(py, &proving), PyBytes::new(py, &verifying)))
}

/// The constraints as a `.r1cs` file.
#[pyfunction]
fn r1cs<'py>(py: Python<'py>, key_id: &str) -> PyResult<Bound<'py, PyBytes>> {
    let file = on_curve!(py, 1, curve_of(key_id), E => {
        Ok(r1cs_file::write(&Statement::<E>::of_key_id(key_id)?.shape))
    })?;
    Ok(PyBytes::new(py, &file))
}

/// Keccak-256, as Ethereum uses it.
#[pyfunction]
fn keccak256<'py>(py: Python<'py>, data: &[u8]) -> Bound<'py, PyBytes> {
    PyBytes::new(py, &Keccak256::digest(data))
}

/// The key id that a key id is read as: itself, or an error.
#[pyfunction]
fn check_key_id(py: Python<'_>, key_id: &str) -> PyResult<String> {
    Ok(on_curve!(py, 1, curve_of(key_id), E => Ok(Statement::<E>::of_key_id(key_id)?.key_id()))?)
}

/// The public signals that a proof for these inputs will have.
#[pyfunction]
fn public_signals(py: Python<'_>, key_id: &str, inputs: Vec<String>) -> PyResult<Vec<String>> {
    Ok(on_curve!(py, 1, curve_of(key_id), E => {
        let circuit = key::circuit_of::<E>(key_id)?;
        let assignment = circuits::assign(circuit.as_ref(), &inputs)?;
        Ok(to_decimals(assignment.public_signals()))
    })?)
}

/// Root and siblings (from the leaf up) of a leaf in the tree of `leaves`, 32 big-endian bytes each.
#[pyfunction]
#[pyo3(signature = (curve, hash_with, depth, leaves, index, *, threads = 1))]
fn merkle_path(
    py: Python<'_>,
    curve: &str,
    hash_with: &str,
    depth: usize,
    leaves: &[u8],
    index: usize,
    threads: usize,
) -> PyResult<(String, Vec<String>)> {
    Ok(on_curve!(py, threads, curve, E => {
        let leaves = parse_words::<Field<E>>("leaves", leaves)?;
        let path = merkle_tree::path(Hash::parse(hash_with)?, depth, &leaves, index)?;
        Ok((to_decimal(path.root), to_decimals(&path.siblings)))
    })?)
}

/// The hash of two decimals in the domain `node`, `leaf` or `commitment`.
#[pyfunction]
fn hash_two(
    py: Python<'_>,
    curve: &str,
    hash_with: &str,
    domain: &str,
    left: &str,
    right: &str,
) -> PyResult<String> {
    Ok(on_curve!(py, 1, curve, E => {
        let domain = match domain {
            "node" => HashDomain::Node,
            "leaf" => HashDomain::Leaf,
            "commitment" => HashDomain::Commitment,
            _ => {
                let message = format!("domain must be node, leaf or commitment, not {domain:.40?}");
                return Err(Error::input(message));
            }
        };
        let (left, right) = (parse_decimal("left", left)?, parse_decimal("right", right)?);
        Ok(to_decimal(Hash::parse(hash_with)?.two::<Field<E>>(domain, left, right)))
    })?)
}

/// What a loaded proving key can do, whatever its curve.
trait AnyProver: Send + Sync {
    fn prove(&self, inputs: &[String]) -> Result<(Vec<String>, Vec<u8>)>;
    fn table_bytes(&self) -> usize;
    fn save(&self, key_id: &str, version: &str, path: &Path) -> Result<()>;
}

impl<E: Curve> AnyProver for Prover<E> {
    fn prove(&self, inputs: &[String]) -> Result<(Vec<String>, Vec<u8>)> {
        let (public, proof) = Prover::prove(self, inputs)?;
        Ok((to_decimals(&public), write_proof(&proof)?))
    }

    fn table_bytes(&self) -> usize {
        Prover::table_bytes(self)
    }

    fn save(&self, key_id: &str, version: &str, path: &Path) -> Result<()> {
        table_file::write(self, key_id, version, path)
    }
}

/// A proving key in memory, with its tables.
#[pyclass(frozen, module = "muster_native")]
struct ProvingKey {
    key_id: String,
    version: String,
    prover: Box<dyn AnyProver>,
    threads: usize,
}

#[pymethods]
impl ProvingKey {
    /// Reads a proving key file and builds its tables. `threads` is for this and for each proof.
    #[staticmethod]
    #[pyo3(signature = (key_id, data, version, *, threads = 1))]
    fn load(
        py: Python<'_>,
        key_id: String,
        data: &[u8],
        version: String,
        threads: usize,
    ) -> PyResult<Self> {
        let prover = on_curve!(py, threads, curve_of(&key_id), E => {
            let statement = Statement::<E>::of_key_id(&key_id)?;
            let key = key::read_proving_key(&statement, data, &version)?;
            Ok(Box::new(Prover::new(statement, key)?) as Box<dyn AnyProver>)
        })?;
        Ok(ProvingKey { key_id, version, prover, threads })
    }

    /// Maps tables that `save` wrote. `threads` is for this and for each proof.
    #[staticmethod]
    #[pyo3(signature = (key_id, path, version, *, threads = 1))]
    fn open(
        py: Python<'_>,
        key_id: String,
        path: PathBuf,
        version: String,
        threads: usize,
    ) -> PyResult<Self> {
        let prover = on_curve!(py, threads, curve_of(&key_id), E => {
            let statement = Statement::<E>::of_key_id(&key_id)?;
            Ok(Box::new(table_file::open(statement, &path, &version)?) as Box<dyn AnyProver>)
        })?;
        Ok(ProvingKey { key_id, version, prover, threads })
    }

    /// Writes the tables to a file that must not be there yet, through to the disk.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        Ok(py.detach(|| self.prover.save(&self.key_id, &self.version, &path))?)
    }

    /// Proves decimal inputs: (public signals, proof), checked before it is returned.
    fn prove<'py>(
        &self,
        py: Python<'py>,
        inputs: Vec<String>,
    ) -> PyResult<(Vec<String>, Bound<'py, PyBytes>)> {
        let (public, proof) =
            py.detach(|| threads::run(self.threads, || self.prover.prove(&inputs)))?;
        Ok((public, PyBytes::new(py, &proof)))
    }

    /// The memory of the tables in bytes.
    #[getter]
    fn table_bytes(&self) -> usize {
        self.prover.table_bytes()
    }
}

/// What a loaded verifying key can do, whatever its curve.
trait AnyVerifier: Send + Sync {
    fn verify(&self, public: &[String], proof: &[u8]) -> bool;
    fn verify_batch(&self, claims: &[(Vec<String>, Vec<u8>)]) -> Vec<bool>;
    fn proof_json(&self, proof: &[u8]) -> Result<String>;
    fn read_proof_json(&self, text: &str) -> Result<Vec<u8>>;
    fn key_json(&self) -> String;
}

impl<E: Curve> AnyVerifier for Verifier<E> {
    fn verify(&self, public: &[String], proof: &[u8]) -> bool {
        self.read_claim(public, proof)
            .is_ok_and(|(public, proof)| Verifier::verify(self, &public, &proof))
    }

    fn verify_batch(&self, claims: &[(Vec<String>, Vec<u8>)]) -> Vec<bool> {
        let claims: Vec<_> =
            claims.iter().map(|(public, proof)| self.read_claim(public, proof).ok()).collect();
        Verifier::verify_batch(self, &claims)
    }

    fn proof_json(&self, proof: &[u8]) -> Result<String> {
        Ok(snarkjs::proof::<E>(&read_proof(proof)?).to_string())
    }

    fn read_proof_json(&self, text: &str) -> Result<Vec<u8>> {
        write_proof::<E>(&snarkjs::read_proof(text)?)
    }

    fn key_json(&self) -> String {
        snarkjs::verifying_key::<E>(self.key()).to_string()
    }
}

/// A verifying key in memory.
#[pyclass(frozen, module = "muster_native")]
struct VerifyingKey {
    verifier: Box<dyn AnyVerifier>,
    threads: usize,
}

#[pymethods]
impl VerifyingKey {
    /// Reads a verifying key file. `threads` is for each verification.
    #[staticmethod]
    #[pyo3(signature = (key_id, data, version, *, threads = 1))]
    fn load(
        py: Python<'_>,
        key_id: &str,
        data: &[u8],
        version: &str,
        threads: usize,
    ) -> PyResult<Self> {
        let verifier = on_curve!(py, threads, curve_of(key_id), E => {
            let statement = Statement::<E>::of_key_id(key_id)?;
            let key = key::read_verifying_key(&statement, data, version)?;
            Ok(Box::new(Verifier::new(statement.shape.publics, key)) as Box<dyn AnyVerifier>)
        })?;
        Ok(VerifyingKey { verifier, threads })
    }

    /// Whether the proof holds for these public signals; anything malformed does not.
    fn verify(&self, py: Python<'_>, public: Vec<String>, proof: &[u8]) -> PyResult<bool> {
        Ok(py.detach(|| threads::run(self.threads, || Ok(self.verifier.verify(&public, proof))))?)
    }

    /// The verdict on each (public signals, proof), checked together.
    fn verify_batch(
        &self,
        py: Python<'_>,
        claims: Vec<(Vec<String>, Vec<u8>)>,
    ) -> PyResult<Vec<bool>> {
        Ok(py.detach(|| threads::run(self.threads, || Ok(self.verifier.verify_batch(&claims))))?)
    }

    /// The proof as the text of snarkjs' `proof.json`.
    fn proof_json(&self, proof: &[u8]) -> PyResult<String> {
        Ok(self.verifier.proof_json(proof)?)
    }

    /// The bytes of a proof given as the text of snarkjs' `proof.json`.
    fn read_proof_json<'py>(&self, py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyBytes>> {
        let proof =
            py.detach(|| threads::run(self.threads, || self.verifier.read_proof_json(text)))?;
        Ok(PyBytes::new(py, &proof))
    }

    /// The key as the text of snarkjs' `verification_key.json`.
    fn key_json(&self) -> String {
        self.verifier.key_json()
    }
}

/// The modulus of a curve's scalar field, in decimal.
#[pyfunction]
fn modulus(py: Python<'_>, curve: &str) -> PyResult<String> {
    Ok(on_curve!(py, 1, curve, E => Ok(Field::<E>::MODULUS.to_string()))?)
}

#[pymodule(name = "_native")]
fn native(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<ProvingKey>()?;
    m.add_class::<VerifyingKey>()?;
    m.add_function(wrap_pyfunction!(insecure_setup, m)?)?;
    m.add_function(wrap_pyfunction!(check_key_id, m)?)?;
    m.add_function(wrap_pyfunction!(public_signals, m)?)?;
    m.add_function(wrap_pyfunction!(merkle_path, m)?)?;
    m.add_function(wrap_pyfunction!(hash_two, m)?)?;
    m.add_function(wrap_pyfunction!(import_key, m)?)?;
    m.add_function(wrap_pyfunction!(r1cs, m)?)?;
    m.add_function(wrap_pyfunction!(keccak256, m)?)?;
    m.add_function(wrap_pyfunction!(modulus, m)?)?;
    let py = m.py();
    m.add("InputError", py.get_type::<InputError>())?;
    m.add("UnsatisfiedError", py.get_type::<UnsatisfiedError>())?;
    m.add("KeyFileError", py.get_type::<KeyFileError>())?;
    m.add("ProofError", py.get_type::<ProofError>())?;
    m.add("InternalError", py.get_type::<InternalError>())?;
    Ok(())
}
