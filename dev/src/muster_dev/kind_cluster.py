"""One cluster of nodes in containers, made by kind."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from muster_dev import processes, shell
from muster_dev.errors import SetupError
from muster_dev.kind_config import ClusterSpec, render

if TYPE_CHECKING:
    from pathlib import Path

    from muster_dev.docker import Docker

_READY_TIMEOUT_S = 180
_COME_BACK_TIMEOUT_S = 120
_LABEL = "io.x-k8s.kind.cluster"
_CONTROL_PLANE = "node-role.kubernetes.io/control-plane"


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

    def nodes_for_pods(self) -> list[str]:
        """Return the nodes that pods of ours can come to: all but a control plane with workers."""
        asked = ["get", "nodes", "--output=json"]
        return untainted(json.loads(shell.output([*self._kubectl, *asked])))

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
        # Of a run that was killed, kind may still be at work.
        for process in processes.with_mark(str(config)):
            processes.send(process, signal.SIGKILL)
        config.write_text(render(spec), encoding="utf-8")
        self._log.unlink(missing_ok=True)
        argv = ["create", "cluster", f"--name={self.name}", f"--config={config}", "--retain"]
        argv += [f"--image={image}", f"--kubeconfig={self.kubeconfig}"]
        try:
            self._kind(*argv, timeout=600)
        except shell.CommandError as error:
            hint = self._keep_logs()
            self.delete()
            raise SetupError(
                f"kind could not make the cluster {self.name!r}.", log=self._log, hint=hint
            ) from error
        self.kubeconfig.chmod(0o600)
        # Only this tool starts nodes again, when the firewall is in force.
        self._docker.output("update", "--restart=no", *self.nodes())

    def _keep_logs(self) -> str:
        # Of a node that does not run not much can be had; what failed is in the log already.
        folder = self._log.with_name(f"{self._log.stem}-nodes")
        export = ["export", "logs", f"--name={self.name}", str(folder)]
        env, log = self._environment(), folder.with_suffix(".log")
        try:
            shell.run([str(self._programs.kind), *export], log=log, env=env, timeout=120)
        except shell.CommandError:
            return f"What could be had of its nodes' logs is in {folder}."
        return f"The logs of its nodes are in {folder}."

    def delete(self) -> None:
        """Delete the nodes with all that is in them."""
        argv = ["delete", "cluster", f"--name={self.name}", f"--kubeconfig={self.kubeconfig}"]
        self._kind(*argv, timeout=120)

    def addresses(self) -> dict[str, str]:
        """Return the address of each node that runs."""
        template = f'{{{{(index .NetworkSettings.Networks "{self._network}").IPAddress}}}}'
        nodes = self.nodes(running=True)
        return {node: self._docker.output("inspect", "-f", template, node) for node in nodes}

    def revive(self, addresses: dict[str, str]) -> bool:
        """Start the nodes that do not run, at the addresses that they had.

        Tells whether the API server and every node's kubelet are back in time.
        """
        began = datetime.now(timezone.utc)
        self._start_at(addresses)
        self._kind("export", "kubeconfig", f"--name={self.name}", f"--kubeconfig={self.kubeconfig}")
        deadline = time.monotonic() + _COME_BACK_TIMEOUT_S
        while not (self.answers() and self._kubelets_alive(began, set(addresses))):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.5)
        return True

    def _start_at(self, addresses: dict[str, str]) -> None:
        # Certificates and the members of etcd name addresses; Docker would give any that is free.
        present = self.addresses()
        moved = [node for node in self.nodes() if present.get(node) != addresses[node]]
        for node in moved:
            self._docker.output("stop", "-t", "5", node)
            self._docker.output("network", "disconnect", "--force", self._network, node)
        for node in moved:
            self._docker.output(
                "network", "connect", f"--ip={addresses[node]}", self._network, node
            )
            self._docker.output("start", node)

    def _kubelets_alive(self, since: datetime, nodes: set[str]) -> bool:
        try:
            ask = ["get", "leases", "--namespace=kube-node-lease", "--output=json"]
            leases = json.loads(shell.output([*self._kubectl, *ask], timeout=10))
        except shell.CommandError:
            return False
        return nodes <= renewed_since(leases, since)

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
        system = "--namespace=kube-system"
        self._wait("every pod of the system", "pods", "--all", system, "condition=Ready")
        available = "condition=Available"
        self._wait("CoreDNS", "deployment/coredns", system, available)
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
        argv = [str(self._programs.kind), *arguments]
        shell.run(argv, log=self._log, env=self._environment(), timeout=timeout)

    def _environment(self) -> dict[str, str]:
        # The nodes reach nothing outside, so they are not told of a proxy either.
        proxies = {name: "" for name in os.environ if name.lower().endswith("_proxy")}
        return {
            **self._docker.env,
            **proxies,
            "KIND_EXPERIMENTAL_DOCKER_NETWORK": self._network,
        }


def untainted(nodes: dict[str, Any]) -> list[str]:
    """Return the nodes that are not kept for the control plane."""
    return [
        node["metadata"]["name"]
        for node in nodes["items"]
        if _CONTROL_PLANE not in {taint["key"] for taint in node["spec"].get("taints", [])}
    ]


def renewed_since(leases: dict[str, Any], since: datetime) -> set[str]:
    """Return the nodes whose kubelets have said since some time that they are alive."""
    return {
        lease["metadata"]["name"]
        for lease in leases["items"]
        if _time(lease["spec"]["renewTime"]) >= since
    }


def _time(text: str) -> datetime:
    # Older Pythons do not read the Z.
    return datetime.strptime(text.replace("Z", "+0000"), "%Y-%m-%dT%H:%M:%S.%f%z")
