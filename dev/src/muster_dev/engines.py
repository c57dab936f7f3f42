"""Which Docker daemon runs the nodes, and which node image it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from muster_dev import (
    apt,
    capabilities,
    component_images,
    firewall,
    go_tools,
    preflight,
    root_filesystem,
    shell,
    sysctls,
)
from muster_dev.background import Background
from muster_dev.docker import Docker
from muster_dev.instance import renew
from muster_dev.node_image import NodeImage
from muster_dev.private_daemon import PrivateDaemon
from muster_dev.registry import NODE, Registry

if TYPE_CHECKING:
    from muster_dev.component_images import Tags
    from muster_dev.firewall import Nft
    from muster_dev.workspace import Workspace

_DAEMON_PACKAGES = ("docker.io", "iptables", "iproute2", "nftables", "runc")
IMAGE_PACKAGES = ("gcc", "libc6-dev", "mmdebstrap")
# GiB that a first run leaves behind: compilers' caches and images; a daemon's images and nodes.
_CACHE_GIB = 11.0
_CACHE_WARM_GIB = 0.5
_STATE_GIB = 6.0


@dataclass(frozen=True)
class Node:
    """A node image: its name, and the versions in it if it is our own."""

    image: str
    own: Tags | None


class Engine:
    """The daemon for the nodes: the user's, or a private one."""

    def __init__(self, work: Workspace, docker: Docker, daemon: PrivateDaemon | None) -> None:
        self._work = work
        self.docker = docker
        self.daemon = daemon

    def packages(self) -> tuple[str, ...]:
        """Return the Debian packages that the daemon comes from."""
        return () if self.daemon is None else _DAEMON_PACKAGES

    def start(self) -> None:
        """See to it that the daemon answers and that the nodes' packets are kept here.

        The private daemon may start nodes that it had before, so the firewall comes first.
        """
        work = self._work
        if self.daemon is None:
            return
        self._check_machine()
        apt.ensure(self.packages(), work.steps, work.paths.logs / "apt.log", "A private daemon")
        sysctls.remember(work.paths.state / "sysctls.json")
        sysctls.prepare()
        firewall.install(work.instance)
        if self.daemon.process() is None:
            with work.steps.step("Start a private Docker daemon"):
                self.daemon.start()
        else:
            self.daemon.start()

    def prepare_network(self, image: str) -> None:
        """See to the nodes' network and to the firewall in front of it, before any node starts."""
        instance = self._work.instance
        names = self.docker.output("network", "ls", "--format", "{{.Name}}").splitlines()
        if instance.network not in names:
            # Since it was chosen, another state folder may have taken it.
            instance = renew(self._work.paths)
            bridge = f"com.docker.network.bridge.name={instance.bridge}"
            options = ["--driver=bridge", f"--subnet={instance.subnet}", f"--opt={bridge}"]
            self.docker.output("network", "create", *options, instance.network)
        firewall.install(instance, self._nft(image))

    def node(self) -> Node:
        """Return the node image, and see to it that the daemon has it."""
        work = self._work
        own = NodeImage(work.paths, work.tools)
        tags = component_images.tags(work.tools)
        if self.docker.has_image(own.reference):
            return Node(own.reference, tags)
        if self.has_public_node():
            return Node(NODE, None)
        archive = self._build_node_image(own)
        with work.steps.step("Load the node image into Docker"):
            log = work.paths.logs / "load-node-image.log"
            self.docker.run("load", f"--input={archive}", log=log)
        return Node(own.reference, tags)

    def has_public_node(self) -> bool:
        """Tell whether nodes are made of the public image."""
        if self.daemon is not None and capabilities.missing():
            return False
        # The public image knows no way around a missing capability.
        registry = Registry(self.docker, self._work.paths.state)
        return registry.provides(NODE) and not self._lacking(NODE)

    def runtime_wrapper(self, image: str) -> str | None:
        """Return the file that nodes use as their runtime where a capability is missing."""
        lacking = self._lacking(image)
        if not lacking:
            return None
        path = self._work.paths.state / "node-runtime"
        path.write_text(capabilities.runtime_wrapper(lacking, "/usr/sbin/runc"), encoding="utf-8")
        path.chmod(0o755)
        return str(path)

    def remove(self, image: str | None) -> None:
        """Remove what this tool made on the machine beside the clusters themselves."""
        instance = self._work.instance
        if self.daemon is not None:
            self.daemon.remove()
            firewall.remove(instance)
            sysctls.restore(self._work.paths.state / "sysctls.json")
            return
        if shell.succeeds(["docker", "network", "inspect", instance.network]):
            self.docker.output("network", "rm", instance.network)
        if image is not None:
            firewall.remove(instance, self._nft(image))

    def _build_node_image(self, own: NodeImage) -> Path:
        work = self._work
        if not own.built:
            preflight.require_root("Building a node image (no image registry answers)")
            if self.daemon is None:
                # A daemon of ours has looked before its start.
                preflight.require_space({work.paths.cache: _CACHE_GIB})
            log = work.paths.logs / "apt.log"
            apt.ensure(IMAGE_PACKAGES, work.steps, log, "Building a node image")
            # It mostly waits for the network, and compiling does not.
            packages = Background(self._make_root_filesystem)
            for tool in go_tools.IN_THE_NODE:
                work.tool(tool)
            packages.wait()
            with work.steps.step("Build the node image"):
                own.build()
        return own.build()

    def _make_root_filesystem(self) -> None:
        work = self._work
        if not root_filesystem.built(root_filesystem.NODE, work.paths):
            with work.steps.step("Make the nodes' root file system"):
                root_filesystem.build(root_filesystem.NODE, work.paths)

    def _lacking(self, image: str) -> list[str]:
        if self.daemon is not None:
            return capabilities.missing()
        # The user's daemon may be on another machine, with other capabilities.
        command = ["run", "--rm", "--privileged", "--network=none", "--entrypoint=cat"]
        return capabilities.missing(self.docker.output(*command, image, "/proc/self/status"))

    def _nft(self, image: str) -> Nft:
        if self.daemon is not None:
            return firewall.local_nft

        # The user's daemon may be in a virtual machine: the rules have to be where its bridge is.
        def nft(arguments: list[str], stdin: str | None) -> str:
            command = ["run", "--rm", "--interactive", "--network=host", "--cap-add=NET_ADMIN"]
            return self.docker.output(*command, "--entrypoint=nft", image, *arguments, stdin=stdin)

        return nft

    def _check_machine(self) -> None:
        paths = self._work.paths
        preflight.require_root("Starting a Docker daemon (none answers on this machine)")
        preflight.require_capabilities(capabilities.missing())
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8")
        preflight.require_overlay(paths.state, mounts)
        built = NodeImage(paths, self._work.tools).built
        started = (paths.state / "docker").exists()
        preflight.require_space(
            {
                paths.cache: _CACHE_WARM_GIB if built else _CACHE_GIB,
                paths.state: _CACHE_WARM_GIB if started else _STATE_GIB,
            }
        )


def choose(work: Workspace) -> Engine:
    """Return the private daemon where there is one, else the user's, else a private one."""
    daemon = PrivateDaemon(work.paths, work.instance)
    users = Docker()
    if not daemon.exists and users.answers():
        return Engine(work, users, None)
    return Engine(work, daemon.docker, daemon)
