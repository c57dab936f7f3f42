"""The OpenAPI document, and that it is true: schemathesis tries it on a running coordinator."""

import asyncio
import contextlib
import sys
from pathlib import Path
from typing import Any

import pytest

from muster_coordinator.engine.errors import EngineError
from muster_coordinator.engine.model import Assignment
from muster_coordinator.http_face import frame

from .answers import refused
from .hands import Hands
from .harness import Replica
from .workers import Worker

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

# What an answer must hold, over all that is generated. Not among them: that all which fits the
# document is accepted, because it can't say that a size is not on offer or a task not there.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "negative_data_rejection",
)


PROOFS = {
    ("POST", "/api/v1/tasks/merkle"),
    ("POST", "/api/v1/tasks/range"),
    ("POST", "/api/v1/tasks/addition"),
    ("POST", "/api/v1/tasks/batch"),
    ("GET", "/api/v1/tasks"),
    ("GET", "/api/v1/tasks/{task_id}"),
    ("POST", "/api/v1/tasks/{task_id}/cancel"),
    ("GET", "/api/v1/circuits/{circuit}/verification-key"),
    ("POST", "/api/v1/verify"),
}
WORKLOADS = {
    ("POST", "/v1/workloads"),
    ("GET", "/v1/workloads"),
    ("GET", "/v1/workloads/{workload_id}"),
    ("POST", "/v1/workloads/{workload_id}/cancel"),
    ("POST", "/v1/workloads/{workload_id}/pause"),
    ("POST", "/v1/workloads/{workload_id}/resume"),
    ("GET", "/v1/workloads/{workload_id}/logs"),
    ("GET", "/v1/workloads/{workload_id}/audit"),
    ("POST", "/v1/workload-configs"),
    ("GET", "/v1/workload-configs"),
    ("GET", "/v1/workload-configs/{config_id}"),
    ("PUT", "/v1/workload-configs/{config_id}"),
    ("DELETE", "/v1/workload-configs/{config_id}"),
    ("GET", "/v1/customer"),
    ("GET", "/v1/customer/stats"),
    ("GET", "/v1/admin/workers"),
    ("POST", "/v1/admin/workers/{worker_id}/drain"),
    ("DELETE", "/v1/admin/workers/{worker_id}"),
    ("GET", "/v1/admin/queue"),
}
DOCUMENTS = {"/openapi.json": PROOFS, "/v1/openapi.json": WORKLOADS}

documents = pytest.mark.parametrize("path", list(DOCUMENTS))


async def _document(wide: Replica, path: str) -> dict[str, Any]:
    document: dict[str, Any] = (await wide.http.get(path)).json()
    return document


@documents
async def test_every_endpoint_is_described(wide: Replica, path: str) -> None:
    document = await _document(wide, path)
    assert document["openapi"].startswith("3.1.")
    found = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert found == DOCUMENTS[path]


@documents
async def test_every_reference_leads_somewhere(wide: Replica, path: str) -> None:
    document = await _document(wide, path)

    def references(part: Any) -> set[str]:
        if isinstance(part, dict):
            own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
            return own.union(*(references(one) for one in part.values()))
        if isinstance(part, list):
            return set().union(*(references(one) for one in part))
        return set()

    components = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) == components


async def test_workloads_need_a_key_and_proofs_do_not(wide: Replica) -> None:
    described = await _document(wide, "/v1/openapi.json")
    [(name, scheme)] = described["components"]["securitySchemes"].items()
    assert described["security"] == [{name: []}]
    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert "security" not in await _document(wide, "/openapi.json")


@documents
async def test_other_methods_are_refused_with_those_that_are_allowed(
    wide: Replica, key: str, path: str
) -> None:
    headers = {"Authorization": f"Bearer {key}"}
    for endpoint, item in (await _document(wide, path))["paths"].items():
        for method in {"PUT", "DELETE", "PATCH", "TRACE"} - {one.upper() for one in item}:
            answer = await wide.http.request(method, endpoint, headers=headers)
            refused(answer, 405, "INVALID_INPUT")
            assert {one.lower() for one in answer.headers["Allow"].split(", ")} == set(item)


@pytest.mark.timeout(900)
async def test_the_documents_are_true(
    wide: Replica, key: str, admin_key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A long poll that ends late on a busy machine is no error of the server.
    monkeypatch.setattr(frame, "TIMEOUT_SECONDS", 600.0)
    async with (
        Worker(wide.target, "w-openapi", capacity=8),
        Hands(wide, "h-openapi", ("sleep", "command")) as hands,
    ):
        working = asyncio.create_task(_finish(hands))
        shown = "--header=Authorization: Bearer"
        of_customers = (f"{shown} {key}", "--exclude-path-regex=^/v1/admin")
        of_administrators = (f"{shown} {admin_key}", "--include-path-regex=^/v1/admin")
        await asyncio.gather(
            _try(wide, tmp_path, "/openapi.json"),
            _try(wide, tmp_path, "/v1/openapi.json", *of_customers),
            _try(wide, tmp_path, "/v1/openapi.json", *of_administrators),
        )
        working.cancel()


async def _finish(hands: Hands) -> None:
    """Do what is asked for, so that each state is seen."""
    while True:
        command = await hands.heard.get()
        if isinstance(command, Assignment):
            with contextlib.suppress(EngineError):
                await hands.complete(command, {})


async def _try(wide: Replica, tmp_path: Path, path: str, *arguments: str) -> None:
    program = Path(sys.executable).with_name("schemathesis")
    running = await asyncio.create_subprocess_exec(
        program,
        "run",
        f"http://127.0.0.1:{wide.ports.http}{path}",
        f"--checks={','.join(CHECKS)}",
        "--phases=coverage,fuzzing",
        "--max-examples=5",
        "--request-timeout=120",
        "--generation-deterministic",
        "--continue-on-failure",
        "--no-color",
        *arguments,
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await running.communicate()
    assert running.returncode == 0, said.decode()[-20_000:]
