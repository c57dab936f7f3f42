"""What workers report: begun, done, failed, paused, handed back. Each is judged and stored once.

What they say on the way is in `notes`.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from uuid import UUID

from muster_coordinator.engine.batching import Batcher
from muster_coordinator.engine.errors import EngineError, Fenced, Unavailable
from muster_coordinator.engine.fencing import finished_by, judge
from muster_coordinator.engine.fresh import Fresh
from muster_coordinator.engine.model import Claim, Held, LogLine, Move, Moved, Result
from muster_coordinator.engine.notes import Notes
from muster_coordinator.engine.ports import (
    Acceptance,
    AssignmentStore,
    Decide,
    Decision,
    Meter,
    Statement,
    Submission,
    Verdict,
    WorkerStore,
)
from muster_coordinator.engine.records import record
from muster_coordinator.engine.retry import RetryPolicy, running_lease
from muster_coordinator.engine.states import State
from muster_coordinator.engine.words import clean

log = logging.getLogger(__name__)

# Ten proofs verified together cost little more than half of ten verified one by one.
_PACE = 0.01
_AT_ONCE = 500


@record
class Completion:
    """A worker's result and the assignment it belongs to."""

    claim: Claim
    submission: Submission


_Plain = tuple[int, Held, Result]
"""The place of a completion in its batch, its workload, and the result to keep."""


class Outcome(Enum):
    """How an assignment ended without a result."""

    TRANSIENT = auto()
    """Failed; another worker may succeed."""
    PERMANENT = auto()
    """Failed; it would fail anywhere."""
    RELEASED = auto()
    """Handed back; that is no failure."""
    PAUSED = auto()
    """Stopped, as its owner asked."""


@dataclass(frozen=True, slots=True)
class Unfinished:
    """That and why a worker did not finish its assignment."""

    claim: Claim
    outcome: Outcome
    message: str = ""


@dataclass(frozen=True, slots=True)
class Times:
    """Of what reports lead to, in seconds.

    Args:
        lease: how long a workload may run without a sign of life before it counts as stuck.
        quarantine: how long the first wrong result keeps a worker out.
    """

    lease: float
    quarantine: float = 3600.0


class Reports:
    """Takes reports in, in batches.

    Those of one assignment may overtake each other, unless the answer to one is waited for before
    the next is made.

    Attributes:
        on_ended: told of each assignment that a report has ended.
    """

    def __init__(
        self,
        assignments: AssignmentStore,
        notes: Notes,
        workers: WorkerStore,
        acceptance: Acceptance,
        policy: RetryPolicy,
        meter: Meter,
        times: Times,
    ) -> None:
        self._assignments = assignments
        self._notes = notes
        self._workers = workers
        self._acceptance = acceptance
        self._policy = policy
        self._meter = meter
        self._lease = times.lease
        self._quarantined = times.quarantine
        self.on_ended: Callable[[Claim], None] = _nobody
        self._fresh = Fresh()
        self._start: Batcher[Claim, Moved | None] = Batcher(
            self._start_batch, size=_AT_ONCE, pace=_PACE
        )
        self._complete: Batcher[Completion, Verdict] = Batcher(
            self._complete_batch, size=_AT_ONCE, lanes=2, pace=_PACE
        )
        self._stop: Batcher[Unfinished, Moved | None] = Batcher(self._stop_batch)

    def assigned(self, moved: Iterable[Moved]) -> None:
        """What was given to workers just now; a report that ends it at once reads less for it."""
        self._fresh.note(moved)

    async def start(self, claim: Claim) -> None:
        """The worker began; a repetition changes nothing.

        Raises:
            Fenced, NotFound: the assignment is not this worker's.
        """
        await self._start(claim)

    async def complete(self, claim: Claim, submission: Submission) -> Verdict:
        """The worker is done. Accepted exactly once; a repetition is told so and changes nothing.

        Raises:
            Fenced, NotFound: the assignment is not this worker's.
            Unavailable: it can't be judged now.
        """
        return await self.completion(claim, submission)

    def completion(self, claim: Claim, submission: Submission) -> "asyncio.Future[Verdict]":
        """As `complete`, for those who take so many that a task for each costs too much."""
        return self._complete.put(Completion(claim, submission))

    async def fail(self, claim: Claim, message: str, *, transient: bool = True) -> None:
        """The worker failed; a permanent failure is not tried again.

        Raises:
            Fenced, NotFound: the assignment is not this worker's.
        """
        outcome = Outcome.TRANSIENT if transient else Outcome.PERMANENT
        await self._stop(Unfinished(claim, outcome, clean(message) or "the worker gave no reason"))

    async def release(self, claim: Claim, reason: str = "") -> None:
        """The worker hands its assignment back unfinished.

        Raises:
            Fenced, NotFound: the assignment is not this worker's.
        """
        await self._stop(Unfinished(claim, Outcome.RELEASED, clean(reason) or "handed back"))

    async def paused(self, claim: Claim, checkpoint: bytes | None = None) -> None:
        """The worker stopped as it was asked to; where nobody asked, it hands back.

        Raises:
            Fenced, NotFound: the assignment is not this worker's.
            InvalidRequest: the checkpoint is too large.
        """
        if checkpoint is not None:
            await self._notes.checkpoint(claim, checkpoint)
        await self._stop(Unfinished(claim, Outcome.PAUSED))

    async def progress(self, claim: Claim, percent: float, message: str = "") -> None:
        """How far it is, 0 to 100; a sign of life.

        Raises:
            Fenced, NotFound: the assignment is not this worker's.
            InvalidRequest: `percent` is no such number.
        """
        await self._notes.progress(claim, percent, message)

    async def checkpoint(self, claim: Claim, data: bytes) -> None:
        """Where it could go on from; a sign of life.

        Raises:
            Fenced, NotFound: the assignment is not this worker's.
            InvalidRequest: `data` is too large.
        """
        await self._notes.checkpoint(claim, data)

    async def log(self, claim: Claim, lines: Sequence[LogLine]) -> None:
        """What it wrote; also after its end.

        Raises:
            Fenced, NotFound: the assignment is not this worker's.
        """
        await self._notes.log(claim, lines)

    async def idle(self) -> None:
        """Wait until all reports under way are answered."""
        for part in (self._start, self._notes, self._complete, self._stop):
            await part.idle()

    async def _start_batch(self, claims: list[Claim]) -> Sequence[Moved | EngineError | None]:
        def decide(claim: Claim, held: Held | None) -> Decision | EngineError:
            error = judge(claim, held)
            if error is not None or held is None:
                return error or Decision()
            if held.state is State.RUNNING:
                return Decision()
            lease = running_lease(held, self._lease)
            started = Move(held.id, held.state, State.RUNNING, "workload.started", lease=lease)
            return Decision(started)

        self._fresh.forget(claims)
        return await self._report(claims, decide)

    async def _stop_batch(self, reports: list[Unfinished]) -> Sequence[Moved | EngineError | None]:
        by_claim = {report.claim: report for report in reports}

        def decide(claim: Claim, held: Held | None) -> Decision | EngineError:
            report = by_claim[claim]
            if (
                report.outcome is Outcome.PAUSED
                and held is not None
                and held.state is State.PAUSED
                and finished_by(claim, held)
            ):
                return Decision()
            error = judge(claim, held)
            if error is not None or held is None:
                return error or Decision()
            return Decision(self._unfinished(report, held))

        claims = [report.claim for report in reports]
        self._fresh.forget(claims)
        answers = await self._report(claims, decide)
        self._ended(claims, answers)
        return answers

    def _unfinished(self, report: Unfinished, held: Held) -> Move:
        match report.outcome:
            case Outcome.RELEASED:
                return self._policy.released(held, report.message)
            case Outcome.PAUSED:
                return self._policy.paused(held)
            case _:
                transient = report.outcome is Outcome.TRANSIENT
                return self._policy.failed(held, report.message, transient=transient)

    async def _complete_batch(
        self, completions: list[Completion]
    ) -> Sequence[Verdict | EngineError]:
        statements = await self._statements([completion.claim for completion in completions])
        verdicts = await self._judged(completions, statements)
        await self._distrust(completions, verdicts)
        plain = _plain(statements, verdicts)
        answers = await self._end(completions, plain) if plain else {}
        if others := [place for place in range(len(completions)) if place not in answers]:
            # What was tried and has not ended has moved since it was read.
            seen = None if plain else {found.held.id: found.held for found in statements if found}
            judged = [(completions[place], verdicts[place]) for place in others]
            answers |= zip(others, await self._report_results(judged, seen), strict=True)
        return [answers[place] for place in range(len(completions))]

    async def _statements(self, claims: Sequence[Claim]) -> list[Statement | None]:
        """What the results that are claimed have to prove; None where there is no such workload."""
        statements = self._fresh.take(claims)
        unread = [place for place, found in enumerate(statements) if found is None]
        if unread:
            read = await self._assignments.statements({claims[one].workload_id for one in unread})
            for place in unread:
                statements[place] = read.get(claims[place].workload_id)
        return statements

    async def _end(
        self, completions: Sequence[Completion], plain: Sequence[_Plain]
    ) -> dict[int, Verdict | EngineError]:
        """Store what needs no second look; the answers, by the places of what ended by it."""
        moved = await self._assignments.complete(
            [held for _, held, _ in plain], [result for *_, result in plain]
        )
        places = [place for place, *_ in plain]
        if len(moved) < len(plain):
            ids = {one.id for one in moved}
            places = [place for place, held, _ in plain if held.id in ids]
        for place in places:
            self.on_ended(completions[place].claim)
        self._meter.ended(moved)
        return dict.fromkeys(places, Verdict(accepted=True))

    async def _report_results(
        self,
        judged: Sequence[tuple[Completion, Verdict | EngineError | None]],
        seen: Mapping[UUID, Held] | None,
    ) -> list[Verdict | EngineError]:
        """Store what follows from verdicts; `seen` as in `AssignmentStore.report`."""
        verdicts = {completion.claim: verdict for completion, verdict in judged}

        def decide(claim: Claim, held: Held | None) -> Decision | EngineError:
            if held is not None and held.state is State.COMPLETED and finished_by(claim, held):
                return Decision()
            error = judge(claim, held)
            if error is not None or held is None:
                return error or Decision()
            verdict = verdicts[claim] or Unavailable(f"task {held.id}: it has just moved")
            if isinstance(verdict, EngineError):
                return verdict
            if not verdict.accepted:
                return Decision(self._policy.refused(held, verdict.reason))
            begun = held.state is State.SCHEDULED
            done = Move(held.id, held.state, State.COMPLETED, "workload.completed", begun=begun)
            return Decision(done, verdict.result)

        claims = [completion.claim for completion, _ in judged]
        answers = await self._report(claims, decide, seen)
        self._ended(claims, answers)
        return [
            await self._answered(claim, answer, verdicts[claim])
            for claim, answer in zip(claims, answers, strict=True)
        ]

    async def _judged(
        self, completions: Sequence[Completion], statements: Sequence[Statement | None]
    ) -> list[Verdict | EngineError | None]:
        """Verdicts on what is worth looking at; None for reports that are fenced off already."""
        places, worth = [], []
        for place, (completion, statement) in enumerate(zip(completions, statements, strict=True)):
            if statement is not None and judge(completion.claim, statement.held) is None:
                places.append(place)
                worth.append((statement, completion.submission))
        verdicts: list[Verdict | EngineError | None] = [None] * len(completions)
        for place, verdict in zip(places, await self._acceptance.judge(worth), strict=True):
            verdicts[place] = verdict
        return verdicts

    async def _answered(
        self,
        claim: Claim,
        answer: Moved | EngineError | None,
        verdict: Verdict | EngineError | None,
    ) -> Verdict | EngineError:
        lied = isinstance(verdict, Verdict) and not verdict.accepted
        # The leader may be quicker to take a liar's work away than the report to be stored.
        if isinstance(answer, EngineError) and not (lied and isinstance(answer, Fenced)):
            return answer
        if answer is None:
            return Verdict(accepted=True, reason="accepted before")
        if not isinstance(verdict, Verdict):
            raise TypeError(f"task {claim.workload_id} moved without a verdict")
        if not verdict.accepted:
            await self._assignments.take_back(
                claim.worker_id, "it is quarantined", self._policy.lost, quarantined=True
            )
        return verdict

    async def _distrust(
        self,
        completions: Sequence[Completion],
        verdicts: Sequence[Verdict | EngineError | None],
    ) -> None:
        """Quarantine those who lied, before their work can be given back to them."""
        lies = {
            completion.claim.worker_id: f"task {completion.claim.workload_id}: {verdict.reason}"
            for completion, verdict in zip(completions, verdicts, strict=True)
            if isinstance(verdict, Verdict) and not verdict.accepted
        }
        for worker_id, reason in lies.items():
            log.warning("worker quarantined", extra={"worker_id": worker_id, "reason": reason})
            self._meter.quarantined(worker_id)
            await self._workers.quarantine(worker_id, reason, self._quarantined)

    async def _report(
        self, claims: Sequence[Claim], decide: Decide, seen: Mapping[UUID, Held] | None = None
    ) -> list[Moved | EngineError | None]:
        answers = await self._assignments.report(claims, decide, seen)
        for claim, answer in zip(claims, answers, strict=True):
            if isinstance(answer, Fenced):
                self._meter.fenced("generation")
                log.warning(
                    "report refused",
                    extra={"worker_id": claim.worker_id, "reason": str(answer)},
                )
        return answers

    def _ended(
        self,
        claims: Sequence[Claim],
        answers: Sequence[Moved | EngineError | None],
    ) -> None:
        for claim, answer in zip(claims, answers, strict=True):
            if not isinstance(answer, EngineError):
                self.on_ended(claim)
        self._meter.ended([one for one in answers if isinstance(one, Moved)])


def _plain(
    statements: Sequence[Statement | None], verdicts: Sequence[Verdict | EngineError | None]
) -> list[_Plain]:
    """What is an accepted result, and no proof, of workloads in one state: one for each."""
    plain: list[_Plain] = []
    taken: set[UUID] = set()
    for place, (statement, verdict) in enumerate(zip(statements, verdicts, strict=True)):
        result = verdict.result if isinstance(verdict, Verdict) else None
        if statement is None or result is None or result.proof is not None:
            continue
        held = statement.held
        if held.id not in taken and (not plain or held.state is plain[0][1].state):
            plain.append((place, held, result))
            taken.add(held.id)
    return plain


def _nobody(_claim: Claim) -> None:
    """Who hears of ends where nobody has to."""
