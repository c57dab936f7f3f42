"""Each wrong field of each endpoint of the workload API, and the one sentence that answers it."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from muster_coordinator.workload_face.requests import (
    Affinity,
    Listing,
    NewConfiguration,
    Page,
    Pages,
    Rule,
    Submission,
)
from muster_testing.postgres import PostgresServer

from .answers import refused
from .harness import serving
from .tenants import client, make_key, workloads

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

UNKNOWN = "00000000-0000-7000-8000-000000000000"
DEEP: dict[str, Any] = {}
for _ in range(40):
    DEEP = {"in": DEEP}

# What a submission and a configuration may say alike: field, value, the error's text.
SHARED: list[tuple[str, Any, str]] = [
    ("workload_type", 5, "workload_type is 5; allowed: a kind of work in lower case, as in sleep"),
    ("workload_type", "", "workload_type is ''; allowed: a kind of work"),
    ("workload_type", "Sleep", "workload_type is 'Sleep'; allowed: a kind of work"),
    ("workload_type", "a..b", "workload_type is 'a..b'; allowed: a kind of work"),
    ("workload_type", "a" * 101, "allowed: a kind of work"),
    ("input_params", [], "input_params is a list; allowed: an object of JSON, at most 32 deep"),
    ("input_params", "x", "input_params is 'x'; allowed: an object of JSON"),
    ("input_params", DEEP, "input_params is nested deeper; allowed: an object of JSON, at most 32"),
    ("input_params", {"a": "\x00"}, "input_params is with a string that is no text; allowed: "),
    ("input_params", {"\ud800": 1}, "input_params is with a string that is no text; allowed: "),
    ("priority", -1, "priority is -1; allowed: an integer from 0 to 1000"),
    ("priority", 1001, "priority is 1001; allowed: an integer from 0 to 1000"),
    ("priority", "1", "priority is '1'; allowed: an integer"),
    ("priority", True, "priority is True; allowed: an integer"),
    ("timeout_seconds", 0, "timeout_seconds is 0; allowed: an integer from 1 to 2592000"),
    ("timeout_seconds", 2592001, "timeout_seconds is 2592001; allowed: an integer"),
    ("timeout_seconds", 1.5, "timeout_seconds is 1.5; allowed: an integer"),
    ("timeout_seconds", "5s", "timeout_seconds is '5s'; allowed: an integer"),
    ("max_retries", -1, "max_retries is -1; allowed: an integer from 0 to 100"),
    ("max_retries", 101, "max_retries is 101; allowed: an integer"),
    ("max_retries", "1", "max_retries is '1'; allowed: an integer"),
    ("affinity", "w", "affinity is 'w'; allowed: an object with hard_affinity, soft_affinity"),
    ("affinity", {"hard": {}}, "affinity.'hard' is not a field of the request; allowed: hard_aff"),
    (
        "affinity",
        {"hard_affinity": 1},
        "affinity.hard_affinity is 1; allowed: an object with worker_id, worker_tags",
    ),
    ("affinity", {"soft_affinity": []}, "affinity.soft_affinity is a list; allowed: an object"),
    ("affinity", {"anti_affinity": None}, "affinity.anti_affinity is None; allowed: an object"),
    (
        "affinity",
        {"hard_affinity": {"worker": "w"}},
        "affinity.hard_affinity.'worker' is not a field of the request; allowed: worker_id, ",
    ),
    (
        "affinity",
        {"hard_affinity": {"worker_id": 1}},
        "affinity.hard_affinity.worker_id is 1; allowed: the name of a worker",
    ),
    (
        "affinity",
        {"soft_affinity": {"worker_tags": ["zone"]}},
        "affinity.soft_affinity.worker_tags is a list; allowed: an object of at most 32",
    ),
    (
        "affinity",
        {"soft_affinity": {"worker_tags": {"zone": 1}}},
        "affinity.soft_affinity.worker_tags is 1; allowed: an object of at most 32",
    ),
    (
        "affinity",
        {"anti_affinity": {"worker_tags": {f"t{n}": "" for n in range(33)}}},
        "affinity.anti_affinity.worker_tags is a dict; allowed: an object of at most 32",
    ),
    (
        "affinity",
        {"anti_affinity": {"workload_types": "sleep"}},
        "affinity.anti_affinity.workload_types is 'sleep'; allowed: a list of at most 32 kinds",
    ),
    (
        "affinity",
        {"anti_affinity": {"workload_types": ["Sleep"]}},
        "affinity.anti_affinity.workload_types is 'Sleep'; allowed: a list",
    ),
    ("colour", 1, "'colour' is not a field of the request; allowed: "),
]

SUBMISSIONS: list[tuple[dict[str, Any], str]] = [
    ({}, "workload_type is missing; allowed: a kind of work in lower case"),
    ({"workload_type": None}, "workload_type is missing; allowed: a kind of work"),
    ({"workload_config_id": "x"}, "workload_config_id is 'x'; allowed: a UUID"),
    ({"workload_config_id": 5}, "workload_config_id is 5; allowed: a UUID"),
    ({"workload_type": "sleep", "pool": ""}, "pool is ''; allowed: the name of a pool"),
    ({"workload_type": "sleep", "pool": 5}, "pool is 5; allowed: the name of a pool"),
    (
        {"workload_type": "sleep", "pool": "demo"},
        "workload_type is 'sleep'; allowed: any in pool jobs",
    ),
    ({"workload_type": "prove.sudoku"}, "workload_type is 'prove.sudoku'; allowed: prove.merkle"),
    (
        {"workload_type": "prove.addition"},
        "input_params.a is missing; allowed: an integer from 0",
    ),
    (
        {"workload_type": "prove.addition", "input_params": {"a": 1, "b": -1}},
        "input_params.b is an integer of 1 bits below 0; allowed: an integer",
    ),
    (
        {"workload_type": "prove.addition", "input_params": {"a": 1, "b": 2, "c": 3}},
        "input_params.'c' is not a field of the request; allowed: ",
    ),
    (
        {"workload_type": "prove.addition", "input_params": {"a": 1, "b": 2, "priority": 3}},
        "input_params.priority is not an input; allowed: priority beside input_params",
    ),
    (
        {"workload_type": "prove.addition", "pool": "jobs", "input_params": {"a": 1, "b": 2}},
        "pool jobs is not on offer",
    ),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def acme(
    postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[httpx.AsyncClient]:
    dsn = await postgres.create_database()
    async with (
        serving(dsn, workloads(), tmp_path_factory.mktemp("mistakes")) as served,
        client(served, await make_key(dsn, "acme")) as customer,
    ):
        yield customer


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def config(acme: httpx.AsyncClient) -> str:
    body = {"name": "good", "workload_type": "sleep"}
    answer = await acme.post("/v1/workload-configs", json=body)
    assert answer.status_code == 201
    return str(answer.json()["config_id"])


def _sent(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


@pytest.mark.parametrize(("field", "value", "said"), SHARED)
async def test_wrong_fields_of_a_submission(
    acme: httpx.AsyncClient, field: str, value: Any, said: str
) -> None:
    body = _sent({"workload_type": "sleep"} | {field: value})
    answer = await acme.post("/v1/workloads", content=body)
    assert said in refused(answer, 400, "INVALID_INPUT")["message"]


@pytest.mark.parametrize(("body", "said"), SUBMISSIONS)
async def test_wrong_submissions(acme: httpx.AsyncClient, body: dict[str, Any], said: str) -> None:
    answer = await acme.post("/v1/workloads", json=body)
    assert said in refused(answer, 400, "INVALID_INPUT")["message"]


async def test_another_type_than_the_configurations(acme: httpx.AsyncClient, config: str) -> None:
    body = {"workload_config_id": config, "workload_type": "command"}
    message = refused(await acme.post("/v1/workloads", json=body), 400, "INVALID_INPUT")["message"]
    assert message == "workload_type is 'command'; allowed: sleep, as in the configuration"


@pytest.mark.parametrize(("field", "value", "said"), SHARED)
async def test_wrong_fields_of_a_configuration(
    acme: httpx.AsyncClient, config: str, field: str, value: Any, said: str
) -> None:
    body = _sent({"name": "n", "workload_type": "sleep"} | {field: value})
    for method, path in (("POST", ""), ("PUT", f"/{config}")):
        answer = await acme.request(method, f"/v1/workload-configs{path}", content=body)
        assert said in refused(answer, 400, "INVALID_INPUT")["message"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"workload_type": "sleep"}, "name is missing; allowed: 1 to 253 characters"),
        ({"workload_type": "sleep", "name": ""}, "name is ''; allowed: 1 to 253 characters"),
        ({"workload_type": "sleep", "name": 5}, "name is 5; allowed: 1 to 253 characters"),
        ({"workload_type": "sleep", "name": "a\n"}, r"name is 'a\n'; allowed: 1 to 253"),
        ({"name": "n"}, "workload_type is missing; allowed: a kind of work"),
    ],
)
async def test_wrong_configurations(
    acme: httpx.AsyncClient, config: str, body: dict[str, Any], said: str
) -> None:
    for method, path in (("POST", ""), ("PUT", f"/{config}")):
        answer = await acme.request(method, f"/v1/workload-configs{path}", json=body)
        assert said in refused(answer, 400, "INVALID_INPUT")["message"]


@pytest.mark.parametrize("path", ["/v1/workloads", "/v1/workload-configs"])
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "body is 0 bytes that are no JSON; allowed: a JSON object"),
        (b"{", "body is 1 bytes that are no JSON"),
        (b"[1]", "body is a JSON list"),
        (b"null", "body is a JSON NoneType"),
        (b'{"input_params": {"a": NaN}}', "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"1" * 5000, "no JSON"),
        (b"[" * 90_000, "body is 90000 bytes that are no JSON"),
        (b"[" * 200_000, "body is 200000 bytes with more than 100000 brackets"),
        (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, "no JSON"),
    ],
)
async def test_a_body_that_is_no_object(
    acme: httpx.AsyncClient, path: str, body: bytes, said: str
) -> None:
    answer = await acme.post(path, content=body)
    assert said in refused(answer, 400, "INVALID_INPUT")["message"]


async def test_a_number_that_is_too_great(acme: httpx.AsyncClient) -> None:
    body = b'{"workload_type":"sleep","input_params":{"a":1e999}}'
    answer = await acme.post("/v1/workloads", content=body)
    message = refused(answer, 400, "INVALID_INPUT")["message"]
    assert message.startswith("input_params is with a number that is too great; allowed: ")


async def test_a_body_that_is_too_large(acme: httpx.AsyncClient) -> None:
    answer = await acme.post("/v1/workloads", content=b" " * (5 * 1024 * 1024 + 1))
    refused(answer, 413, "INVALID_INPUT")


ID = f"/v1/workloads/{UNKNOWN}"


@pytest.mark.parametrize(
    ("path", "params", "said"),
    [
        ("/v1/workloads", {"limit": "0"}, "limit is '0'; allowed: an integer from 1 to 500"),
        ("/v1/workloads", {"limit": "501"}, "limit is '501'; allowed: an integer"),
        ("/v1/workloads", {"offset": "-1"}, "offset is '-1'; allowed: an integer from 0 to 100000"),
        ("/v1/workloads", {"offset": "100001"}, "offset is '100001'; allowed: an integer"),
        ("/v1/workloads", {"cursor": "x"}, "cursor is 'x'; allowed: next_cursor of the page"),
        ("/v1/workloads", {"cursor": UNKNOWN, "offset": "1"}, "offset is beside cursor; allowed:"),
        (
            "/v1/workloads",
            {"cursor": UNKNOWN, "ordering": "priority"},
            "cursor is beside ordering=priority; allowed: offset beside that",
        ),
        ("/v1/workloads", {"status": "done"}, "status is 'done'; allowed: PENDING, SCHEDULED"),
        ("/v1/workloads", {"type": "Sleep"}, "type is 'Sleep'; allowed: a kind of work"),
        ("/v1/workloads", {"ordering": "age"}, "ordering is 'age'; allowed: created_at, -created"),
        ("/v1/workloads", {"created_after": "soon"}, "created_after is 'soon'; allowed: a time"),
        ("/v1/workloads", {"created_after": "1893553445"}, "allowed: a time with its zone, as in"),
        ("/v1/workloads", {"created_before": "2030-01-02T03:04:05"}, "created_before is '2030"),
        ("/v1/workloads", {"created_before": "0001-01-01T00:00:00+14:00"}, "allowed: a time"),
        (
            "/v1/workloads",
            {"state": "RUNNING"},
            "state is no parameter; allowed: only those of /v1",
        ),
        (ID, {"wait": "30"}, "wait is '30'; allowed: a duration from 0s to 30s"),
        (ID, {"waits": "1s"}, "waits is no parameter"),
        ("/v1/workloads/7", {}, "workload_id is '7'; allowed: a UUID, as in the answer to the"),
        ("/v1/workloads/7/logs", {}, "workload_id is '7'; allowed: a UUID"),
        ("/v1/workloads/7/audit", {}, "workload_id is '7'; allowed: a UUID"),
        (f"{ID}/logs", {"after": "-1"}, "after is '-1'; allowed: an integer from 0, next_after"),
        (f"{ID}/logs", {"limit": "501"}, "limit is '501'; allowed: an integer from 1 to 500"),
        (f"{ID}/audit", {"after": str(2**70)}, "allowed: an integer from 0, next_after"),
        (f"{ID}/audit", {"limit": "x"}, "limit is 'x'; allowed: an integer from 1 to 500"),
        ("/v1/workload-configs", {"limit": "0"}, "limit is '0'; allowed: an integer from 1 to 500"),
        ("/v1/workload-configs", {"offset": "x"}, "offset is 'x'; allowed: an integer from 0"),
        ("/v1/workload-configs/7", {}, "config_id is '7'; allowed: a UUID, as in the answer"),
    ],
)
async def test_wrong_parameters(
    acme: httpx.AsyncClient, path: str, params: dict[str, Any], said: str
) -> None:
    answer = await acme.get(path, params=params)
    assert said in refused(answer, 400, "INVALID_INPUT")["message"]


@pytest.mark.parametrize("action", ["cancel", "pause", "resume"])
async def test_wrong_ids_to_act_on(acme: httpx.AsyncClient, action: str) -> None:
    answer = await acme.post(f"/v1/workloads/7/{action}")
    assert "workload_id is '7'" in refused(answer, 400, "INVALID_INPUT")["message"]
    refused(await acme.post(f"{ID}/{action}"), 404, "NOT_FOUND")


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
async def test_wrong_ids_of_configurations(acme: httpx.AsyncClient, method: str) -> None:
    answer = await acme.request(method, "/v1/workload-configs/7")
    assert "config_id is '7'" in refused(answer, 400, "INVALID_INPUT")["message"]


@pytest.mark.parametrize("key", [b"", b"a b", b"x" * 256, "é".encode()])
async def test_wrong_idempotency_keys(acme: httpx.AsyncClient, key: bytes) -> None:
    body = {"workload_type": "sleep"}
    answer = await acme.post("/v1/workloads", json=body, headers={b"Idempotency-Key": key})
    message = refused(answer, 400, "INVALID_INPUT")["message"]
    assert message.endswith("allowed: 1 to 255 visible ASCII characters")


async def test_every_field_has_a_mistake_here() -> None:
    shared = {field for field, *_ in SHARED}
    more = {name for body, _ in SUBMISSIONS for name in body}
    assert set(Submission.model_fields) <= shared | more
    assert set(NewConfiguration.model_fields) <= shared | {"name"}
    rules = [value for field, value, _ in SHARED if field == "affinity" and isinstance(value, dict)]
    assert set(Affinity.model_fields) <= {name for one in rules for name in one}
    inside = {
        name for one in rules for rule in one.values() if isinstance(rule, dict) for name in rule
    }
    assert set(Rule.model_fields) <= inside
    assert set(Listing.model_fields) == {
        *("status", "type", "created_after", "created_before"),
        *("ordering", "limit", "offset", "cursor"),
    }
    assert set(Page.model_fields) == {"after", "limit"}
    assert set(Pages.model_fields) == {"limit", "offset"}
