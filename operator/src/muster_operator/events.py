"""Events about our objects, for `kubectl describe`."""

import logging
import time
import uuid
from datetime import UTC, datetime
from typing import Literal

from muster_api.conditions import EventReason
from muster_operator.cluster import Cluster, ClusterError
from muster_operator.resources import EVENTS, Manifest

log = logging.getLogger(__name__)

_SILENCE_SECONDS = 600.0
_NOTE_LENGTH = 1024


class EventRecorder:
    """Posts Events; the same one about the same object at most once in ten minutes."""

    def __init__(self, cluster: Cluster, instance: str) -> None:
        self._cluster = cluster
        self._instance = instance
        self._posted: dict[tuple[str, str, str], float] = {}

    async def post(self, about: Manifest, reason: EventReason, note: str) -> None:
        """Post an Event; that it can't be posted is logged and nothing more."""
        now = time.monotonic()
        self._forget(now)
        same = (about["metadata"]["uid"], reason.value, note)
        if same in self._posted:
            return
        self._posted[same] = now
        try:
            await self._cluster.create(EVENTS, self._event(about, reason, note[:_NOTE_LENGTH]))
        except ClusterError as error:
            log.warning("an Event could not be posted", extra={"error": str(error)})

    def _forget(self, now: float) -> None:
        old = [key for key, at in self._posted.items() if now - at > _SILENCE_SECONDS]
        for key in old:
            del self._posted[key]

    def _event(self, about: Manifest, reason: EventReason, note: str) -> Manifest:
        metadata = about["metadata"]
        return EVENTS.manifest(
            {"name": f"{metadata['name']}.{uuid.uuid4().hex}", "namespace": metadata["namespace"]},
            eventTime=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
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


_WARNINGS = {EventReason.NO_LONGER_READY, EventReason.STALLED, EventReason.UNSCHEDULABLE}


def _type(reason: EventReason) -> Literal["Normal", "Warning"]:
    return "Warning" if reason in _WARNINGS else "Normal"
