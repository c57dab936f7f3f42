"""One trace follows a task from its submission to the accepted proof, through both processes."""

import asyncio
import json
import signal
from pathlib import Path
from typing import Any

import pytest

from muster_testing.ports import free_port
from muster_testing.waiting import eventually

from .collector import Collected, Collector, collecting
from .harness import Replica, prepare, process, settings, worker_process
from .workers import Worker

pytestmark = pytest.mark.integration

# So long that no id holds one of them by chance.
SECRETS = (313373133731337, 271828182845904)
CLIENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


async def _submitted(replica: Replica, inputs: dict[str, Any], parent: str = "") -> str:
    headers = {"traceparent": parent} if parent else {}
    answer = await replica.http.post("/api/v1/tasks/addition", json=inputs, headers=headers)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["task_id"])


async def _whole_trace(collector: Collector, task_id: str) -> dict[str, Collected]:
    """All four spans of a task."""

    def found() -> dict[str, Collected] | None:
        for span in collector.spans:
            if span.attributes.get("muster.task_id") == task_id:
                spans = collector.trace(span.trace)
                return spans if {"submit", "assign", "prove", "verify"} <= spans.keys() else None
        return None

    spans = await eventually(found, what=f"the trace of {task_id}")
    assert spans is not None
    return spans


async def test_one_trace_follows_a_task(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    await prepare(dsn)
    async with collecting() as collector:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
        with process(dsn, settings(), tmp_path / "home") as coordinator:
            replica = await coordinator.serving()
            async with worker_process(replica, tmp_path):
                task_id = await _submitted(replica, {"a": SECRETS[0], "b": SECRETS[1]}, CLIENT)
                assert (await replica.ends(task_id))["status"] == "completed"
                spans = await _whole_trace(collector, task_id)
                other = await _submitted(replica, {"a": 1, "b": 2})
                assert (await replica.ends(other))["status"] == "completed"
                others = await _whole_trace(collector, other)
            await replica.close()
            coordinator.send(signal.SIGTERM)
            assert await coordinator.exit_status() == 0
    names = ["submit", "assign", "prove", "verify"]
    _, trace, parent, _ = CLIENT.split("-")
    assert {spans[name].trace for name in names} == {trace}
    assert [spans[name].parent for name in names] == [
        parent,
        *(spans[name].id for name in names[:-1]),
    ]
    assert [spans[name].service for name in names] == [
        "muster-coordinator",
        "muster-coordinator",
        "muster-worker",
        "muster-coordinator",
    ]
    assert all(spans[name].begun <= spans[name].ended for name in names)
    assert spans["assign"].ended <= spans["verify"].ended
    assert spans["submit"].attributes["muster.status"] == 202
    assert spans["prove"].attributes["muster.type"] == "prove.addition"
    assert not any(span.failed for span in collector.spans)
    # A task without a client's trace begins one of its own.
    assert others["submit"].parent == ""
    assert others["submit"].trace != trace
    said = json.dumps([span.attributes for span in collector.spans])
    assert not any(str(secret) in said for secret in SECRETS)


async def test_a_collector_that_is_away_hinders_nothing(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port()}")
    # For so long the library tries to send.
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "600")
    await prepare(dsn)
    with process(dsn, settings(), tmp_path / "home") as coordinator:
        replica = await coordinator.serving()
        async with worker_process(replica, tmp_path) as worker:
            task_id = await _submitted(replica, {"a": 1, "b": 2}, CLIENT)
            assert (await replica.ends(task_id))["status"] == "completed"
            worker.send_signal(signal.SIGTERM)
            async with asyncio.timeout(60):
                assert await worker.wait() == 0
        await replica.close()
        coordinator.send(signal.SIGTERM)
        assert await coordinator.exit_status() == 0


async def test_without_a_collector_the_clients_trace_still_reaches_the_worker(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    await prepare(dsn)
    with process(dsn, settings(), tmp_path / "home") as coordinator:
        replica = await coordinator.serving()
        async with Worker(replica.target, "w-0") as worker:
            task_id = await _submitted(replica, {"a": 1, "b": 2}, CLIENT)
            assert (await worker.got(task_id)).traceparent == CLIENT
            await replica.ends(task_id)
        await replica.close()
