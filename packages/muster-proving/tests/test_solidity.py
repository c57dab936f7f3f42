"""Verifier contracts, compiled by solc and run by a virtual machine of Ethereum."""

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import muster_native
from muster_proving import CircuitSpec, Curve, Hash, InvalidInput
from muster_proving.__main__ import main
from muster_proving.solidity import proof_calldata, verifier_contract

from . import installed
from .samples import EXAMPLES, Loaded

HERE = Path(__file__).parent
BN254 = [
    CircuitSpec("merkle", size=4),
    CircuitSpec("range", size=16),
    CircuitSpec("addition", hash=Hash.MIMC),
]
TRUE, FALSE = f"0x{1:064x}", f"0x{0:064x}"


def run(source: str, name: str, calls: Sequence[bytes]) -> list[str]:
    """What the contract returns for each call; "reverted" where it doesn't."""
    request = {"name": name, "source": source, "calls": ["0x" + call.hex() for call in calls]}
    done = subprocess.run(
        ["node", str(HERE / "evm" / "verify.mjs")],
        cwd=installed.npm("evm", HERE / "evm"),
        input=json.dumps(request).encode(),
        check=True,
        stdout=subprocess.PIPE,
        timeout=120,
    )
    answers = json.loads(done.stdout)
    assert all(gas < 400_000 for _, _, gas in answers if gas < 10_000_000 // 2), answers
    return [value if returned else "reverted" for returned, value, _ in answers]


def word(call: bytes, index: int, value: int) -> bytes:
    """The call with one of its words replaced."""
    place = 4 + 32 * index
    return call[:place] + value.to_bytes(32, "big") + call[place + 32 :]


def words(call: bytes) -> list[int]:
    return [int.from_bytes(call[i : i + 32], "big") for i in range(4, len(call), 32)]


@pytest.mark.integration
@pytest.mark.parametrize("spec", BN254, ids=lambda spec: str(spec.key_id))
def test_a_contract_takes_the_proof_and_nothing_else(
    spec: CircuitSpec, keys: dict[CircuitSpec, Loaded]
) -> None:
    loaded = keys[spec]
    bundle = loaded.prover.prove(EXAMPLES[spec.name])
    proof, key, public = loaded.verifier.to_snarkjs(bundle.public, bundle.proof)
    good = proof_calldata(proof, public)
    numbers = words(good)
    base = 0x30644E72E131A029B85045B68181585D97816A916871CA8D3C208C16D87CFD47
    swapped = [*numbers[6:8], *numbers[2:6], *numbers[:2], *numbers[8:]]
    altered = [
        word(good, 8, numbers[8] + 1),
        word(good, 8, numbers[8] + Curve.BN254.modulus),
        word(good, len(numbers) - 1, numbers[-1] ^ 1),
        word(good, 0, 1),
        word(good, 1, base - numbers[1]),
        word(good, 1, numbers[1] + base),
        word(good, 0, numbers[0] + base),
        word(good, 2, numbers[3]),
        good[:4] + b"".join(number.to_bytes(32, "big") for number in swapped),
        good[:4] + bytes(len(good) - 4),
    ]
    answers = run(verifier_contract(key, "Demo"), "Demo", [good, *altered, good[:-32], b""])
    assert answers == [TRUE, *[FALSE] * len(altered), "reverted", "reverted"]


def test_the_call_is_that_of_the_abi(keys: dict[CircuitSpec, Loaded]) -> None:
    # The selector of transfer(address,uint256), known to all.
    assert muster_native.keccak256(b"transfer(address,uint256)")[:4].hex() == "a9059cbb"
    loaded = keys[BN254[0]]
    bundle = loaded.prover.prove(EXAMPLES["merkle"])
    proof, _, public = loaded.verifier.to_snarkjs(bundle.public, bundle.proof)
    call = proof_calldata(proof, public)
    assert len(call) == 4 + 9 * 32
    a, (bx, by), c = proof["pi_a"], proof["pi_b"][:2], proof["pi_c"]
    expected = [a[0], a[1], bx[1], bx[0], by[1], by[0], c[0], c[1], public[0]]
    assert words(call) == [int(number) for number in expected]


def test_the_commands_write_contract_and_call(
    keys: dict[CircuitSpec, Loaded], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = keys[BN254[0]]
    bundle = loaded.prover.prove(EXAMPLES["merkle"])
    proof, key, public = loaded.verifier.to_snarkjs(bundle.public, bundle.proof)
    for name, document in (("key", key), ("proof", proof), ("public", public)):
        (tmp_path / name).write_text(json.dumps(document))
    out = tmp_path / "verifier.sol"
    assert main(["export-solidity", str(tmp_path / "key"), str(out), "--name", "Demo"]) == 0
    assert out.read_text() == verifier_contract(key, "Demo")
    capsys.readouterr()
    assert main(["calldata", str(tmp_path / "proof"), str(tmp_path / "public")]) == 0
    assert capsys.readouterr().out == f"0x{proof_calldata(proof, public).hex()}\n"
    assert main(["calldata", str(tmp_path / "proof"), str(tmp_path / "nowhere")]) == 1
    assert "nowhere" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"curve": "bls12381"}, "curve is 'bls12381'; allowed: bn128"),
        ({"protocol": "plonk"}, "protocol is 'plonk'; allowed: groth16"),
        ({"IC": []}, "IC is 1; allowed: a list of nPublic"),
        ({"nPublic": 2}, "IC is 2; allowed: a list of nPublic"),
        ({"vk_alpha_1": ["1", "2"]}, "vk_alpha_1 is .*; allowed: a list of 3"),
        ({"vk_alpha_1": ["1", "2; selfdestruct", "1"]}, "allowed: a decimal number"),
        ({"vk_alpha_1": ["0", "1", "0"]}, "allowed: a finite point"),
        ({"vk_beta_2": [["1", str(2**256)], ["1", "2"], ["1", "0"]]}, "allowed: a decimal number"),
        ({"vk_delta_2": None}, "vk_delta_2 is None"),
    ],
)
def test_a_wrong_key_is_refused_by_name(
    change: dict[str, Any], sentence: str, keys: dict[CircuitSpec, Loaded]
) -> None:
    key = keys[BN254[0]].verifier.verifying_key_json()
    with pytest.raises(InvalidInput, match=sentence):
        verifier_contract(key | change)


@pytest.mark.parametrize("name", ["", "verifier", "A B", "A{}", "A" * 65])
def test_a_name_that_is_none_of_a_contract_is_refused(
    name: str, keys: dict[CircuitSpec, Loaded]
) -> None:
    with pytest.raises(InvalidInput, match="name is"):
        verifier_contract(keys[BN254[0]].verifier.verifying_key_json(), name)
