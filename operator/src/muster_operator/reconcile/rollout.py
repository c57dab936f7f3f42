"""How far the pods of a Deployment or StatefulSet have come; pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from muster_operator.resources import Manifest

_HARMLESS_WAITS = {"ContainerCreating", "PodInitializing"}
_MESSAGE_LENGTH = 300


@dataclass(frozen=True, slots=True)
class Rollout:
    """Numbers of pods.

    Args:
        wanted: by the spec.
        current: whether the controller has seen the latest spec.
        failure: why no pods can be made, or why the rollout was given up.
    """

    wanted: int = 0
    existing: int = 0
    updated: int = 0
    ready: int = 0
    current: bool = False
    failure: str = ""

    @property
    def complete(self) -> bool:
        """Whether exactly the wanted pods exist, all of them of the latest template."""
        return self.current and self.existing == self.wanted == self.updated


def rollout(workload: Manifest | None) -> Rollout:
    """Read the status of a Deployment or StatefulSet; None is one that is not there yet."""
    if workload is None:
        return Rollout()
    metadata, status = workload["metadata"], workload.get("status", {})
    return Rollout(
        wanted=workload["spec"].get("replicas", 1),
        existing=status.get("replicas", 0),
        updated=status.get("updatedReplicas", 0),
        ready=status.get("readyReplicas", 0),
        current=status.get("observedGeneration", 0) >= metadata.get("generation", 0),
        failure=_failure(status.get("conditions", [])),
    )


def _failure(conditions: Iterable[dict[str, str]]) -> str:
    for condition in conditions:
        failed = condition["type"] == "ReplicaFailure" and condition["status"] == "True"
        gave_up = condition["type"] == "Progressing" and condition["status"] == "False"
        if failed or gave_up:
            return shortened(condition.get("message", condition.get("reason", "")))
    return ""


@dataclass(frozen=True, slots=True)
class Unplaced:
    """Pods that find no node, and what the scheduler says about the first."""

    count: int = 0
    message: str = ""


def unplaced(pods: Iterable[Manifest]) -> Unplaced:
    """The pods that the scheduler can't place."""
    messages = [
        condition.get("message", "")
        for pod in pods
        for condition in pod.get("status", {}).get("conditions", [])
        if condition["type"] == "PodScheduled" and condition["status"] == "False"
        if condition.get("reason") == "Unschedulable"
    ]
    return Unplaced(len(messages), shortened(messages[0])) if messages else Unplaced()


def trouble(pods: Iterable[Manifest]) -> str:
    """What keeps the first troubled pod from running, such as an image that can't be pulled."""
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"])):
        status = pod.get("status", {})
        for kind in ("initContainerStatuses", "containerStatuses"):
            for container in status.get(kind, []):
                said = _waits_for(container)
                if said:
                    return shortened(f"pod {pod['metadata']['name']}: {said}")
    return ""


def _waits_for(container: dict[str, Any]) -> str:
    """What keeps a container from running: how it ended before, rather than that it is retried."""
    waiting = container.get("state", {}).get("waiting")
    if not waiting or waiting.get("reason") in _HARMLESS_WAITS:
        return ""
    ended = container.get("lastState", {}).get("terminated") or {}
    message = ended.get("message") or waiting.get("message") or ""
    return ": ".join(filter(None, [waiting.get("reason"), message.strip()]))


def shortened(text: str) -> str:
    """What others say, as much of it as a message has room for."""
    return text if len(text) <= _MESSAGE_LENGTH else text[: _MESSAGE_LENGTH - 3] + "..."
