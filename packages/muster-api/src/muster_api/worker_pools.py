"""Pools of workers for workloads that are no proofs."""

from typing import Annotated, Any, Literal

from pydantic import Field, WithJsonSchema

from muster_api.model import Image, Model, Rule, ruled
from muster_api.queue import QueueStatus
from muster_api.scheduling import LabelValue
from muster_api.shared import (
    LocalReference,
    PodTemplate,
    Resources,
    SecretKeyReference,
    ServiceAccount,
)
from muster_api.workers import ENOUGH_CPU, FIXED_OR_SCALED, Autoscaling, WorkerLimits

PoolName = Annotated[
    str, Field(min_length=1, max_length=20, pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
]
WorkloadType = Annotated[
    str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9._]*[a-z0-9])?$")
]
EnvName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


Options = Annotated[
    dict[str, Any],
    WithJsonSchema({"type": "object", "x-kubernetes-preserve-unknown-fields": True}),
]
"""Whatever a type of workloads understands; itself says what is wrong with it."""


class EnvVar(Model):
    """A variable of the workers' environment: exactly one of value and secretKeyRef."""

    rules = (
        Rule(
            "has(self.value) != has(self.secretKeyRef)",
            "write either value or secretKeyRef: {name, key}, and not both",
        ),
        Rule(
            "!self.name.startsWith('POD_') && !self.name.startsWith('WORKER_')",
            "variables that begin with POD_ or WORKER_ are the worker's own: choose another name",
            ".name",
        ),
    )

    name: EnvName = Field(description="Its name.")
    value: Annotated[str, Field(max_length=4096)] | None = Field(None, description="Its value.")
    secret_key_ref: SecretKeyReference | None = Field(
        None, description="The key of a Secret that holds its value."
    )


class WorkerPool(Model):
    """Workers that are alike, and how many there are."""

    rules = (
        FIXED_OR_SCALED,
        ENOUGH_CPU,
        Rule(
            "!has(self.options) || self.options.all(type, type in self.workloads)",
            "options are for a type that is not under workloads: add it there, or remove them",
            ".options",
        ),
    )

    name: PoolName = Field(description="Its name, unlike that of any ProverPool it shares with.")
    image: Image | None = Field(
        None,
        description="Image of the workers, such as one with workload types of your own; absent "
        "means the operator's default.",
    )
    workloads: Annotated[list[WorkloadType], Field(min_length=1, max_length=32)] = Field(
        description="Types of workloads that they do: sleep, http, command, or those of the image.",
        json_schema_extra=ruled(
            Rule(
                "self.all(type, !type.startsWith('prove.'))",
                "proofs are made by a ProverPool: remove the types that begin with prove.",
            ),
            **{"x-kubernetes-list-type": "set"},
        ),
    )
    transport: Literal["gRPC", "NATS"] = Field(
        "gRPC", description="How they reach the coordinator: by a stream, or by spec.broker."
    )
    options: Annotated[dict[str, Options], Field(max_length=32)] | None = Field(
        None, description="What types of workloads are told, by their names."
    )
    tags: Annotated[dict[str, LabelValue], Field(max_length=16)] | None = Field(
        None, description="What workloads can ask for by affinity."
    )
    concurrency: Annotated[int, Field(ge=1, le=64)] = Field(
        1, description="Workloads that one worker works on at a time."
    )
    replicas: Annotated[int, Field(ge=0, le=1000)] | None = Field(
        None, description="Workers of a pool without autoscaling; absent means 1."
    )
    autoscaling: Autoscaling = Field(
        Autoscaling(), description="How many workers there are, by the work that waits."
    )
    worker: WorkerLimits = Field(
        WorkerLimits(), description="Limits of a worker and of its workloads."
    )
    env: Annotated[list[EnvVar], Field(max_length=64)] | None = Field(
        None,
        description="Further environment of the workers.",
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        },
    )
    secrets: Annotated[list[LocalReference], Field(max_length=16)] | None = Field(
        None,
        description="Secrets that workers have as files, below /var/run/secrets/workloads/NAME.",
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
        },
    )
    network_access: Literal["Coordinator", "Any"] = Field(
        "Coordinator",
        description="Coordinator: workers reach their coordinator, its broker and DNS alone. Any: "
        "whatever they can, for workloads that call others.",
    )
    termination_grace_period_seconds: Annotated[int, Field(ge=10, le=3600)] = Field(
        60, description="How long a stopping worker has to finish or hand back its workloads."
    )
    service_account: ServiceAccount = Field(
        ServiceAccount(), description="The ServiceAccount of the workers."
    )
    resources: Resources = Field(
        Resources(requests={"cpu": "100m", "memory": "128Mi"}, limits={"memory": "512Mi"}),
        description="Resources of a worker.",
    )
    pod_template: PodTemplate = Field(
        PodTemplate(), description="What the pods have beyond what the operator gives them."
    )


class WorkerPoolStatus(Model):
    """How a pool stands."""

    name: str = Field(description="Its name.")
    replicas: int = Field(0, ge=0, description="Worker pods that exist.")
    ready_replicas: int = Field(0, ge=0, description="Worker pods that are ready.")
    desired_replicas: int = Field(0, ge=0, description="Worker pods that are wanted now.")
    unschedulable_replicas: int = Field(0, ge=0, description="Worker pods that find no node.")
    idle_since: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = Field(
        None, description="With minReplicas 0: since when no workload waits or runs."
    )
    queue: QueueStatus | None = Field(None, description="Its workloads; absent while unknown.")
