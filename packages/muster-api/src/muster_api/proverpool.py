"""ProverPool: workers that prove, their keys, and how many of them there are."""

from typing import Annotated, Literal

from pydantic import Field

from muster_api.circuits import Circuit, Keys, same_circuit
from muster_api.conditions import Conditions
from muster_api.model import Model, Rule, ruled
from muster_api.queue import QueueStatus
from muster_api.shared import SHORT_NAME, LocalReference, Resources, ServiceAccount, Workload
from muster_api.workers import ENOUGH_CPU, FIXED_OR_SCALED, Autoscaling, WorkerLimits

_CIRCUITS = [Circuit(name="merkle"), Circuit(name="range"), Circuit(name="addition")]

_UNIQUE = Rule(
    f"self.all(a, self.exists_one(b, {same_circuit('a', 'b')}))",
    "a circuit is listed twice with the same curve, hash and size: remove one of the two",
)


class ProverPoolSpec(Workload):
    """What is wanted."""

    rules = (
        Rule(
            "has(self.keys) && (self.keys.insecureSetup || has(self.keys.imported))",
            "write keys: {insecureSetup: true} to accept proving keys that are made inside the "
            "cluster, for development, or list keys of ceremonies under keys.imported",
            ".keys",
        ),
        Rule(
            "!has(self.keys) || !has(self.keys.imported) || self.circuits.all(c, "
            f"self.keys.imported.exists_one(k, {same_circuit('c', 'k')}))",
            "keys.imported must have exactly one key for each of circuits, with the same name, "
            "curve and size: add the key, or list under circuits only what there are keys for",
            ".keys",
        ),
        Rule(
            "!has(self.keys) || !has(self.keys.imported) || self.keys.imported.all(k, "
            f"self.circuits.exists(c, {same_circuit('c', 'k')}))",
            "keys.imported has a key for a circuit that is not under circuits: remove the key, or "
            "add the circuit",
            ".keys",
        ),
        FIXED_OR_SCALED,
        Rule(
            "has(self.coordinatorRef) == has(oldSelf.coordinatorRef)",
            "coordinatorRef can't be added or removed later, for tasks would be lost with the "
            "pool's own coordinator: make a new ProverPool",
            ".coordinatorRef",
        ),
        ENOUGH_CPU,
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
    service_account: ServiceAccount = Field(
        ServiceAccount(), description="The ServiceAccount of the workers."
    )
    resources: Resources = Field(
        Resources(requests={"cpu": "100m", "memory": "256Mi"}, limits={"memory": "1Gi"}),
        description="Resources of a worker.",
    )


class KeyStatus(Model):
    """A key in use."""

    key_id: str = Field(description="Circuit and curve, such as merkle-20-poseidon@bn254.")
    version: str = Field(description="What proofs made with it name: sha256:...")


class Quarantine(Model):
    """A worker that gets no tasks, because it reported a wrong proof."""

    worker: str = Field(description="Its pod.")
    reason: str = Field("", description="What it did.")
    until: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = Field(
        None, description="When it gets tasks again."
    )


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
    quarantined: Annotated[list[Quarantine], Field(max_length=100)] | None = Field(
        None, description="Workers that get no tasks, because they reported wrong proofs."
    )


class ProverPool(Model):
    """A fleet of workers that make Groth16 proofs."""

    rules = (SHORT_NAME,)

    spec: ProverPoolSpec = Field(description="What is wanted.")
    status: ProverPoolStatus | None = Field(None, description="What is there.")
