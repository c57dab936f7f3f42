"""Conditions, and the closed catalogue of their reasons and of Event reasons."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field

from muster_api.model import Model


class Documented(StrEnum):
    """A word of the API, with the sentence that the reference prints beside it."""

    meaning: str

    def __new__(cls, value: str, meaning: str) -> Self:
        """Make the member `value`."""
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member


class ConditionType(Documented):
    """The conditions that an object's status may have."""

    READY = "Ready", "The object does what its spec says. Always present."
    RECONCILING = "Reconciling", "Only while the operator or the cluster is still at work on it."
    STALLED = "Stalled", "Only while nothing will get better before somebody changes something."
    PAUSED = "Paused", "Only while the annotation muster.dev/paused is true."
    INSECURE_SETUP = "InsecureSetup", "The proving keys were made inside the cluster."
    PROOFS_VERIFIED = "ProofsVerified", "Every proof is verified before it is handed out."
    WORKERS_SCHEDULED = "WorkersScheduled", "Every worker pod has found a node."
    PODS_SCHEDULED = (
        "PodsScheduled",
        "Every pod of coordinators, storage nodes and managed stores has found a node.",
    )
    COORDINATOR_READY = "CoordinatorReady", "The pool's coordinator hands out work."
    DATABASE_READY = "DatabaseReady", "The database is there, as far as Kubernetes can tell."
    BROKER_READY = "BrokerReady", "The broker is there, as far as Kubernetes can tell."
    WORKER_POOLS_READY = (
        "WorkerPoolsReady",
        "Each of spec.workerPools has the workers that it needs.",
    )
    INPUTS_SEALED = "InputsSealed", "Inputs of tasks are encrypted in the database."
    NODES_JOINED = "NodesJoined", "Every storage node of a KVCluster has joined the ring."
    TENANTS_SETTLED = "TenantsSettled", "Each of spec.tenants is there, as it is declared."
    FULLY_REPLICATED = (
        "FullyReplicated",
        "Every range of a KVCluster has all its replicas, and they answer.",
    )
    BACKED_UP = (
        "BackedUp",
        "The last backup that the schedule began was made of every storage node.",
    )
    HIGHLY_AVAILABLE = "HighlyAvailable", "The loss of one pod stops nothing."
    VOLUMES_TOO_SMALL = "VolumesTooSmall", "Only while a volume is smaller than the spec says."


class Reason(Documented):
    """Why a condition is as it is."""

    ALL_READY = "AllReady", "Everything that should run is ready."
    SUSPENDED = "Suspended", "spec.suspend is true: no pods run."
    PAUSED = "Paused", "The annotation muster.dev/paused is true: nothing is changed."
    SCALED_TO_ZERO = (
        "ScaledToZero",
        "No task waits or runs, so no workers run; the first task starts one.",
    )
    PODS_STARTING = "PodsStarting", "Pods were made and are not all ready yet."
    ROLLING_OUT = "RollingOut", "Pods are being replaced after a change."
    NO_PODS_READY = "NoPodsReady", "None of the pods is ready."
    WAITING_FOR_COORDINATOR = "WaitingForCoordinator", "The coordinator is not ready yet."
    WAITING_FOR_DATABASE = "WaitingForDatabase", "The managed database is not ready yet."
    COORDINATOR_NOT_FOUND = (
        "CoordinatorNotFound",
        "spec.coordinatorRef names no Coordinator of this namespace.",
    )
    COORDINATOR_NOT_OWNED = (
        "CoordinatorNotOwned",
        "A Coordinator of the pool's name exists and is another's; spec.coordinatorRef can use it.",
    )
    TIMEOUTS_CONTRADICT = (
        "TimeoutsContradict",
        "The pool's worker times don't fit its coordinator's.",
    )
    KEY_VERSION_DIFFERS = (
        "KeyVersionDiffers",
        "An imported key is not of the version that spec.keys.imported pins.",
    )
    SECRET_NOT_FOUND = "SecretNotFound", "A Secret that the spec names is missing, or its key is."
    SECRET_UNUSABLE = "SecretUnusable", "What a Secret holds is not what the spec names it for."
    WITNESS_KEY_LOST = (
        "WitnessKeyLost",
        "The Secret with the keys that sealed inputs is gone; another key would not open them.",
    )
    KEY_MADE = "KeyMade", "The operator has made the key, in a Secret of its own."
    KEY_NAMED = "KeyNamed", "The keys are those of spec.database.witnessKeySecretRef."
    NO_KEY = (
        "NoKey",
        "There is no key for an external database: name one in spec.database.witnessKeySecretRef.",
    )
    NAME_TAKEN = "NameTaken", "An object that should be made exists and belongs to somebody else."
    KEDA_NOT_FOUND = (
        "KedaNotFound",
        "Muster is installed with autoscaling.source KEDA, and there is no KEDA.",
    )
    REFUSED = "Refused", "The API server refused an object; the message is its answer."
    INVALID_SPEC = "InvalidSpec", "The stored spec does not fit the operator's version of the API."
    UNSCHEDULABLE = "Unschedulable", "Pods find no node; the message is the scheduler's."
    ALL_SCHEDULED = "AllScheduled", "Every pod has found a node."
    KEYS_MADE_IN_CLUSTER = (
        "KeysMadeInCluster",
        "spec.keys.insecureSetup is true: whoever saw the keys being made can forge proofs.",
    )
    VERIFICATION_OFF = "VerificationOff", "spec.verification is None: results are not verified."
    SINGLE_REPLICA = "SingleReplica", "Only one coordinator is wanted."
    MANAGED_DATABASE = (
        "ManagedDatabase",
        "The managed database is one pod: name a replicated one in spec.database.secretRef.",
    )
    POOL_NAME_TAKEN = (
        "PoolNameTaken",
        "One of spec.workerPools has the name of a ProverPool that the Coordinator serves.",
    )
    WAITING_FOR_BROKER = "WaitingForBroker", "The managed broker is not ready yet."
    BROKER_RUNNING = "BrokerRunning", "The managed broker's pod is ready."
    EXTERNAL_BROKER = "ExternalBroker", "The broker is the one of spec.broker.secretRef."
    EXTERNAL_DATABASE = "ExternalDatabase", "The database is the one of spec.database.secretRef."
    DATABASE_RUNNING = "DatabaseRunning", "The managed database's pod is ready."
    REPLICATED = "Replicated", "Two or more coordinators are ready and the database is external."
    NODES_STARTING = "NodesStarting", "Not all storage nodes are ready."
    NODES_JOINING = "NodesJoining", "Storage nodes have still to join the ring."
    ALL_JOINED = "AllJoined", "Every storage node is in the ring."
    STORE_SILENT = "StoreSilent", "No coordinator has answered the operator."
    STORE_REFUSED = "StoreRefused", "A coordinator refused what the operator asked for."
    TENANTS_WAITING = "TenantsWaiting", "Declared tenants have still to be made or changed."
    ALL_SETTLED = "AllSettled", "Every declared tenant is as it should be."
    SCALE_DOWN_REFUSED = (
        "ScaleDownRefused",
        "spec.replicas is lower than before, and the other storage nodes can't take the records.",
    )
    NODES_LEAVING = (
        "NodesLeaving",
        "The records of a storage node are moved to the others; then it goes.",
    )
    ALL_REPLICATED = "AllReplicated", "No replica of any range is away or missing."
    UNDER_REPLICATED = (
        "UnderReplicated",
        "Replicas of some ranges are away or missing; requests go to the others.",
    )
    RING_OUTDATED = (
        "RingOutdated",
        "Storage nodes hold a newer ring than the database, and refuse all requests.",
    )
    CLAIM_NOT_FOUND = (
        "ClaimNotFound",
        "The PersistentVolumeClaim of spec.backup is missing.",
    )
    BACKUP_MADE = "BackupMade", "Every storage node was backed up."
    BACKUP_FAILED = (
        "BackupFailed",
        "The last backup was not made of every storage node; its Job and pods tell why.",
    )
    NO_BACKUP = "NoBackup", "No backup was made yet."
    TOO_FEW_REPLICAS = (
        "TooFewReplicas",
        "A tenant has fewer than three replicas: without one storage node some keys stop.",
    )
    VOLUMES_GROWING = "VolumesGrowing", "Volumes are being expanded after their size was raised."
    VOLUME_EXPANSION_REFUSED = (
        "VolumeExpansionRefused",
        "The API server refused to let a volume expand; it stays as it is, and in use.",
    )


class EventReason(Documented):
    """What Events about an object say."""

    BECAME_READY = "BecameReady", "The object became ready."
    NO_LONGER_READY = "NoLongerReady", "The object was ready and is no more."
    STALLED = "Stalled", "Nothing will get better before somebody changes something."
    PRUNED = "Pruned", "An object that is wanted no more was removed."
    UNSCHEDULABLE = "Unschedulable", "Pods find no node."
    SCALED_TO_ZERO = "ScaledToZero", "There was no task for a while, and the last worker went."
    SCALED_FROM_ZERO = "ScaledFromZero", "There are tasks again, and a worker is started."
    LEADER_CHANGED = "LeaderChanged", "Another coordinator leads."
    WORKER_QUARANTINED = (
        "WorkerQuarantined",
        "A worker reported a wrong proof and gets no tasks for a while.",
    )
    NODES_JOINED = (
        "NodesJoined",
        "Every storage node has joined, and holds its part of the records.",
    )
    NODE_LEFT = "NodeLeft", "A storage node's records are with the others; its volume is removed."
    BACKUP_FAILED = "BackupFailed", "The last backup was not made of every storage node."
    VOLUME_EXPANSION_REFUSED = (
        "VolumeExpansionRefused",
        "The API server refused to let a volume expand.",
    )
    WORKER_RELEASED = "WorkerReleased", "A worker's quarantine is over; it gets tasks again."


class Condition(Model):
    """A condition in the standard form of Kubernetes."""

    type: Annotated[str, Field(max_length=316)] = Field(description="What it is about.")
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    observed_generation: int | None = Field(
        None, ge=0, description="The generation of the spec that it was judged by."
    )
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})] = Field(
        description="When status last changed."
    )
    reason: Annotated[
        str,
        Field(min_length=1, max_length=1024, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"),
    ] = Field(description="Why, in one word of the catalogue.")
    message: Annotated[str, Field(max_length=32768)] = Field(description="Why, for people.")


Conditions = Annotated[
    list[Condition],
    Field(
        max_length=16,
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["type"],
        },
    ),
]
