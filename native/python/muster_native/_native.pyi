"""Typed face of the Rust module. Numbers cross as decimal strings below the field's modulus.

A `key_id` names circuit, size, hash and curve, as in `merkle-20-poseidon@bn254`: `merkle` (size:
depth, 1-32), `range` (size: bits, 8-128) or `addition` (no size); `poseidon` or `mimc`; `bn254` or
`bls12-381`. Calls that compute release the GIL. `threads` is how many threads a call may use, 0 for
all of the machine.
"""

from pathlib import Path
from typing import final

class InputError(ValueError):
    """An argument is not allowed; the message names it and never holds a witness value."""

class UnsatisfiedError(ValueError):
    """The inputs are well formed, but the statement they make is false."""

class KeyFileError(ValueError):
    """Bytes that are no key, a damaged key, or another key than the one asked for."""

class ProofError(ValueError):
    """Bytes that are not exactly one canonical proof."""

class InternalError(RuntimeError):
    """A fault of the module or of the machine, never of the arguments."""

def insecure_setup(key_id: str, *, threads: int = 0) -> tuple[str, bytes, bytes]:
    """Make a key: (version, proving key file, verifying key file). For development only.

    Raises InputError.
    """

def import_key(key_id: str, data: bytes, *, threads: int = 0) -> tuple[str, bytes, bytes]:
    """Read a `.zkey`, or a proving key file, and try it out: the same three as a fresh key.

    Raises InputError, KeyFileError.
    """

def r1cs(key_id: str) -> bytes:
    """The constraints as a `.r1cs` file. Raises InputError."""

def keccak256(data: bytes) -> bytes:
    """Keccak-256, as Ethereum uses it."""

def check_key_id(key_id: str) -> str:
    """The key id, if it is one. Raises InputError."""

def public_signals(key_id: str, inputs: list[str]) -> list[str]:
    """The public signals that a proof of `inputs` has. Raises InputError, UnsatisfiedError."""

def merkle_path(
    curve: str, hash_with: str, depth: int, leaves: bytes, index: int, *, threads: int = 1
) -> tuple[str, list[str]]:
    """Root, and siblings from the leaf up, in the tree of `leaves` (32 big-endian bytes each).

    The leaves that are missing to 2^depth are zero. Raises InputError.
    """

def hash_two(curve: str, hash_with: str, domain: str, left: str, right: str) -> str:
    """The hash of two numbers in the domain `node`, `leaf` or `commitment`. Raises InputError."""

def modulus(curve: str) -> str:
    """The modulus of the curve's scalar field. Raises InputError."""

@final
class ProvingKey:
    """A proving key in memory, with its tables of multiples."""

    @staticmethod
    def load(key_id: str, data: bytes, version: str, *, threads: int = 1) -> ProvingKey:
        """Read a proving key file and build its tables. Raises InputError, KeyFileError."""

    @staticmethod
    def open(key_id: str, path: Path, version: str, *, threads: int = 1) -> ProvingKey:
        """Map tables that `save` wrote; the file must not change while this lives.

        Raises InputError, KeyFileError, OSError.
        """

    def save(self, path: Path) -> None:
        """Write the tables to a file, through to the disk. Raises OSError."""

    def prove(self, inputs: list[str]) -> tuple[list[str], bytes]:
        """Public signals and proof, verified before it is returned.

        The inputs are leaf, index, siblings from the leaf up; or value, min, max, blinding;
        or a, b, blinding of a, blinding of b.

        Raises InputError, UnsatisfiedError, InternalError.
        """

    @property
    def table_bytes(self) -> int:
        """The memory of the tables."""

@final
class VerifyingKey:
    """A verifying key in memory."""

    @staticmethod
    def load(key_id: str, data: bytes, version: str, *, threads: int = 1) -> VerifyingKey:
        """Read a verifying key file. Raises InputError, KeyFileError."""

    def verify(self, public: list[str], proof: bytes) -> bool:
        """Whether the proof holds for these signals; anything malformed does not."""

    def verify_batch(self, claims: list[tuple[list[str], bytes]]) -> list[bool]:
        """The verdict on each (public signals, proof), checked together."""

    def proof_json(self, proof: bytes) -> str:
        """The proof as snarkjs' `proof.json`. Raises ProofError."""

    def read_proof_json(self, text: str) -> bytes:
        """The bytes of a proof given as snarkjs' `proof.json`. Raises ProofError."""

    def key_json(self) -> str:
        """The key as snarkjs' `verification_key.json`."""
