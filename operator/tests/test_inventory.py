from typing import Any

from muster_operator.inventory import Inventory
from muster_operator.metrics import OperatorMetrics
from muster_operator.resources import Key, Manifest

DEMO = Key("ProverPool", "ns", "demo")
OTHER = Key("ProverPool", "ns", "other")
OWN = Key("Coordinator", "ns", "demo")
SHARED = Key("Coordinator", "ns", "shared")


def body(key: Key, uid: str = "1", generation: int = 1, **fields: Any) -> Manifest:
    metadata = {"name": key.name, "namespace": key.namespace, "uid": uid, "generation": generation}
    return {"kind": key.kind, "metadata": metadata, "spec": {}, **fields}


def refers(key: Key, coordinator: str, **fields: Any) -> Manifest:
    return body(key, **fields) | {"spec": {"coordinatorRef": {"name": coordinator}}}


def status(ready: str, message: str = "") -> dict[str, Any]:
    reason = "AllReady" if ready == "True" else "NoPodsReady"
    condition = {"type": "Ready", "status": ready, "reason": reason, "message": message}
    return {"observedGeneration": 1, "conditions": [condition]}


def test_a_new_pool_makes_itself_and_its_coordinator_dirty() -> None:
    assert Inventory().put(body(DEMO)) == {DEMO, OWN}
    assert Inventory().put(refers(DEMO, "shared")) == {DEMO, SHARED}


def test_a_change_of_nothing_but_the_status_makes_nothing_dirty() -> None:
    known = Inventory()
    known.put(body(DEMO))
    assert known.put(body(DEMO, status={"replicas": 3})) == set()


def test_a_changed_spec_label_or_annotation_makes_the_pool_dirty() -> None:
    known = Inventory()
    known.put(body(DEMO))
    assert known.put(body(DEMO, generation=2)) >= {DEMO}
    paused = body(DEMO, generation=2)
    paused["metadata"]["annotations"] = {"muster.dev/paused": "true"}
    assert known.put(paused) >= {DEMO}


def test_a_pool_that_moves_makes_both_coordinators_dirty() -> None:
    known = Inventory()
    known.put(refers(DEMO, "shared"))
    assert known.put(refers(DEMO, "elsewhere", generation=2)) == {
        DEMO,
        SHARED,
        Key("Coordinator", "ns", "elsewhere"),
    }


def test_a_coordinator_that_gets_ready_or_says_why_not_makes_its_pools_dirty() -> None:
    known = Inventory()
    known.put(refers(DEMO, "shared"))
    known.put(refers(OTHER, "shared"))
    known.put(body(SHARED))
    assert known.put(body(SHARED, status=status("False", "no database"))) == {DEMO, OTHER}
    assert known.put(body(SHARED, status=status("True"))) == {DEMO, OTHER}
    assert known.put(body(SHARED, status=status("True"))) == set()


def test_a_deleted_object_concerns_what_it_worked_with() -> None:
    known = Inventory()
    known.put(refers(DEMO, "shared"))
    known.put(body(SHARED))
    assert known.drop(refers(DEMO, "shared")) == {SHARED}
    assert known.pools(SHARED) == []
    assert known.drop(body(SHARED)) == set()
    assert known.of_kind("Coordinator") == []


def test_the_late_news_of_a_former_object_deletes_nothing() -> None:
    known = Inventory()
    known.put(body(DEMO, uid="2"))
    assert known.drop(body(DEMO, uid="1")) == set()
    assert known.of_kind("ProverPool") == [DEMO]


def test_a_complete_list_finds_what_the_watch_has_missed() -> None:
    known = Inventory()
    known.put(refers(DEMO, "shared"))
    known.put(body(SHARED))
    assert known.replace("ProverPool", [body(OTHER)]) == {OTHER, SHARED}
    assert known.of_kind("ProverPool") == [OTHER]
    assert known.of_kind("Coordinator") == [SHARED]
    assert known.coordinator_of(OTHER) == Key("Coordinator", "ns", "other")
    assert known.coordinator_of(DEMO) is None


def test_a_rollout_of_the_coordinator_does_not_make_its_pools_wait() -> None:
    known = Inventory()
    known.put(refers(DEMO, "shared"))
    ready = status("True", "2 of 2")
    known.put(body(SHARED, status=ready))
    rolling = status("False", "2 of 2")
    rolling["conditions"][0]["reason"] = "RollingOut"
    assert known.put(body(SHARED, status=rolling)) == set()


def test_conditions_are_series_while_they_last() -> None:
    known, metrics = Inventory(), OperatorMetrics()
    metrics.watch_conditions(known.conditions)

    def told() -> list[dict[str, str]]:
        families = {family.name: family for family in metrics.registry.collect()}
        return [sample.labels for sample in families["muster_operator_object_condition"].samples]

    assert told() == []
    known.put(body(DEMO, status=status("False")))
    labels = {"kind": "ProverPool", "object_namespace": "ns", "object_name": "demo"}
    not_ready = {"condition": "Ready", "status": "False", "reason": "NoPodsReady"}
    assert told() == [labels | not_ready]
    known.put(body(DEMO, status=status("True")))
    assert [each["status"] for each in told()] == ["True"]
    known.drop(body(DEMO))
    assert told() == []
