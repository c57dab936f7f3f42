"""One cluster of nodes in containers, made by kind."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from muster_dev import shell
from muster_dev.errors import SetupError
from muster_dev.kind_config import ClusterSpec, render

if TYPE_CHECKING:
    from pathlib import Path

    from muster_dev.docker import Docker

_READY_TIMEOUT_S = 180
_COME_BACK_TIMEOUT_S = 120
_LABEL = "io.x-k8s.kind.cluster"


@dataclass(frozen=True)
class Programs:
    """The programs that work on clusters."""

    kind: Path
    kubectl: Path


class KindCluster:
    """Makes, finds, revives and deletes the cluster of one name."""

    def __init__(
        self, name: str, programs: Programs, docker: Docker, network: str, home: Path, log: Path
    ) -> None:
        self.name = name
        self.kubeconfig = home / "kubeconfig"
        self._programs = programs
        self._docker = docker
        self._network = network
        self._home = home
        self._log = log

    def nodes(self, *, running: bool | None = None) -> list[str]:
        """Return the containers of the nodes, in the order in which they were made."""
        return self._docker.containers(f"label={_LABEL}={self.name}", running=running)

    @property
    def is_ours(self) -> bool:
        """Whether the cluster that has this name, if any, is on our network."""
        nodes = self.nodes()
        ours = self._docker.containers(f"label={_LABEL}={self.name}", f"network={self._network}")
        return set(nodes) <= set(ours)

    def create(self, spec: ClusterSpec, image: str) -> None:
        """Make the cluster; on failure the nodes' logs are kept, the nodes are not.

        Raises SetupError with what went wrong.
        """
        config = self._home / "kind.json"
        self._home.mkdir(parents=True, exist_ok=True)
        config.write_text(render(spec), encoding="utf-8")
        self._log.unlink(missing_ok=True)
        argv = ["create", "cluster", f"--name={self.name}", f"--config={config}", "--retain"]
        argv += [f"--image={image}", f"--kubeconfig={self.kubeconfig}"]
        try:
            self._kind(*argv, timeout=600)
        except shell.CommandError as error:
            logs = self._log.with_name(f"{self._log.stem}-nodes")
            self._kind("export", "logs", f"--name={self.name}", str(logs))
            self.delete()
            raise SetupError(
                f"kind could not make the cluster {self.name!r}.",
                log=self._log,
                hint=f"The logs of its nodes are in {logs}.",
            ) from error
        self.kubeconfig.chmod(0o600)

    def delete(self) -> None:
        """Delete the nodes with all that is in them."""
        argv = ["delete", "cluster", f"--name={self.name}", f"--kubeconfig={self.kubeconfig}"]
        self._kind(*argv, timeout=120)

    def revive(self) -> bool:
        """Start the nodes that are not running; tell whether the API server answers then."""
        for node in self.nodes(running=False):
            self._docker.output("start", node)
        self._kind("export", "kubeconfig", f"--name={self.name}", f"--kubeconfig={self.kubeconfig}")
        deadline = time.monotonic() + _COME_BACK_TIMEOUT_S
        while not self.answers():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.5)
        return True

    def answers(self) -> bool:
        """Tell whether the API server says that it is ready."""
        if not self.kubeconfig.exists():
            return False
        return shell.succeeds([*self._kubectl, "get", "--raw=/readyz"], timeout=10)

    def wait_until_ready(self) -> None:
        """Wait for the nodes, DNS, storage and the default ServiceAccount.

        Raises SetupError naming what is not there in time.
        """
        self._wait("every node", "nodes", "--all", "condition=Ready")
        available = "condition=Available"
        self._wait("CoreDNS", "deployment/coredns", "--namespace=kube-system", available)
        storage = ("deployment/local-path-provisioner", "--namespace=local-path-storage")
        self._wait("the storage provisioner", *storage, available)
        for what in ("serviceaccount/default", "storageclass/standard"):
            self._wait(f"the {what}", what, "--namespace=default", "create")

    def _wait(self, who: str, *arguments: str) -> None:
        *what, state = arguments
        argv = [*self._kubectl, "wait", *what, f"--for={state}", f"--timeout={_READY_TIMEOUT_S}s"]
        try:
            shell.run(argv, log=self._log, timeout=_READY_TIMEOUT_S + 20)
        except shell.CommandError as error:
            message = f"{who} of cluster {self.name!r} was not ready within {_READY_TIMEOUT_S} s."
            raise SetupError(message[0].upper() + message[1:], log=self._log) from error

    @property
    def _kubectl(self) -> list[str]:
        return [str(self._programs.kubectl), f"--kubeconfig={self.kubeconfig}"]

    def _kind(self, *arguments: str, timeout: float = 120) -> None:
        # The nodes reach nothing outside, so they are not told of a proxy either.
        proxies = {name: "" for name in os.environ if name.lower().endswith("_proxy")}
        network = {"KIND_EXPERIMENTAL_DOCKER_NETWORK": self._network}
        shell.run(
            [str(self._programs.kind), *arguments],
            log=self._log,
            env={**self._docker.env, **network, **proxies},
            timeout=timeout,
        )
