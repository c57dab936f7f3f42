"""The REST side of the workload API, over a real engine and a real database."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from muster_coordinator.engine.model import Cancel, Pause
from muster_testing.postgres import PostgresServer
from muster_testing.waiting import eventually

from .answers import refused
from .hands import Hands
from .harness import Replica, serving
from .tenants import client, look, make_key, submit, workloads

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def dsn(postgres: PostgresServer) -> str:
    return await postgres.create_database()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replica]:
    home: Path = tmp_path_factory.mktemp("workloads")
    async with serving(dsn, workloads(), home) as shared:
        yield shared


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def acme(served: Replica, dsn: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client(served, await make_key(dsn, "acme")) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def admin(served: Replica, dsn: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client(served, await make_key(dsn, None)) as found:
        yield found


@pytest_asyncio.fixture(loop_scope="module")
async def hands(served: Replica) -> AsyncIterator[Hands]:
    async with Hands(served) as worker:
        yield worker


async def _reaches(customer: httpx.AsyncClient, workload_id: str, status: str) -> dict[str, Any]:
    async def probe() -> dict[str, Any] | None:
        found = await look(customer, workload_id)
        assert found["status"] == status
        return found

    found: dict[str, Any] = await eventually(probe, what=f"{workload_id} is {status}")
    return found


class TestLife:
    async def test_a_workload_is_done(self, acme: httpx.AsyncClient, hands: Hands) -> None:
        answer = await acme.post(
            "/v1/workloads",
            json={
                "workload_type": "sleep",
                "input_params": {"seconds": 1, "why": ["é", None, 1.5]},
                "priority": 20,
                "timeout_seconds": 60,
                "max_retries": 1,
            },
        )
        assert answer.status_code == 201
        submitted = answer.json()
        workload_id = submitted["workload_id"]
        assert answer.headers["Location"] == f"/v1/workloads/{workload_id}"
        assert submitted["status"] == "PENDING"
        assert submitted["request_id"] == answer.headers["X-Request-ID"]

        assignment = await hands.begin()
        assert str(assignment.workload_id) == workload_id
        assert assignment.input == b'{"seconds":1,"why":["\\u00e9",null,1.5]}'
        assert assignment.timeout_ms == 60_000
        await hands.progress(assignment, 40, "nearly half")
        await hands.log(assignment, "one", "two")
        running = await look(acme, workload_id)
        assert running["status"] == "RUNNING"
        assert (running["progress_percent"], running["progress_message"]) == (40, "nearly half")
        assert (running["priority"], running["max_retries"]) == (20, 1)
        assert running["worker_id"] == "hands"
        assert running["result_data"] is None

        waiting = asyncio.create_task(look(acme, workload_id, wait="20s"))
        await hands.complete(assignment, {"slept": 1})
        ended = await waiting
        assert ended["status"] == "COMPLETED"
        assert ended["customer_id"] == "acme"
        assert ended["result_data"] == {"slept": 1}
        assert ended["duration_ms"] == 7
        assert ended["input_params"] == {"seconds": 1, "why": ["é", None, 1.5]}
        assert ended["completed_at"] >= ended["started_at"] >= ended["created_at"]

        logs = (await acme.get(f"/v1/workloads/{workload_id}/logs")).json()
        assert [line["message"] for line in logs["lines"]] == ["one", "two"]
        rest = await acme.get(
            f"/v1/workloads/{workload_id}/logs", params={"after": logs["lines"][0]["sequence"]}
        )
        assert [line["message"] for line in rest.json()["lines"]] == ["two"]
        audit = (await acme.get(f"/v1/workloads/{workload_id}/audit")).json()
        events = [one["event"] for one in audit["events"]]
        assert events[0] == "workload.submitted"
        assert [one["after"] for one in audit["events"] if one["after"] != one["before"]] == [
            "PENDING",
            "SCHEDULED",
            "RUNNING",
            "COMPLETED",
        ]

    async def test_a_failure_is_told(self, acme: httpx.AsyncClient, hands: Hands) -> None:
        workload_id = await submit(acme)
        await hands.fail(await hands.begin(), "no bed")
        ended = await _reaches(acme, workload_id, "FAILED")
        assert ended["error_message"] == "no bed"
        refused(await acme.post(f"/v1/workloads/{workload_id}/cancel"), 409, "INVALID_STATE")

    async def test_a_running_workload_is_cancelled(
        self, acme: httpx.AsyncClient, hands: Hands
    ) -> None:
        workload_id = await submit(acme)
        assignment = await hands.begin()
        for _ in range(2):
            answer = await acme.post(f"/v1/workloads/{workload_id}/cancel")
            assert answer.status_code == 200
            assert answer.json()["status"] == "CANCELLED"
        assert await hands.told() == Cancel(assignment.workload_id, assignment.generation)

    async def test_a_workload_is_paused_and_goes_on(
        self, acme: httpx.AsyncClient, hands: Hands
    ) -> None:
        workload_id = await submit(acme)
        refused(await acme.post(f"/v1/workloads/{workload_id}/resume"), 409, "INVALID_STATE")
        assignment = await hands.begin()
        answer = await acme.post(f"/v1/workloads/{workload_id}/pause")
        assert answer.status_code == 202
        assert (answer.json()["status"], answer.json()["pausing"]) == ("RUNNING", True)
        assert await hands.told() == Pause(assignment.workload_id, assignment.generation)
        await hands.paused(assignment, b"half of the night")
        paused = await look(acme, workload_id)
        assert (paused["status"], paused["pausing"], paused["checkpoint"]) == ("PAUSED", False, 1)
        resumed = await acme.post(f"/v1/workloads/{workload_id}/resume")
        assert resumed.status_code == 200
        again = await hands.begin()
        assert again.checkpoint is not None
        assert again.checkpoint.data == b"half of the night"
        assert again.generation > assignment.generation
        await hands.complete(again)
        await _reaches(acme, workload_id, "COMPLETED")

    async def test_affinity_reaches_the_engine(self, acme: httpx.AsyncClient, hands: Hands) -> None:
        rules = {"hard_affinity": {"worker_id": "somebody-else"}}
        workload_id = await submit(acme, affinity=rules)
        assert (await look(acme, workload_id))["affinity"] == rules
        await acme.post(f"/v1/workloads/{workload_id}/cancel")


class TestSubmitting:
    async def test_the_same_request_is_taken_in_once(self, acme: httpx.AsyncClient) -> None:
        body = {"workload_type": "once"}
        headers = {"Idempotency-Key": "k-1"}
        first = await acme.post("/v1/workloads", json=body, headers=headers)
        second = await acme.post("/v1/workloads", json=body, headers=headers)
        assert first.json()["workload_id"] == second.json()["workload_id"]
        assert first.json()["created_at"] == second.json()["created_at"]
        assert "Idempotency-Replayed" not in first.headers
        assert second.headers["Idempotency-Replayed"] == "true"
        other = await acme.post("/v1/workloads", json=body | {"priority": 1}, headers=headers)
        refused(other, 409, "CONFLICT")

    async def test_a_key_is_its_customers_own(
        self, served: Replica, dsn: str, acme: httpx.AsyncClient
    ) -> None:
        body, headers = {"workload_type": "once"}, {"Idempotency-Key": "k-2"}
        first = await acme.post("/v1/workloads", json=body, headers=headers)
        async with client(served, await make_key(dsn, "other")) as other:
            second = await other.post("/v1/workloads", json=body, headers=headers)
        assert first.json()["workload_id"] != second.json()["workload_id"]

    async def test_a_proof_is_a_workload_as_well(self, acme: httpx.AsyncClient) -> None:
        workload_id = await submit(acme, "prove.addition", input_params={"a": 1, "b": 2})
        found = await look(acme, workload_id)
        assert (found["workload_type"], found["pool"]) == ("prove.addition", "demo")
        # Inputs of proofs are secret.
        assert found["input_params"] is None

    async def test_a_proof_of_a_customer_is_not_among_the_proofs_of_all(
        self, served: Replica, acme: httpx.AsyncClient
    ) -> None:
        workload_id = await submit(acme, "prove.addition", input_params={"a": 1, "b": 2})
        answer = await served.http.get(f"/api/v1/tasks/{workload_id}")
        refused(answer, 404, "NOT_FOUND")


class TestListing:
    async def test_pages_by_cursor_and_by_offset(self, served: Replica, dsn: str) -> None:
        async with client(served, await make_key(dsn, "lister")) as customer:
            made = [await submit(customer, "listed", priority=n) for n in (5, 1, 9)]

            async def listed(**params: Any) -> dict[str, Any]:
                answer = await customer.get("/v1/workloads", params=params)
                assert answer.status_code == 200, answer.text
                found: dict[str, Any] = answer.json()
                return found

            async def ids(**params: Any) -> list[str]:
                return [one["workload_id"] for one in (await listed(**params))["workloads"]]

            page = await listed(limit=2)
            assert [one["workload_id"] for one in page["workloads"]] == [made[2], made[1]]
            assert page["total"] == 3
            last = await listed(limit=2, cursor=page["next_cursor"])
            assert [one["workload_id"] for one in last["workloads"]] == [made[0]]
            assert last["next_cursor"] is None
            assert await ids(ordering="created_at") == made
            assert await ids(ordering="created_at", cursor=made[0]) == made[1:]
            assert await ids(ordering="-priority") == [made[2], made[0], made[1]]
            assert await ids(ordering="priority", limit=1, offset=1) == [made[0]]
            assert await ids(type="other") == []
            assert await ids(status=["PENDING", "RUNNING"]) == made[::-1]
            assert await ids(status="RUNNING") == []
            since = page["workloads"][1]["created_at"]
            assert await ids(created_after=since) == [made[2]]
            assert await ids(created_before=since) == [made[0]]


class TestConfigurations:
    async def test_a_configuration_lives(self, acme: httpx.AsyncClient, hands: Hands) -> None:
        body = {
            "name": "nightly",
            "workload_type": "sleep",
            "input_params": {"seconds": 1, "deep": True},
            "priority": 30,
            "timeout_seconds": 5,
        }
        answer = await acme.post("/v1/workload-configs", json=body)
        assert answer.status_code == 201, answer.text
        config = answer.json()
        path = answer.headers["Location"]
        assert path == f"/v1/workload-configs/{config['config_id']}"
        assert (config["max_retries"], config["affinity"]) == (3, {})
        refused(await acme.post("/v1/workload-configs", json=body), 409, "CONFLICT")
        assert (await acme.get(path)).json() == config
        listed = (await acme.get("/v1/workload-configs")).json()
        assert listed == {"configs": [config], "next_offset": None}

        workload_id = await submit_from(acme, config["config_id"], input_params={"seconds": 2})
        made = await look(acme, workload_id)
        assert made["workload_config_id"] == config["config_id"]
        assert (made["workload_type"], made["priority"], made["timeout_seconds"]) == (
            "sleep",
            30,
            5,
        )
        assert made["input_params"] == {"seconds": 2, "deep": True}
        refused(await acme.delete(path), 409, "CONFLICT")

        changed = await acme.put(path, json=body | {"priority": 1})
        assert changed.status_code == 200
        assert changed.json()["priority"] == 1
        await hands.complete(await hands.begin())
        await _reaches(acme, workload_id, "COMPLETED")
        assert (await acme.delete(path)).status_code == 204
        refused(await acme.get(path), 404, "NOT_FOUND")
        refused(await acme.delete(path), 404, "NOT_FOUND")

    async def test_what_is_not_there_makes_nothing(self, acme: httpx.AsyncClient) -> None:
        body = {"workload_config_id": "00000000-0000-7000-8000-000000000000"}
        refused(await acme.post("/v1/workloads", json=body), 404, "NOT_FOUND")


class TestAccounts:
    async def test_a_customer_sees_its_limits(self, acme: httpx.AsyncClient) -> None:
        found = (await acme.get("/v1/customer")).json()
        assert (found["customer_id"], found["tier"]) == ("acme", "enterprise")
        assert found["limits"] == {
            "requests_per_second": 200,
            "burst": 1000,
            "max_concurrent": 2000,
            "max_queued": 10_000,
        }

    async def test_a_customer_sees_what_it_has(self, served: Replica, dsn: str) -> None:
        async with client(served, await make_key(dsn, "counted")) as customer:
            ids = [await submit(customer, "counted") for _ in range(2)]
            await customer.post(f"/v1/workloads/{ids[0]}/cancel")
            found = (await customer.get("/v1/customer/stats")).json()
        assert found["total"] == 2
        assert found["workloads"]["PENDING"] == found["workloads"]["CANCELLED"] == 1


class TestAdministration:
    async def test_workers_are_listed_drained_and_removed(
        self, served: Replica, admin: httpx.AsyncClient
    ) -> None:
        async with Hands(served, "w-admin", ("nothing",), capacity=3):
            [found] = [
                one
                for one in (await admin.get("/v1/admin/workers")).json()["workers"]
                if one["worker_id"] == "w-admin"
            ]
            assert (found["status"], found["pool"]) == ("HEALTHY", "jobs")
            assert found["capacity"] == {"total": 3, "used": 0, "available": 3}
            assert found["workload_types"] == ["nothing"]
            assert (await admin.post("/v1/admin/workers/w-admin/drain")).status_code == 204

            async def draining() -> bool:
                workers = (await admin.get("/v1/admin/workers")).json()["workers"]
                return any(
                    (one["worker_id"], one["status"]) == ("w-admin", "DRAINING") for one in workers
                )

            await eventually(draining)
            assert (await admin.delete("/v1/admin/workers/w-admin")).status_code == 204
        refused(await admin.delete("/v1/admin/workers/w-admin"), 404, "NOT_FOUND")
        refused(await admin.post("/v1/admin/workers/w-admin/drain"), 404, "NOT_FOUND")

    async def test_the_queue_is_counted(
        self, acme: httpx.AsyncClient, admin: httpx.AsyncClient
    ) -> None:
        await submit(acme, "queued")
        found = (await admin.get("/v1/admin/queue")).json()
        [queue] = [one for one in found["queues"] if one["workload_type"] == "queued"]
        assert (queue["pool"], queue["pending"]) == ("jobs", 1)
        assert found["pending"] >= 1


async def submit_from(customer: httpx.AsyncClient, config_id: str, **more: Any) -> str:
    answer = await customer.post("/v1/workloads", json={"workload_config_id": config_id} | more)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["workload_id"])
