"""Key pairs and where they come from."""

from dataclasses import dataclass, field

import muster_native
from muster_proving.circuits import CircuitSpec


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
    made = muster_native.insecure_setup(spec.curve.value, spec.name, spec.size)
    version, proving_key, verifying_key = made
    return KeyMaterial(spec, version, proving_key, verifying_key)
