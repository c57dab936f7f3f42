"""Keys of ceremonies: made by snarkjs from our constraints, used by our prover."""

import hashlib
import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster_proving import (
    CircuitSpec,
    Curve,
    KeyMismatch,
    export_r1cs,
    generate_insecure_key,
    import_key,
    load_proving_key,
    load_verifying_key,
)
from muster_proving.__main__ import main
from muster_proving.independent import verify_with_py_ecc

from .ceremony import Ceremony, hold
from .samples import A_FEW, EXAMPLES
from .test_snarkjs import ask

# The ceremonies, which the first test of the first run holds, take minutes on a busy machine.
pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

ADDITION = CircuitSpec("addition", Curve.BN254)
RANGE = CircuitSpec("range", Curve.BLS12_381, 8)
OTHERS = {ADDITION: 10, RANGE: 9}
"""Circuits, and the power of two that holds their constraints."""


@pytest.fixture(scope="session")
def ceremonies(snarkjs: Path) -> dict[CircuitSpec, Ceremony]:
    return {spec: hold(spec, power, snarkjs) for spec, power in OTHERS.items()}


@pytest.fixture(scope="session")
def addition(ceremonies: dict[CircuitSpec, Ceremony]) -> Ceremony:
    return ceremonies[ADDITION]


@pytest.mark.parametrize("spec", OTHERS, ids=lambda spec: str(spec.key_id))
def test_a_proof_by_an_imported_key_holds_under_snarkjs_own_key(
    spec: CircuitSpec, ceremonies: dict[CircuitSpec, Ceremony], snarkjs: Path
) -> None:
    ceremony = ceremonies[spec]
    assert ceremony.accepted, "snarkjs finds that the key is one of our constraints"
    key = import_key(spec, ceremony.zkey)
    inputs = {"value": 5, "min": 5, "max": 9} if spec is RANGE else EXAMPLES["addition"]
    bundle = load_proving_key(spec, key.proving_key, key.version).prove(inputs)
    verifier = load_verifying_key(spec, key.verifying_key, key.version)
    proof, ours, public = verifier.to_snarkjs(bundle.public, bundle.proof)
    altered = [str(int(public[0]) + 1), *public[1:]]
    theirs = ceremony.verification_key
    assert ask(
        snarkjs,
        [
            {"key": theirs, "public": public, "proof": proof},
            {"key": theirs, "public": altered, "proof": proof},
        ],
    ) == [True, False]
    assert verify_with_py_ecc(theirs, public, proof)
    assert {name: theirs[name] for name in ours} == ours
    assert bundle.key_version == key.version == import_key(spec, ceremony.zkey).version


def test_the_imported_key_survives_the_file_that_workers_get(addition: Ceremony) -> None:
    key = import_key(ADDITION, addition.zkey)
    again = import_key(ADDITION, key.proving_key)
    assert (again.version, again.proving_key) == (key.version, key.proving_key)
    with pytest.raises(KeyMismatch, match="not of range-8"):
        load_proving_key(CircuitSpec("range", size=8), key.proving_key, key.version)


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        (CircuitSpec("addition", Curve.BLS12_381), "not on bls12-381: another base field"),
        (CircuitSpec("range", size=64), "of another circuit: it has"),
        (CircuitSpec("range", size=128), "of another circuit: it has"),
    ],
)
def test_a_key_of_something_else_is_refused_by_name(
    spec: CircuitSpec, reason: str, addition: Ceremony
) -> None:
    with pytest.raises(KeyMismatch, match=f"key of {spec.key_id}.*{reason}"):
        import_key(spec, addition.zkey)


def test_a_key_without_a_contribution_is_refused(addition: Ceremony) -> None:
    with pytest.raises(KeyMismatch, match="no contribution yet"):
        import_key(ADDITION, addition.without_contribution)


def test_other_files_are_refused() -> None:
    material = generate_insecure_key(ADDITION)
    for data in (b"", b"zke", export_r1cs(ADDITION), material.verifying_key):
        with pytest.raises(KeyMismatch, match=r"neither a \.zkey nor a proving key"):
            import_key(ADDITION, data)


def sections(zkey: bytes) -> dict[int, tuple[int, int]]:
    """Start and length of each section's content."""
    found = {}
    place = 12
    while place < len(zkey):
        kind, length = struct.unpack_from("<IQ", zkey, place)
        found[kind] = (place + 12, length)
        place += 12 + length
    return found


def test_other_coefficients_are_another_circuit(addition: Ceremony) -> None:
    start, length = sections(addition.zkey)[4]
    for place in (start, start + 4, start + 8, start + 4 + 16, start + length - 5):
        altered = bytearray(addition.zkey)
        altered[place] ^= 1
        with pytest.raises(KeyMismatch, match="another circuit"):
            import_key(ADDITION, bytes(altered))


@pytest.mark.parametrize("section", [2, 3, 5, 6, 7, 8, 9])
def test_swapped_points_are_refused(section: int, addition: Ceremony) -> None:
    """Each point for itself is good; only proofs can show that the key is not."""
    start, length = sections(addition.zkey)[section]
    size = 128 if section == 7 else 64
    if section == 2:
        start += length - 128 - 64  # delta in G1; beta in G1 is four points before
        other = addition.zkey[start - 128 - 128 - 64 :][:64]
        altered = addition.zkey[:start] + other + addition.zkey[start + 64 :]
    else:
        one, two = addition.zkey[start:][:size], addition.zkey[start + length - size :][:size]
        assert one != two
        body = two + addition.zkey[start + size : start + length - size] + one
        altered = addition.zkey[:start] + body + addition.zkey[start + length :]
    with pytest.raises(KeyMismatch, match=r"does not verify|has a point"):
        import_key(ADDITION, altered)


@A_FEW
@given(part=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_refused(addition: Ceremony, part: float) -> None:
    with pytest.raises(KeyMismatch):
        import_key(ADDITION, addition.zkey[: int(part * len(addition.zkey))])


@A_FEW
@given(place=st.integers(0), bit=st.integers(0, 7), data=st.data())
def test_no_flipped_bit_makes_another_key(
    addition: Ceremony, place: int, bit: int, data: st.DataObject
) -> None:
    """Refused, or, where the bit is none of the key (the log of contributions), the same key."""
    kind = data.draw(st.sampled_from(sorted(sections(addition.zkey))))
    start, length = sections(addition.zkey)[kind]
    altered = bytearray(addition.zkey)
    altered[start + place % length] ^= 1 << bit
    try:
        key = import_key(ADDITION, bytes(altered))
    except KeyMismatch:
        return
    assert kind == 10
    assert key.version == import_key(ADDITION, addition.zkey).version


def test_the_commands_lead_from_constraints_to_a_key(
    addition: Ceremony, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export-r1cs", "addition", str(tmp_path / "r1cs")]) == 0
    assert (tmp_path / "r1cs").read_bytes() == export_r1cs(ADDITION)
    assert capsys.readouterr().out == f"{ADDITION.key_id} written to {tmp_path}/r1cs\n"
    (tmp_path / "zkey").write_bytes(addition.zkey)
    command = ["import-key", "addition", str(tmp_path / "zkey"), "--out", str(tmp_path / "key")]
    assert main([*command, "--verification-key", str(tmp_path / "vk")]) == 0
    facts = json.loads(capsys.readouterr().out)
    key = import_key(ADDITION, addition.zkey)
    digest = hashlib.sha256(addition.zkey).hexdigest()
    assert facts == {"key_id": ADDITION.key_id, "version": key.version, "sha256": digest}
    assert (tmp_path / "key").read_bytes() == key.proving_key
    written = json.loads((tmp_path / "vk").read_text())
    assert written == {name: addition.verification_key[name] for name in written}
    assert main(["import-key", "range", "--bits", "8", str(tmp_path / "zkey")]) == 1
    assert "another circuit" in capsys.readouterr().err
    assert main(["export-r1cs", "merkle", "--depth", "40", str(tmp_path / "r1cs")]) == 1
    assert capsys.readouterr().err == "depth is 40; allowed: 1 to 32\n"
