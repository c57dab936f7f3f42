"""KVCluster: a replicated key-value store, of storage nodes and the coordinators before them."""

from typing import Annotated, Literal

from pydantic import Field

from muster_api.conditions import Conditions
from muster_api.coordinator import Endpoints
from muster_api.database import Database, ManagedDatabase, fixed
from muster_api.kv_backup import KVBackup
from muster_api.kv_security import KVAuthentication, KVTls
from muster_api.kv_tenants import KVTenant
from muster_api.model import QUANTITY_PATTERN, Image, Model, Name, Rule, ruled
from muster_api.services import ClientService
from muster_api.shared import (
    GROWS,
    SHORT_NAME,
    DeletionPolicy,
    PodTemplate,
    Resources,
    SecretKeyReference,
    ServiceAccount,
    Workload,
)


class KVVolume(Model):
    """The volume of each storage node."""

    rules = (
        Rule(
            "has(self.storageClassName) == has(oldSelf.storageClassName) && "
            "(!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",
            "the class of the volumes can't be changed: make a new KVCluster",
            ".storageClassName",
        ),
    )

    size: Annotated[str, Field(max_length=32, pattern=QUANTITY_PATTERN)] = Field(
        "10Gi",
        description="Size of the volume. It may be raised where the StorageClass allows that.",
        json_schema_extra=ruled(
            GROWS,
            Rule(
                "quantity(self).compareTo(quantity('256Mi')) >= 0",
                "write a size of at least 256Mi, such as 10Gi",
            ),
        ),
    )
    storage_class_name: Name | None = Field(
        None, description="StorageClass of the volume; absent means the cluster's default."
    )


class KVAutoscaling(Model):
    """How many coordinators there are, by the CPU that they use."""

    rules = (
        Rule(
            "self.minReplicas <= self.maxReplicas",
            "minReplicas must not be greater than maxReplicas: lower it or raise maxReplicas",
            ".minReplicas",
        ),
    )

    enabled: bool = Field(
        True,
        description="Scale by CPU, which needs a metrics server; false leaves the number to "
        "replicas.",
    )
    min_replicas: Annotated[int, Field(ge=1, le=100)] = Field(2, description="Never fewer.")
    max_replicas: Annotated[int, Field(ge=1, le=100)] = Field(6, description="Never more.")
    target_cpu_percent: Annotated[int, Field(ge=10, le=100)] = Field(
        70,
        alias="targetCPUPercent",
        description="CPU used by a coordinator on average, in percent of what it requests.",
    )


class KVCoordinators(Model):
    """The coordinators, which take the requests of clients and keep nothing."""

    rules = (
        Rule(
            "!has(self.replicas) || !self.autoscaling.enabled",
            "replicas is only for coordinators without autoscaling: remove it, or write "
            "autoscaling: {enabled: false}",
            ".replicas",
        ),
        Rule(
            "!self.autoscaling.enabled || (has(self.resources.requests) && "
            "'cpu' in self.resources.requests)",
            "autoscaling goes by the CPU that is requested: write resources.requests.cpu, or "
            "autoscaling: {enabled: false}",
            ".resources",
        ),
    )

    image: Image | None = Field(
        None, description="Image of the container; absent means the operator's default."
    )
    replicas: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None, description="Coordinators without autoscaling; absent means 2."
    )
    autoscaling: KVAutoscaling = Field(KVAutoscaling(), description="How many there are.")
    pod_template: PodTemplate = Field(
        PodTemplate(), description="What their pods have beyond what the operator gives them."
    )
    service_account: ServiceAccount = Field(
        ServiceAccount(), description="The ServiceAccount of the coordinators."
    )
    resources: Resources = Field(
        Resources(requests={"cpu": "250m", "memory": "192Mi"}, limits={"memory": "1Gi"}),
        description="Resources of a coordinator.",
    )


class KVDatabase(Database):
    """Where tenants, members and the ring are kept: exactly one of managed and secretRef."""

    rules = fixed("members and tenants", "KVCluster")


class KVRedis(Model):
    """A Redis that is there already, for tenants whose retries are recognised by it."""

    host: Annotated[
        str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9][-.A-Za-z0-9]*$")
    ] = Field(description="Its name or address.")
    port: Annotated[int, Field(ge=1, le=65535)] = Field(6379, description="Its port.")
    db: Annotated[int, Field(ge=0, le=1023)] = Field(0, description="The number of the database.")
    password_secret_ref: SecretKeyReference | None = Field(
        None, description="The key of a Secret that holds its password; absent means none."
    )


class KVClusterSpec(Workload):
    """What is wanted."""

    rules = (
        Rule(
            "!has(self.tenants) || self.tenants.all(tenant, "
            "tenant.replicationFactor <= self.replicas)",
            "replicationFactor of each of tenants must be at most replicas, the number of storage "
            "nodes: lower it, or raise replicas",
            ".tenants",
        ),
        Rule(
            "has(self.redis) || !has(self.tenants) || "
            "self.tenants.all(tenant, tenant.idempotency != 'Redis')",
            "idempotency: Redis needs a Redis: write redis: {host}, or idempotency: Replicas",
            ".tenants",
        ),
        Rule(
            "self.deletionPolicy == 'Delete' || !has(self.database.managed) || "
            "self.database.managed.deletionPolicy == 'Retain'",
            "deletionPolicy: Retain keeps records that only the database knows how to find: write "
            "database: {managed: {deletionPolicy: Retain}} too",
            ".deletionPolicy",
        ),
        Rule(
            "!has(self.authentication.adminCommonNames) || has(self.tls.clientSecretRef)",
            "adminCommonNames are of certificates that clients show: write tls: {clientSecretRef} "
            "too, or remove them",
            ".authentication",
        ),
        Rule(
            "!has(self.backup) || !has(self.backup.restore) || "
            "(has(oldSelf.backup) && has(oldSelf.backup.restore))",
            "restore is for storage nodes that are made, and these are there: delete the "
            "KVCluster, and make it again with restore",
            ".backup.restore",
        ),
    )

    image: Image | None = Field(
        None, description="Image of the storage nodes; absent means the operator's default."
    )
    pod_template: PodTemplate = Field(
        PodTemplate(),
        description="What the pods of storage nodes and of the database have beyond what the "
        "operator gives them.",
    )
    replicas: Annotated[int, Field(ge=1, le=100)] = Field(
        3,
        description="Storage nodes. Where it is lowered, those with the highest numbers go one by "
        "one, each when its records have moved to the others.",
    )
    virtual_nodes: Annotated[int, Field(ge=1, le=4096)] = Field(
        150,
        description="How many parts of the ring a storage node has. Fixed when made.",
        json_schema_extra=ruled(
            Rule("self == oldSelf", "virtualNodes can't be changed: make a new KVCluster")
        ),
    )
    volume: KVVolume = Field(KVVolume(), description="The volume of each storage node.")
    resources: Resources = Field(
        Resources(requests={"cpu": "250m", "memory": "512Mi"}, limits={"memory": "2Gi"}),
        description="Resources of a storage node.",
    )
    coordinators: KVCoordinators = Field(
        KVCoordinators(), description="The coordinators before the storage nodes."
    )
    service: ClientService | None = Field(
        None,
        description="A Service NAME-kv-coordinator-clients with the ports of clients alone, grpc "
        "and http; absent means none but NAME-kv-coordinator, for the cluster.",
    )
    consistency: Literal["One", "Quorum", "All"] = Field(
        "Quorum", description="How many replicas must answer a request that does not say so."
    )
    database: KVDatabase = Field(
        KVDatabase(managed=ManagedDatabase()),
        description="Where tenants, members and the ring are kept.",
    )
    redis: KVRedis | None = Field(
        None, description="A Redis, for tenants that ask for it; absent means none."
    )
    tls: KVTls = Field(KVTls(), description="Transport security.")
    authentication: KVAuthentication = Field(
        KVAuthentication(), description="How clients say who they are."
    )
    backup: KVBackup | None = Field(
        None, description="Backups of the storage nodes; absent means none."
    )
    tenants: (
        Annotated[
            list[KVTenant],
            Field(
                max_length=64,
                json_schema_extra={
                    "x-kubernetes-list-type": "map",
                    "x-kubernetes-list-map-keys": ["name"],
                },
            ),
        ]
        | None
    ) = Field(
        None,
        description="Tenants that are made and kept so. One that is taken out of the list stays.",
    )
    deletion_policy: DeletionPolicy = Field(
        "Delete", description="Whether the volumes of storage nodes go with the KVCluster."
    )


class KVCoordinatorNumbers(Model):
    """Numbers of coordinator pods."""

    replicas: int = Field(0, ge=0, description="That exist.")
    ready_replicas: int = Field(0, ge=0, description="That are ready.")


MOST_MIGRATIONS = 20


class KVMigration(Model):
    """A change of members or of a replication factor that has not ended."""

    id: str = Field(description="Its id in the coordinators' API.")
    type: str = Field(
        description="node_addition, node_deletion, node_replacement or replication_change."
    )
    of: str = Field(description="The storage node or the tenant.")
    status: str = Field(description="pending or in_progress.")
    stage: str | None = Field(
        None, description="waiting, clearing, copying, settling, cleaning or undoing."
    )
    percent: int = Field(0, ge=0, le=100, description="How far it is.")
    waiting_for: str | None = Field(
        None, description="Why it does not go on; absent while it does, or waits for its turn."
    )


class KVClusterStatus(Model):
    """What is there."""

    observed_generation: int | None = Field(
        None, ge=0, description="The generation of the spec that this status is about."
    )
    conditions: Conditions = Field([], description="Ready, and what else is to be said.")
    replicas: int = Field(0, ge=0, description="Pods of storage nodes that exist.")
    ready_replicas: int = Field(0, ge=0, description="Pods of storage nodes that are ready.")
    selector: str | None = Field(None, description="Label selector of the storage nodes' pods.")
    nodes: int = Field(
        0,
        ge=0,
        description="Storage nodes that hold data, even while suspended; one less when one left.",
    )
    leaving: Annotated[list[str], Field(max_length=100)] | None = Field(
        None,
        description="Storage nodes that are asked to go: their records are moved away, or their "
        "coming is cancelled; absent without.",
    )
    members: int | None = Field(
        None, ge=0, description="Storage nodes that have joined; absent while unknown."
    )
    ring_version: int | None = Field(
        None, ge=0, description="The version of the ring; absent while unknown."
    )
    replication_factor: int | None = Field(
        None,
        ge=1,
        description="The largest of all tenants, declared or made by the API: no fewer storage "
        "nodes can remain; absent without.",
    )
    tenants: int = Field(0, ge=0, description="Those of spec.tenants that are as they should be.")
    ranges_under_replicated: int | None = Field(
        None,
        ge=0,
        description="Ranges of the ring of which a replica is away or missing; absent while "
        "unknown.",
    )
    hints_waiting: int | None = Field(
        None,
        ge=0,
        description="Writes kept for storage nodes that missed them; absent while unknown.",
    )
    migrations: Annotated[list[KVMigration], Field(max_length=MOST_MIGRATIONS)] | None = Field(
        None,
        description="Migrations that have not ended: the one under way, and the oldest others, "
        f"{MOST_MIGRATIONS} in all; absent without.",
    )
    lease: str | None = Field(
        None, description="The Lease by which coordinators choose the one that leads maintenance."
    )
    leader: str | None = Field(
        None, description="The coordinator that leads maintenance; absent while none does."
    )
    last_backup: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = Field(
        None, description="When the last backup of all storage nodes was made."
    )
    restored: str | None = Field(
        None,
        description="The backup that all storage nodes have begun with. Volumes that are lost "
        "later, and nodes that are added, are filled from the other nodes. Absent before, or "
        "without.",
    )
    coordinators: KVCoordinatorNumbers | None = Field(None, description="The coordinators.")
    endpoints: Endpoints | None = Field(None, description="Where to reach it in the cluster.")


class KVCluster(Model):
    """A key-value store whose acknowledged writes outlive the loss of nodes."""

    rules = (SHORT_NAME,)

    spec: KVClusterSpec = Field(KVClusterSpec(), description="What is wanted.")
    status: KVClusterStatus | None = Field(None, description="What is there.")
