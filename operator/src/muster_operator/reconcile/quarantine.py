"""Workers that lied: what a status and Events say about them; pure.

The status remembers who was in quarantine, so that each change is told once, whoever leads.
"""

from collections.abc import Sequence

from muster_api.conditions import EventReason
from muster_api.proverpool import Quarantine
from muster_operator.telemetry.report import Report

_MOST = 100
_REASON_LENGTH = 256


def quarantined(pool: str, report: Report | None, before: Sequence[Quarantine]) -> list[Quarantine]:
    """The workers of `pool` in quarantine; as `before` while nobody knows."""
    if report is None:
        return list(before)
    found = [
        Quarantine(worker=name, reason=worker.reason[:_REASON_LENGTH], until=worker.until or None)
        for name, worker in sorted(report.workers.items())
        if worker.quarantined and worker.pool == pool
    ]
    return found[:_MOST]


def told_of_quarantine(
    before: Sequence[Quarantine], after: Sequence[Quarantine], report: Report | None
) -> list[tuple[EventReason, str]]:
    """The Events that a change is worth; one who is gone altogether was not released."""
    if report is None:
        return []
    was = {each.worker: each.until for each in before}
    now = {each.worker for each in after}
    news = []
    for each in after:
        if each.worker not in was or was[each.worker] != each.until:
            until = f", until {each.until}" if each.until else ""
            news.append((EventReason.WORKER_QUARANTINED, f"{each.worker}: {each.reason}{until}"))
    for name in was:
        worker = report.workers.get(name)
        if name not in now and worker and not worker.quarantined:
            news.append((EventReason.WORKER_RELEASED, f"{name} gets tasks again"))
    return news
