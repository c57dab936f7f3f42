"""The OpenAPI document, and that it is true: schemathesis tries it on a running coordinator."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from .answers import refused
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


async def _document(wide: Replica) -> dict[str, Any]:
    document: dict[str, Any] = (await wide.http.get("/openapi.json")).json()
    return document


async def test_every_endpoint_is_described(wide: Replica) -> None:
    document = await _document(wide)
    assert document["openapi"].startswith("3.1.")
    found = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert found == {
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


async def test_every_reference_leads_somewhere(wide: Replica) -> None:
    document = await _document(wide)

    def references(part: Any) -> set[str]:
        if isinstance(part, dict):
            own = {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
            return own.union(*(references(one) for one in part.values()))
        if isinstance(part, list):
            return set().union(*(references(one) for one in part))
        return set()

    components = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) == components


async def test_other_methods_are_refused_with_those_that_are_allowed(wide: Replica) -> None:
    for path, item in (await _document(wide))["paths"].items():
        for method in ("PUT", "DELETE", "PATCH", "TRACE"):
            answer = await wide.http.request(method, path)
            refused(answer, 405, "INVALID_INPUT")
            assert {one.lower() for one in answer.headers["Allow"].split(", ")} == set(item)


@pytest.mark.timeout(900)
async def test_the_document_is_true(wide: Replica, tmp_path: Path) -> None:
    async with Worker(wide.target, "w-openapi", capacity=8):
        await _try(wide, tmp_path)


async def _try(wide: Replica, tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("schemathesis")
    running = await asyncio.create_subprocess_exec(
        program,
        "run",
        f"http://127.0.0.1:{wide.ports.http}/openapi.json",
        f"--checks={','.join(CHECKS)}",
        "--phases=coverage,fuzzing",
        "--max-examples=30",
        "--request-timeout=35",
        "--generation-deterministic",
        "--continue-on-failure",
        "--no-color",
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await running.communicate()
    assert running.returncode == 0, said.decode()[-20_000:]
