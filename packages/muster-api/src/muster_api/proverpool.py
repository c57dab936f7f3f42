"""ProverPool: workers that prove, their keys, and how many of them there are."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from muster_api.conditions import Conditions
from muster_api.coordinator import QueueStatus, between
from muster_api.model import Duration, Model, Rule, ruled
from muster_api.shared import SHORT_NAME, LocalReference, Resources, Workload

DEFAULT_DEPTH = 20
DEFAULT_BITS = 64

_SIZE_OF = (
    "({0}.name == 'merkle' ? (has({0}.depth) ? {0}.depth : 20) : "
    "{0}.name == 'range' ? (has({0}.bits) ? {0}.bits : 64) : 0)"
)


class Circuit(Model):
    """A statement that the pool proves, on one curve and of one size."""

    rules = (
        Rule(
            "!has(self.depth) || self.name == 'merkle'",
            "depth belongs to the circuit merkle alone: remove it",
            ".depth",
        ),
        Rule(
            "!has(self.bits) || self.name == 'range'",
            "bits belongs to the circuit range alone: remove it",
            ".bits",
        ),
    )

    name: Literal["merkle", "range", "addition"] = Field(
        description="merkle: a leaf is in a tree; range: a committed value lies between two "
        "bounds; addition: committed numbers add up."
    )
    curve: Literal["BN254", "BLS12-381"] = Field("BN254", description="The pairing curve.")
    depth: Annotated[int, Field(ge=1, le=32)] | None = Field(
        None, description="merkle only: levels of the tree, 1-32; absent means 20."
    )
    bits: Annotated[int, Field(ge=8, le=128)] | None = Field(
        None, description="range only: bits of the value, 8-128; absent means 64."
    )

    @property
    def size(self) -> int | None:
        """The circuit's depth or bits; None for circuits of one size."""
        if self.name == "merkle":
            return self.depth or DEFAULT_DEPTH
        return (self.bits or DEFAULT_BITS) if self.name == "range" else None


class Keys(Model):
    """Where the proving keys come from."""

    insecure_setup: bool = Field(
        False,
        description="Let the coordinator make the keys itself. Whoever could watch can forge "
        "proofs with them, so this is for development; it has to be said.",
    )


class Autoscaling(Model):
    """How many workers there are, by the work that waits."""

    rules = (
        Rule(
            "self.minReplicas <= self.maxReplicas",
            "minReplicas must not be greater than maxReplicas: lower it or raise maxReplicas",
            ".minReplicas",
        ),
    )

    enabled: bool = Field(
        True, description="Scale by queue depth; false leaves the number to spec.replicas."
    )
    min_replicas: Annotated[int, Field(ge=0, le=1000)] = Field(
        1, description="Never fewer; 0 lets a pool without work have no workers at all."
    )
    max_replicas: Annotated[int, Field(ge=1, le=1000)] = Field(4, description="Never more.")
    target_tasks_per_worker: Annotated[int, Field(ge=1, le=100000)] = Field(
        4, description="Unfinished tasks (waiting or running) for each worker."
    )
    scale_up_stabilization_seconds: Annotated[int, Field(ge=0, le=3600)] = Field(
        0, description="How long more work must last before workers are added."
    )
    scale_down_stabilization_seconds: Annotated[int, Field(ge=0, le=3600)] = Field(
        120, description="How long less work must last before workers are taken away."
    )
    scale_to_zero_after: Duration = Field(
        timedelta(minutes=5),
        description="With minReplicas 0: how long no task may wait or run before the last worker "
        "is taken away.",
        json_schema_extra=ruled(between("1s", "24h")),
    )


class WorkerLimits(Model):
    """Limits of a worker and of its tasks."""

    heartbeat_interval: Duration = Field(
        timedelta(seconds=5),
        description="How often a worker says that it lives.",
        json_schema_extra=ruled(between("1s", "60s")),
    )
    task_timeout: Duration = Field(
        timedelta(minutes=5),
        description="A task that takes longer is stopped and fails.",
        json_schema_extra=ruled(between("1s", "24h")),
    )
    task_memory_limit: (
        Annotated[str, Field(max_length=16, pattern=r"^[0-9]+(Ki|Mi|Gi|Ti|k|M|G|T)?$")] | None
    ) = Field(
        None,
        description="Memory of one task, its keys included; a task that needs more fails alone. "
        "Absent means as much as the pod has.",
        json_schema_extra=ruled(
            Rule(
                "quantity(self).compareTo(quantity('64Mi')) >= 0",
                "write a size of at least 64Mi, such as 512Mi",
            )
        ),
    )


_CIRCUITS = [Circuit(name="merkle"), Circuit(name="range"), Circuit(name="addition")]

_UNIQUE = Rule(
    "self.all(a, self.exists_one(b, a.name == b.name && a.curve == b.curve && "
    f"{_SIZE_OF.format('a')} == {_SIZE_OF.format('b')}))",
    "a circuit is listed twice with the same curve and size: remove one of the two",
)


class ProverPoolSpec(Workload):
    """What is wanted."""

    rules = (
        Rule(
            "has(self.keys) && self.keys.insecureSetup",
            "write keys: {insecureSetup: true} to accept proving keys that are made inside the "
            "cluster, for development: there is no import of keys yet",
            ".keys",
        ),
        Rule(
            "!has(self.replicas) || !self.autoscaling.enabled",
            "replicas is only for pools without autoscaling: remove it, or write "
            "autoscaling: {enabled: false}",
            ".replicas",
        ),
        Rule(
            "has(self.coordinatorRef) == has(oldSelf.coordinatorRef)",
            "coordinatorRef can't be added or removed later, for tasks would be lost with the "
            "pool's own coordinator: make a new ProverPool",
            ".coordinatorRef",
        ),
        Rule(
            "!has(self.resources.limits) || !('cpu' in self.resources.limits) || "
            "quantity(string(self.resources.limits['cpu'])).asApproximateFloat() > "
            "double((self.concurrency + 1) / 2 - 1)",
            "concurrency is more than twice the CPUs of resources.limits.cpu: lower it or raise "
            "the limit",
            ".concurrency",
        ),
    )

    coordinator_ref: LocalReference | None = Field(
        None,
        description="The Coordinator that hands out this pool's work; absent means that the pool "
        "makes and owns one of its own name.",
    )
    circuits: Annotated[list[Circuit], Field(min_length=1, max_length=16)] = Field(
        _CIRCUITS,
        description="What the pool proves.",
        json_schema_extra=ruled(_UNIQUE, **{"x-kubernetes-list-type": "atomic"}),
    )
    keys: Keys | None = Field(None, description="Where the proving keys come from.")
    verification: Literal["Required", "None"] = Field(
        "Required",
        description="Required: every proof is verified before anybody is told that it exists. "
        "None: for workers of another make, whose keys are not here; results are marked so.",
    )
    concurrency: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="Tasks that one worker proves at a time."
    )
    replicas: Annotated[int, Field(ge=0, le=1000)] | None = Field(
        None, description="Workers of a pool without autoscaling; absent means 1."
    )
    autoscaling: Autoscaling = Field(
        Autoscaling(), description="How many workers there are, by the work that waits."
    )
    worker: WorkerLimits = Field(WorkerLimits(), description="Limits of a worker and of its tasks.")
    termination_grace_period_seconds: Annotated[int, Field(ge=10, le=3600)] = Field(
        60, description="How long a stopping worker has to finish or hand back its tasks."
    )
    resources: Resources = Field(
        Resources(requests={"cpu": "100m", "memory": "256Mi"}, limits={"memory": "1Gi"}),
        description="Resources of a worker.",
    )


class KeyStatus(Model):
    """A key in use."""

    key_id: str = Field(description="Circuit and curve, such as merkle-20-poseidon@bn254.")
    version: str = Field(description="What proofs made with it name: sha256:...")


class ProverPoolStatus(Model):
    """What is there."""

    observed_generation: int | None = Field(
        None, ge=0, description="The generation of the spec that this status is about."
    )
    conditions: Conditions = Field([], description="Ready, and what else is to be said.")
    replicas: int = Field(0, ge=0, description="Worker pods that exist.")
    ready_replicas: int = Field(0, ge=0, description="Worker pods that are ready to prove.")
    desired_replicas: int = Field(0, ge=0, description="Worker pods that are wanted now.")
    unschedulable_replicas: int = Field(0, ge=0, description="Worker pods that find no node.")
    busy_replicas: int | None = Field(
        None, ge=0, description="Workers with a task; absent while unknown."
    )
    idle_since: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = Field(
        None, description="With minReplicas 0: since when no task waits or runs."
    )
    selector: str | None = Field(None, description="Label selector of the worker pods.")
    coordinator: str | None = Field(None, description="The Coordinator that hands out the work.")
    queue: QueueStatus | None = Field(None, description="The pool's tasks; absent while unknown.")
    keys: Annotated[list[KeyStatus], Field(max_length=32)] = Field(
        [], description="Versions of the keys in use."
    )


class ProverPool(Model):
    """A fleet of workers that make Groth16 proofs."""

    rules = (SHORT_NAME,)

    spec: ProverPoolSpec = Field(description="What is wanted.")
    status: ProverPoolStatus | None = Field(None, description="What is there.")
