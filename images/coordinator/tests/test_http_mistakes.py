"""Each wrong field of each endpoint, and the one sentence that answers it."""

import json
from typing import Any

import pytest

from muster_coordinator.http_face.requests import (
    AdditionTask,
    Batch,
    KeyChoice,
    Listing,
    Look,
    MerkleTask,
    ProofToVerify,
    RangeTask,
)
from muster_proving import parse_circuit

from .answers import refused
from .harness import Replica

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

TREE = {"leaves": ["0x1", "0x2"], "leaf_index": 1}
RANGE = {"value": 5, "min": 1, "max": 9}
SUM = {"a": 1, "b": 2}
PROOF = {"circuit": "addition", "proof_bytes": "AAAA", "public_inputs": ["1"]}
MODULUS = hex(parse_circuit("merkle").curve.modulus)
UNKNOWN = "00000000-0000-7000-8000-000000000000"


# What all submissions may say: field, value, the error's text.
OPTIONS: list[tuple[str, Any, str]] = [
    ("curve", "p256", "curve is 'p256'; allowed: bn254 or bls12-381"),
    ("curve", 5, "curve is 5; allowed: bn254"),
    ("curve", "bls12-381", "is not on offer; allowed: merkle-4-poseidon@bn254 in pool demo"),
    ("pool", 5, "pool is 5; allowed: the name of a pool"),
    ("pool", "", "pool is ''; allowed: the name of a pool"),
    ("pool", "a\u0000b", r"pool is 'a\x00b'; allowed: the name of a pool"),
    ("pool", "\ud800", r"pool is '\ud800'; allowed: the name of a pool"),
    ("pool", "x" * 254, "allowed: the name of a pool"),
    ("pool", "other", "pool other is not on offer; allowed: "),
    ("hash", "md5", "hash is 'md5'; allowed: poseidon or mimc"),
    ("hash", 1, "hash is 1; allowed: poseidon or mimc"),
    ("hash", "mimc", "hash mimc, pool any is not on offer"),
    ("priority", 1001, "priority is 1001; allowed: an integer from 0 to 1000"),
    ("priority", -1, "priority is -1; allowed: an integer"),
    ("priority", "high", "priority is 'high'; allowed: an integer"),
    ("priority", True, "priority is True; allowed: an integer"),
    ("priority", 1.5, "priority is 1.5; allowed: an integer"),
    ("priority", None, "priority is None; allowed: an integer"),
    ("priority", [1], "priority is a list; allowed: an integer"),
    ("deadline", "soon", "deadline is 'soon'; allowed: a time with its zone"),
    ("deadline", 1893553445, "deadline is 1893553445; allowed: a time"),
    ("deadline", "2030-01-02T03:04:05", "deadline is '2030-01-02T03:04:05'; allowed: a time"),
    ("deadline", "2020-01-02T03:04:05Z", "deadline is '2020-01-02T03:04:05Z'; allowed: a time"),
    ("deadline", "9999-01-02T03:04:05Z", "allowed: a time with its zone"),
    ("timeout_seconds", 0, "timeout_seconds is 0; allowed: a number above 0, at most 2592000"),
    ("timeout_seconds", -1, "timeout_seconds is -1; allowed: a number"),
    ("timeout_seconds", 2592001, "timeout_seconds is 2592001; allowed: a number"),
    ("timeout_seconds", "5s", "timeout_seconds is '5s'; allowed: a number"),
    ("timeout_seconds", True, "timeout_seconds is True; allowed: a number"),
    ("colour", "red", "'colour' is not a field of the request; allowed: "),
    ("x" * 100, 1, "… is not a field of the request; allowed: "),
]

INPUTS: list[tuple[str, dict[str, Any], str]] = [
    ("merkle", {"leaves": None}, "leaves is missing; allowed: a list of 1 to 16 hex strings"),
    ("merkle", {"leaves": []}, "leaves is a list of 0 entries; allowed: a list of 1 to 16"),
    ("merkle", {"leaves": ["0x1"] * 17}, "leaves is a list of 17 entries; allowed: a list of 1"),
    ("merkle", {"leaves": "0x1"}, "leaves is a string of 3 characters; allowed: a list"),
    ("merkle", {"leaves": ["0x1", "zz"]}, "leaves[1] is a string of 2 characters; allowed: hex"),
    ("merkle", {"leaves": [1, 2]}, "leaves[0] is an integer of 1 bits; allowed: hex numbers"),
    ("merkle", {"leaves": [MODULUS, "1"]}, "leaves[0] is not below the modulus; allowed: hex"),
    ("merkle", {"leaf_index": None}, "leaf_index is missing; allowed: an integer from 0 to 1"),
    ("merkle", {"leaf_index": 2}, "leaf_index is an integer of 2 bits; allowed: an integer from 0"),
    ("merkle", {"leaf_index": -1}, "leaf_index is an integer of 1 bits below 0; allowed"),
    ("merkle", {"leaf_index": 0.5}, "leaf_index is of type float; allowed: an integer"),
    ("merkle", {"leaf_index": "x"}, "leaf_index is a string of 1 characters; allowed"),
    ("merkle", {"size": 0}, "size is 0; allowed: an integer from 1 to 32"),
    ("merkle", {"size": 33}, "size is 33; allowed: an integer from 1 to 32"),
    ("merkle", {"size": "4"}, "size is '4'; allowed: an integer"),
    (
        "merkle",
        {"size": 20},
        "circuit 'merkle' with curve any, size 20, hash any, pool any is not on offer",
    ),
    ("merkle", {"a": 1}, "'a' is not a field of the request; allowed: curve, size, hash, pool"),
    ("range", {"value": None}, "value is missing; allowed: an integer from 0 to 2^8 - 1"),
    ("range", {"value": 256}, "value is an integer of 9 bits; allowed: an integer from 0"),
    ("range", {"value": 10}, "value is outside of min to max; allowed: an integer from 1 to 9"),
    ("range", {"value": "5.0"}, "value is a string of 3 characters; allowed: an integer"),
    ("range", {"min": None}, "min is missing; allowed: an integer"),
    ("range", {"min": -1}, "min is -1; allowed: an integer"),
    ("range", {"min": 10}, "min is 10; allowed: at most max, which is 9"),
    ("range", {"max": None}, "max is missing; allowed: an integer"),
    ("range", {"max": 256}, "max is 256; allowed: an integer"),
    ("range", {"max": True}, "max is True; allowed: an integer"),
    ("range", {"blinding": "0xzz"}, "blinding is a string of 4 characters; allowed: a decimal"),
    ("range", {"blinding": -1}, "blinding is an integer of 1 bits below 0; allowed: a decimal"),
    ("range", {"size": 7}, "size is 7; allowed: an integer from 8 to 128"),
    ("range", {"size": 129}, "size is 129; allowed: an integer from 8 to 128"),
    ("addition", {"a": None}, "a is missing; allowed: an integer from 0 to 2^128 - 1"),
    ("addition", {"a": 2**128}, "a is an integer of 129 bits; allowed: an integer"),
    ("addition", {"a": True}, "a is a boolean; allowed: an integer"),
    ("addition", {"b": "x"}, "b is a string of 1 characters; allowed: an integer"),
    ("addition", {"b": -1}, "b is an integer of 1 bits below 0; allowed: an integer"),
    ("addition", {"b": {}}, "b is of type dict; allowed: an integer"),
    ("addition", {"blinding_a": MODULUS}, "blinding_a is an integer of 254 bits; allowed: a dec"),
    ("addition", {"blinding_b": "zz"}, "blinding_b is a string of 2 characters; allowed: a dec"),
    ("addition", {"size": 20}, "size is 20; allowed: nothing, or 0"),
]

GOOD: dict[str, dict[str, Any]] = {"merkle": TREE, "range": RANGE, "addition": SUM}


def _sent(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


@pytest.mark.parametrize("circuit", ["merkle", "range", "addition"])
@pytest.mark.parametrize(("field", "value", "said"), OPTIONS)
async def test_wrong_options_of_a_task(
    wide: Replica, circuit: str, field: str, value: Any, said: str
) -> None:
    body = _sent(GOOD[circuit] | {field: value})
    answer = await wide.http.post(f"/api/v1/tasks/{circuit}", content=body)
    assert said in refused(answer, 400, "INVALID_INPUT")["message"]


@pytest.mark.parametrize(("field", "value", "said"), OPTIONS)
async def test_wrong_options_of_a_task_in_a_batch(
    wide: Replica, field: str, value: Any, said: str
) -> None:
    good = {"circuit": "addition"} | SUM
    body = _sent({"tasks": [good, good | {field: value}]})
    answer = await wide.http.post("/api/v1/tasks/batch", content=body)
    message = refused(answer, 400, "INVALID_INPUT")["message"]
    assert message.startswith("tasks[1]")
    assert said in message


@pytest.mark.parametrize(("circuit", "differing", "said"), INPUTS)
async def test_wrong_inputs_of_a_task(
    wide: Replica, circuit: str, differing: dict[str, Any], said: str
) -> None:
    body = GOOD[circuit] | differing
    answer = await wide.http.post(f"/api/v1/tasks/{circuit}", json=body)
    assert said in refused(answer, 400, "INVALID_INPUT")["message"]


@pytest.mark.parametrize(("circuit", "differing", "said"), INPUTS)
async def test_wrong_inputs_of_a_task_in_a_batch(
    wide: Replica, circuit: str, differing: dict[str, Any], said: str
) -> None:
    task = {"circuit": circuit} | GOOD[circuit] | differing
    answer = await wide.http.post("/api/v1/tasks/batch", json={"tasks": [task]})
    message = refused(answer, 400, "INVALID_INPUT")["message"]
    assert message.startswith("tasks[0]")
    assert said in message


@pytest.mark.parametrize("circuit", ["merkle", "range", "addition"])
async def test_missing_inputs(wide: Replica, circuit: str) -> None:
    for field in GOOD[circuit]:
        body = {name: value for name, value in GOOD[circuit].items() if name != field}
        answer = await wide.http.post(f"/api/v1/tasks/{circuit}", json=body)
        message = refused(answer, 400, "INVALID_INPUT")["message"]
        assert message.startswith(f"{field} is missing; allowed: a"), message


@pytest.mark.parametrize(
    "path", ["/tasks/merkle", "/tasks/range", "/tasks/addition", "/tasks/batch", "/verify"]
)
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "body is 0 bytes that are no JSON; allowed: a JSON object"),
        (b"{", "body is 1 bytes that are no JSON"),
        (b"[1]", "body is a JSON list"),
        (b'"text"', "body is a JSON str"),
        (b"null", "body is a JSON NoneType"),
        (b'{"a": NaN, "b": 2}', "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"1" * 5000, "no JSON"),
        (b"[" * 100_000, "body is 100000 bytes with more than "),
        (b'{"a":' * 60 + b"1" + b"}" * 60, " "),
        (b"]" * 100_000, "body is 100000 bytes "),
    ],
)
async def test_a_body_that_is_no_object(wide: Replica, path: str, body: bytes, said: str) -> None:
    answer = await wide.http.post(f"/api/v1{path}", content=body)
    message = refused(answer, 400, "INVALID_INPUT")["message"]
    assert said in message


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "tasks is missing; allowed: a list of 1 to 1000 tasks"),
        ({"tasks": None}, "tasks is None; allowed: a list of 1 to 1000 tasks"),
        ({"tasks": []}, "tasks is a list; allowed: a list of 1 to 1000 tasks"),
        ({"tasks": {}}, "tasks is a dict; allowed: a list of 1 to 1000 tasks"),
        ({"tasks": [{}] * 1001}, "tasks is a list; allowed: a list of 1 to 1000 tasks"),
        ({"tasks": [5]}, "tasks[0] is 5; allowed: an object"),
        ({"tasks": [None]}, "tasks[0] is None; allowed: an object"),
        ({"tasks": [{"a": 1}]}, "tasks[0].circuit is missing; allowed: merkle, range or addition"),
        ({"tasks": [{"circuit": 5}]}, "tasks[0].circuit is 5; allowed: merkle, range or"),
        ({"tasks": [{"circuit": "x"}]}, "tasks[0].circuit is 'x'; allowed: merkle, range or"),
        ({"tasks": [{"circuit": []}]}, "tasks[0].circuit is a list; allowed: merkle, range or"),
        (
            {"tasks": [{"circuit": "addition"} | SUM], "name": 1},
            "'name' is not a field of the request; allowed: tasks",
        ),
        (
            {
                "tasks": [
                    {"circuit": "addition", "timeout_seconds": 1}
                    | SUM
                    | {"deadline": "2030-01-01T00:00:00Z"}
                ]
            },
            "tasks[0].deadline is ",
        ),
    ],
)
async def test_wrong_batches(wide: Replica, body: dict[str, Any], said: str) -> None:
    answer = await wide.http.post("/api/v1/tasks/batch", json=body)
    assert said in refused(answer, 400, "INVALID_INPUT")["message"]


@pytest.mark.parametrize(
    ("differing", "said"),
    [
        ({"circuit": None}, "circuit is None; allowed: merkle, range or addition"),
        ({"circuit": "sudoku"}, "circuit is 'sudoku'; allowed: merkle, range or addition"),
        ({"curve": "x"}, "curve is 'x'; allowed: bn254 or bls12-381"),
        ({"curve": "bls12-381"}, "is not on offer"),
        ({"hash": "md5"}, "hash is 'md5'; allowed: poseidon or mimc"),
        ({"hash": "mimc"}, "is not on offer"),
        ({"size": 5}, "size is 5; allowed: nothing, or 0"),
        ({"size": "x"}, "size is 'x'; allowed: the depth or bits"),
        ({"pool": "other"}, "is not on offer"),
        ({"pool": 5}, "pool is 5; allowed: the name of a pool"),
        ({"proof_bytes": None}, "proof_bytes is None; allowed: the bytes of a proof in base64"),
        ({"proof_bytes": ""}, "proof_bytes is ''; allowed: "),
        ({"proof_bytes": "%%%"}, "proof_bytes is '%%%'; allowed: "),
        ({"proof_bytes": "A\u00e9=="}, "proof_bytes is 'Aé=='; allowed: "),
        ({"proof_bytes": 5}, "proof_bytes is 5; allowed: "),
        ({"public_inputs": None}, "public_inputs is None; allowed: a list of decimal strings"),
        ({"public_inputs": "1"}, "public_inputs is '1'; allowed: "),
        ({"public_inputs": ["0x1"]}, "public_inputs is '0x1'; allowed: "),
        ({"public_inputs": ["1\n"]}, r"public_inputs is '1\n'; allowed: "),
        ({"public_inputs": [1]}, "public_inputs is 1; allowed: "),
        ({"public_inputs": ["1"] * 65}, "public_inputs is a list; allowed: "),
        ({"key_version": "sha256:0"}, "key_version is 'sha256:0'; allowed: "),
        ({"key_version": "sha256:" + "0" * 64}, "allowed: a version of this key"),
        ({"key_version": {}}, "key_version is a dict; allowed: "),
        ({"colour": 1}, "'colour' is not a field of the request; allowed: circuit, curve"),
    ],
)
async def test_wrong_proofs_to_verify(wide: Replica, differing: dict[str, Any], said: str) -> None:
    answer = await wide.http.post("/api/v1/verify", json=PROOF | differing)
    assert said in refused(answer, 400, "INVALID_INPUT")["message"]


@pytest.mark.parametrize("field", list(PROOF))
async def test_missing_parts_of_a_proof_to_verify(wide: Replica, field: str) -> None:
    body = {name: value for name, value in PROOF.items() if name != field}
    answer = await wide.http.post("/api/v1/verify", json=body)
    assert f"{field} is missing" in refused(answer, 400, "INVALID_INPUT")["message"]


@pytest.mark.parametrize(
    ("path", "params", "said"),
    [
        ("/tasks", {"limit": "0"}, "limit is '0'; allowed: an integer from 1 to 500"),
        ("/tasks", {"limit": "501"}, "limit is '501'; allowed: an integer from 1 to 500"),
        ("/tasks", {"limit": "many"}, "limit is 'many'; allowed: an integer from 1 to 500"),
        ("/tasks", {"cursor": "x"}, "cursor is 'x'; allowed: next_cursor of the page before"),
        ("/tasks", {"status": "done"}, "status is 'done'; allowed: pending, assigned, in_progress"),
        ("/tasks", {"status": ["failed", ""]}, "status is ''; allowed: pending, assigned"),
        ("/tasks", {"circuit": "x"}, "circuit is 'x'; allowed: merkle, range or addition"),
        ("/tasks", {"pool": ""}, "pool is ''; allowed: the name of a pool"),
        ("/tasks", {"pool": "\x00"}, r"pool is '\x00'; allowed: the name of a pool"),
        ("/tasks", {"state": "failed"}, "state is no parameter; allowed: only those of /openapi"),
        (f"/tasks/{UNKNOWN}", {"wait": "30"}, "wait is '30'; allowed: a duration from 0s to 30s"),
        (f"/tasks/{UNKNOWN}", {"wait": "31s"}, "wait is '31s'; allowed: a duration"),
        (f"/tasks/{UNKNOWN}", {"wait": "-1s"}, "wait is '-1s'; allowed: a duration"),
        (f"/tasks/{UNKNOWN}", {"wait": ""}, "wait is ''; allowed: a duration"),
        (f"/tasks/{UNKNOWN}", {"waits": "1s"}, "waits is no parameter"),
        ("/tasks/7", {}, "task_id is '7'; allowed: a UUID, as in the answer to the submission"),
        ("/circuits/addition/verification-key", {"curve": "x"}, "curve is 'x'; allowed: bn254"),
        ("/circuits/addition/verification-key", {"curve": "bls12-381"}, "is not on offer"),
        (
            "/circuits/addition/verification-key",
            {"hash": "md5"},
            "hash is 'md5'; allowed: poseidon",
        ),
        ("/circuits/addition/verification-key", {"hash": "mimc"}, "is not on offer"),
        ("/circuits/addition/verification-key", {"pool": "other"}, "is not on offer"),
        ("/circuits/addition/verification-key", {"pool": ""}, "pool is ''; allowed: the name"),
        ("/circuits/addition/verification-key", {"size": "x"}, "size is 'x'; allowed: an integer"),
        ("/circuits/addition/verification-key", {"size": "5"}, "size is 5; allowed: nothing, or 0"),
        ("/circuits/merkle/verification-key", {"size": "33"}, "depth is 33; allowed: 1 to 32"),
        ("/circuits/merkle/verification-key", {"sise": "3"}, "sise is no parameter"),
    ],
)
async def test_wrong_parameters(
    wide: Replica, path: str, params: dict[str, Any], said: str
) -> None:
    answer = await wide.http.get(f"/api/v1{path}", params=params)
    error = refused(answer, 400, "INVALID_INPUT")
    assert said in error["message"]


@pytest.mark.parametrize("path", ["/tasks/addition", "/tasks/batch"])
@pytest.mark.parametrize("key", [b"", b"a b", b"x" * 256, "é".encode()])
async def test_wrong_idempotency_keys(wide: Replica, path: str, key: bytes) -> None:
    answer = await wide.http.post(f"/api/v1{path}", json=SUM, headers={b"Idempotency-Key": key})
    message = refused(answer, 400, "INVALID_INPUT")["message"]
    assert message.startswith("Idempotency-Key is '")
    assert message.endswith("allowed: 1 to 255 visible ASCII characters")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/tasks/sudoku"),
        ("GET", "/circuits/sudoku/verification-key"),
    ],
)
async def test_circuits_that_are_not_there(wide: Replica, method: str, path: str) -> None:
    answer = await wide.http.request(method, f"/api/v1{path}")
    message = refused(answer, 404, "NOT_FOUND")["message"]
    assert message.startswith("circuit is 'sudoku'; allowed: addition, merkle")


@pytest.mark.parametrize(
    ("method", "path"), [("GET", f"/tasks/{UNKNOWN}"), ("POST", f"/tasks/{UNKNOWN}/cancel")]
)
async def test_tasks_that_are_not_there(wide: Replica, method: str, path: str) -> None:
    answer = await wide.http.request(method, f"/api/v1{path}")
    assert refused(answer, 404, "NOT_FOUND")["message"] == f"task {UNKNOWN}: there is none"


async def test_a_secret_is_in_no_error(wide: Replica) -> None:
    for body in (
        {"a": "secret", "b": 2},
        {"a": 123456789123456789, "b": "2", "priority": "x"},
        {"a": 1, "b": {"secret": 1}},
    ):
        text = (await wide.http.post("/api/v1/tasks/addition", json=body)).text
        assert "secret" not in text
        assert "123456789" not in text


async def test_every_field_has_a_mistake_here() -> None:
    tried = {field for field, *_ in OPTIONS} | {name for _, given, _ in INPUTS for name in given}
    for model in (MerkleTask, RangeTask, AdditionTask):
        assert set(model.model_fields) <= tried
    assert set(Batch.model_fields) == {"tasks"}
    assert set(ProofToVerify.model_fields) == {
        *PROOF,
        *("curve", "size", "hash", "pool", "key_version"),
    }
    assert set(Listing.model_fields) == {"status", "circuit", "pool", "cursor", "limit"}
    assert set(KeyChoice.model_fields) == {"curve", "size", "hash", "pool"}
    assert set(Look.model_fields) == {"wait"}


async def test_the_sizes_are_those_of_the_catalogue() -> None:
    for model in (MerkleTask, RangeTask, AdditionTask):
        sizes = parse_circuit(model.circuit_name).circuit.sizes
        [schema] = [
            one
            for one in model.model_json_schema()["properties"]["size"]["anyOf"]
            if one["type"] == "integer"
        ]
        assert (schema["minimum"], schema["maximum"]) == (sizes[0], sizes[-1])
