"""Coordinator: the service that queues tasks, hands them to workers and checks what comes back."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from muster_api.conditions import Conditions
from muster_api.model import QUANTITY_PATTERN, Duration, Image, Model, Name, Rule, ruled
from muster_api.security import Authentication, Tls
from muster_api.shared import SHORT_NAME, DeletionPolicy, Resources, SecretKeyReference, Workload


def between(lowest: str, highest: str) -> Rule:
    """A duration's range; `lowest` and `highest` are durations themselves."""
    return Rule(
        f"duration(self) >= duration('{lowest}') && duration(self) <= duration('{highest}')",
        f"write a duration from {lowest} to {highest}",
    )


class ManagedDatabase(Model):
    """A PostgreSQL of one pod, kept by the operator."""

    image: Image | None = Field(
        None, description="PostgreSQL image; absent means the operator's default."
    )
    storage: Annotated[str, Field(max_length=32, pattern=QUANTITY_PATTERN)] = Field(
        "2Gi",
        description="Size of the volume. Fixed when made.",
        json_schema_extra=ruled(
            Rule("self == oldSelf", "the volume's size can't be changed: make a new Coordinator"),
            Rule(
                "quantity(self).compareTo(quantity('256Mi')) >= 0",
                "write a size of at least 256Mi, such as 2Gi",
            ),
        ),
    )
    storage_class_name: Name | None = Field(
        None, description="StorageClass of the volume; absent means the cluster's default."
    )
    deletion_policy: DeletionPolicy = Field(
        "Delete", description="Whether the volume goes when the Coordinator is deleted."
    )
    resources: Resources = Field(
        Resources(requests={"cpu": "100m", "memory": "256Mi"}, limits={"memory": "1Gi"}),
        description="Resources of the PostgreSQL container.",
    )

    rules = (
        Rule(
            "has(self.storageClassName) == has(oldSelf.storageClassName) && "
            "(!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",
            "the volume's class can't be changed: make a new Coordinator",
            ".storageClassName",
        ),
    )


class Database(Model):
    """Where the queue is kept: exactly one of managed and secretRef."""

    rules = (
        Rule(
            "has(self.managed) != has(self.secretRef)",
            "write either managed: {} or secretRef: {name, key}, and not both",
        ),
        Rule(
            "has(self.managed) == has(oldSelf.managed)",
            "the kind of database can't be changed, for the queue would be lost: "
            "make a new Coordinator",
        ),
    )

    managed: ManagedDatabase | None = Field(
        None, description="A PostgreSQL of one pod, for trying out and for small fleets."
    )
    secret_ref: SecretKeyReference | None = Field(
        None,
        description="The key of a Secret that holds the connection string of a PostgreSQL, such as "
        "postgresql://user:password@host:5432/name. High availability needs a replicated one.",
    )


class CoordinatorSpec(Workload):
    """What is wanted."""

    rules = (
        Rule(
            "duration(self.staleTaskTimeout) > duration(self.heartbeatTimeout)",
            "staleTaskTimeout must be longer than heartbeatTimeout: raise it",
            ".staleTaskTimeout",
        ),
        Rule(
            "duration(self.pollInterval) < duration(self.heartbeatTimeout)",
            "pollInterval must be shorter than heartbeatTimeout: lower it",
            ".pollInterval",
        ),
    )

    replicas: Annotated[int, Field(ge=1, le=9)] = Field(
        2, description="Coordinator pods: all serve, one leads."
    )
    strategy: Literal["round-robin", "least-loaded", "priority"] = Field(
        "least-loaded", description="How a worker is chosen for a task."
    )
    poll_interval: Duration = Field(
        timedelta(seconds=2),
        description="How often the leader looks for work that no notification announced.",
        json_schema_extra=ruled(between("100ms", "1m")),
    )
    heartbeat_timeout: Duration = Field(
        timedelta(seconds=30),
        description="A worker silent for this long is suspect, for three times as long dead.",
        json_schema_extra=ruled(between("2s", "10m")),
    )
    stale_task_timeout: Duration = Field(
        timedelta(minutes=5),
        description="A running task without progress for this long goes to another worker.",
        json_schema_extra=ruled(between("5s", "24h")),
    )
    cleanup_interval: Duration = Field(
        timedelta(minutes=1),
        description="How often dead workers are looked for.",
        json_schema_extra=ruled(between("1s", "1h")),
    )
    max_retries: Annotated[int, Field(ge=0, le=100)] = Field(
        3, description="How often a task is tried again after transient failures."
    )
    max_queued: Annotated[int, Field(ge=1, le=100_000_000)] = Field(
        100_000, description="Tasks that may wait; further ones are refused until some are done."
    )
    drain_timeout: Duration = Field(
        timedelta(seconds=30),
        description="How long a stopping coordinator finishes what it has begun.",
        json_schema_extra=ruled(between("1s", "10m")),
    )
    database: Database = Field(
        Database(managed=ManagedDatabase()), description="Where the queue is kept."
    )
    tls: Tls = Field(Tls(), description="Transport security between workers and coordinators.")
    authentication: Authentication = Field(
        Authentication(), description="How workers say who they are, beside their certificates."
    )
    resources: Resources = Field(
        Resources(requests={"cpu": "100m", "memory": "192Mi"}, limits={"memory": "1Gi"}),
        description="Resources of a coordinator.",
    )


class Endpoints(Model):
    """Where the coordinator is reached inside the cluster, as host:port."""

    grpc: str = Field(description="For workers.")
    http: str = Field(description="For clients.")
    ops: str = Field(description="Health, metrics, queue.")


class QueueStatus(Model):
    """Numbers of tasks, as last heard from the coordinator."""

    pending: int = Field(0, ge=0, description="Waiting for a worker.")
    assigned: int = Field(0, ge=0, description="Given to a worker and not begun.")
    in_progress: int = Field(0, ge=0, description="Being worked on.")
    oldest_pending_seconds: int | None = Field(
        None, ge=0, description="Age of the task that has waited longest."
    )


class CoordinatorStatus(Model):
    """What is there."""

    observed_generation: int | None = Field(
        None, ge=0, description="The generation of the spec that this status is about."
    )
    conditions: Conditions = Field([], description="Ready, and what else is to be said.")
    replicas: int = Field(0, ge=0, description="Coordinator pods that exist.")
    ready_replicas: int = Field(0, ge=0, description="Coordinator pods that are ready.")
    selector: str | None = Field(None, description="Label selector of the coordinator pods.")
    leader: str | None = Field(None, description="The pod that leads.")
    endpoints: Endpoints | None = Field(None, description="Where to reach it in the cluster.")
    pools: int = Field(0, ge=0, description="ProverPools that it serves.")
    queue: QueueStatus | None = Field(None, description="Its tasks; absent while unknown.")


class Coordinator(Model):
    """Queues tasks durably, hands them to workers and checks what comes back."""

    rules = (SHORT_NAME,)

    spec: CoordinatorSpec = Field(CoordinatorSpec(), description="What is wanted.")
    status: CoordinatorStatus | None = Field(None, description="What is there.")
