"""What the operator may do; the chart's roles are tested against this."""

from typing import Any

from muster_operator.children.autoscaler import Source
from muster_operator.children.leases import LEASE_VERBS
from muster_operator.resources import (
    ACCESS_REVIEWS,
    API_SERVICES,
    CLAIMS,
    CLUSTER_ROLE_BINDINGS,
    COORDINATORS,
    EVENTS,
    KV_CLUSTERS,
    LEASES,
    NODES,
    OF_COORDINATORS,
    OF_KV_CLUSTERS,
    OF_POOLS,
    PODS,
    PROVER_POOLS,
    SCALED_OBJECTS,
    SECRETS,
    TOKEN_REVIEWS,
    Resource,
)

TOKEN_REVIEW_BINDING = "muster-token-review"  # noqa: S105 - the name of a binding
METRICS_API_SERVICE = "v1beta1.external.metrics.k8s.io"

Rule = dict[str, Any]

_CHILD_VERBS = ["get", "list", "watch", "create", "patch", "delete"]


def _rule(resource: Resource, verbs: list[str], *subs: str, names: tuple[str, ...] = ()) -> Rule:
    resources = [f"{resource.plural}/{sub}" for sub in subs] or [resource.plural]
    rule: Rule = {"apiGroups": [resource.group], "resources": resources, "verbs": verbs}
    return rule | ({"resourceNames": list(names)} if names else {})


def cluster_rules(source: Source = "Muster") -> list[Rule]:
    """The rules of the ClusterRole, for all namespaces."""
    children = [
        resource
        for resource in dict.fromkeys((*OF_POOLS, *OF_COORDINATORS, *OF_KV_CLUSTERS))
        if resource is not LEASES
    ]
    return [
        _rule(PROVER_POOLS, ["get", "list", "watch"]),
        _rule(KV_CLUSTERS, ["get", "list", "watch"]),
        _rule(COORDINATORS, ["get", "list", "watch", "create", "patch"]),
        # Owner references that block deletion need "update" on the owner's finalizers.
        *(
            rule
            for resource in (PROVER_POOLS, COORDINATORS, KV_CLUSTERS)
            for rule in (
                _rule(resource, ["patch"], "status"),
                _rule(resource, ["update"], "finalizers"),
            )
        ),
        *(_rule(resource, _CHILD_VERBS) for resource in children),
        # "update" beside "patch", because nobody may grant what they don't have themselves.
        _rule(LEASES, sorted({"get", "list", "create", "patch", "delete", *LEASE_VERBS})),
        # Nothing is written twice: what is renewed has another name.
        _rule(SECRETS, ["get", "create"]),
        _rule(PODS, ["list", "watch", "patch"]),
        # Volumes grow, and that of a storage node that has left the ring goes.
        _rule(CLAIMS, ["get", "patch", "delete"]),
        # The zone of a storage node is that of the node that its pod runs on.
        _rule(NODES, ["get"]),
        _rule(EVENTS, ["create", "patch"]),
        # To put a coordinator's account into that binding, what it grants has to be held.
        _rule(CLUSTER_ROLE_BINDINGS, ["get", "patch"], names=(TOKEN_REVIEW_BINDING,)),
        *review_rules(),
        *_source_rules(source),
    ]


def _source_rules(source: Source) -> list[Rule]:
    if source == "KEDA":
        # Not watched: KEDA gives the autoscaler that it makes our labels, and that one is.
        verbs = [verb for verb in _CHILD_VERBS if verb != "watch"]
        return [_rule(SCALED_OBJECTS, verbs)]
    if source == "Prometheus":
        return []
    return [
        _rule(ACCESS_REVIEWS, ["create"]),
        _rule(API_SERVICES, ["get", "patch"], names=(METRICS_API_SERVICE,)),
    ]


def review_rules() -> list[Rule]:
    """The rules of the ClusterRole that coordinators have whose workers show tokens."""
    return [_rule(TOKEN_REVIEWS, ["create"])]


def namespace_rules(certificate_secret: str) -> list[Rule]:
    """The rules of the Role in the operator's own namespace."""
    return [_rule(SECRETS, ["update"], names=(certificate_secret,))]
