import uuid
from typing import Any

import pytest

from muster_api.conditions import EventReason
from muster_operator.cluster import Cluster
from muster_operator.events import EventRecorder
from muster_operator.resources import EVENTS, Manifest
from muster_testing.waiting import eventually

from .conftest import Space

pytestmark = pytest.mark.integration


def about(space: Space) -> Manifest:
    metadata = {"name": "demo", "namespace": space.name, "uid": str(uuid.uuid4())}
    return {"apiVersion": "muster.dev/v1alpha1", "kind": "ProverPool", "metadata": metadata}


async def posted(space: Space) -> list[dict[str, Any]]:
    return await space.cluster.list(EVENTS, space.name)


async def test_what_happens_again_becomes_a_series(admin: Cluster, space: Space) -> None:
    recorder, pool = EventRecorder(admin, "operator-0"), about(space)
    for _ in range(3):
        await recorder.post(pool, EventReason.STALLED, "Refused: no")
    (event,) = await posted(space)
    assert event["series"]["count"] == 3
    assert (event["type"], event["reason"], event["note"]) == ("Warning", "Stalled", "Refused: no")
    assert event["regarding"]["uid"] == pool["metadata"]["uid"]


async def test_what_differs_is_an_event_of_its_own(admin: Cluster, space: Space) -> None:
    recorder = EventRecorder(admin, "operator-0")
    one, other = about(space), about(space)
    await recorder.post(one, EventReason.BECAME_READY, "1 of 1 workers are ready")
    await recorder.post(one, EventReason.BECAME_READY, "2 of 2 workers are ready")
    await recorder.post(other, EventReason.BECAME_READY, "1 of 1 workers are ready")
    assert len(await posted(space)) == 3


async def test_an_event_that_was_swept_away_is_posted_anew(admin: Cluster, space: Space) -> None:
    recorder, pool = EventRecorder(admin, "operator-0"), about(space)
    await recorder.post(pool, EventReason.PRUNED, "removed")
    (event,) = await posted(space)
    await admin.delete(EVENTS, event)

    async def again() -> bool:
        await recorder.post(pool, EventReason.PRUNED, "removed")
        return len(await posted(space)) == 1

    await eventually(again, what="the Event is there again")
