"""What all pools of workers have: how many there are, and their limits."""

from datetime import timedelta
from typing import Annotated

from pydantic import Field

from muster_api.model import Duration, Model, Rule, between, ruled

FIXED_OR_SCALED = Rule(
    "!has(self.replicas) || !self.autoscaling.enabled",
    "replicas is only for pools without autoscaling: remove it, or write "
    "autoscaling: {enabled: false}",
    ".replicas",
)

ENOUGH_CPU = Rule(
    "!has(self.resources.limits) || !('cpu' in self.resources.limits) || "
    "quantity(string(self.resources.limits['cpu'])).asApproximateFloat() > "
    "double((self.concurrency + 1) / 2 - 1)",
    "concurrency is more than twice the CPUs of resources.limits.cpu: lower it or raise the limit",
    ".concurrency",
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
