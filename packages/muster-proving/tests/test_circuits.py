"""Names, sizes and ids of circuits."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import muster_native
from muster_proving import CircuitSpec, Curve, Hash, InvalidInput, parse_circuit

_curves, _hashes = st.sampled_from(Curve), st.sampled_from(Hash)
specs = st.one_of(
    st.builds(CircuitSpec, st.just("merkle"), _curves, st.integers(1, 32), _hashes),
    st.builds(CircuitSpec, st.just("range"), _curves, st.integers(8, 128), _hashes),
    st.builds(CircuitSpec, st.just("addition"), _curves, st.just(0), _hashes),
)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("merkle", CircuitSpec("merkle", Curve.BN254, 20)),
        ("merkle_proof", CircuitSpec("merkle", Curve.BN254, 20)),
        ("range", CircuitSpec("range", Curve.BN254, 64)),
        ("range_proof", CircuitSpec("range", Curve.BN254, 64)),
        ("addition", CircuitSpec("addition", Curve.BN254, 0)),
    ],
)
def test_names_of_both_kinds_mean_the_default_circuit(name: str, expected: CircuitSpec) -> None:
    assert parse_circuit(name) == expected


def test_ids_are_the_documented_ones() -> None:
    spec = parse_circuit("merkle_proof", curve="BLS12-381", size=10)
    assert spec.circuit_id == "merkle-10-poseidon"
    assert spec.key_id == "merkle-10-poseidon@bls12-381"
    assert spec.task_type == "prove.merkle"
    assert spec.wire_name == "merkle_proof"
    assert parse_circuit("addition").key_id == "addition-poseidon@bn254"


@settings(deadline=None)
@given(specs)
def test_a_key_id_names_exactly_one_circuit(spec: CircuitSpec) -> None:
    assert CircuitSpec.from_key_id(spec.key_id) == spec


@settings(deadline=None)
@given(specs)
def test_both_languages_use_the_same_id(spec: CircuitSpec) -> None:
    assert muster_native.check_key_id(spec.key_id) == spec.key_id


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"name": "xor"}, "circuit is 'xor'; allowed: addition, merkle, merkle_proof, range, "),
        ({"name": 7}, "circuit is 7; allowed: "),
        ({"name": "merkle", "curve": "bn256"}, "curve is 'bn256'; allowed: bn254 or bls12-381"),
        ({"name": "merkle", "size": 33}, "depth is 33; allowed: 1 to 32"),
        ({"name": "merkle", "size": 0}, "depth is 0; allowed: 1 to 32"),
        ({"name": "range", "size": 7}, "bits is 7; allowed: 8 to 128"),
        ({"name": "range", "size": "64"}, "bits is '64'; allowed: an integer"),
        ({"name": "merkle", "size": True}, "depth is True; allowed: an integer"),
        ({"name": "addition", "size": 1}, "size is 1; allowed: nothing, or 0"),
    ],
)
def test_what_is_not_in_the_catalogue_is_refused(arguments: Any, sentence: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_circuit(**arguments)
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    "key_id",
    [
        "",
        "merkle-20-poseidon",
        "merkle-20-sha256@bn254",
        "merkle-020-poseidon@bn254",
        "merkle-poseidon@bn254",
        "merkle_proof-20-poseidon@bn254",
        "addition-1-poseidon@bn254",
        "merkle-20-poseidon@bn256",
        "merkle-20-poseidon@bn254\n",
    ],
)
def test_a_key_id_in_any_other_form_is_refused(key_id: str) -> None:
    with pytest.raises(InvalidInput):
        CircuitSpec.from_key_id(key_id)


def test_a_long_wrong_name_does_not_fill_the_log() -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_circuit("x" * 1_000_000)
    assert len(str(caught.value)) < 200
