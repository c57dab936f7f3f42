"""Making proofs."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import muster_native
from muster_proving.circuits import CircuitSpec, parse_inputs, witness
from muster_proving.circuits.values import show
from muster_proving.errors import InvalidInput, KeyMismatch, ProvingFailed
from muster_proving.tables import TableCache

PROOF_ENCODING = "arkworks-compressed-v1"
"""A, B, C as arkworks compresses them: 128 bytes on BN254, 192 (the zcash form) on BLS12-381."""

THREADS_VARIABLE = "MUSTER_PROVING_THREADS"


@dataclass(frozen=True)
class ProofBundle:
    """A verified proof and what it is a proof of."""

    spec: CircuitSpec
    key_version: str
    proof: bytes = field(repr=False)
    public: list[str]
    """Public signals as decimal strings, in the circuit's order."""
    root: str | None
    """The root as 0x-hex of 64 digits, of a merkle proof only."""
    duration_ms: int

    @property
    def circuit_id(self) -> str:
        """The circuit id, e.g. `merkle-20-poseidon`."""
        return self.spec.circuit_id

    @property
    def key_id(self) -> str:
        """The key id, e.g. `merkle-20-poseidon@bn254`."""
        return self.spec.key_id

    def metadata(self) -> dict[str, Any]:
        """What travels beside the proof's bytes, JSON-able."""
        return {
            "public": self.public,
            "key_version": self.key_version,
            "encoding": PROOF_ENCODING,
            "curve": self.spec.curve.value,
        }


class Prover:
    """A proving key with its tables; safe to share between threads."""

    def __init__(self, spec: CircuitSpec, version: str, key: muster_native.ProvingKey) -> None:
        self.spec = spec
        self.version = version
        self._key = key

    @property
    def table_bytes(self) -> int:
        """The memory that the tables take."""
        return self._key.table_bytes

    def prove(self, inputs: Mapping[str, Any]) -> ProofBundle:
        """Prove, and verify the proof before it is returned. The GIL is released.

        Takes canonical inputs or any that `parse_inputs` takes. Raises InvalidInput, ProvingFailed.
        """
        started = time.monotonic()
        canonical = parse_inputs(self.spec, inputs)
        try:
            public, proof = self._key.prove(witness(self.spec, canonical))
        except (
            muster_native.InputError,
            muster_native.UnsatisfiedError,
            muster_native.InternalError,
        ) as error:
            raise ProvingFailed(f"proving {self.spec.key_id} failed: {error}") from error
        root = f"{int(public[0]):#066x}" if self.spec.name == "merkle" else None
        elapsed = round((time.monotonic() - started) * 1000)
        return ProofBundle(self.spec, self.version, proof, public, root, elapsed)


def load_proving_key(
    spec: CircuitSpec,
    data: bytes,
    expected_version: str,
    *,
    threads: int | None = None,
    tables: TableCache | None = None,
) -> Prover:
    """Read a proving key and build its tables (1 to 3 s of CPU for merkle of depth 20).

    `threads` is how many threads the loading and each proof use: by default what the environment
    variable MUSTER_PROVING_THREADS says, or one, which yields most proofs a second.
    With `tables`, they are built by one process of the machine and mapped by all.
    Raises KeyMismatch unless `data` is the key of `spec` in exactly `expected_version`.
    """
    if threads is None:
        threads = _threads_from_environment()

    def build() -> muster_native.ProvingKey:
        return muster_native.ProvingKey.load(spec.key_id, data, expected_version, threads=threads)

    try:
        key = tables.obtain(spec, expected_version, build, threads) if tables else build()
    except muster_native.KeyFileError as error:
        raise KeyMismatch(f"proving key of {spec.key_id}: {error}") from error
    return Prover(spec, expected_version, key)


def _threads_from_environment() -> int:
    text = os.environ.get(THREADS_VARIABLE, "1")
    if not text.isascii() or not text.isdigit() or not 0 <= int(text) <= 1024:
        raise InvalidInput(THREADS_VARIABLE, show(text), "0 (all cores) to 1024")
    return int(text)
