"""The endpoints of the proof API, and the answer to each mistake."""

import base64
import json
import uuid
from typing import Any

import pytest

from muster_testing.waiting import eventually

from .answers import refused
from .harness import Replica
from .workers import Worker

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

ADDITIONS = "/api/v1/tasks/addition"
CALLS = 'grpc_server_handled_total{grpc_code="OK",grpc_method="'
UNARY = '",grpc_service="coordinator.CoordinatorService",grpc_type="unary"}'


class TestSubmitting:
    async def test_a_task_is_queued(self, replica: Replica) -> None:
        answer = await replica.http.post(ADDITIONS, json={"a": 1, "b": "2", "priority": 7})
        assert answer.status_code == 202
        body = answer.json()
        assert set(body) == {"success", "task_id", "status", "message", "request_id"}
        assert (body["success"], body["status"]) == (True, "pending")
        assert body["request_id"] == answer.headers["X-Request-ID"]
        task = await replica.task(body["task_id"])
        assert (task["circuit"], task["curve"], task["pool"]) == ("addition", "bn254", "demo")
        assert (task["priority"], task["retry_count"], task["error"]) == (7, 0, None)
        assert (task["proof"], task["verified"], task["worker_id"]) == (None, None, None)

    async def test_the_pool_and_curve_may_be_named(self, replica: Replica) -> None:
        answer = await replica.http.post(
            ADDITIONS, json={"a": 1, "b": 2, "curve": "BN254", "pool": "demo", "size": 0}
        )
        assert answer.status_code == 202

    async def test_a_mistake_names_field_value_and_allowed(self, replica: Replica) -> None:
        answer = await replica.http.post(ADDITIONS, json={"a": 1, "b": 2, "priority": -1})
        assert refused(answer, 400, "INVALID_INPUT")["details"] == {
            "field": "priority",
            "value": "-1",
            "allowed": "an integer from 0 to 1000",
        }

    async def test_a_circuit_of_no_pool_is_not_on_offer(self, replica: Replica) -> None:
        inputs = {"leaves": ["0x1"], "leaf_index": 0}
        answer = await replica.http.post("/api/v1/tasks/merkle", json=inputs)
        message = refused(answer, 400, "INVALID_INPUT")["message"]
        assert "circuit 'merkle'" in message
        assert message.endswith("allowed: addition-poseidon@bn254 in pool demo")

    async def test_an_unknown_circuit_is_not_found(self, replica: Replica) -> None:
        error = refused(await replica.http.post("/api/v1/tasks/sudoku", json={}), 404, "NOT_FOUND")
        assert "addition, merkle" in error["message"]

    @pytest.mark.parametrize("announced", [True, False])
    async def test_a_body_of_more_than_5_mb_is_refused(
        self, replica: Replica, announced: bool
    ) -> None:
        body = b" " * (5 * 1024 * 1024 + 1)

        async def chunks() -> Any:
            yield body

        content = body if announced else chunks()
        error = refused(await replica.http.post(ADDITIONS, content=content), 413, "INVALID_INPUT")
        assert "allowed: 5242880 bytes" in error["message"]


class TestAsking:
    @pytest.mark.usefixtures("long_polls")
    async def test_a_long_poll_is_answered_at_the_end_of_the_task(self, replica: Replica) -> None:
        async with Worker(replica.target, "w-http"):
            task = await replica.task(await replica.add(20, 22), wait="10m")
        assert task["status"] == "completed"
        assert task["public_inputs"][2] == "42"
        assert len(base64.b64decode(task["proof_bytes"])) == 128
        assert task["proof"]["protocol"] == "groth16"
        assert task["key_version"].startswith("sha256:")
        assert (task["worker_id"], task["merkle_root"]) == ("w-http", None)
        assert task["created_at"] <= task["started_at"] <= task["completed_at"]
        assert task["duration_ms"] == 1

    async def test_a_long_poll_ends_without_an_end_of_the_task(self, replica: Replica) -> None:
        task = await replica.task(await replica.add(), wait="50ms")
        assert task["status"] in {"pending", "assigned"}

    @pytest.mark.parametrize("path", ["/api/v1/tasks/{}", "/api/v1/tasks/{}/cancel"])
    async def test_an_unknown_task_is_not_found(self, replica: Replica, path: str) -> None:
        method = "POST" if "cancel" in path else "GET"
        unknown = uuid.uuid4()
        error = refused(await replica.http.request(method, path.format(unknown)), 404, "NOT_FOUND")
        assert error["message"] == f"task {unknown}: there is none"

    async def test_tasks_are_listed_newest_first_page_by_page(self, replica: Replica) -> None:
        ids = [await replica.add() for _ in range(5)]
        found: list[str] = []
        cursor: str | None = None
        while len(found) < 5:
            params = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
            page = (await replica.http.get("/api/v1/tasks", params=params)).json()
            found += [task["task_id"] for task in page["tasks"]]
            cursor = page["next_cursor"]
        assert found[:5] == ids[::-1]

    async def test_the_last_page_says_so(self, replica: Replica) -> None:
        await replica.add()
        count = len(
            (await replica.http.get("/api/v1/tasks", params={"limit": "500"})).json()["tasks"]
        )
        full = await replica.http.get("/api/v1/tasks", params={"limit": str(count)})
        assert (len(full.json()["tasks"]), full.json()["next_cursor"]) == (count, None)

    async def test_a_page_stays_the_same_while_tasks_are_added(self, replica: Replica) -> None:
        first = await replica.add()
        last = await replica.add()
        params = {"limit": "1", "cursor": last}
        before = (await replica.http.get("/api/v1/tasks", params=params)).json()["tasks"]
        await replica.add()
        after = (await replica.http.get("/api/v1/tasks", params=params)).json()["tasks"]
        assert [one["task_id"] for one in before] == [one["task_id"] for one in after] == [first]

    async def test_tasks_are_listed_by_status_circuit_and_pool(self, replica: Replica) -> None:
        task_id = await replica.add()
        await replica.http.post(f"/api/v1/tasks/{task_id}/cancel")
        for params, there in (
            ({"status": "cancelled"}, True),
            ({"status": ["pending", "cancelled"]}, True),
            ({"status": "completed"}, False),
            ({"circuit": "addition", "pool": "demo"}, True),
            ({"circuit": "merkle_proof"}, False),
            ({"pool": "other"}, False),
        ):
            answer = await replica.http.get("/api/v1/tasks", params=params)
            listed = [task["task_id"] for task in answer.json()["tasks"]]
            assert (task_id in listed) is there, params

    async def test_a_finished_task_can_not_be_cancelled(self, replica: Replica) -> None:
        async with Worker(replica.target, "w-http"):
            task_id = await replica.add()
            await replica.ends(task_id)
        answer = await replica.http.post(f"/api/v1/tasks/{task_id}/cancel")
        error = refused(answer, 409, "INVALID_STATE")
        assert error["message"] == f"task {task_id}: it is COMPLETED, which is final"


class TestVerifying:
    async def _proved(self, replica: Replica) -> dict[str, Any]:
        async with Worker(replica.target, "w-verify"):
            return await replica.ends(await replica.add(3, 4))

    async def test_a_proof_holds_for_its_own_inputs_only(self, replica: Replica) -> None:
        task = await self._proved(replica)
        body = {name: task[name] for name in ("circuit", "proof_bytes", "public_inputs")}
        answer = await replica.http.post("/api/v1/verify", json=body)
        assert answer.json() == {
            "valid": True,
            "circuit": "addition",
            "curve": "bn254",
            "key_version": task["key_version"],
        }
        body["public_inputs"] = [*task["public_inputs"][:2], "8"]
        assert (await replica.http.post("/api/v1/verify", json=body)).json()["valid"] is False
        body["proof_bytes"] = base64.b64encode(b"nonsense").decode()
        assert (await replica.http.post("/api/v1/verify", json=body)).json()["valid"] is False

    async def test_the_verification_key_is_snarkjs_own_format(self, replica: Replica) -> None:
        answer = await replica.http.get("/api/v1/circuits/addition/verification-key")
        key = answer.json()
        assert (key["protocol"], key["curve"], key["nPublic"]) == ("groth16", "bn128", 3)
        assert len(key["IC"]) == 4


class TestFraming:
    async def test_a_request_id_is_kept(self, replica: Replica) -> None:
        headers = {"X-Request-ID": "abc-123"}
        answer = await replica.http.post(ADDITIONS, json={"a": 1, "b": 2}, headers=headers)
        assert answer.headers["X-Request-ID"] == "abc-123"
        assert answer.json()["request_id"] == "abc-123"

    @pytest.mark.parametrize("given", ["", "a b", "x" * 129, '"'])
    async def test_a_strange_request_id_is_replaced(self, replica: Replica, given: str) -> None:
        answer = await replica.http.get("/api/v1/tasks", headers={"X-Request-ID": given})
        assert len(answer.headers["X-Request-ID"]) == 32

    @pytest.mark.parametrize(
        ("method", "path", "status", "code"),
        [
            ("GET", "/", 404, "NOT_FOUND"),
            ("GET", "/api/v2/tasks", 404, "NOT_FOUND"),
            ("PUT", "/api/v1/tasks", 405, "INVALID_INPUT"),
            ("GET", "/api/v1/verify", 405, "INVALID_INPUT"),
        ],
    )
    async def test_other_paths_and_methods_are_refused_in_the_same_form(
        self, replica: Replica, method: str, path: str, status: int, code: str
    ) -> None:
        refused(await replica.http.request(method, path), status, code)

    async def test_the_trace_context_reaches_the_worker(self, replica: Replica) -> None:
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        answer = await replica.http.post(
            ADDITIONS, json={"a": 1, "b": 2}, headers={"traceparent": trace}
        )
        async with Worker(replica.target, "w-trace") as worker:
            assert (await worker.got(answer.json()["task_id"])).traceparent == trace
            await replica.ends(answer.json()["task_id"])


class TestOperations:
    async def test_health_is_the_documented_json(self, replica: Replica) -> None:
        async def sampled() -> dict[str, Any]:
            health: dict[str, Any] = (await replica.ops.get("/health")).json()
            assert health["status"] == "healthy"
            return health

        health = await eventually(sampled)
        assert health["coordinator_id"] == "c-0"
        assert {"total", "active", "suspect", "dead"} <= set(health["workers"])
        assert set(health["capacity"]) == {"total", "used", "available"}
        assert set(health["scheduler"]) == {
            "tasks_assigned",
            "assignments_failed",
            "poll_cycles",
        }

    async def test_readiness_names_its_dependencies_and_the_leader(self, replica: Replica) -> None:
        leading = {
            "ready": True,
            "is_leader": True,
            "leader": "c-0",
            "stopping": False,
            "degraded": False,
            "dependencies": {"database": "connected", "keys": "loaded"},
        }

        async def leads() -> bool:
            assert (await replica.ops.get("/ready")).json() == leading
            return True

        # A replica is ready before it is elected.
        await eventually(leads, what="it leads")

    async def test_the_root_names_service_and_version(self, replica: Replica) -> None:
        root = (await replica.ops.get("/")).json()
        assert root == {
            "service": "muster-coordinator",
            "version": "0.0.0",
            "coordinator_id": "c-0",
            "endpoints": {"health": "/health", "ready": "/ready", "metrics": "/metrics"},
        }

    async def test_workers_are_shown_as_they_are(self, replica: Replica) -> None:
        async with Worker(replica.target, "w-shown", capacity=3):
            listed = (await replica.ops.get("/workers")).json()["workers"]
            [shown] = [worker for worker in listed if worker["worker_id"] == "w-shown"]
        assert shown.pop("last_heartbeat") > "2020"
        assert shown == {
            "worker_id": "w-shown",
            "pool": "demo",
            "status": "ACTIVE",
            "capacity": 3,
            "active_tasks": shown["active_tasks"],
            "connected": True,
            "reason": "",
            "quarantined_until": None,
        }

    async def test_counters_are_there_before_anything_happens(self, replica: Replica) -> None:
        async def leads() -> bool:
            return await replica.metric("coordinator_is_leader") == 1

        await eventually(leads, what="it leads")
        text = (await replica.ops.get("/metrics")).text
        work = '{circuit="addition",pool="demo"}'
        for sample in (
            "coordinator_workers_total ",
            "coordinator_tasks_deleted_total ",
            "coordinator_workers_active ",
            "coordinator_workers_suspect ",
            "coordinator_workers_dead ",
            "coordinator_capacity_total ",
            "coordinator_capacity_used ",
            "coordinator_capacity_available ",
            f"coordinator_tasks_assigned_total{work} ",
            f"coordinator_tasks_completed_total{work} ",
            f"coordinator_tasks_failed_total{work} ",
            f"coordinator_task_duration_seconds_count{work} ",
            'coordinator_queue_tasks{circuit="addition",pool="demo",state="pending"} ',
            'coordinator_fenced_writes_total{kind="epoch"} 0.0',
            f"{CALLS}ReleaseTask{UNARY} 0.0",
            'coordinator_http_requests_total{method="POST",status="429"} 0.0',
        ):
            assert f"\n{sample}" in text, sample

    async def test_methods_that_are_made_up_are_counted_as_one(self, replica: Replica) -> None:
        other = 'coordinator_http_requests_total{method="other",status="405"}'
        before = await replica.metric(other)
        for method in ("PATCH", "BREW", "X1", "X2"):
            await replica.http.request(method, "/api/v1/tasks")
        assert await replica.metric(other) == before + 4
        assert 'method="X1"' not in (await replica.ops.get("/metrics")).text

    async def test_what_is_counted_moves(self, replica: Replica) -> None:
        completed = 'coordinator_tasks_completed_total{circuit="addition",pool="demo"}'
        before = await replica.metric(completed)
        async with Worker(replica.target, "w-counted"):
            await replica.ends(await replica.add())

            async def seen() -> bool:
                return await replica.metric("coordinator_workers_active") >= 1

            await eventually(seen)

        async def counted() -> bool:
            return await replica.metric(completed) >= before + 1

        # Once it is stored.
        await eventually(counted, what="the completion is counted")
        assert await replica.metric(f"{CALLS}RegisterWorker{UNARY}") >= 1


async def test_a_document_of_many_leaves_is_read(replica: Replica) -> None:
    """Larger than what is parsed on the loop itself."""
    body = json.dumps({"a": 1, "b": 2, "filler": "x" * 100_000}).encode()
    answer = await replica.http.post(ADDITIONS, content=body)
    assert (
        "'filler' is not a field of the request" in refused(answer, 400, "INVALID_INPUT")["message"]
    )
