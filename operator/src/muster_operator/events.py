"""Events about our objects, for `kubectl describe`."""

import logging
import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from muster_api.conditions import EventReason
from muster_operator.cluster import Cluster, ClusterError
from muster_operator.resources import EVENTS, Manifest

log = logging.getLogger(__name__)

_SERIES_SECONDS = 600.0
_NOTE_LENGTH = 1024


@dataclass(slots=True)
class _Posted:
    """An Event that was posted: its name, how often it happened, and when it did last."""

    name: str
    count: int
    at: float


class EventRecorder:
    """Posts Events; the same one about the same object becomes a series of one Event."""

    def __init__(self, cluster: Cluster, instance: str) -> None:
        self._cluster = cluster
        self._instance = instance
        self._posted: dict[tuple[str, str, str], _Posted] = {}

    async def post(self, about: Manifest, reason: EventReason, note: str) -> None:
        """Post an Event; that it can't be posted is logged and nothing more."""
        now = time.monotonic()
        self._forget(now)
        same = (about["metadata"]["uid"], reason.value, note)
        posted = self._posted.get(same)
        try:
            if posted is None:
                event = self._event(about, reason, note[:_NOTE_LENGTH])
                await self._cluster.create(EVENTS, event)
                self._posted[same] = _Posted(event["metadata"]["name"], 1, now)
            else:
                posted.count, posted.at = posted.count + 1, now
                series = {"count": posted.count, "lastObservedTime": _now()}
                await self._cluster.merge(
                    EVENTS, about["metadata"]["namespace"], posted.name, {"series": series}
                )
        except ClusterError as error:
            self._posted.pop(same, None)
            log.info("an Event could not be posted", extra={"error": str(error)})

    def _forget(self, now: float) -> None:
        old = [key for key, posted in self._posted.items() if now - posted.at > _SERIES_SECONDS]
        for key in old:
            del self._posted[key]

    def _event(self, about: Manifest, reason: EventReason, note: str) -> Manifest:
        metadata = about["metadata"]
        return EVENTS.manifest(
            {"name": f"{metadata['name']}.{uuid.uuid4().hex}", "namespace": metadata["namespace"]},
            eventTime=_now(),
            reportingController="muster.dev/operator",
            reportingInstance=self._instance[:128],
            action="Reconcile",
            reason=reason.value,
            type=_type(reason),
            note=note,
            regarding={
                "apiVersion": about["apiVersion"],
                "kind": about["kind"],
                "name": metadata["name"],
                "namespace": metadata["namespace"],
                "uid": metadata["uid"],
            },
        )


_WARNINGS = {
    EventReason.NO_LONGER_READY,
    EventReason.STALLED,
    EventReason.UNSCHEDULABLE,
    EventReason.WORKER_QUARANTINED,
    EventReason.BACKUP_FAILED,
    EventReason.VOLUME_EXPANSION_REFUSED,
}


def _type(reason: EventReason) -> Literal["Normal", "Warning"]:
    return "Warning" if reason in _WARNINGS else "Normal"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
