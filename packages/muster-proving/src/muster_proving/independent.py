"""A second verifier that shares nothing with the first: py_ecc, from snarkjs' JSON files alone.

The check is the equation of Groth16 ("On the Size of Pairing-based Non-interactive Arguments",
EUROCRYPT 2016): e(A, B) = e(alpha, beta) · e(Σ xᵢ·ICᵢ, gamma) · e(C, delta). Takes about 0.5 s.
"""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any


def _py_ecc(curve: str) -> tuple[ModuleType, Any]:
    # Importing it raises the limit of recursion for the whole process; whatever reads JSON from
    # outside would then exhaust the stack, where it should get a RecursionError.
    limit = sys.getrecursionlimit()
    try:
        pairing = import_module(f"py_ecc.{curve}.optimized_pairing")
        return import_module(f"py_ecc.{curve}"), pairing.final_exponentiate
    finally:
        sys.setrecursionlimit(limit)


_CURVES = {"bn128": _py_ecc("optimized_bn128"), "bls12381": _py_ecc("optimized_bls12_381")}


class _Refused(Exception):  # noqa: N818 - a verdict on its way out, not an error
    """The proof or the key is not even well formed."""


def verify_with_py_ecc(
    vk_json: Mapping[str, Any], public_json: Sequence[str], proof_json: Mapping[str, Any]
) -> bool:
    """Whether the proof holds for the public signals under the key; malformed ones do not.

    The arguments are the contents of snarkjs' verification_key.json, public.json and proof.json.
    """
    try:
        return _holds(vk_json, public_json, proof_json)
    except (_Refused, KeyError, TypeError, ValueError, IndexError):
        return False


def _holds(key: Mapping[str, Any], public: Sequence[str], proof: Mapping[str, Any]) -> bool:
    for document in (key, proof):
        if document["protocol"] != "groth16" or document["curve"] != key["curve"]:
            raise _Refused
    curve, final_exponentiate = _CURVES[key["curve"]]
    signals = [_number(signal, curve.curve_order) for signal in public]
    inputs = _g1(curve, key["IC"][0])
    for signal, point in zip(signals, key["IC"][1:], strict=True):
        inputs = curve.add(inputs, curve.multiply(_g1(curve, point), signal))
    product = curve.FQ12.one()
    for left, right in (
        (curve.neg(_g1(curve, proof["pi_a"])), _g2(curve, proof["pi_b"])),
        (_g1(curve, key["vk_alpha_1"]), _g2(curve, key["vk_beta_2"])),
        (inputs, _g2(curve, key["vk_gamma_2"])),
        (_g1(curve, proof["pi_c"]), _g2(curve, key["vk_delta_2"])),
    ):
        product *= curve.pairing(right, left, final_exponentiate=False)
    return bool(final_exponentiate(product) == curve.FQ12.one())


def _number(text: object, below: int) -> int:
    """A canonical decimal number below a modulus."""
    if not isinstance(text, str) or not text.isascii() or not text.isdigit() or len(text) > 120:
        raise _Refused
    number = int(text)
    if number >= below or str(number) != text:
        raise _Refused
    return number


def _g1(curve: ModuleType, point: Sequence[str]) -> Any:
    x, y, z = (_number(coordinate, curve.field_modulus) for coordinate in point)
    return _checked(curve, (curve.FQ(x), curve.FQ(y), curve.FQ(z)), curve.b)


def _g2(curve: ModuleType, point: Sequence[Sequence[str]]) -> Any:
    pairs = ((real, imaginary) for real, imaginary in point)
    x, y, z = (curve.FQ2([_number(part, curve.field_modulus) for part in pair]) for pair in pairs)
    return _checked(curve, (x, y, z), curve.b2)


def _checked(curve: ModuleType, point: Any, b: Any) -> Any:
    """The point, if it is a finite one on the curve and in the subgroup of the right order."""
    on_curve = not curve.is_inf(point) and curve.is_on_curve(point, b)
    if not on_curve or not curve.is_inf(curve.multiply(point, curve.curve_order)):
        raise _Refused
    return point
