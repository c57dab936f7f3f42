"""The kinds of Kubernetes objects that the operator reads and writes, and their paths."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from muster_api.crd import COORDINATOR, KV_CLUSTER, PROVER_POOL
from muster_api.model import API_VERSION

Manifest = dict[str, Any]
"""A Kubernetes object as JSON."""


class Key(NamedTuple):
    """Which custom object: its kind's name, namespace and name."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Resource:
    """A kind, as the API server names it in paths and manifests."""

    api_version: str
    kind: str
    plural: str

    @property
    def group(self) -> str:
        """The API group; empty for the core."""
        group, slash, _ = self.api_version.partition("/")
        return group if slash else ""

    def path(self, namespace: str | None = None, name: str | None = None, sub: str = "") -> str:
        """The URL path of the collection or of one object; without namespace that of all."""
        root = "apis" if "/" in self.api_version else "api"
        parts = [root, self.api_version]
        if namespace is not None:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name is not None:
            parts.append(name)
        if sub:
            parts.append(sub)
        return "/" + "/".join(parts)

    def manifest(self, metadata: Mapping[str, Any], **fields: Any) -> Manifest:
        """An object of this kind."""
        return {
            "apiVersion": self.api_version,
            "kind": self.kind,
            "metadata": dict(metadata),
            **fields,
        }


PROVER_POOLS = Resource(API_VERSION, PROVER_POOL.name, PROVER_POOL.plural)
COORDINATORS = Resource(API_VERSION, COORDINATOR.name, COORDINATOR.plural)
KV_CLUSTERS = Resource(API_VERSION, KV_CLUSTER.name, KV_CLUSTER.plural)

CONFIG_MAPS = Resource("v1", "ConfigMap", "configmaps")
NODES = Resource("v1", "Node", "nodes")
PODS = Resource("v1", "Pod", "pods")
CLAIMS = Resource("v1", "PersistentVolumeClaim", "persistentvolumeclaims")
SECRETS = Resource("v1", "Secret", "secrets")
SERVICES = Resource("v1", "Service", "services")
SERVICE_ACCOUNTS = Resource("v1", "ServiceAccount", "serviceaccounts")
DEPLOYMENTS = Resource("apps/v1", "Deployment", "deployments")
STATEFUL_SETS = Resource("apps/v1", "StatefulSet", "statefulsets")
CRON_JOBS = Resource("batch/v1", "CronJob", "cronjobs")
AUTOSCALERS = Resource("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
SCALED_OBJECTS = Resource("keda.sh/v1alpha1", "ScaledObject", "scaledobjects")
LEASES = Resource("coordination.k8s.io/v1", "Lease", "leases")
EVENTS = Resource("events.k8s.io/v1", "Event", "events")
NETWORK_POLICIES = Resource("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies")
DISRUPTION_BUDGETS = Resource("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
ROLES = Resource("rbac.authorization.k8s.io/v1", "Role", "roles")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")
CLUSTER_ROLE_BINDINGS = Resource(
    "rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings"
)
TOKEN_REVIEWS = Resource("authentication.k8s.io/v1", "TokenReview", "tokenreviews")
API_SERVICES = Resource("apiregistration.k8s.io/v1", "APIService", "apiservices")
ACCESS_REVIEWS = Resource("authorization.k8s.io/v1", "SubjectAccessReview", "subjectaccessreviews")

CUSTOM = (PROVER_POOLS, COORDINATORS, KV_CLUSTERS)

OF_POOLS = (
    AUTOSCALERS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    NETWORK_POLICIES,
    SERVICE_ACCOUNTS,
)
"""What belongs to a ProverPool, besides a Coordinator."""

OF_COORDINATORS = (
    AUTOSCALERS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    DISRUPTION_BUDGETS,
    LEASES,
    NETWORK_POLICIES,
    ROLES,
    ROLE_BINDINGS,
    SERVICES,
    SERVICE_ACCOUNTS,
    STATEFUL_SETS,
)
"""What belongs to a Coordinator, besides a Secret that is made once."""

OF_KV_CLUSTERS = (*OF_COORDINATORS, CRON_JOBS)
"""What belongs to a KVCluster, besides Secrets that are made once."""

WATCHED = tuple(
    resource
    for resource in dict.fromkeys((*OF_POOLS, *OF_COORDINATORS, *OF_KV_CLUSTERS, PODS))
    if resource is not LEASES  # renewed every two seconds; read when needed
)
"""Children whose changes make their owner dirty."""


def by_kind(api_version: str, kind: str) -> Resource:
    """The resource of a manifest.

    Raises:
        KeyError: the operator has nothing to do with that kind.
    """
    return _BY_KIND[api_version, kind]


_BY_KIND = {
    (resource.api_version, resource.kind): resource
    for resource in (*CUSTOM, *OF_POOLS, *OF_KV_CLUSTERS, PODS, SCALED_OBJECTS, SECRETS)
}


def identity(manifest: Manifest) -> tuple[str, str]:
    """Kind and name: what tells the children of one owner apart."""
    return manifest["kind"], manifest["metadata"]["name"]
