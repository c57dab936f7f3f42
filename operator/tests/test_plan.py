from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster_operator import naming
from muster_operator.children.base import Owner
from muster_operator.cluster import FIELD_MANAGER
from muster_operator.reconcile.plan import contains, owns_replicas, plan, stamped
from muster_operator.reconcile.quantities import same_amount
from muster_operator.resources import CONFIG_MAPS, Key, Manifest, identity

OWNER = Owner(Key("ProverPool", "proofs", "demo"), "uid-1")


def wanted(name: str = "demo-worker", **data: str) -> Manifest:
    return CONFIG_MAPS.manifest(OWNER.metadata(name, naming.WORKER), data=data)


def live(manifest: Manifest, **metadata: Any) -> Manifest:
    there = stamped(manifest)
    server = {
        "uid": "child",
        "resourceVersion": "1",
        "managedFields": [{"manager": FIELD_MANAGER, "operation": "Apply"}],
    }
    return {**there, "metadata": {**there["metadata"], **server, **metadata}}


def at(*manifests: Manifest) -> dict[tuple[str, str], Manifest]:
    return {identity(each): each for each in manifests}


def test_what_is_missing_is_applied() -> None:
    todo = plan(OWNER, [wanted(key="value")], {})
    assert [identity(each) for each in todo.apply] == [("ConfigMap", "demo-worker")]


def test_what_is_as_wanted_is_left_alone() -> None:
    todo = plan(OWNER, [wanted(key="value")], at(live(wanted(key="value"))))
    assert (todo.apply, todo.prune) == ((), ())


def test_what_somebody_changed_is_put_back() -> None:
    there = live(wanted(key="value")) | {"data": {"key": "another"}}
    assert plan(OWNER, [wanted(key="value")], at(there)).apply


def test_what_somebody_added_is_left_alone() -> None:
    there = live(wanted(key="value")) | {"data": {"key": "value", "more": "of theirs"}}
    assert not plan(OWNER, [wanted(key="value")], at(there)).apply


def test_a_field_that_is_wanted_no_more_is_given_up() -> None:
    there = live(wanted(key="value", old="field"))
    assert plan(OWNER, [wanted(key="value")], at(there)).apply


def test_whose_status_is_ours_is_not_ours() -> None:
    status = {"manager": FIELD_MANAGER, "operation": "Apply", "subresource": "status"}
    there = live(wanted(), ownerReferences=[], managedFields=[status])
    todo = plan(OWNER, [wanted(key="value")], at(there))
    assert (todo.apply, todo.foreign) == ((), ("ConfigMap demo-worker",))


def test_owner_reference_and_labels_that_were_taken_away_are_put_back() -> None:
    there = live(wanted(), ownerReferences=[], labels={})
    assert plan(OWNER, [wanted()], at(there)).apply


def test_what_is_wanted_no_more_is_pruned() -> None:
    todo = plan(OWNER, [wanted()], at(live(wanted()), live(wanted("left-over"))))
    assert [identity(each) for each in todo.prune] == [("ConfigMap", "left-over")]


def test_what_is_going_already_is_not_pruned_again() -> None:
    there = live(wanted("left-over"), deletionTimestamp="now")
    assert not plan(OWNER, [], at(there)).prune


def test_what_belongs_to_somebody_else_is_neither_taken_nor_pruned() -> None:
    theirs = [{"kind": "Deployment", "name": "x", "uid": "uid-9", "controller": True}]
    there = live(wanted(), ownerReferences=theirs, labels={})
    assert plan(OWNER, [wanted(key="value")], at(there)).foreign == ("ConfigMap demo-worker",)
    assert plan(OWNER, [], at(there)).prune == ()


def test_what_nobody_owns_is_not_taken() -> None:
    others = [{"manager": "kubectl", "operation": "Apply"}]
    there = live(wanted(), ownerReferences=[], managedFields=others)
    todo = plan(OWNER, [wanted(key="value")], at(there))
    assert (todo.apply, todo.foreign) == ((), ("ConfigMap demo-worker",))


def test_what_a_deleted_owner_of_the_same_name_left_is_waited_for() -> None:
    former = [{**OWNER.reference(), "uid": "uid-0"}]
    there = live(wanted(), ownerReferences=former)
    todo = plan(OWNER, [wanted()], at(there))
    assert (todo.apply, todo.prune, todo.former) == ((), (), ("ConfigMap demo-worker",))


@pytest.mark.parametrize(
    ("there", "asked", "answer"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ({}, {"a": {}}, True),
        ({}, {"a": []}, True),
        ({"a": 1}, {"a": []}, False),
        ({"a": "1"}, {"a": 1}, False),
        ([{"a": 1, "b": 2}], [{"a": 1}], True),
        ([1, 2], [1], False),
        ([2, 1], [1, 2], False),
        (None, {}, True),
        (None, {"a": 1}, False),
    ],
)
def test_containing_allows_for_defaults_alone(there: Any, asked: Any, answer: bool) -> None:
    assert contains(there, asked) is answer


def requesting(amount: str, field: str = "resources") -> dict[str, Any]:
    return {"containers": [{field: {"requests": {"cpu": amount}}}]}


@pytest.mark.parametrize(
    ("there", "asked", "answer"),
    [
        (requesting("1"), requesting("1000m"), True),
        (requesting("1"), requesting("1001m"), False),
        (requesting("one"), requesting("1"), False),
        (requesting("1", "metadata"), requesting("1000m", "metadata"), False),
        ({"target": {"averageValue": "1k"}}, {"target": {"averageValue": "1000"}}, True),
        ({"data": {"averageValue": "1k"}}, {"data": {"averageValue": "1000"}}, False),
        ({"env": [{"value": "1Gi"}]}, {"env": [{"value": "1024Mi"}]}, False),
    ],
)
def test_quantities_alone_may_be_written_in_another_way(
    there: Any, asked: Any, answer: bool
) -> None:
    assert contains(there, asked) is answer


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("0", "0.0"),
        ("0.1", "100m"),
        ("1500m", "1.5"),
        ("0.5Ki", "512"),
        ("0.0001", "1m"),
        ("10E", "9223372036854775807"),
        ("107374182400m", "0.1Gi"),
    ],
)
def test_an_amount_is_what_the_api_server_takes_it_for(one: str, other: str) -> None:
    assert same_amount(one, other)


@pytest.mark.parametrize("text", ["", "m", "1KI", "one", "None"])
def test_what_is_no_quantity_has_no_amount(text: str) -> None:
    assert not same_amount(text, text)


DECIMAL, BINARY = ["m", "", "k", "M", "G"], ["Ki", "Mi", "Gi", "Ti"]


@given(
    number=st.integers(min_value=0, max_value=10**6),
    zeros=st.integers(min_value=0, max_value=3),
    step=st.sampled_from(
        [(units, at) for units in (DECIMAL, BINARY) for at in range(len(units) - 1)]
    ),
)
def test_an_amount_in_smaller_units_is_the_same(
    number: int, zeros: int, step: tuple[list[str], int]
) -> None:
    units, at = step
    smaller = number * (1024 if units is BINARY else 1000)
    large = f"{number}.{'0' * zeros}{units[at + 1]}" if zeros else f"{number}{units[at + 1]}"
    assert same_amount(large, f"{smaller}{units[at]}")
    assert not same_amount(large, f"{smaller + 1}{units[at]}")


@pytest.mark.parametrize(
    ("manager", "operation", "fields", "answer"),
    [
        (FIELD_MANAGER, "Apply", {"f:spec": {"f:replicas": {}}}, True),
        (FIELD_MANAGER, "Apply", {"f:spec": {"f:template": {}}}, False),
        (FIELD_MANAGER, "Update", {"f:spec": {"f:replicas": {}}}, False),
        ("kube-controller-manager", "Update", {"f:spec": {"f:replicas": {}}}, False),
    ],
)
def test_who_owns_replicas_is_read_from_the_field_managers(
    manager: str, operation: str, fields: dict[str, Any], answer: bool
) -> None:
    entry = {"manager": manager, "operation": operation, "fieldsV1": fields}
    assert owns_replicas({"metadata": {"managedFields": [entry]}}) is answer
