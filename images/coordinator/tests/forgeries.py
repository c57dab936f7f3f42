"""Proofs as an attacker would send them: almost right, and wrong in one way each."""

import importlib
from collections.abc import Iterator
from typing import Any

# First, since it imports py_ecc without what that does to the limit of recursion.
import muster_proving.independent  # noqa: F401
from muster_proving import Curve

# They export their names without saying so.
bls: Any = importlib.import_module("py_ecc.optimized_bls12_381")
points: Any = importlib.import_module("py_ecc.bls.g2_primitives")

BN254_MODULUS = 21888242871839275222246405745257275088696311157297823662689037894645226208583
BLS12_381_MODULUS = bls.field_modulus
_BN254_FLAGS = 0xC0
_INFINITY = 0x40


def forgeries(curve: Curve, proof: bytes) -> dict[str, bytes]:
    """Forgeries of one good proof, by what is wrong with them."""
    return {
        "empty of meaning": bytes(len(proof)),
        "one byte more": proof + b"\x00",
        "one byte less": proof[:-1],
        "twice": proof + proof,
        "all ones": b"\xff" * len(proof),
    } | (_bn254(proof) if curve is Curve.BN254 else _bls12_381(proof))


def _bn254(proof: bytes) -> dict[str, bytes]:
    """A and C are 32 bytes little-endian, B is 64; the two highest bits are flags."""
    infinity = b"\x00" * 31 + bytes([_INFINITY])
    return {
        "A off the curve": _le(_no_point_on_bn254()) + proof[32:],
        "A at infinity": infinity + proof[32:],
        "C at infinity": proof[:96] + infinity,
        "B outside of the subgroup": proof[:32] + _le(_stray_on_the_twist()) + _le(0) + proof[96:],
        "A with the other sign": proof[:31] + bytes([proof[31] ^ 0x80]) + proof[32:],
        "x of A beyond the field": _beyond_the_field(proof),
    }


def _bls12_381(proof: bytes) -> dict[str, bytes]:
    """A and C are 48 bytes in the form of zcash, B is 96."""
    a = points.pubkey_to_G1(proof[:48])
    # (0, 2) has order 3: a pairing alone does not notice it.
    torsion = (bls.FQ(0), bls.FQ(2), bls.FQ(1))
    assert bls.is_on_curve(torsion, bls.b)
    assert bls.is_inf(bls.multiply(torsion, 3))
    shifted = bytes(points.G1_to_pubkey(bls.add(a, torsion)))
    infinity = b"\xc0" + b"\x00" * 47
    return {
        "A off the curve": _be(_no_point_on_bls()) + proof[48:],
        "A of order 3": b"\x80" + b"\x00" * 47 + proof[48:],
        "A moved by a point of order 3": shifted + proof[48:],
        "A at infinity": infinity + proof[48:],
        "C at infinity": proof[:144] + infinity,
        "x of A beyond the field": _be(BLS12_381_MODULUS) + proof[48:],
        "not compressed": bytes([proof[0] & 0x7F]) + proof[1:],
    }


def _le(x: int) -> bytes:
    return x.to_bytes(32, "little")


def _be(x: int) -> bytes:
    data = x.to_bytes(48, "big")
    return bytes([data[0] | 0x80]) + data[1:]


def _beyond_the_field(proof: bytes) -> bytes:
    """The same point with p added to its x, where that still fits; else p itself."""
    flags = proof[31] & _BN254_FLAGS
    x = int.from_bytes(proof[:31] + bytes([proof[31] & ~_BN254_FLAGS & 0xFF]), "little")
    aliased = x + BN254_MODULUS
    data = _le(aliased if aliased < 2**254 else BN254_MODULUS)
    return data[:31] + bytes([data[31] | flags]) + proof[32:]


def _is_square(value: int, modulus: int) -> bool:
    return pow(value, (modulus - 1) // 2, modulus) == 1


def _no_point_on_bn254() -> int:
    return next(x for x in _numbers() if not _is_square(x**3 + 3, BN254_MODULUS))


def _no_point_on_bls() -> int:
    return next(x for x in _numbers() if not _is_square(x**3 + 4, BLS12_381_MODULUS))


def _stray_on_the_twist() -> int:
    """An x in the base field with a point of the twist; hardly one in 2^254 is in the subgroup."""
    modulus = BN254_MODULUS
    # b = 3 / (9 + u) = (27 - 3u) / 82
    inverse = pow(82, -1, modulus)
    for x in _numbers():
        real, imaginary = x**3 + 27 * inverse, -3 * inverse
        # An element of FQ2 is a square where its norm is one in FQ.
        if _is_square(real**2 + imaginary**2, modulus):
            return x
    raise AssertionError


def _numbers() -> Iterator[int]:
    return iter(range(1, 1000))
