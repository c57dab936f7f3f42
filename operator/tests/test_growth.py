"""Which volumes are too small, what is asked for them, and what is said."""

from dataclasses import replace
from typing import Any

import pytest

from muster_api.conditions import ConditionType, Reason
from muster_operator.children.base import Owner
from muster_operator.reconcile.growth import (
    Shortfall,
    Volumes,
    growing,
    shortfall,
    soonest,
    volume_verdicts,
    with_first_size,
)
from muster_operator.reconcile.plan import plan
from muster_operator.resources import STATEFUL_SETS, Key, Manifest

OWNER = Owner(Key("KVCluster", "data", "demo"), "uid")
REFUSED = "only dynamically provisioned pvc can be resized"


def claim(
    asks: str, held: str | None, *conditions: Manifest, number: int = 0, **metadata: Any
) -> Manifest:
    status = {"phase": "Bound", "capacity": {"storage": held}} if held else {"phase": "Pending"}
    return {
        "metadata": {"name": f"data-demo-{number}", "resourceVersion": "7", **metadata},
        "spec": {"resources": {"requests": {"storage": asks}}, "storageClassName": "fast"},
        "status": {**status, "conditions": list(conditions)},
    }


def lacking(*claims: Manifest, size: str = "2Gi") -> list[Shortfall]:
    return [each for each in (shortfall(one, size) for one in claims) if each]


@pytest.mark.parametrize(
    ("asks", "held", "size"),
    [
        ("1Gi", "1Gi", "1Gi"),
        ("1Gi", "1Gi", "1024Mi"),
        ("1536Mi", "1536Mi", "1.5Gi"),
        ("1073741824", "1Gi", "1Gi"),
        # Somebody wanted more, or made more of it: what is there is never taken back.
        ("5Gi", "5Gi", "1Gi"),
        ("1Gi", "10Gi", "8Gi"),
        # It comes with that size.
        ("1Gi", None, "1Gi"),
    ],
)
def test_what_is_large_enough_is_left_alone(asks: str, held: str | None, size: str) -> None:
    assert shortfall(claim(asks, held), size) is None


def test_a_claim_asks_for_what_the_spec_says_as_it_was_read() -> None:
    (found,) = lacking(claim("1Gi", "1Gi"))
    assert found.patch == {
        "metadata": {"resourceVersion": "7"},
        "spec": {"resources": {"requests": {"storage": "2Gi"}}},
    }
    assert found.message == "data-demo-0 has 1Gi of 2Gi"


@pytest.mark.parametrize(
    ("there", "message"),
    [
        # Asked for, by whomever: an operator that was killed in between, or this one.
        (claim("2Gi", "1Gi"), "data-demo-0 has 1Gi of 2Gi"),
        (claim("3Gi", "1Gi"), "data-demo-0 has 1Gi of 2Gi"),
        # The API server refuses that while it is not bound.
        (claim("1Gi", None), "data-demo-0 is not bound yet"),
    ],
)
def test_nothing_is_asked_for_twice_or_too_soon(there: Manifest, message: str) -> None:
    (found,) = lacking(there)
    assert found.patch is None
    assert found.message == message


def test_a_claim_that_goes_is_left_alone() -> None:
    assert lacking(claim("1Gi", "1Gi", deletionTimestamp="2026-01-01T00:00:00Z")) == []


def test_what_the_cluster_says_of_a_claim_is_told_errors_first() -> None:
    pending = {"type": "FileSystemResizePending", "status": "True", "message": "start a pod"}
    error = {"type": "ControllerResizeError", "status": "True", "message": "limit: 6 h"}
    other = {"type": "ModifyVolumeError", "status": "True", "message": "no"}
    over = {"type": "Resizing", "status": "False"}
    (found,) = lacking(claim("2Gi", "1Gi", over, pending, other))
    assert found.message == "data-demo-0 has 1Gi of 2Gi: FileSystemResizePending: start a pod"
    (found,) = lacking(claim("2Gi", "1Gi", pending, error))
    assert ": ControllerResizeError: limit: 6 h; FileSystemResizePending" in found.message
    (found,) = lacking(claim("2Gi", "1Gi", {"type": "Resizing", "status": "True"}))
    assert found.message.endswith(": Resizing")


def test_nothing_is_said_where_nothing_is_lacking() -> None:
    assert volume_verdicts([]) == []
    assert growing([]) is None


def test_growing_is_told_of_the_first_and_how_many_others() -> None:
    found = lacking(*(claim("2Gi", "1Gi", number=number) for number in range(3)))
    (said,) = volume_verdicts(found)
    assert (said.type, said.status) == (ConditionType.VOLUMES_TOO_SMALL, "True")
    assert said.reason is Reason.VOLUMES_GROWING
    assert said.message == "data-demo-0 has 1Gi of 2Gi; and 2 more"
    doing = growing(found)
    assert doing is not None
    assert (doing.reason, doing.message) == (said.reason, said.message)


def test_a_refusal_is_told_before_all_else_and_is_no_work() -> None:
    other, refused = lacking(claim("2Gi", "1Gi"), claim("1Gi", "1Gi", number=1))
    found = [other, replace(refused, refused=REFUSED)]
    (said,) = volume_verdicts(found)
    assert said.reason is Reason.VOLUME_EXPANSION_REFUSED
    assert said.message == (
        f"data-demo-1 stays at 1Gi of 2Gi: {REFUSED}; its StorageClass (fast) has to say "
        "allowVolumeExpansion: true, and quotas to leave room"
    )
    assert growing(found) is None


def test_claims_are_those_of_the_pods() -> None:
    assert Volumes("demo", "1Gi", 2).claims == ["data-demo-0", "data-demo-1"]
    assert Volumes("demo", "1Gi", 0).claims == []


def stateful_set(size: str, **spec: Any) -> Manifest:
    template = {
        "metadata": {"name": "data"},
        "spec": {"resources": {"requests": {"storage": size}}, "storageClassName": "fast"},
    }
    metadata = {"name": "demo", "namespace": "data", "ownerReferences": [OWNER.reference()]}
    return STATEFUL_SETS.manifest(metadata, spec={"volumeClaimTemplates": [template], **spec})


def test_a_stateful_set_keeps_the_size_that_it_was_made_with() -> None:
    wanted, there = stateful_set("2Gi", replicas=3), stateful_set("1Gi", replicas=2)
    assert with_first_size(wanted, None) == wanted
    assert with_first_size(wanted, there) == stateful_set("1Gi", replicas=3)
    live = {("StatefulSet", "demo"): there}
    (written,) = plan(OWNER, [wanted], live).apply
    assert written["spec"] == stateful_set("1Gi", replicas=3)["spec"]
    # Nothing else is wanted than what is there.
    assert plan(OWNER, [wanted], {("StatefulSet", "demo"): written}).apply == ()


def test_the_soonest_look_counts() -> None:
    assert soonest(None, 15.0, 3.0) == 3.0
    assert soonest(None, None) is None
