"""The rights that the chart grants are those that the code says it uses, no more and no fewer."""

from collections.abc import Iterable
from itertools import product
from typing import Any, get_args

import pytest

from muster_operator import rbac
from muster_operator.children.autoscaler import Source

from .helm_cli import NAMESPACE, Rendered, render
from .test_values import FULL

Right = tuple[str, str, str, str]


def rights(rules: Iterable[dict[str, Any]]) -> set[Right]:
    """Every (group, resource, verb, name) of some rules; an empty name is any."""
    return {
        right
        for rule in rules
        for right in product(
            rule["apiGroups"], rule["resources"], rule["verbs"], rule.get("resourceNames", [""])
        )
    }


def bound(rendered: Rendered, kind: str) -> dict[str, list[dict[str, Any]]]:
    """What bindings of a kind bind to which role."""
    return {m["roleRef"]["name"]: m["subjects"] for m in rendered.of(kind)}


@pytest.mark.parametrize("source", get_args(Source))
def test_the_cluster_role_is_the_operators_own_list(source: Source) -> None:
    rendered = render({"autoscaling.source": source})
    granted = rights(rendered.one("ClusterRole", "muster-operator")["rules"])
    assert granted == rights(rbac.cluster_rules(source))


def test_the_role_at_home_is_the_operators_own_list() -> None:
    rendered = render()
    (role,) = rendered.of("Role")
    assert rights(role["rules"]) == rights(rbac.namespace_rules("muster-metrics-tls"))


def test_the_operators_account_is_bound_to_them_and_to_the_front_proxys_ca() -> None:
    rendered = render()
    account = [{"kind": "ServiceAccount", "name": "muster-operator", "namespace": NAMESPACE}]
    bindings = {m["roleRef"]["name"]: m for m in rendered.of("ClusterRoleBinding")}
    assert bindings.keys() == {"muster-operator", rbac.TOKEN_REVIEW_BINDING}
    assert bindings["muster-operator"]["subjects"] == account
    assert bound(rendered, "RoleBinding") == {
        "muster-operator-certificate": account,
        "extension-apiserver-authentication-reader": account,
    }
    reader = rendered.one("RoleBinding", "muster-authentication-reader")
    assert reader["metadata"]["namespace"] == "kube-system"


def test_coordinators_may_have_tokens_reviewed_and_nothing_else() -> None:
    rendered = render()
    role = rendered.one("ClusterRole", rbac.TOKEN_REVIEW_BINDING)
    assert rights(role["rules"]) == rights(rbac.review_rules())
    binding = rendered.one("ClusterRoleBinding", rbac.TOKEN_REVIEW_BINDING)
    assert binding["roleRef"]["name"] == rbac.TOKEN_REVIEW_BINDING
    # The operator's to fill: an upgrade of the chart must not empty it.
    assert "subjects" not in binding


def test_a_release_of_another_name_has_a_binding_of_its_own() -> None:
    rendered = render({"fullnameOverride": "proofs"})
    granted = rights(rendered.one("ClusterRole", "proofs-operator")["rules"])
    named = {right[3] for right in granted if right[1] == "clusterrolebindings"}
    assert named == {"proofs-token-review"}
    deployment = rendered.one("Deployment", "proofs-operator")
    env = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "MUSTER_TOKEN_REVIEW_BINDING", "value": "proofs-token-review"} in env


@pytest.mark.parametrize("values", [{}, FULL], ids=["defaults", "everything"])
def test_no_role_has_a_wildcard(values: dict[str, Any]) -> None:
    rendered = render(values)
    for role in [*rendered.of("ClusterRole"), *rendered.of("Role")]:
        for rule in role["rules"]:
            for key in ("apiGroups", "resources", "verbs"):
                assert "*" not in "".join(rule[key]), role["metadata"]["name"]
            assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])


def test_viewers_read_and_editors_change_every_kind() -> None:
    rendered = render()
    kinds = {crd["spec"]["names"]["plural"] for crd in rendered.of("CustomResourceDefinition")}
    viewer = rendered.one("ClusterRole", "muster-viewer")
    editor = rendered.one("ClusterRole", "muster-editor")
    aggregate = "rbac.authorization.k8s.io/aggregate-to-"
    for role, names in ((viewer, ("view", "edit", "admin")), (editor, ("edit", "admin"))):
        labels = {key for key in role["metadata"]["labels"] if key.startswith(aggregate)}
        assert labels == {f"{aggregate}{name}" for name in names}
    assert {verb for _, _, verb, _ in rights(viewer["rules"])} == {"get", "list", "watch"}
    for kind in kinds:
        assert ("muster.dev", kind, "list", "") in rights(viewer["rules"])
        assert ("muster.dev", kind, "delete", "") in rights(editor["rules"])
        assert ("muster.dev", f"{kind}/scale", "get", "") in rights(viewer["rules"])
        assert ("muster.dev", f"{kind}/scale", "patch", "") in rights(editor["rules"])
    assert not any("/status" in resource for _, resource, _, _ in rights(editor["rules"]))


def test_roles_for_people_can_be_left_out() -> None:
    assert render({"rbac.aggregate": False}).names("ClusterRole") == {
        "muster-operator",
        rbac.TOKEN_REVIEW_BINDING,
    }
