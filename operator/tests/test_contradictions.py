"""What keeps a pool and its Coordinator from working together."""

from typing import Any

import pytest
import yaml

from muster_api.proverpool import ProverPoolSpec
from muster_operator.children.base import Owner
from muster_operator.children.prover_pool import PoolInput
from muster_operator.reconcile.coordinator import served
from muster_operator.reconcile.prover_pool import contradiction
from muster_operator.resources import Key, Manifest

OWNER = Owner(Key("ProverPool", "proofs", "demo"), "uid-1")


def given(text: str = "") -> PoolInput:
    return PoolInput(OWNER, ProverPoolSpec.model_validate(yaml.safe_load(text) or {}))


def coordinator(text: str = "", **metadata: Any) -> Manifest:
    named = {"name": "demo", "namespace": "proofs", "uid": "c", **metadata}
    return {"kind": "Coordinator", "metadata": named, "spec": yaml.safe_load(text) or {}}


OURS = coordinator(ownerReferences=[OWNER.reference()])
NAMED = "coordinatorRef: {name: demo}"


@pytest.mark.parametrize(
    ("text", "there"),
    [("", None), ("", OURS), (NAMED, coordinator()), (NAMED, OURS)],
)
def test_what_fits_is_no_contradiction(text: str, there: Manifest | None) -> None:
    assert contradiction(given(text), there) is None


@pytest.mark.parametrize(
    ("text", "there", "sentence"),
    [
        (NAMED, None, "there is no Coordinator demo in this namespace: make it, or name another"),
        (
            "",
            coordinator(),
            (
                "Coordinator demo is not this pool's: to use it, make the pool anew with "
                "coordinatorRef: {name: demo}"
            ),
        ),
        (
            f"{{{NAMED}, worker: {{heartbeatInterval: 20s}}}}",
            coordinator(),
            (
                "worker.heartbeatInterval 20s must be at most half of Coordinator demo's "
                "heartbeatTimeout 30s: lower it"
            ),
        ),
        (
            f"{{{NAMED}, worker: {{taskTimeout: 1h}}}}",
            coordinator("staleTaskTimeout: 10m"),
            (
                "worker.taskTimeout 1h must be at most Coordinator demo's staleTaskTimeout 10m: "
                "lower it"
            ),
        ),
        (
            NAMED,
            coordinator("replicas: some"),
            (
                "Coordinator demo: spec.replicas: Input should be a valid integer, unable to parse "
                "string as an integer. Upgrade the operator, or write the spec anew"
            ),
        ),
    ],
)
def test_what_does_not_fit_is_said(text: str, there: Manifest | None, sentence: str) -> None:
    found = contradiction(given(text), there)
    assert found is not None
    assert found.message == sentence


def pool(name: str, uid: str = "p", text: str = "", **metadata: Any) -> Manifest:
    named = {"name": name, "namespace": "proofs", "uid": uid, **metadata}
    return {"kind": "ProverPool", "metadata": named, "spec": yaml.safe_load(text) or {}}


def test_a_coordinator_serves_the_pools_that_name_it_and_the_one_that_owns_it() -> None:
    pools = [
        pool("demo", uid="uid-1"),
        pool("named", text=NAMED),
        pool("elsewhere", text="coordinatorRef: {name: other}"),
        pool("going", text=NAMED, deletionTimestamp="now"),
        pool("broken", text="{coordinatorRef: {name: demo}, concurrency: none}"),
    ]
    assert served(OURS, pools).keys() == {"demo", "named"}
    assert served(coordinator(), pools).keys() == {"named"}
