"""Verifier contracts for Ethereum's virtual machine, and the calls to them.

The contract has the face of snarkjs' one: `verifyProof(a, b, c, input)`. Ethereum has precompiled
contracts for sums, multiples and pairings on BN254 (EIP-196 and 197), so only that curve's keys can
be exported. The precompiles refuse coordinates that are not canonical and points outside of their
groups; the contract refuses signals that are not below the modulus.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import muster_native
from muster_proving.circuits import Curve
from muster_proving.circuits.values import show
from muster_proving.errors import InvalidInput

_NAME = re.compile(r"[A-Z][A-Za-z0-9]{0,63}")
_BASE_MODULUS = 0x30644E72E131A029B85045B68181585D97816A916871CA8D3C208C16D87CFD47

_CONTRACT = """\
// SPDX-License-Identifier: CC0-1.0
pragma solidity ^0.8.20;

/// Verifies Groth16 proofs of one key on BN254. Made by Muster.
contract {name} {{
    uint256 private constant SCALAR_MODULUS = {scalar_modulus};
    uint256 private constant BASE_MODULUS = {base_modulus};

    /// Whether the proof (a, b, c) holds for the public signals; malformed ones do not.
    /// The parts of b's coordinates are imaginary first, as the precompiles have it.
    function verifyProof(
        uint256[2] calldata a,
        uint256[2][2] calldata b,
        uint256[2] calldata c,
        uint256[{count}] calldata input
    ) external view returns (bool) {{
        if (a[1] >= BASE_MODULUS) return false;
        uint256[2] memory sum = [
            {ic_0_x},
            {ic_0_y}
        ];
        bool sound = true;
{terms}
        if (!sound) return false;
        // e(-a, b) * e(alpha, beta) * e(sum, gamma) * e(c, delta) is one.
        uint256[24] memory pairs;
        (pairs[0], pairs[1]) = (a[0], (BASE_MODULUS - a[1]) % BASE_MODULUS);
        (pairs[2], pairs[3], pairs[4], pairs[5]) = (b[0][0], b[0][1], b[1][0], b[1][1]);
{alpha_beta}
        (pairs[12], pairs[13]) = (sum[0], sum[1]);
{gamma}
        (pairs[18], pairs[19]) = (c[0], c[1]);
{delta}
        uint256[1] memory result;
        assembly ("memory-safe") {{
            sound := staticcall(gas(), 8, pairs, 768, result, 32)
        }}
        return sound && result[0] == 1;
    }}

    /// Adds signal * (x, y) to sum; false where the signal is not canonical.
    function addTerm(uint256[2] memory sum, uint256 x, uint256 y, uint256 signal)
        private
        view
        returns (bool sound)
    {{
        if (signal >= SCALAR_MODULUS) return false;
        uint256[3] memory product = [x, y, signal];
        uint256[4] memory pair;
        (pair[0], pair[1]) = (sum[0], sum[1]);
        assembly ("memory-safe") {{
            sound := staticcall(gas(), 7, product, 96, add(pair, 64), 64)
            sound := and(sound, staticcall(gas(), 6, pair, 128, sum, 64))
        }}
    }}
}}
"""


def verifier_contract(key: Mapping[str, Any], name: str = "Groth16Verifier") -> str:
    """The Solidity source of a contract that verifies proofs under a key.

    Args:
        key: the content of snarkjs' verification_key.json.
        name: of the contract.

    Raises:
        InvalidInput: the key is not one of Groth16 on BN254, or the name is none of a contract.
    """
    if _NAME.fullmatch(name) is None:
        allowed = "a capital letter, then at most 63 letters and digits"
        raise InvalidInput("name", show(name), allowed)
    for field, allowed in (("protocol", "groth16"), ("curve", "bn128")):
        if key.get(field) != allowed:
            raise InvalidInput(field, show(key.get(field)), f"{allowed}, as for keys on bn254")
    alpha = _g1("vk_alpha_1", key.get("vk_alpha_1"))
    beta, gamma, delta = (_g2(field, key.get(field)) for field in _G2_FIELDS)
    first, *points = _ic(key)
    return _CONTRACT.format(
        name=name,
        scalar_modulus=Curve.BN254.modulus,
        base_modulus=_BASE_MODULUS,
        count=len(points),
        ic_0_x=first[0],
        ic_0_y=first[1],
        terms="\n".join(
            f"        sound = sound && addTerm(\n"
            f"            sum,\n            {x},\n            {y},\n            input[{i}]\n"
            "        );"
            for i, (x, y) in enumerate(points)
        ),
        alpha_beta=_assign(6, [*alpha, *beta]),
        gamma=_assign(14, gamma),
        delta=_assign(20, delta),
    )


_G2_FIELDS = ("vk_beta_2", "vk_gamma_2", "vk_delta_2")


def proof_calldata(proof: Mapping[str, Any], public: Sequence[str]) -> bytes:
    """The data of a call to `verifyProof`, from the contents of proof.json and public.json.

    Raises InvalidInput where they are not of BN254 or not well formed; does not verify anything.
    """
    if proof.get("curve") != "bn128":
        raise InvalidInput("curve", show(proof.get("curve")), "bn128, as for proofs on bn254")
    words = [
        *_g1("pi_a", proof.get("pi_a")),
        *_g2("pi_b", proof.get("pi_b")),
        *_g1("pi_c", proof.get("pi_c")),
        *(_number(f"public[{i}]", s, Curve.BN254.modulus) for i, s in enumerate(public)),
    ]
    signature = f"verifyProof(uint256[2],uint256[2][2],uint256[2],uint256[{len(public)}])"
    selector = muster_native.keccak256(signature.encode())[:4]
    return selector + b"".join(word.to_bytes(32, "big") for word in words)


def _assign(first: int, words: Sequence[int]) -> str:
    return "\n".join(f"        pairs[{first + i}] = {word};" for i, word in enumerate(words))


def _ic(key: Mapping[str, Any]) -> list[list[int]]:
    points, count = key.get("IC"), key.get("nPublic")
    if not isinstance(points, list) or len(points) < 2 or count != len(points) - 1:
        raise InvalidInput("IC", show(count), "a list of nPublic + 1 points")
    return [_g1(f"IC[{i}]", point) for i, point in enumerate(points)]


def _number(field: str, value: object, below: int) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 78:
        number = int(value)
        if number < below:
            return number
    raise InvalidInput(field, show(value), "a decimal number below the modulus, as a string")


def _list(field: str, value: object, length: int) -> list[Any]:
    if not isinstance(value, list) or len(value) != length:
        raise InvalidInput(field, show(value), f"a list of {length}")
    return value


def _g1(field: str, value: object) -> list[int]:
    """[x, y] of the point [x, y, "1"]."""
    x, y, z = _list(field, value, 3)
    if z != "1":
        raise InvalidInput(field, show(value), 'a finite point [x, y, "1"]')
    return [_number(field, part, _BASE_MODULUS) for part in (x, y)]


def _g2(field: str, value: object) -> list[int]:
    """The four numbers of a point in the order of the precompiles: imaginary parts first."""
    x, y, z = _list(field, value, 3)
    if z != ["1", "0"]:
        raise InvalidInput(field, show(value), 'a finite point [x, y, ["1", "0"]]')
    return [
        _number(field, part, _BASE_MODULUS)
        for pair in (x, y)
        for part in reversed(_list(field, pair, 2))
    ]
