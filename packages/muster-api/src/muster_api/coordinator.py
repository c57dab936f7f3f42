"""Coordinator: the service that queues tasks, hands them to workers and checks what comes back."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from muster_api.accounts import Accounts
from muster_api.broker import Broker
from muster_api.conditions import Conditions
from muster_api.database import Database, ManagedDatabase, fixed
from muster_api.http_api import HttpApi
from muster_api.model import Duration, Model, Rule, between, ruled
from muster_api.queue import QueueStatus
from muster_api.security import Authentication, Tls
from muster_api.services import ClientService
from muster_api.shared import (
    SHORT_NAME,
    Resources,
    SecretKeyReference,
    ServiceAccount,
    Workload,
)
from muster_api.worker_pools import WorkerPool, WorkerPoolStatus


class QueueDatabase(Database):
    """Where the queue is kept: exactly one of managed and secretRef."""

    rules = fixed("queue", "Coordinator")

    witness_key_secret_ref: SecretKeyReference | None = Field(
        None,
        description="The key of a Secret with the keys that seal inputs at rest, one a line, each "
        "32 random bytes in base64, the one to seal with first. Absent means: made by the operator "
        "for a managed database, none for another.",
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
        Rule(
            "!has(self.workerPools) || has(self.broker) || "
            "self.workerPools.all(pool, pool.transport != 'NATS')",
            "transport NATS needs a broker: write broker: {managed: {}}, or transport: gRPC",
            ".workerPools",
        ),
        Rule(
            "!has(self.workerPools) || self.workerPools.all(pool, "
            "duration(pool.worker.heartbeatInterval) + duration(pool.worker.heartbeatInterval) "
            "<= duration(self.heartbeatTimeout))",
            "worker.heartbeatInterval of each of workerPools must be at most half of "
            "heartbeatTimeout: lower it",
            ".workerPools",
        ),
        Rule(
            "!has(self.workerPools) || self.workerPools.all(pool, "
            "duration(pool.worker.taskTimeout) <= duration(self.staleTaskTimeout))",
            "worker.taskTimeout of each of workerPools must be at most staleTaskTimeout: lower it, "
            "or raise staleTaskTimeout",
            ".workerPools",
        ),
    )

    replicas: Annotated[int, Field(ge=1, le=9)] = Field(
        2, description="Coordinator pods: all serve, one leads."
    )
    strategy: Literal["fifo", "round-robin", "least-loaded", "priority", "fair-share"] = Field(
        "least-loaded",
        description="How a worker is chosen for a task; with fair-share customers take turns by "
        "the weight of their tier.",
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
    max_pending: Annotated[int, Field(ge=1, le=100_000_000)] | None = Field(
        None,
        description="Tasks of all pools and customers that may wait; absent means no limit but "
        "maxQueued for each pool.",
    )
    drain_timeout: Duration = Field(
        timedelta(seconds=30),
        description="How long a stopping coordinator finishes what it has begun.",
        json_schema_extra=ruled(between("1s", "10m")),
    )
    database: QueueDatabase = Field(
        QueueDatabase(managed=ManagedDatabase()), description="Where the queue is kept."
    )
    http: HttpApi = Field(HttpApi(), description="The HTTP API, for its clients.")
    service: ClientService | None = Field(
        None,
        description="A Service NAME-coordinator-clients with the HTTP API alone; absent means none "
        "but NAME-coordinator, for the cluster.",
    )
    tls: Tls = Field(Tls(), description="Transport security between workers and coordinators.")
    authentication: Authentication = Field(
        Authentication(), description="How workers say who they are, beside their certificates."
    )
    accounts: Accounts | None = Field(
        None, description="Who may submit workloads; absent means those with API keys alone."
    )
    broker: Broker | None = Field(
        None, description="A NATS for workers that are reached by it; absent means none."
    )
    worker_pools: (
        Annotated[
            list[WorkerPool],
            Field(
                max_length=16,
                json_schema_extra={
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                },
            ),
        ]
        | None
    ) = Field(None, description="Workers for workloads that are no proofs.")
    service_account: ServiceAccount = Field(
        ServiceAccount(), description="The ServiceAccount of the coordinators."
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


class WorkerNumbers(Model):
    """Numbers of workers of all pools, as last heard from the coordinator."""

    known: int = Field(0, ge=0, description="Not forgotten yet, whatever their state.")
    active: int = Field(0, ge=0, description="Alive, and given work.")
    busy: int = Field(0, ge=0, description="With at least one task.")


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
    workers: WorkerNumbers | None = Field(
        None, description="Its workers, those of ProverPools too; absent while unknown."
    )
    worker_pools: Annotated[list[WorkerPoolStatus], Field(max_length=16)] | None = Field(
        None, description="How each of spec.workerPools stands."
    )
    certificate_revision: int | None = Field(
        None, ge=1, description="Which of its managed certificates are in use; absent without."
    )
    admin_key_secret: str | None = Field(
        None, description="The Secret with the first administrator's API key."
    )


class Coordinator(Model):
    """Queues tasks durably, hands them to workers and checks what comes back."""

    rules = (SHORT_NAME,)

    spec: CoordinatorSpec = Field(CoordinatorSpec(), description="What is wanted.")
    status: CoordinatorStatus | None = Field(None, description="What is there.")
