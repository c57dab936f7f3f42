"""Groth16 proofs of Muster's circuits: what can be proved, with which keys, and whether it holds.

Typical use::

    spec = parse_circuit("merkle", curve="bn254")
    inputs = parse_inputs(spec, {"leaves": ["0x1", "0x2"], "leaf_index": 1})
    key = generate_insecure_key(spec)
    bundle = load_proving_key(spec, key.proving_key, key.version).prove(inputs)
    verifier = load_verifying_key(spec, key.verifying_key, key.version)
    assert verifier.verify(bundle.public, bundle.proof)
"""

from muster_proving.circuits import (
    CircuitSpec,
    Curve,
    Hash,
    parse_circuit,
    parse_inputs,
    public_signals,
)
from muster_proving.errors import InvalidInput, KeyMismatch, MalformedProof, ProvingFailed
from muster_proving.keys import KeyMaterial, export_r1cs, generate_insecure_key, import_key
from muster_proving.prover import PROOF_ENCODING, ProofBundle, Prover, load_proving_key
from muster_proving.tables import TableCache
from muster_proving.verifier import Verifier, load_verifying_key

__all__ = [
    "PROOF_ENCODING",
    "CircuitSpec",
    "Curve",
    "Hash",
    "InvalidInput",
    "KeyMaterial",
    "KeyMismatch",
    "MalformedProof",
    "ProofBundle",
    "Prover",
    "ProvingFailed",
    "TableCache",
    "Verifier",
    "export_r1cs",
    "generate_insecure_key",
    "import_key",
    "load_proving_key",
    "load_verifying_key",
    "parse_circuit",
    "parse_inputs",
    "public_signals",
]
