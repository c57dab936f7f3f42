"""Names and labels of everything that the operator makes."""

from muster_operator.resources import Key, Manifest

MANAGER = "muster"
MANAGED_BY = "app.kubernetes.io/managed-by"
COMPONENT = "app.kubernetes.io/component"
OF_COORDINATOR = "muster.dev/coordinator"
OF_POOL = "muster.dev/proverpool"
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
WORKER_OPS_PORT = 8091
POSTGRES_PORT = 5432
NATS_PORT = 4222
NATS_MONITOR_PORT = 8222
OPERATOR_OPS_PORT = 8092

COORDINATOR = "coordinator"
WORKER = "worker"
POSTGRES = "postgres"
NATS = "nats"

_OWNER_LABEL = {"Coordinator": OF_COORDINATOR, "ProverPool": OF_POOL}


def coordinator_name(coordinator: str) -> str:
    """The name of a Coordinator's Deployment, Service, Lease and all else."""
    return f"{coordinator}-coordinator"


def postgres_name(coordinator: str) -> str:
    """The name of a Coordinator's managed PostgreSQL."""
    return f"{coordinator}-postgres"


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
