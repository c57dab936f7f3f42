"""Groth16 over BN254 and BLS12-381 for the circuits of Muster; see `_native.pyi` for the calls."""

from ._native import (
    InputError,
    InternalError,
    KeyFileError,
    ProofError,
    ProvingKey,
    UnsatisfiedError,
    VerifyingKey,
    insecure_setup,
    key_id,
    merkle_path,
    modulus,
    poseidon,
    public_signals,
)

__all__ = [
    "InputError",
    "InternalError",
    "KeyFileError",
    "ProofError",
    "ProvingKey",
    "UnsatisfiedError",
    "VerifyingKey",
    "insecure_setup",
    "key_id",
    "merkle_path",
    "modulus",
    "poseidon",
    "public_signals",
]
