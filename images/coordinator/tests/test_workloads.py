"""Work of any kind, from its submission to its end: checkpoints, pauses, cancels, limits."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from muster_coordinator.engine.errors import Fenced, InvalidRequest, InvalidState, NotFound
from muster_coordinator.engine.identity import new_id
from muster_coordinator.engine.model import (
    Cancel,
    Checkpoint,
    Claim,
    LogLine,
    Pause,
    WorkloadQuery,
)
from muster_coordinator.engine.notes import MAX_CHECKPOINT_BYTES
from muster_coordinator.engine.states import State, Wish
from muster_coordinator.store.witnesses import Witnesses

from .harness import rows
from .parts import LEASE, PATIENT, Settings, parts

pytestmark = pytest.mark.integration


def _line(message: str, level: str = "info") -> LogLine:
    return LogLine(datetime.now(UTC), level, message)


class TestResults:
    async def test_a_result_of_any_kind_is_kept_as_it_was_reported(self, dsn: str) -> None:
        async with parts(dsn) as made, made.running(), made.worker() as hand:
            task = await made.submit(input=b'{"seconds":1}', keeps_input=True)
            given = await hand.begun()
            assert (given.type, given.input) == ("sleep", b'{"seconds":1}')
            assert (given.customer_id, given.attempt, given.checkpoint) == ("default", 1, None)
            verdict = await hand.completes(given, b'{"slept":1}')
            assert verdict.accepted
            done = await made.queue.wait(task, 20)
            assert done.state is State.COMPLETED
            assert done.result is not None
            assert (done.result.output, done.result.proof) == (b'{"slept":1}', None)
            assert (done.progress_percent, done.input) == (100, b'{"seconds":1}')

    async def test_only_inputs_that_are_no_secrets_outlive_the_work(self, dsn: str) -> None:
        async with parts(dsn) as made:
            for keeps, stored in ((True, b"{}"), (False, None)):
                task = await made.submit(keeps_input=keeps)
                assert (await made.queue.cancel(task)).input == (b"{}" if keeps else None)
                assert await rows(dsn, "SELECT input FROM workloads WHERE id = $1", task) == [
                    (stored,)
                ]

    async def test_a_worker_gets_the_limit_and_the_try(self, dsn: str) -> None:
        async with parts(dsn) as made, made.running(), made.worker() as hand:
            task = await made.submit(timeout_seconds=1.5, max_retries=1)
            first = await hand.begun()
            assert first.timeout_ms == 1500
            await made.reports.fail(hand.claim(first), "no luck")
            second = await hand.begun()
            assert (second.attempt, second.generation) == (2, first.generation + 1)
            await made.reports.fail(hand.claim(second), "none again")
            failed = await made.reaches(task, State.FAILED)
            assert failed.error == "none again (given up after 2 tries)"

    async def test_what_fails_for_good_is_not_tried_again(self, dsn: str) -> None:
        async with parts(dsn) as made, made.running(), made.worker() as hand:
            task = await made.submit()
            given = await hand.begun()
            await made.reports.fail(hand.claim(given), "a\x00\ud800 typo", transient=False)
            failed = await made.reaches(task, State.FAILED)
            assert (failed.error, failed.retry_count) == ("a? typo", 0)


class TestCheckpoints:
    async def test_another_worker_goes_on_from_the_last_one(self, dsn: str) -> None:
        # Seconds matter: what ran on a worker without a stream is moved after the grace.
        settings = Settings(health=replace(PATIENT, grace=0.2), witnesses=Witnesses([b"k" * 32]))
        async with parts(dsn, settings) as made, made.running():
            task = await made.submit()
            async with made.worker("w-0") as lost:
                before = await lost.begun()
                for step in range(12):
                    await made.reports.checkpoint(lost.claim(before), b"step %d" % step)
                await made.reports.progress(lost.claim(before), 60, "step 11")
            async with made.worker("w-1") as hand:
                given = await hand.begun()
                assert given.workload_id == task
                assert given.generation > before.generation
                assert given.checkpoint == Checkpoint(12, b"step 11")
                assert (await made.queue.get(task)).progress_percent == 60
                with pytest.raises(Fenced, match="is not its assignment"):
                    await made.reports.checkpoint(lost.claim(before), b"too late")
                kept = await rows(dsn, "SELECT seq, data FROM checkpoints ORDER BY seq")
                assert [seq for seq, _ in kept] == list(range(3, 13))
                assert not any(b"step" in data for _, data in kept)
                await hand.completes(given)
            assert await rows(dsn, "SELECT FROM checkpoints") == []
            assert "workload.redistributing" in await made.events(task)
            assert "report.fenced" in await made.events(task)

    async def test_one_that_is_too_large_is_refused(self, dsn: str) -> None:
        async with parts(dsn) as made:
            claim = Claim(new_id(), "w-0", 1)
            with pytest.raises(InvalidRequest, match=f"at most {MAX_CHECKPOINT_BYTES}"):
                await made.reports.checkpoint(claim, bytes(MAX_CHECKPOINT_BYTES + 1))


class TestPausing:
    async def test_paused_work_rests_and_goes_on_where_it_stopped(self, dsn: str) -> None:
        async with parts(dsn) as made, made.running(), made.worker() as hand:
            task = await made.submit()
            given = await hand.begun()
            asked = await made.queue.pause(task)
            assert (asked.state, asked.wish) == (State.RUNNING, Wish.PAUSE)
            await hand.told(Pause(task, given.generation))
            await made.reports.paused(hand.claim(given), b"half")
            # Said twice, as the first answer may have been lost.
            await made.reports.paused(hand.claim(given), b"half")
            paused = await made.queue.pause(task)
            assert (paused.state, paused.wish, paused.checkpoint_seq) == (
                State.PAUSED,
                Wish.NONE,
                2,
            )
            # Nobody gets it, and its worker is free for other work.
            await hand.begun(await made.submit())
            assert (await made.queue.get(task)).state is State.PAUSED
        async with parts(dsn) as made, made.running():
            assert (await made.queue.resume(task)).state is State.PENDING
            async with made.worker("w-1") as other:
                again = await other.begun(task)
                assert again.checkpoint == Checkpoint(2, b"half")
                assert again.generation == given.generation + 1

    async def test_only_running_work_is_paused_and_only_paused_work_resumed(self, dsn: str) -> None:
        async with parts(dsn) as made:
            task = await made.submit()
            with pytest.raises(InvalidState, match="it is PENDING; allowed: RUNNING"):
                await made.queue.pause(task)
            with pytest.raises(InvalidState, match="it is PENDING; allowed: PAUSED"):
                await made.queue.resume(task)
            for change in (made.queue.pause, made.queue.resume, made.queue.cancel):
                with pytest.raises(NotFound):
                    await change(task, "another")

    async def test_a_pause_can_be_withdrawn_before_the_worker_acts(self, dsn: str) -> None:
        async with parts(dsn) as made, made.running(), made.worker() as hand:
            task = await made.submit()
            given = await hand.begun()
            await made.queue.pause(task)
            assert (await made.queue.resume(task)).wish is Wish.NONE
            # A worker that stops all the same has handed it back.
            await made.reports.paused(hand.claim(given), b"half")
            again = await hand.begun(task)
            assert again.checkpoint == Checkpoint(1, b"half")

    async def test_work_that_should_rest_rests_when_its_worker_is_lost(self, dsn: str) -> None:
        async with parts(dsn) as made, made.running():
            task = await made.submit()
            async with made.worker() as hand:
                await hand.begun()
                await made.queue.pause(task)
                await made.registry.deregister("w-0")
            await made.reaches(task, State.PAUSED)


class TestCancelling:
    async def test_the_worker_of_running_work_is_told_at_once(self, dsn: str) -> None:
        # The poll is no help.
        async with (
            parts(dsn, Settings(poll=3600)) as made,
            made.running(),
            made.worker() as hand,
        ):
            task = await made.submit()
            given = await hand.begun()
            assert (await made.queue.cancel(task)).state is State.CANCELLED
            await hand.told(Cancel(task, given.generation))
            with pytest.raises(Fenced):
                await hand.completes(given)

    async def test_a_notification_that_is_lost_is_made_up_for(self, dsn: str) -> None:
        async with parts(dsn) as made, made.running(), made.worker() as hand:
            task = await made.submit()
            given = await hand.begun()
            # As somebody would who knows of no notifications.
            await rows(
                dsn, "UPDATE workloads SET state = 'CANCELLED', input = NULL WHERE id = $1", task
            )
            await hand.told(Cancel(task, given.generation))

    async def test_a_worker_that_comes_back_hears_of_what_it_says_it_holds(self, dsn: str) -> None:
        async with parts(dsn, Settings(poll=3600)) as made, made.running():
            task = await made.submit()
            async with made.worker() as hand:
                given = await hand.begun()
            await made.queue.cancel(task)
            async with made.delivery.open("w-0", [hand.claim(given)]) as stream:
                async for command in stream.commands():
                    assert command == Cancel(task, given.generation)
                    break

    async def test_nobody_is_told_of_what_ended_by_its_own_report(self, dsn: str) -> None:
        async with parts(dsn, Settings(poll=0.05)) as made, made.running(), made.worker() as hand:
            tasks = [await made.submit() for _ in range(3)]
            for _ in tasks:
                await hand.completes(await hand.begun())
            last = await made.submit()
            given = await hand.begun(last)
            await made.queue.cancel(last)
            await hand.told(Cancel(last, given.generation))
            cancelled = [one for one in hand.commands if isinstance(one, Cancel)]
            assert cancelled == [Cancel(last, given.generation)]


async def _lease(dsn: str, task: UUID) -> datetime:
    """When what a worker holds goes elsewhere, unless it gives a sign of life before."""
    [(expires,)] = await rows(dsn, "SELECT lease_expires_at FROM workloads WHERE id = $1", task)
    assert isinstance(expires, datetime)
    return expires


async def _passes(dsn: str, task: UUID, seconds: float) -> None:
    """Let so much of the lease be over."""
    earlier = (
        "UPDATE workloads SET lease_expires_at = lease_expires_at - make_interval(secs => $2) "
        "WHERE id = $1"
    )
    await rows(dsn, earlier, task, seconds)


class TestTimeLimits:
    async def test_a_sign_of_life_keeps_work_that_has_no_limit_of_its_own(self, dsn: str) -> None:
        async with parts(dsn) as made, made.running(), made.worker() as hand:
            task = await made.submit()
            given = await hand.begun()
            begun = await _lease(dsn, task)
            await _passes(dsn, task, LEASE / 2)
            await made.reports.progress(hand.claim(given), 1)
            # As much as at its beginning, and more.
            assert await _lease(dsn, task) >= begun
            assert (await hand.completes(given)).accepted

    async def test_silent_work_goes_elsewhere(self, dsn: str) -> None:
        async with parts(dsn) as made, made.running(), made.worker("w-0") as stuck:
            task = await made.submit()
            given = await stuck.begun()
            async with made.worker("w-1") as hand:
                await _passes(dsn, task, LEASE)
                again = await hand.begun()
                assert (again.workload_id, again.attempt) == (task, 2)
                await stuck.told(Cancel(task, given.generation))
                with pytest.raises(Fenced):
                    await made.reports.progress(stuck.claim(given), 99)

    async def test_its_own_limit_outlasts_the_general_one_and_is_final(self, dsn: str) -> None:
        # From its assignment to its beginning the general one holds.
        async with parts(dsn, Settings(lease=30)) as made, made.running(), made.worker() as hand:
            task = await made.submit(timeout_seconds=60)
            given = await hand.begun()
            await made.reports.progress(hand.claim(given), 1)
            [(seconds,)] = await rows(
                dsn,
                "SELECT extract(epoch FROM lease_expires_at - started_at)::float8 "
                "FROM workloads WHERE id = $1",
                task,
            )
            # A tenth and 5 s more, as the worker should be first.
            assert seconds == pytest.approx(71, abs=0.5)


class TestNotes:
    async def test_progress_is_shown_and_the_last_word_counts(self, dsn: str) -> None:
        async with parts(dsn) as made, made.running(), made.worker() as hand:
            task = await made.submit()
            claim = hand.claim(await hand.begun())
            await asyncio.gather(
                *(made.reports.progress(claim, percent, f"{percent}") for percent in range(50))
            )
            found = await made.queue.get(task)
            assert (found.progress_percent, found.progress_message) == (49, "49")
            with pytest.raises(InvalidRequest, match="percent is 101; allowed: a number from 0"):
                await made.reports.progress(claim, 101)
            assert (
                made.metrics.registry.get_sample_value(
                    "coordinator_notes_total", {"kind": "progress"}
                )
                == 50
            )

    async def test_logs_are_numbered_read_on_and_limited(self, dsn: str) -> None:
        async with parts(dsn) as made, made.running(), made.worker(capacity=2) as hand:
            first, second = await made.submit(), await made.submit()
            claims = [hand.claim(await hand.begun(task)) for task in (first, second)]
            await asyncio.gather(
                *(
                    made.reports.log(claim, [_line(f"{n}"), _line(f"{n}!\x00", "error")])
                    for n in range(20)
                    for claim in claims
                )
            )
            logged = await made.history.logs(first, "default")
            assert [one.seq for one in logged] == list(range(1, 41))
            assert [one.line.message for one in logged[:3]] == ["0", "0!", "1"]
            beyond = await made.history.logs(first, "default", after=38, limit=1)
            assert [one.line.message for one in beyond] == ["19"]
            for _ in range(2):
                await made.reports.log(claims[1], [_line("x")] * 5000)
            kept = await made.history.logs(second, "default", limit=20_000)
            assert (len(kept), kept[0].seq, kept[-1].seq) == (10_000, 41, 10_040)
            with pytest.raises(NotFound):
                await made.history.logs(first, "another")
            with pytest.raises(InvalidRequest, match="level is 'loud'; allowed: debug, error,"):
                await made.reports.log(claims[0], [_line("x", "loud")])

    async def test_the_last_lines_may_come_after_the_end(self, dsn: str) -> None:
        async with parts(dsn) as made, made.running(), made.worker() as hand:
            task = await made.submit()
            given = await hand.begun()
            await hand.completes(given)
            await made.reports.log(hand.claim(given), [_line("bye")])
            assert len(await made.history.logs(task, "default")) == 1
            with pytest.raises(Fenced):
                await made.reports.log(Claim(task, "w-other", given.generation), [_line("me too")])

    async def test_one_bad_claim_spoils_no_other_note(self, dsn: str) -> None:
        async with parts(dsn) as made, made.running(), made.worker() as hand:
            task = await made.submit()
            mine = hand.claim(await hand.begun())
            foreign, unknown = Claim(task, "w-1", 1), Claim(new_id(), "w-0", 1)
            answers = await asyncio.gather(
                *(made.reports.checkpoint(claim, b"x") for claim in (foreign, mine, unknown)),
                return_exceptions=True,
            )
            assert [type(answer) for answer in answers] == [Fenced, type(None), NotFound]
            assert (await made.queue.get(task)).checkpoint_seq == 1

    async def test_a_watcher_hears_of_every_change(self, dsn: str) -> None:
        async with parts(dsn) as made, made.running(), made.worker() as hand:
            task = await made.submit()
            given = await hand.given()
            changes = made.queue.watch(task)
            assert (await anext(changes)).state is State.SCHEDULED
            await made.reports.start(hand.claim(given))
            assert (await anext(changes)).state is State.RUNNING
            await made.reports.progress(hand.claim(given), 50)
            assert (await anext(changes)).progress_percent == 50
            await made.reports.log(hand.claim(given), [_line("half")])
            await anext(changes)
            await hand.completes(given)
            assert (await anext(changes)).state is State.COMPLETED
            with pytest.raises(StopAsyncIteration):
                await anext(changes)
            with pytest.raises(NotFound):
                await anext(made.queue.watch(task, "another"))


class TestListing:
    async def test_pages_orders_and_filters(self, dsn: str) -> None:
        async with parts(dsn) as made:
            tasks = [await made.submit(priority=priority) for priority in (5, 20, 10, 20)]
            await made.submit(customer_id="another")
            await made.queue.cancel(tasks[0])
            made_at = [(await made.queue.get(task)).created_at for task in tasks]

            async def found(**query: object) -> list[int]:
                listed = await made.queue.find(WorkloadQuery(**query))  # type: ignore[arg-type]
                return [tasks.index(one.id) for one in listed]

            assert await found() == [3, 2, 1, 0]
            assert await found(ordering="created_at") == [0, 1, 2, 3]
            assert await found(ordering="-priority") == [3, 1, 2, 0]
            assert await found(ordering="priority", offset=1, limit=2) == [2, 1]
            assert await found(cursor=tasks[2]) == [1, 0]
            assert await found(ordering="created_at", cursor=tasks[1], limit=1) == [2]
            assert await found(created_after=made_at[1]) == [3, 2]
            assert await found(created_before=made_at[1]) == [0]
            assert await found(state=frozenset({State.CANCELLED})) == [0]
            assert await made.queue.count(WorkloadQuery(limit=1)) == 4
            assert await made.queue.count(WorkloadQuery(state=frozenset({State.PENDING}))) == 3


async def test_the_audit_tells_the_whole_way(dsn: str) -> None:
    async with parts(dsn) as made, made.running(), made.worker() as hand:
        task: UUID = await made.submit()
        given = await hand.begun()
        await made.queue.pause(task)
        await made.reports.paused(hand.claim(given))
        await made.queue.resume(task)
        await hand.completes(await hand.begun(task))
        events = await made.history.audit(task, "default")
        assert [(one.event, one.after) for one in events] == [
            ("workload.submitted", "PENDING"),
            ("workload.scheduled", "SCHEDULED"),
            ("workload.started", "RUNNING"),
            ("workload.pause_requested", "RUNNING"),
            ("workload.paused", "PAUSED"),
            ("workload.resumed", "PENDING"),
            ("workload.scheduled", "SCHEDULED"),
            ("workload.started", "RUNNING"),
            ("workload.completed", "COMPLETED"),
        ]
        assert [one.event for one in await made.history.audit(task, "default", events[6].seq)] == [
            "workload.started",
            "workload.completed",
        ]
        with pytest.raises(NotFound):
            await made.history.audit(task, "another")
