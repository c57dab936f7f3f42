"""When a pool without work has no workers."""

from datetime import UTC, datetime, timedelta

import pytest
import yaml

from muster_api.proverpool import ProverPoolSpec
from muster_operator.children.base import Owner
from muster_operator.children.prover_pool import PoolInput, fixed_replicas
from muster_operator.reconcile.prover_pool import sleepiness
from muster_operator.reconcile.sleep import AWAKE, Rest, Sleepiness, rest
from muster_operator.resources import Key
from muster_operator.telemetry.report import QueueNumbers, Report

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ZERO = "autoscaling: {minReplicas: 0}"


def ago(seconds: int) -> datetime:
    return NOW - timedelta(seconds=seconds)


def spec(text: str) -> ProverPoolSpec:
    return ProverPoolSpec.model_validate(yaml.safe_load(text) or {})


@pytest.mark.parametrize(
    ("text", "seen", "decided"),
    [
        # Only where it is wanted.
        ("", Sleepiness(False, 0, ago(9999)), AWAKE),
        ("", Sleepiness(True, 0, ago(9999)), AWAKE),
        ("{autoscaling: {enabled: false, minReplicas: 0}}", Sleepiness(True, 0), AWAKE),
        (ZERO, Sleepiness(True, 0, suspended=True), AWAKE),
        # A task wakes it, and keeps it awake.
        (ZERO, Sleepiness(True, 1, ago(9999)), AWAKE),
        (ZERO, Sleepiness(False, 1, ago(9999)), AWAKE),
        # Without tasks it falls asleep after a while.
        (ZERO, Sleepiness(False, 0), Rest(False, NOW, 300)),
        (ZERO, Sleepiness(False, 0, ago(60)), Rest(False, ago(60), 240)),
        (ZERO, Sleepiness(False, 0, ago(300)), Rest(True, ago(300))),
        (
            "autoscaling: {minReplicas: 0, scaleToZeroAfter: 30s}",
            Sleepiness(False, 0, ago(60)),
            Rest(True, ago(60)),
        ),
        (ZERO, Sleepiness(True, 0, ago(1)), Rest(True, ago(1))),
        # A clock that was put back does not make it wait for ever.
        (ZERO, Sleepiness(False, 0, NOW + timedelta(days=1)), Rest(False, NOW, 300)),
        # While nobody knows of tasks it stays as it is, and the while begins anew.
        (ZERO, Sleepiness(False, None, ago(9999)), Rest(False)),
        (ZERO, Sleepiness(True, None, ago(9999)), Rest(True)),
    ],
)
def test_a_pool_sleeps_while_there_is_no_work(text: str, seen: Sleepiness, decided: Rest) -> None:
    assert rest(spec(text).autoscaling, seen, NOW) == decided


def test_what_decides_is_read_from_the_status_the_deployment_and_the_report() -> None:
    body = {"metadata": {"name": "demo"}, "status": {"idleSince": "2026-01-01T12:00:00Z"}}
    none, two = ({"spec": {"replicas": number}} for number in (0, 2))
    report = Report({"demo": QueueNumbers(1, 2, 3), "other": QueueNumbers(9)})
    assert sleepiness(body, two, report) == Sleepiness(False, 6, NOW)
    assert sleepiness(body, none, None) == Sleepiness(True, None, NOW)
    assert sleepiness({"metadata": {"name": "demo"}}, None, None) == Sleepiness(True, None)
    assert sleepiness({**body, "spec": {"suspend": True}}, None, None).suspended


def test_one_who_sleeps_has_no_workers_and_no_autoscaler() -> None:
    owner = Owner(Key("ProverPool", "proofs", "demo"), "uid")
    asleep, awake = (PoolInput(owner, spec(ZERO), asleep=sleeps) for sleeps in (True, False))
    assert (asleep.autoscaled, fixed_replicas(asleep)) == (False, 0)
    assert (awake.autoscaled, fixed_replicas(awake), awake.fewest) == (True, None, 1)
