"""Inputs: what is accepted becomes canonical, what is not gets one clear sentence."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muster_proving import (
    CircuitSpec,
    Curve,
    InvalidInput,
    parse_circuit,
    parse_inputs,
    public_signals,
)

MERKLE = CircuitSpec("merkle", Curve.BN254, 3)
RANGE = CircuitSpec("range", Curve.BN254, 64)
ADDITION = CircuitSpec("addition", Curve.BN254)

elements = st.integers(0, Curve.BN254.modulus - 1)


@st.composite
def hex_texts(draw: st.DrawFn) -> str:
    """A field element as people write them: prefix or not, any case, padded or odd."""
    digits = f"{draw(elements):x}".zfill(draw(st.sampled_from([1, 2, 63, 64])))
    digits = draw(st.sampled_from([digits, digits.upper()]))
    return draw(st.sampled_from(["", "0x", "0X"])) + digits


@st.composite
def requests(draw: st.DrawFn) -> tuple[CircuitSpec, dict[str, Any]]:
    """Valid inputs of any circuit, numbers as numbers or as text."""

    def number(low: int, high: int) -> Any:
        value = draw(st.integers(low, high))
        return draw(st.sampled_from([value, str(value)]))

    spec = draw(st.sampled_from([MERKLE, RANGE, ADDITION]))
    if spec is MERKLE:
        leaves = draw(st.lists(hex_texts(), min_size=1, max_size=8))
        return spec, {"leaves": leaves, "leaf_index": number(0, len(leaves) - 1)}
    if spec is RANGE:
        low = number(0, 2**64 - 1)
        high = number(int(low), 2**64 - 1)
        return spec, {"value": number(int(low), int(high)), "min": low, "max": high}
    return spec, {"a": number(0, 2**128 - 1), "b": number(0, 2**128 - 1)}


@settings(deadline=None)
@given(requests())
def test_canonical_inputs_are_json_and_stay_as_they_are(request: Any) -> None:
    spec, given_inputs = request
    canonical = parse_inputs(spec, given_inputs)
    assert json.loads(json.dumps(canonical)) == canonical
    assert parse_inputs(spec, canonical) == canonical


@settings(deadline=None)
@given(requests())
def test_canonical_inputs_determine_the_public_signals(request: Any) -> None:
    spec, given_inputs = request
    canonical = parse_inputs(spec, given_inputs)
    signals = public_signals(spec, canonical)
    assert public_signals(spec, canonical) == signals
    assert all(0 <= int(signal) < spec.curve.modulus for signal in signals)
    if spec is RANGE:
        assert signals[1:] == [canonical["min"], canonical["max"]]
    if spec is ADDITION:
        assert int(signals[2]) == int(given_inputs["a"]) + int(given_inputs["b"])


def test_spellings_of_a_leaf_make_the_same_root() -> None:
    spellings = ["0xAB", "ab", "0X00ab", "00000000ab"]
    roots = {
        public_signals(MERKLE, parse_inputs(MERKLE, {"leaves": [leaf], "leaf_index": 0}))[0]
        for leaf in spellings
    }
    assert len(roots) == 1


def test_missing_leaves_are_zero_leaves() -> None:
    few = {"leaves": ["0x1", "0x2"], "leaf_index": 1}
    all_of_them = {"leaves": ["0x1", "0x2", *["0x0"] * 6], "leaf_index": 1}
    few_signals, all_signals = (
        public_signals(MERKLE, parse_inputs(MERKLE, inputs)) for inputs in (few, all_of_them)
    )
    assert few_signals == all_signals


def test_blindings_are_random_unless_given() -> None:
    first, second = (parse_inputs(RANGE, {"value": 1, "min": 0, "max": 2}) for _ in range(2))
    assert public_signals(RANGE, first)[0] != public_signals(RANGE, second)[0]
    given_one = {"value": 1, "min": 0, "max": 2, "blinding": "0xff"}
    assert parse_inputs(RANGE, given_one)["blinding"] == "255"
    given_two = {"a": 1, "b": 2, "blinding_a": 3, "blinding_b": "4"}
    assert parse_inputs(ADDITION, given_two) == {
        "a": "1",
        "b": "2",
        "blinding_a": "3",
        "blinding_b": "4",
    }


HEX = "hex numbers of 1 to 64 digits below the modulus of bn254"
OPERAND = "an integer from 0 to 2^128 - 1, as a number or as decimal digits"
BITS = "an integer from 0 to 2^64 - 1, as a number or as decimal digits"
BLINDING = "a decimal or 0x-hex number below the field's modulus, or nothing for a random one"


@pytest.mark.parametrize(
    ("spec", "inputs", "sentence"),
    [
        (MERKLE, [], "inputs is a list of 0 entries; allowed: an object"),
        (MERKLE, {}, "leaves is missing; allowed: a list of 1 to 8 hex strings"),
        (MERKLE, {"leaves": "0x1"}, "leaves is a string of 3 characters; allowed: a list of"),
        (MERKLE, {"leaves": []}, "leaves is a list of 0 entries; allowed: a list of 1 to 8"),
        (MERKLE, {"leaves": ["1"] * 9}, "leaves is a list of 9 entries; allowed: a list of 1 to 8"),
        (
            MERKLE,
            {"leaves": ["1", "2", "3", "0xzz"], "leaf_index": 0},
            f"leaves[3] is a string of 4 characters; allowed: {HEX}",
        ),
        (MERKLE, {"leaves": ["1", ""]}, "leaves[1] is a string of 0 characters; "),
        (MERKLE, {"leaves": ["0x"]}, "leaves[0] is a string of 2 characters; "),
        (MERKLE, {"leaves": [5]}, "leaves[0] is an integer of 3 bits; "),
        (MERKLE, {"leaves": [None]}, "leaves[0] is missing; "),
        (MERKLE, {"leaves": ["f" * 64]}, f"leaves[0] is not below the modulus; allowed: {HEX}"),
        (MERKLE, {"leaves": ["0" * 65]}, "leaves[0] is a string of 65 characters; "),
        (
            MERKLE,
            {"leaves": ["1", "2"], "leaf_index": 2},
            "leaf_index is an integer of 2 bits; allowed: an integer from 0 to 1, the index of",
        ),
        (MERKLE, {"leaves": ["1"]}, "leaf_index is missing; "),
        (MERKLE, {"leaves": ["1"], "leaf_index": -1}, "leaf_index is an integer of 1 bits below 0"),
        (MERKLE, {"leaves": ["1"], "leaf_index": 0.0}, "leaf_index is of type float; "),
        (MERKLE, {"leaves": ["1"], "leaf_index": False}, "leaf_index is a boolean; "),
        (
            MERKLE,
            {"leafs": ["1"], "leaf_index": 0},
            "'leafs' is not a field of the inputs; allowed: leaves, leaf_index",
        ),
        (RANGE, {"value": 1, "max": 5}, f"min is missing; allowed: {BITS}"),
        (RANGE, {"value": 1, "min": "0x1", "max": 5}, f"min is '0x1'; allowed: {BITS}"),
        (RANGE, {"value": 1, "min": 0, "max": 2**64}, f"max is {2**64}; allowed: {BITS}"),
        (RANGE, {"value": 1, "min": 6, "max": 5}, "min is 6; allowed: at most max, which is 5"),
        (
            RANGE,
            {"value": 9, "min": 1, "max": 5},
            "value is outside of min to max; allowed: an integer from 1 to 5",
        ),
        (RANGE, {"value": "٣", "min": 1, "max": 5}, "value is a string of 1 characters; "),
        (RANGE, {"min": 1, "max": 5}, f"value is missing; allowed: {BITS}"),
        (
            RANGE,
            {"value": 2, "min": 1, "max": 5, "blinding": "ff"},
            f"blinding is a string of 2 characters; allowed: {BLINDING}",
        ),
        (ADDITION, {"a": 1}, f"b is missing; allowed: {OPERAND}"),
        (ADDITION, {"a": 2**128, "b": 1}, f"a is an integer of 129 bits; allowed: {OPERAND}"),
        (ADDITION, {"a": "-1", "b": 1}, f"a is a string of 2 characters; allowed: {OPERAND}"),
        (
            ADDITION,
            {"a": 1, "b": 1, "blinding_b": Curve.BN254.modulus},
            f"blinding_b is an integer of 254 bits; allowed: {BLINDING}",
        ),
        (ADDITION, {"a": 1, "b": 1, "sum": 2}, "'sum' is not a field of the inputs; allowed: a, b"),
    ],
)
def test_each_wrong_field_gets_its_sentence(spec: CircuitSpec, inputs: Any, sentence: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_inputs(spec, inputs)
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    ("spec", "make"),
    [
        (MERKLE, lambda secret: {"leaves": [secret + "g"], "leaf_index": 0}),
        (MERKLE, lambda secret: {"leaves": [int(secret)], "leaf_index": 0}),
        (MERKLE, lambda secret: {"leaves": ["1"], "leaf_index": int(secret)}),
        (RANGE, lambda secret: {"value": int(secret), "min": 0, "max": 1}),
        (RANGE, lambda secret: {"value": 1, "min": 0, "max": 1, "blinding": secret + "?"}),
        (ADDITION, lambda secret: {"a": secret + "?", "b": 1}),
        (ADDITION, lambda secret: {"a": 1, "b": [secret]}),
        (ADDITION, lambda secret: {"a": 1, "b": {"secret": secret}}),
    ],
)
def test_secret_values_are_in_no_error(spec: CircuitSpec, make: Any) -> None:
    secret = "7" * 25
    with pytest.raises(InvalidInput) as caught:
        parse_inputs(spec, make(secret))
    assert secret not in "".join(map(str, (caught.value, caught.value.args, vars(caught.value))))
    assert caught.value.__cause__ is None


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=8), st.one_of(st.none(), st.text(), st.integers())))
def test_any_other_object_is_refused_and_nothing_else(inputs: dict[str, Any]) -> None:
    for spec in (MERKLE, RANGE, ADDITION):
        with pytest.raises(InvalidInput):
            parse_inputs(spec, inputs)


def test_a_full_tree_is_accepted_and_one_leaf_more_is_not() -> None:
    spec = parse_circuit("merkle")
    leaves = [f"{i:x}" for i in range(65_536)]
    canonical = parse_inputs(spec, {"leaves": leaves, "leaf_index": 65_535})
    assert len(canonical["leaves"]) == 65_536
    with pytest.raises(InvalidInput, match="leaves is a list of 65537 entries"):
        parse_inputs(spec, {"leaves": [*leaves, "1"], "leaf_index": 0})


def test_an_error_survives_the_way_to_another_process() -> None:
    error = InvalidInput("leaves[3]", "a string of 4 characters", "hex")
    # Copying rebuilds the error from its arguments, just as unpickling does.
    rebuilt = copy.copy(error)
    assert str(rebuilt) == str(error) == "leaves[3] is a string of 4 characters; allowed: hex"
    assert vars(rebuilt) == vars(error)


def test_numbers_of_a_million_digits_are_refused_at_once() -> None:
    for text in ("9" * 1_000_000, "0x" + "9" * 1_000_000):
        with pytest.raises(InvalidInput):
            parse_inputs(RANGE, {"value": text, "min": 0, "max": 1})
        with pytest.raises(InvalidInput):
            parse_inputs(RANGE, {"value": 1, "min": text, "max": 1})
