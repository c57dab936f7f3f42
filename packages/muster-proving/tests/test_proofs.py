"""Proofs: made for any valid inputs, accepted with exactly their public signals."""

import multiprocessing
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import muster_native
from muster_proving import (
    PROOF_ENCODING,
    CircuitSpec,
    Curve,
    InvalidInput,
    MalformedProof,
    load_proving_key,
    parse_inputs,
    public_signals,
)

from .samples import A_FEW, EXAMPLES, Loaded

ADDITION = CircuitSpec("addition", Curve.BN254)
RANGE = CircuitSpec("range", Curve.BLS12_381, 16)
MERKLE = CircuitSpec("merkle", Curve.BN254, 4)


def test_a_proof_holds_for_its_signals_and_no_others(loaded: Loaded) -> None:
    inputs = parse_inputs(loaded.spec, EXAMPLES[loaded.spec.name])
    bundle = loaded.prover.prove(inputs)
    assert bundle.public == public_signals(loaded.spec, inputs)
    assert loaded.verifier.verify(bundle.public, bundle.proof)
    for index in range(len(bundle.public)):
        assert not loaded.verifier.verify(loaded.altered(bundle.public, index), bundle.proof)


def test_a_bundle_says_what_it_is(loaded: Loaded) -> None:
    bundle = loaded.prover.prove(EXAMPLES[loaded.spec.name])
    spec = loaded.spec
    assert (bundle.circuit_id, bundle.key_id) == (spec.circuit_id, spec.key_id)
    assert bundle.duration_ms >= 0
    assert len(bundle.proof) == {Curve.BN254: 128, Curve.BLS12_381: 192}[spec.curve]
    assert bundle.metadata() == {
        "public": bundle.public,
        "key_version": loaded.material.version,
        "encoding": PROOF_ENCODING,
        "curve": spec.curve.value,
    }
    if spec.name == "merkle":
        assert bundle.root is not None
        assert len(bundle.root) == 66
        assert int(bundle.root, 16) == int(bundle.public[0])
    else:
        assert bundle.root is None


def test_every_proof_is_masked_anew(loaded: Loaded) -> None:
    inputs = parse_inputs(loaded.spec, EXAMPLES[loaded.spec.name])
    first, second = loaded.prover.prove(inputs), loaded.prover.prove(inputs)
    assert first.public == second.public
    assert first.proof != second.proof


@A_FEW
@given(low=st.integers(0, 2**16 - 1), span=st.integers(0, 2**16 - 1), at=st.floats(0, 1))
def test_any_value_in_any_range_can_be_proved(
    keys: dict[CircuitSpec, Loaded], low: int, span: int, at: float
) -> None:
    high = min(low + span, 2**16 - 1)
    value = low + round(at * (high - low))
    bundle = keys[RANGE].prover.prove({"value": value, "min": low, "max": high})
    assert bundle.public[1:] == [str(low), str(high)]
    assert keys[RANGE].verifier.verify(bundle.public, bundle.proof)


@A_FEW
@given(
    leaves=st.lists(st.integers(0, Curve.BN254.modulus - 1), min_size=1, max_size=16),
    data=st.data(),
)
def test_any_leaf_of_any_tree_can_be_proved(
    keys: dict[CircuitSpec, Loaded], leaves: list[int], data: st.DataObject
) -> None:
    indices = data.draw(st.lists(st.integers(0, len(leaves) - 1), min_size=2, max_size=2))
    texts = [hex(leaf) for leaf in leaves]
    bundles = [
        keys[MERKLE].prover.prove({"leaves": texts, "leaf_index": index}) for index in indices
    ]
    assert bundles[0].public == bundles[1].public
    claims = [(bundle.public, bundle.proof) for bundle in bundles]
    assert keys[MERKLE].verifier.verify_batch(claims) == [True, True]


def test_the_root_is_that_of_the_documented_hash(keys: dict[CircuitSpec, Loaded]) -> None:
    def level(nodes: list[str]) -> list[str]:
        pairs = zip(nodes[::2], nodes[1::2], strict=True)
        return [
            muster_native.hash_two("bn254", "poseidon", "node", left, right)
            for left, right in pairs
        ]

    leaves = ["1", "2", "3", *["0"] * 13]
    nodes = [muster_native.hash_two("bn254", "poseidon", "leaf", leaf, "0") for leaf in leaves]
    while len(nodes) > 1:
        nodes = level(nodes)
    bundle = keys[MERKLE].prover.prove({"leaves": ["1", "2", "3"], "leaf_index": 2})
    assert bundle.public == nodes


def test_invalid_inputs_never_reach_the_prover(loaded: Loaded) -> None:
    with pytest.raises(InvalidInput):
        loaded.prover.prove({"value": 1, "min": 5, "max": 0, "a": "x", "leaves": []})


@A_FEW
@given(noise=st.binary(max_size=200), signals=st.lists(st.text(max_size=5), max_size=4))
def test_noise_is_no_proof_and_no_exception(
    keys: dict[CircuitSpec, Loaded], noise: bytes, signals: list[str]
) -> None:
    loaded = keys[ADDITION]
    good = loaded.prover.prove(EXAMPLES["addition"])
    assert not loaded.verifier.verify(good.public, noise)
    assert not loaded.verifier.verify(signals, good.proof)


def test_aliased_and_misshapen_claims_are_refused(loaded: Loaded) -> None:
    bundle = loaded.prover.prove(EXAMPLES[loaded.spec.name])
    aliased = [str(int(bundle.public[0]) + loaded.spec.curve.modulus), *bundle.public[1:]]
    claims: list[Any] = [
        (aliased, bundle.proof),
        ([*bundle.public, "0"], bundle.proof),
        (bundle.public[1:], bundle.proof),
        ([f"0{bundle.public[0]}", *bundle.public[1:]], bundle.proof),
        ([int(signal) for signal in bundle.public], bundle.proof),
        (None, bundle.proof),
        (bundle.public, None),
        (bundle.public, bundle.proof.hex()),
        (bundle.public, bundle.proof + b"\0"),
        (bundle.public, b""),
    ]
    assert loaded.verifier.verify_batch(claims) == [False] * len(claims)
    mixed = [(bundle.public, bundle.proof), *claims, (bundle.public, bundle.proof)]
    assert loaded.verifier.verify_batch(mixed) == [True, *[False] * len(claims), True]


def test_proofs_are_bound_to_their_task(keys: dict[CircuitSpec, Loaded]) -> None:
    loaded = keys[MERKLE]
    mine, theirs = (
        loaded.prover.prove({"leaves": [leaf, "5"], "leaf_index": 0}) for leaf in ("0x1", "0x2")
    )
    assert not loaded.verifier.verify(mine.public, theirs.proof)
    assert not loaded.verifier.verify(theirs.public, mine.proof)


def test_a_proof_survives_the_way_through_snarkjs_json(loaded: Loaded) -> None:
    bundle = loaded.prover.prove(EXAMPLES[loaded.spec.name])
    proof_json, key_json, public_json = loaded.verifier.to_snarkjs(bundle.public, bundle.proof)
    assert loaded.verifier.from_snarkjs(proof_json) == bundle.proof
    assert public_json == bundle.public
    assert key_json["nPublic"] == len(bundle.public)
    assert key_json == loaded.verifier.verifying_key_json()
    with pytest.raises(MalformedProof, match="pi_a"):
        loaded.verifier.from_snarkjs({**proof_json, "pi_a": ["1", "1", "1"]})
    with pytest.raises(MalformedProof):
        loaded.verifier.to_snarkjs(bundle.public, bundle.proof[1:])


def test_threads_share_a_prover(keys: dict[CircuitSpec, Loaded]) -> None:
    loaded = keys[RANGE]
    with ThreadPoolExecutor(8) as pool:
        bundles = list(pool.map(lambda _: loaded.prover.prove(EXAMPLES["range"]), range(24)))
        verdicts = pool.map(lambda b: loaded.verifier.verify(b.public, b.proof), bundles)
        assert all(verdicts)


@pytest.fixture
def _no_turns_by_time() -> Iterator[None]:
    """A thread goes on until it lets others have a turn by itself."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("_no_turns_by_time")
def test_python_goes_on_while_a_proof_is_made(keys: dict[CircuitSpec, Loaded]) -> None:
    proving, turn = threading.Event(), threading.Event()
    given_up = time.monotonic() + 60

    def prove() -> bool:
        proving.set()
        while not turn.is_set() and time.monotonic() < given_up:
            keys[MERKLE].prover.prove(EXAMPLES["merkle"])
        return turn.is_set()

    with ThreadPoolExecutor(1) as pool:
        had_one = pool.submit(prove)
        proving.wait()
        turn.set()
        assert had_one.result()


def _prove_in_child(queue: Any, loaded: Loaded) -> None:
    bundle = loaded.prover.prove(EXAMPLES["addition"])
    queue.put(loaded.verifier.verify(bundle.public, bundle.proof))


def test_a_forked_process_can_prove_with_the_keys_of_its_parent(
    keys: dict[CircuitSpec, Loaded],
) -> None:
    loaded = keys[ADDITION]
    loaded.prover.prove(EXAMPLES["addition"])
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_prove_in_child, args=(queue, loaded))
    child.start()
    assert queue.get(timeout=60)
    child.join(timeout=60)
    assert child.exitcode == 0


def test_more_threads_make_the_same_proofs(keys: dict[CircuitSpec, Loaded]) -> None:
    loaded = keys[MERKLE]
    material = loaded.material
    prover = load_proving_key(MERKLE, material.proving_key, material.version, threads=2)
    bundle = prover.prove(EXAMPLES["merkle"])
    assert loaded.verifier.verify(bundle.public, bundle.proof)
    assert prover.table_bytes == loaded.prover.table_bytes > 0
