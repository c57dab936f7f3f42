"""Checking proofs, and handing them to other verifiers."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import muster_native
from muster_proving.circuits import CircuitSpec
from muster_proving.errors import KeyMismatch, MalformedProof

Claim = tuple[Sequence[str], bytes]
"""Public signals as decimal strings, and the bytes of a proof."""


class Verifier:
    """A verifying key; safe to share between threads."""

    def __init__(self, spec: CircuitSpec, version: str, key: muster_native.VerifyingKey) -> None:
        self.spec = spec
        self.version = version
        self._key = key

    def verify(self, public: Sequence[str], proof: bytes) -> bool:
        """Whether the proof holds for these public signals; malformed ones are just False.

        Refused are signals that are not canonical decimals below the modulus, points off the curve
        or outside of the subgroup, and bytes too many or too few. The GIL is released.
        """
        return self.verify_batch([(public, proof)])[0]

    def verify_batch(self, claims: Sequence[Claim]) -> list[bool]:
        """The verdict on each claim, at about half the cost of one by one.

        All are checked by one random combination (fresh 128-bit factors); where that fails,
        bisection finds the bad ones.
        """
        verdicts = [False] * len(claims)
        typed = [
            (place, (list(public), bytes(proof)))
            for place, (public, proof) in enumerate(claims)
            if _has_types(public, proof)
        ]
        found = self._key.verify_batch([claim for _, claim in typed])
        for (place, _), verdict in zip(typed, found, strict=True):
            verdicts[place] = verdict
        return verdicts

    def verifying_key_json(self) -> dict[str, Any]:
        """The content of snarkjs' `verification_key.json`."""
        return _object(self._key.key_json())

    def to_snarkjs(
        self, public: Sequence[str], proof: bytes
    ) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
        """The contents of snarkjs' proof, verification key and public files, in this order.

        Raises MalformedProof if the bytes are not one canonical proof; does not verify it.
        """
        try:
            proof_json = _object(self._key.proof_json(proof))
        except muster_native.ProofError as error:
            raise MalformedProof(str(error)) from error
        return proof_json, self.verifying_key_json(), list(public)

    def from_snarkjs(self, proof_json: Mapping[str, Any]) -> bytes:
        """The bytes of a proof given as the content of snarkjs' proof file.

        Raises MalformedProof, naming the field, unless every point is a canonical one of its group;
        does not verify the proof.
        """
        try:
            return self._key.read_proof_json(json.dumps(dict(proof_json)))
        except muster_native.ProofError as error:
            raise MalformedProof(str(error)) from error


def _has_types(public: object, proof: object) -> bool:
    """Whether a claim from outside has the types of one at all."""
    return (
        isinstance(public, list | tuple)
        and all(isinstance(signal, str) for signal in public)
        and isinstance(proof, bytes | bytearray | memoryview)
    )


def _object(text: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def load_verifying_key(spec: CircuitSpec, data: bytes, expected_version: str) -> Verifier:
    """Read a verifying key.

    Raises KeyMismatch unless `data` is the key of `spec` in exactly `expected_version`.
    """
    try:
        key = muster_native.VerifyingKey.load(spec.key_id, data, expected_version)
    except muster_native.KeyFileError as error:
        raise KeyMismatch(f"verifying key of {spec.key_id}: {error}") from error
    return Verifier(spec, expected_version, key)
