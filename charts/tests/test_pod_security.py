"""Every pod of the chart passes the restricted Pod Security level, and asks for no more."""

from typing import Any

import pytest

from .helm_cli import render
from .test_values import FULL

RESTRICTED_VOLUMES = {"configMap", "downwardAPI", "emptyDir", "projected", "secret"}


@pytest.fixture(params=["defaults", "everything"])
def pods(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """The pods of a rendering: the operator's, and the one of `helm test`."""
    found = render(FULL if request.param == "everything" else {}).pods()
    assert len(found) == 2
    return [pod for _, pod in found]


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def test_it_runs_as_no_root(pods: list[dict[str, Any]]) -> None:
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 65532
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}


def test_it_has_no_capability_and_writes_no_root(pods: list[dict[str, Any]]) -> None:
    for pod in pods:
        for container in containers(pod):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert "privileged" not in context


def test_it_shares_nothing_with_its_node(pods: list[dict[str, Any]]) -> None:
    for pod in pods:
        for key in ("hostNetwork", "hostPID", "hostIPC"):
            assert key not in pod
        for volume in pod["volumes"]:
            assert set(volume) - {"name"} <= RESTRICTED_VOLUMES
        for container in containers(pod):
            assert all("hostPort" not in port for port in container.get("ports", []))


def test_each_container_has_requests_and_limits(pods: list[dict[str, Any]]) -> None:
    for pod in pods:
        for container in containers(pod):
            for kind in ("requests", "limits"):
                assert set(container["resources"][kind]) == {"cpu", "memory"}


def test_what_it_writes_is_bounded(pods: list[dict[str, Any]]) -> None:
    for pod in pods:
        for volume in pod["volumes"]:
            if "emptyDir" in volume:
                assert volume["emptyDir"]["sizeLimit"]
