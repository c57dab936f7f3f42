"""Submitting: batches, submissions that may be repeated, deadlines and priorities."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from muster_coordinator.engine.errors import Conflict, StaleEpoch
from muster_coordinator.engine.identity import new_id
from muster_coordinator.engine.model import NewWorkload, Once, Requirement
from muster_coordinator.engine.ports import HealthLimits
from muster_coordinator.engine.retry import RetryPolicy
from muster_coordinator.http_face import requests
from muster_coordinator.store.database import Database
from muster_coordinator.store.leadership import PostgresLeadership
from muster_coordinator.store.migrate import migrate
from muster_coordinator.store.queue import PostgresQueue
from muster_testing.waiting import eventually

from .answers import refused
from .harness import Replica, rows, serving, settings
from .workers import Worker, begin, ignore

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

ADDITIONS = "/api/v1/tasks/addition"
BATCH = "/api/v1/tasks/batch"
SUM = {"a": 1, "b": 2}
TASK = {"circuit": "addition"} | SUM


async def _count(replica: Replica) -> int:
    answer = await replica.http.get("/api/v1/tasks", params={"limit": "500"})
    return len(answer.json()["tasks"])


class TestBatches:
    async def test_all_tasks_are_queued_in_order(self, replica: Replica) -> None:
        tasks = [TASK | {"priority": number, "a": str(number)} for number in range(5)]
        answer = await replica.http.post(BATCH, json={"tasks": tasks})
        assert answer.status_code == 202, answer.text
        body = answer.json()
        assert set(body) == {"success", "task_ids", "status", "message", "request_id"}
        assert (body["success"], body["status"]) == (True, "pending")
        assert body["message"] == "queued in pool demo"
        assert body["request_id"] == answer.headers["X-Request-ID"]
        found = [await replica.task(task_id) for task_id in body["task_ids"]]
        assert [task["priority"] for task in found] == [0, 1, 2, 3, 4]

    async def test_one_wrong_task_refuses_all(self, replica: Replica) -> None:
        before = await _count(replica)
        tasks = [TASK, TASK, TASK | {"b": -1}]
        answer = await replica.http.post(BATCH, json={"tasks": tasks})
        assert refused(answer, 400, "INVALID_INPUT")["details"] == {
            "field": "tasks[2].b",
            "value": "an integer of 1 bits below 0",
            "allowed": "an integer from 0 to 2^128 - 1, as a number or as decimal digits",
        }
        assert await _count(replica) == before

    async def test_a_thousand_tasks_fit(self, dsn: str, tmp_path: Path) -> None:
        async with serving(dsn, settings(), tmp_path) as replica:
            answer = await replica.http.post(BATCH, json={"tasks": [TASK] * 1000})
            assert len(set(answer.json()["task_ids"])) == 1000
            assert await rows(dsn, "SELECT count(*) FROM workloads") == [(1000,)]

    async def test_a_batch_is_proved(self, replica: Replica) -> None:
        tasks = [TASK | {"a": number} for number in range(10)]
        answer = await replica.http.post(BATCH, json={"tasks": tasks})
        async with Worker(replica.target, "w-batch"):
            ended = [await replica.ends(task_id) for task_id in answer.json()["task_ids"]]
        assert [task["public_inputs"][2] for task in ended] == [str(n + 2) for n in range(10)]


class Clock:
    """The time of day, or a later one, in place of the class `datetime`."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self, zone: tzinfo) -> datetime:
        return datetime.now(zone) + self.ahead


class TestIdempotency:
    async def _post(self, replica: Replica, key: str, body: Any = None) -> httpx.Response:
        headers = {"Idempotency-Key": key}
        return await replica.http.post(ADDITIONS, json=body or SUM, headers=headers)

    async def test_a_repetition_is_taken_in_once(self, replica: Replica) -> None:
        key, before = str(uuid.uuid4()), await _count(replica)
        first = await self._post(replica, key)
        again = await self._post(replica, key)
        assert (first.status_code, again.status_code) == (202, 202)
        assert first.json()["task_id"] == again.json()["task_id"]
        assert "Idempotency-Replayed" not in first.headers
        assert again.headers["Idempotency-Replayed"] == "true"
        assert again.json()["message"] == "taken in before with this Idempotency-Key"
        assert await _count(replica) == before + 1

    async def test_repetitions_at_the_same_time_are_taken_in_once(self, replica: Replica) -> None:
        key, before = str(uuid.uuid4()), await _count(replica)
        answers = await asyncio.gather(*(self._post(replica, key) for _ in range(10)))
        assert len({answer.json()["task_id"] for answer in answers}) == 1
        assert sum("Idempotency-Replayed" in answer.headers for answer in answers) == 9
        assert await _count(replica) == before + 1

    async def test_another_body_is_a_conflict(self, replica: Replica) -> None:
        key, before = str(uuid.uuid4()), await _count(replica)
        await self._post(replica, key)
        answer = await self._post(replica, key, {"a": 1, "b": 3})
        message = refused(answer, 409, "CONFLICT")["message"]
        assert message == "the Idempotency-Key was used for another request; allowed: a new one"
        batch = {"tasks": [TASK]}
        answer = await replica.http.post(BATCH, json=batch, headers={"Idempotency-Key": key})
        refused(answer, 409, "CONFLICT")
        assert await _count(replica) == before + 1

    async def test_a_batch_is_taken_in_once(self, replica: Replica) -> None:
        headers, before = {"Idempotency-Key": str(uuid.uuid4())}, await _count(replica)
        batch = {"tasks": [TASK, TASK]}
        first, again = [
            await replica.http.post(BATCH, json=batch, headers=headers) for _ in range(2)
        ]
        assert first.json()["task_ids"] == again.json()["task_ids"]
        assert again.headers["Idempotency-Replayed"] == "true"
        assert await _count(replica) == before + 2

    async def test_a_request_that_was_refused_leaves_its_key_free(self, replica: Replica) -> None:
        key = str(uuid.uuid4())
        refused(await self._post(replica, key, {"a": 1}), 400, "INVALID_INPUT")
        assert (await self._post(replica, key)).status_code == 202

    async def test_a_repetition_is_answered_after_its_deadline(
        self, replica: Replica, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        key, clock = str(uuid.uuid4()), Clock()
        monkeypatch.setattr(requests, "datetime", clock)
        body = SUM | {"deadline": (clock.now(UTC) + timedelta(hours=1)).isoformat()}
        first = await self._post(replica, key, body)
        assert first.status_code == 202
        clock.ahead = timedelta(hours=2)
        again = await self._post(replica, key, body)
        assert again.json()["task_id"] == first.json()["task_id"]
        refused(await self._post(replica, str(uuid.uuid4()), body), 400, "INVALID_INPUT")

    async def test_neither_the_key_nor_the_input_can_be_read_or_guessed(
        self, dsn: str, tmp_path: Path
    ) -> None:
        async with serving(dsn, settings(), tmp_path) as replica:
            await self._post(replica, "k-1")
            await self._post(replica, "k-2")
        stored = await rows(dsn, "SELECT key_sha256, fingerprint FROM idempotency_keys")
        assert len({fingerprint for _, fingerprint in stored}) == 2
        assert all(b"k-" not in bytes(key) for key, _ in stored)


NEED = Requirement("demo", "sleep")


async def test_a_key_is_free_again_after_24_hours(dsn: str) -> None:
    await migrate(dsn)
    once = Once(b"key", b"one request")
    async with Database(dsn) as database:
        queue, leadership = PostgresQueue(database), PostgresLeadership(database)
        [first] = await queue.submit_once([NewWorkload(new_id(), NEED, b"")], once)
        age = "UPDATE idempotency_keys SET created_at = now() - $1::interval"
        await database.fetch(age, timedelta(hours=23, minutes=59))
        assert await queue.submitted(once, "default") == [first]
        other = Once(b"key", b"another request")
        with pytest.raises(Conflict):
            await queue.submitted(other, "default")
        with pytest.raises(Conflict):
            await queue.submit_once([NewWorkload(new_id(), NEED, b"")], other)
        await database.fetch(age, timedelta(hours=24))
        assert await queue.submitted(other, "default") is None
        [second] = await queue.submit_once([NewWorkload(new_id(), NEED, b"")], other)
        assert second != first
        await database.fetch(age, timedelta(hours=24))
        epoch, _ = await leadership.take_epoch("c-0")
        await leadership.maintain(epoch, HealthLimits())
        assert await rows(dsn, "SELECT count(*) FROM idempotency_keys") == [(0,)]


async def test_keys_of_customers_do_not_meet(dsn: str) -> None:
    await migrate(dsn)
    once = Once(b"key", b"request")
    async with Database(dsn) as database:
        queue = PostgresQueue(database)
        ids = {
            (await queue.submit_once([NewWorkload(new_id(), NEED, b"", customer_id=name)], once))[0]
            for name in ("a", "b")
        }
        assert len(ids) == 2


async def _is_late(replica: Replica, task_id: str) -> None:
    """Let the deadline of a task be over."""
    await rows(replica.dsn, "UPDATE workloads SET deadline_at = now() WHERE id = $1", task_id)


class TestDeadlines:
    async def test_a_task_that_waits_too_long_fails(self, replica: Replica) -> None:
        failed = 'coordinator_tasks_failed_total{circuit="addition",pool="demo"}'
        before = await replica.metric(failed)
        task = await replica.ends(await replica.add(timeout_seconds=0.3))
        assert task["status"] == "failed"
        assert task["error"] == (
            f"its deadline, {task['deadline'][:23]}+00:00, passed while it waited for a worker"
        )

        async def counted() -> bool:
            return await replica.metric(failed) == before + 1

        # Once it is stored.
        await eventually(counted, what="the failure is counted")

    async def test_a_deadline_is_kept_as_it_was_given(self, replica: Replica) -> None:
        deadline = (datetime.now(UTC) + timedelta(hours=5)).replace(microsecond=0)
        task = await replica.task(await replica.add(deadline=deadline.isoformat()))
        assert datetime.fromisoformat(task["deadline"]) == deadline
        assert (await replica.task(await replica.add()))["deadline"] is None

    async def test_a_timeout_counts_from_the_submission(self, replica: Replica) -> None:
        task = await replica.task(await replica.add(timeout_seconds=3600))
        created, deadline = (
            datetime.fromisoformat(task[name]) for name in ("created_at", "deadline")
        )
        assert deadline - created == timedelta(hours=1)

    async def test_both_are_one_too_many(self, replica: Replica) -> None:
        deadline = (datetime.now(UTC) + timedelta(hours=5)).isoformat()
        body = SUM | {"deadline": deadline, "timeout_seconds": 5}
        error = refused(await replica.http.post(ADDITIONS, json=body), 400, "INVALID_INPUT")
        assert error["message"] == "deadline is beside timeout_seconds; allowed: one of the two"

    async def test_what_a_worker_has_is_finished(self, replica: Replica) -> None:
        async with Worker(replica.target, "w-late", handler=begin, capacity=50) as worker:
            task_id = await replica.add(timeout_seconds=3600)
            assignment = await worker.got(task_id)
            await replica.reaches(task_id, "in_progress")
            await _is_late(replica, task_id)
            past = datetime.now(UTC) - timedelta(seconds=1)
            waiting = NewWorkload(new_id(), NEED, b"", deadline=past)
            async with Database(replica.dsn) as database:
                await PostgresQueue(database).submit([waiting])

            async def looked() -> bool:
                states = "SELECT state FROM workloads WHERE id = $1"
                return await rows(replica.dsn, states, waiting.id) == [("FAILED",)]

            await eventually(looked, what="the leader has looked for what is late")
            assert (await worker.complete(assignment)).success
        assert (await replica.task(task_id))["status"] == "completed"

    async def test_what_comes_back_after_its_deadline_fails(self, replica: Replica) -> None:
        async with Worker(replica.target, "w-back", handler=begin, capacity=50) as worker:
            task_id = await replica.add(timeout_seconds=3600)
            assignment = await worker.got(task_id)
            await replica.reaches(task_id, "in_progress")
            await _is_late(replica, task_id)
            await worker.fail(assignment, "try again", transient=True)
            task = await replica.ends(task_id)
        assert task["status"] == "failed"
        assert "passed while it waited for a worker" in task["error"]

    async def test_only_the_leader_of_this_epoch_expires(self, dsn: str) -> None:
        await migrate(dsn)
        past = datetime.now(UTC) - timedelta(seconds=1)
        workloads = [
            NewWorkload(new_id(), NEED, b"secret", deadline=past),
            NewWorkload(new_id(), NEED, b"secret", wait_seconds=3600),
            NewWorkload(new_id(), NEED, b"secret"),
        ]
        async with Database(dsn) as database:
            await PostgresQueue(database).submit(workloads)
            leadership = PostgresLeadership(database)
            epoch, _ = await leadership.take_epoch("c-0")
            with pytest.raises(StaleEpoch):
                await leadership.expire(epoch - 1, RetryPolicy().expired)
            moved = await leadership.expire(epoch, RetryPolicy().expired)
            assert [one.id for one in moved] == [workloads[0].id]
            assert await leadership.expire(epoch, RetryPolicy().expired) == []
        query = "SELECT state, input FROM workloads WHERE id = $1"
        assert await rows(dsn, query, workloads[0].id) == [("FAILED", None)]
        audit = "SELECT event, actor FROM audit WHERE workload_id = $1 AND after = 'FAILED'"
        assert await rows(dsn, audit, workloads[0].id) == [("workload.failed", "leader")]


class TestPriorities:
    async def test_what_matters_more_is_assigned_first(self, dsn: str, tmp_path: Path) -> None:
        async with serving(dsn, settings(), tmp_path) as replica:
            tasks = [TASK | {"priority": priority} for priority in (1, 1000, 10)]
            answer = await replica.http.post(BATCH, json={"tasks": tasks})
            low, high, middle = answer.json()["task_ids"]
            async with Worker(replica.target, "w-0", handler=ignore, capacity=3) as worker:
                await worker.got(low)
            assert [task.task_id for task in worker.tasks] == [high, middle, low]


class TestCancelling:
    async def test_a_waiting_task_is_given_to_nobody(self, replica: Replica) -> None:
        task_id = await replica.add()
        answer = await replica.http.post(f"/api/v1/tasks/{task_id}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
        async with Worker(replica.target, "w-cancel", capacity=50) as worker:
            await replica.ends(await replica.add())
            assert task_id not in {task.task_id for task in worker.tasks}

    async def test_to_cancel_again_changes_nothing(self, replica: Replica) -> None:
        task_id = await replica.add()
        first, again = [
            (await replica.http.post(f"/api/v1/tasks/{task_id}/cancel")).json() for _ in range(2)
        ]
        assert first == again
        assert first["completed_at"] is not None

    async def test_a_worker_is_told_with_its_next_report(self, replica: Replica) -> None:
        async with Worker(replica.target, "w-told", handler=begin, capacity=50) as worker:
            task_id = await replica.add()
            assignment = await worker.got(task_id)
            await replica.reaches(task_id, "in_progress")
            answer = await replica.http.post(f"/api/v1/tasks/{task_id}/cancel")
            assert answer.json()["status"] == "cancelled"
            for report in (worker.start(assignment), worker.complete(assignment)):
                with pytest.raises(grpc.aio.AioRpcError) as told:
                    await report
                assert told.value.code() is grpc.StatusCode.FAILED_PRECONDITION
                assert "it is CANCELLED" in str(told.value.details())
        assert (await replica.task(task_id))["proof"] is None

    @pytest.mark.usefixtures("long_polls")
    async def test_a_long_poll_ends_with_it(self, replica: Replica) -> None:
        task_id = await replica.add()
        waiting = asyncio.create_task(replica.task(task_id, wait="10m"))
        await replica.http.post(f"/api/v1/tasks/{task_id}/cancel")
        assert (await waiting)["status"] == "cancelled"

    async def test_a_failed_task_is_at_its_end(self, replica: Replica) -> None:
        task_id = await replica.add(timeout_seconds=0.1)
        await replica.ends(task_id)
        answer = await replica.http.post(f"/api/v1/tasks/{task_id}/cancel")
        message = refused(answer, 409, "INVALID_STATE")["message"]
        assert message == f"task {task_id}: it is FAILED, which is final"
