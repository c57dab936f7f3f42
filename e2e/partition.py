"""Cutting pods off their coordinator, from inside their own network."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from e2e.cluster import Cluster

_NAMESPACE = "kube-system"
_GRPC_PORT = 9090

# With the tools of the node, in the network of each pod; a pod's processes know their pod's name.
_ENTER = (
    "rules=$1; shift; for pod; do "
    'pid=$(grep -lzxF "POD_NAME=$pod" /proc/[0-9]*/environ 2>/dev/null | head -n 1 | cut -d/ -f3); '
    'test -n "$pid"; '
    'nsenter --mount=/proc/1/ns/mnt --net="/proc/$pid/ns/net" /usr/sbin/nft "$rules"; '
    "done"
)
_CUT = (
    "table inet cut { "
    f"chain out {{ type filter hook output priority 0; tcp dport {_GRPC_PORT} drop; }}; "
    f"chain in {{ type filter hook input priority 0; tcp sport {_GRPC_PORT} drop; }}; }}"
)
_MEND = "delete table inet cut"


@dataclass
class Partition:
    """Takes the network between pods and coordinators away: packets vanish, nobody is told.

    It needs a privileged pod on each node: `prepare` makes them, so that a cut takes no longer
    than a command, and `close` removes them.
    """

    cluster: Cluster
    _tools: dict[str, str] = field(default_factory=dict)

    def prepare(self, pods: Sequence[dict[str, Any]]) -> None:
        """Have a tool ready on every node of `pods`."""
        images = {pod["spec"]["nodeName"]: pod["spec"]["containers"][0]["image"] for pod in pods}
        for node, image in images.items():
            self._start(node, image)
        for tool in self._tools.values():
            self.cluster.kubectl(
                *("wait", f"pod/{tool}", "-n", _NAMESPACE), "--for=condition=Ready", "--timeout=4m"
            )

    def cut(self, pods: Sequence[dict[str, Any]]) -> None:
        """Let nothing pass between `pods` and any coordinator."""
        self._enter(pods, _CUT)

    def mend(self, pods: Sequence[dict[str, Any]]) -> None:
        """Let it pass again."""
        self._enter(pods, _MEND)

    def close(self) -> None:
        """Remove the tools; what is cut stays so."""
        for tool in self._tools.values():
            self.cluster.kubectl("delete", "pod", tool, "-n", _NAMESPACE, "--ignore-not-found")

    def _enter(self, pods: Sequence[dict[str, Any]], rules: str) -> None:
        by_node: dict[str, list[str]] = {}
        for pod in pods:
            by_node.setdefault(pod["spec"]["nodeName"], []).append(pod["metadata"]["name"])
        for node, names in by_node.items():
            command = ("sh", "-ec", _ENTER, "sh", rules, *names)
            self.cluster.kubectl("exec", "-n", _NAMESPACE, self._tools[node], "--", *command)

    def _start(self, node: str, image: str) -> None:
        """The tool's pod on a node, of an image that is there already."""
        name = f"muster-e2e-cut-{node}"
        container = {
            "name": "cut",
            "image": image,
            "command": ["sleep", "infinity"],
            "securityContext": {"privileged": True, "runAsUser": 0},
        }
        spec = {
            "nodeName": node,
            "hostPID": True,
            "terminationGracePeriodSeconds": 0,
            "tolerations": [{"operator": "Exists"}],
            "containers": [container],
        }
        manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
        self.cluster.kubectl("delete", "pod", name, "-n", _NAMESPACE, "--ignore-not-found")
        self.cluster.apply(manifest, _NAMESPACE)
        self._tools[node] = name
