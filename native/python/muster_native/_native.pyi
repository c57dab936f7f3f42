"""Typed face of the Rust module. Numbers cross as decimal strings below the field's modulus.

`curve` is `bn254` or `bls12-381`; `circuit` is `merkle` (size: depth, 1-32), `range` (size: bits,
8-128) or `addition` (size 0). Calls that compute release the GIL. `threads` is how many threads a
call may use, 0 for all of the machine.
"""

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

def insecure_setup(
    curve: str, circuit: str, size: int, *, threads: int = 0
) -> tuple[str, bytes, bytes]:
    """Make a key: (version, proving key file, verifying key file). For development only.

    Raises InputError.
    """

def key_id(curve: str, circuit: str, size: int) -> str:
    """The name of a circuit's keys, e.g. `merkle-20-poseidon@bn254`. Raises InputError."""

def public_signals(curve: str, circuit: str, size: int, inputs: list[str]) -> list[str]:
    """The public signals that a proof of `inputs` has. Raises InputError, UnsatisfiedError."""

def merkle_path(
    curve: str, depth: int, leaves: bytes, index: int, *, threads: int = 1
) -> tuple[str, list[str]]:
    """Root, and siblings from the leaf up, in the tree of `leaves` (32 big-endian bytes each).

    The leaves that are missing to 2^depth are zero. Raises InputError.
    """

def poseidon(curve: str, domain: str, left: str, right: str) -> str:
    """Poseidon of two numbers in the domain `node`, `leaf` or `commitment`. Raises InputError."""

def modulus(curve: str) -> str:
    """The modulus of the curve's scalar field. Raises InputError."""

@final
class ProvingKey:
    """A proving key in memory, with its tables of multiples."""

    @staticmethod
    def load(
        curve: str, circuit: str, size: int, data: bytes, version: str, *, threads: int = 1
    ) -> ProvingKey:
        """Read a proving key file and build its tables. Raises InputError, KeyFileError."""

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
    def load(
        curve: str, circuit: str, size: int, data: bytes, version: str, *, threads: int = 1
    ) -> VerifyingKey:
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
