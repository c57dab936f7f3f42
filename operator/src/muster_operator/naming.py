"""Names and labels of everything that the operator makes."""

from muster_operator.resources import Key, Manifest

MANAGER = "muster"
MANAGED_BY = "app.kubernetes.io/managed-by"
COMPONENT = "app.kubernetes.io/component"
OF_COORDINATOR = "muster.dev/coordinator"
OF_POOL = "muster.dev/proverpool"
OF_KV_CLUSTER = "muster.dev/kvcluster"
WORKER_POOL = "muster.dev/worker-pool"

PAUSED = "muster.dev/paused"
APPLIED = "muster.dev/applied"
CONFIG = "muster.dev/config"
KEYS = "muster.dev/keys"
CREDENTIALS = "muster.dev/credentials"
WITNESS = "muster.dev/witness-keys"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"

MANAGED_SELECTOR = f"{MANAGED_BY}={MANAGER}"

GRPC_PORT = 9090
HTTP_PORT = 8080
OPS_PORT = 8090
SCALER_PORT = 9091
WORKER_OPS_PORT = 8091
POSTGRES_PORT = 5432
NATS_PORT = 4222
NATS_MONITOR_PORT = 8222
OPERATOR_OPS_PORT = 8092
KV_GRPC_PORT = 50051
KV_HTTP_PORT = 8080
KV_OPS_PORT = 9090
KV_STORAGE_PORT = 50052
KV_STORAGE_OPS_PORT = 8094

COORDINATOR = "coordinator"
WORKER = "worker"
POSTGRES = "postgres"
NATS = "nats"
KV_COORDINATOR = "kv-coordinator"
KV_STORAGE = "kv-storage"
KV_BACKUP = "kv-backup"

_OWNER_LABEL = {
    "Coordinator": OF_COORDINATOR,
    "ProverPool": OF_POOL,
    "KVCluster": OF_KV_CLUSTER,
}


def coordinator_name(coordinator: str) -> str:
    """The name of a Coordinator's Deployment, Service, Lease and all else."""
    return f"{coordinator}-coordinator"


def clients_name(deployment: str) -> str:
    """The name of the Service for clients alone, of the pods of that Deployment."""
    return f"{deployment}-clients"


def postgres_name(owner: Key) -> str:
    """The name of the managed PostgreSQL of a Coordinator or KVCluster."""
    return f"{owner.name}-kv-postgres" if owner.kind == "KVCluster" else f"{owner.name}-postgres"


def postgres_client(owner: Key) -> str:
    """The component that connects to the managed PostgreSQL of a Coordinator or KVCluster."""
    return KV_COORDINATOR if owner.kind == "KVCluster" else COORDINATOR


def kv_coordinator_name(cluster: str) -> str:
    """The name of a KVCluster's Deployment of coordinators, their Service, Lease and all else."""
    return f"{cluster}-kv-coordinator"


def kv_storage_name(cluster: str) -> str:
    """The name of a KVCluster's StatefulSet of storage nodes, their Service and all else."""
    return f"{cluster}-kv-storage"


def kv_token_secret(cluster: str) -> str:
    """The Secret with the token that a KVCluster's coordinators and storage nodes share."""
    return f"{cluster}-kv-token"


def kv_admin_secret(cluster: str) -> str:
    """The Secret that tokens are signed with by which the operator administrates a KVCluster."""
    return f"{cluster}-kv-admin"


def kv_backup_name(cluster: str) -> str:
    """The CronJob that backs up a KVCluster's storage nodes."""
    return f"{cluster}-kv-backup"


def kv_node(cluster: str, number: int) -> str:
    """A storage node's name in the ring, which is its pod's."""
    return f"{kv_storage_name(cluster)}-{number}"


def claim(pod: str) -> str:
    """The PersistentVolumeClaim of a pod of a StatefulSet."""
    return f"data-{pod}"


def kv_api_host(cluster: Key) -> str:
    """The DNS name of a KVCluster's coordinators, for which their certificate is."""
    return f"{kv_coordinator_name(cluster.name)}.{cluster.namespace}.svc"


def kv_node_host(cluster: Key, node: str) -> str:
    """The DNS name of a storage node, which is the pod of that name."""
    return f"{node}.{kv_storage_name(cluster.name)}.{cluster.namespace}.svc"


def nats_name(coordinator: str) -> str:
    """The name of a Coordinator's managed NATS."""
    return f"{coordinator}-nats"


def worker_name(pool: str) -> str:
    """The name of a ProverPool's Deployment and all else."""
    return f"{pool}-worker"


def worker_pool_name(coordinator: str, pool: str) -> str:
    """The name of the Deployment and all else of one of a Coordinator's own worker pools."""
    return f"{coordinator}-{pool}-workers"


def coordinator_names(coordinator: str, namespace: str) -> tuple[str, ...]:
    """The DNS names by which a Coordinator's Service is reached; workers use the first."""
    name = coordinator_name(coordinator)
    return name, f"{name}.{namespace}", f"{name}.{namespace}.svc"


def certificates_name(coordinator: str, revision: int) -> str:
    """The ConfigMap that owns the Secrets of one revision of a Coordinator's certificates."""
    return f"{coordinator_name(coordinator)}-certificates-{revision}"


def certificates_revision(coordinator: str, name: str) -> int:
    """The revision that a ConfigMap of that name stands for; 0 for none."""
    prefix = certificates_name(coordinator, 0).removesuffix("0")
    number = name.removeprefix(prefix)
    return int(number) if name.startswith(prefix) and number.isdecimal() else 0


def authority_secret(coordinator: str, revision: int) -> str:
    """The Secret with a Coordinator's own authority; no pod has it."""
    return f"{coordinator_name(coordinator)}-authority-{revision}"


def server_secret(coordinator: str, revision: int) -> str:
    """The Secret with the certificate of a Coordinator's pods."""
    return f"{coordinator_name(coordinator)}-tls-{revision}"


def client_secret(coordinator: str, revision: int) -> str:
    """The Secret with the certificate of a Coordinator's workers."""
    return f"{coordinator_name(coordinator)}-workers-{revision}"


def admin_secret(coordinator: str) -> str:
    """The Secret with the first administrator's API key."""
    return f"{coordinator_name(coordinator)}-admin"


def witness_secret(coordinator: str, *, retained: bool) -> str:
    """The Secret with the keys that seal inputs; a retained one outlives its Coordinator."""
    return f"{coordinator_name(coordinator)}-witness{'-retained' if retained else ''}"


def owner_selector(owner: Key) -> str:
    """Selects the children of an owner."""
    return f"{MANAGED_SELECTOR},{_OWNER_LABEL[owner.kind]}={owner.name}"


def labels(owner: Key, component: str, pool: str = "") -> dict[str, str]:
    """The labels of a child."""
    return {**selecting(owner, component, pool), MANAGED_BY: MANAGER}


def selecting(owner: Key, component: str, pool: str = "") -> dict[str, str]:
    """The labels by which the pods of one component of one owner are found; never changes.

    Args:
        pool: which of the owner's worker pools, where it has several.
    """
    return {
        "app.kubernetes.io/name": "muster",
        COMPONENT: component,
        "app.kubernetes.io/instance": owner.name,
        _OWNER_LABEL[owner.kind]: owner.name,
        **({WORKER_POOL: pool} if pool else {}),
    }


def as_selector(wanted: dict[str, str]) -> str:
    """Labels as a selector in one line."""
    return ",".join(f"{key}={value}" for key, value in sorted(wanted.items()))


def owners(child: Manifest) -> list[Key]:
    """Whom a labelled child belongs to."""
    metadata = child["metadata"]
    found = metadata.get("labels") or {}
    return [
        Key(kind, metadata["namespace"], found[label])
        for kind, label in _OWNER_LABEL.items()
        if label in found
    ]
