"""Key pairs and where they come from."""

from dataclasses import dataclass, field

import muster_native
from muster_proving.circuits import CircuitSpec
from muster_proving.errors import KeyMismatch


@dataclass(frozen=True)
class KeyMaterial:
    """A key pair as files; `proving_key` holds all that a worker needs.

    `version` is `sha256:` and the digest of tag, curve, circuit id, R1CS and verifying key.
    """

    spec: CircuitSpec
    version: str
    proving_key: bytes = field(repr=False)
    verifying_key: bytes = field(repr=False)


def generate_insecure_key(spec: CircuitSpec) -> KeyMaterial:
    """Make a key pair in this process, with the randomness of the operating system.

    Insecure: who runs this could keep the randomness and forge proofs. For development only.
    Takes 0.3 to 1 s of CPU on all cores; the GIL is released.
    """
    version, proving_key, verifying_key = muster_native.insecure_setup(spec.key_id)
    return KeyMaterial(spec, version, proving_key, verifying_key)


def import_key(spec: CircuitSpec, data: bytes) -> KeyMaterial:
    """The key pair in a file: the `.zkey` of a ceremony, or a proving key file of Muster.

    The file is compared with the circuit as far as it says something of it, and the key has to
    prove a few random statements; a `.zkey` without any contribution is refused. What shows that a
    ceremony was one is `snarkjs zkey verify` with the file that `export_r1cs` gives.
    Takes a few seconds of CPU on all cores for merkle of depth 20; the GIL is released.
    Raises KeyMismatch with the reason.
    """
    try:
        version, proving_key, verifying_key = muster_native.import_key(spec.key_id, data)
    except muster_native.KeyFileError as error:
        raise KeyMismatch(f"key of {spec.key_id}: {error}") from error
    return KeyMaterial(spec, version, proving_key, verifying_key)


def export_r1cs(spec: CircuitSpec) -> bytes:
    """The circuit's constraints as a `.r1cs` file, from which a ceremony with snarkjs starts."""
    return muster_native.r1cs(spec.key_id)
