"""Reports of a session: what each asks of the engine, and how its answer is told."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from muster_coordinator.engine.errors import (
    EngineError,
    Fenced,
    InvalidRequest,
    InvalidState,
    NotFound,
)
from muster_coordinator.engine.model import Claim, LogLine
from muster_coordinator.engine.ports import Submission, Verdict
from muster_coordinator.engine.reports import Reports
from muster_coordinator.grpc_face import messages
from muster_protos import coordinator_pb2 as pb
from muster_runtime.tracing import Step, Tracer

log = logging.getLogger(__name__)

_MOST_LINES = 1000

_REASONS: dict[type[BaseException], "pb.Refusal.Reason.ValueType"] = {
    Fenced: pb.Refusal.FENCED,
    InvalidState: pb.Refusal.FENCED,
    NotFound: pb.Refusal.NOT_FOUND,
    InvalidRequest: pb.Refusal.REJECTED,
}


def take(report: pb.Report, worker_id: str, reports: Reports, tracer: Tracer) -> Awaitable[object]:
    """Ask the engine to take a report in.

    Raises:
        InvalidRequest: it can't be right.
    """
    claim = messages.claim_of(report, worker_id)
    kind = report.WhichOneof("what")
    if kind == "completion":
        submission = messages.submission(report.completion)
        if tracer.enabled and report.traceparent:
            return _traced(report, claim, submission, reports, tracer)
        return reports.completion(claim, submission)
    if kind in _TAKE:
        return _TAKE[kind](reports, claim, report)
    allowed = ", ".join(("completion", *_TAKE))
    raise InvalidRequest(f"report says nothing; allowed: one of {allowed}")


def answer(sequence: int, taken: "asyncio.Future[object]") -> pb.Refusal | None:
    """How the answer to a report is told; None where it was taken in."""
    error = taken.exception()
    if error is not None:
        return refusal(sequence, error)
    verdict = taken.result()
    if isinstance(verdict, Verdict) and not verdict.accepted:
        return pb.Refusal(sequence=sequence, reason=pb.Refusal.REJECTED, message=verdict.reason)
    return None


def refusal(sequence: int, error: BaseException) -> pb.Refusal:
    """Why a report was not taken in; what nobody foresaw may pass with time."""
    text = str(error)
    if not isinstance(error, EngineError):
        log.error("report not taken in", exc_info=error)
        text = "internal error; see the coordinator's log"
    reason = _REASONS.get(type(error), pb.Refusal.UNAVAILABLE)
    return pb.Refusal(sequence=sequence, reason=reason, message=text)


async def _traced(
    report: pb.Report, claim: Claim, submission: Submission, reports: Reports, tracer: Tracer
) -> Verdict:
    step = Step("verify", report.traceparent, "server")
    with tracer.span(step, task_id=report.task_id, worker_id=claim.worker_id) as span:
        verdict = await reports.complete(claim, submission)
        if not verdict.accepted:
            span.failed(verdict.reason)
    return verdict


def _fail(reports: Reports, claim: Claim, report: pb.Report) -> Awaitable[object]:
    message = messages.text(report.failure.message, "the worker gave no reason")
    return reports.fail(claim, message, transient=report.failure.transient)


def _paused(reports: Reports, claim: Claim, report: pb.Report) -> Awaitable[object]:
    kept = report.paused.checkpoint.data if report.paused.HasField("checkpoint") else None
    return reports.paused(claim, kept)


_TAKE: dict[str, Callable[[Reports, Claim, pb.Report], Awaitable[object]]] = {
    "started": lambda reports, claim, _: reports.start(claim),
    "progress": lambda reports, claim, report: reports.progress(
        claim, report.progress.percent, report.progress.message
    ),
    "log": lambda reports, claim, report: reports.log(claim, _lines(report.log)),
    "checkpoint": lambda reports, claim, report: reports.checkpoint(claim, report.checkpoint.data),
    "failure": _fail,
    "paused": _paused,
    "released": lambda reports, claim, report: reports.release(claim, report.released.reason),
}


def _lines(told: pb.LogLines) -> list[LogLine]:
    if len(told.lines) > _MOST_LINES:
        raise InvalidRequest(f"log.lines has {len(told.lines)} entries; allowed: {_MOST_LINES}")
    return [LogLine(_time(one.at_ms), one.level, one.message) for one in told.lines]


def _time(milliseconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        raise InvalidRequest(
            f"log.lines.at_ms is {milliseconds}; allowed: Unix time in milliseconds"
        ) from None
