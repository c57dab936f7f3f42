"""Groth16 over BN254 and BLS12-381 for the circuits of Muster; see `_native.pyi` for the calls."""

from ._native import (
    InputError,
    InternalError,
    KeyFileError,
    ProofError,
    ProvingKey,
    UnsatisfiedError,
    VerifyingKey,
    check_key_id,
    hash_two,
    import_key,
    insecure_setup,
    keccak256,
    merkle_path,
    modulus,
    public_signals,
    r1cs,
)

__all__ = [
    "InputError",
    "InternalError",
    "KeyFileError",
    "ProofError",
    "ProvingKey",
    "UnsatisfiedError",
    "VerifyingKey",
    "check_key_id",
    "hash_two",
    "import_key",
    "insecure_setup",
    "keccak256",
    "merkle_path",
    "modulus",
    "public_signals",
    "r1cs",
]
