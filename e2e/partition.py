"""Cutting pods off their coordinator, from inside their own network."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from e2e.cluster import Cluster

_NAMESPACE = "kube-system"
_GRPC_PORT = 9090

# With the tools of the node, in the network of the pod; a pod's processes know their pod's name.
_ENTER = (
    'pid=$(grep -lzxF "POD_NAME=$1" /proc/[0-9]*/environ 2>/dev/null | head -n 1 | cut -d/ -f3); '
    'test -n "$pid"; '
    'nsenter --mount=/proc/1/ns/mnt --net="/proc/$pid/ns/net" /usr/sbin/nft "$2"'
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

    It needs a privileged pod on each node; `close` removes them.
    """

    cluster: Cluster
    _tools: dict[str, str] = field(default_factory=dict)

    def cut(self, pods: Sequence[dict[str, Any]]) -> None:
        """Let nothing pass between `pods` and any coordinator."""
        for pod in pods:
            self._enter(pod, _CUT)

    def mend(self, pods: Sequence[dict[str, Any]]) -> None:
        """Let it pass again."""
        for pod in pods:
            self._enter(pod, _MEND)

    def close(self) -> None:
        """Remove the tools; what is cut stays so."""
        for name in self._tools.values():
            self.cluster.kubectl("delete", "pod", name, "-n", _NAMESPACE, "--ignore-not-found")

    def _enter(self, pod: dict[str, Any], rules: str) -> None:
        tool = self._tool(pod)
        name = pod["metadata"]["name"]
        command = ("sh", "-ec", _ENTER, "sh", name, rules)
        self.cluster.kubectl("exec", "-n", _NAMESPACE, tool, "--", *command)

    def _tool(self, pod: dict[str, Any]) -> str:
        """The tool's pod on the node of `pod`, of the same image, which is there already."""
        node = pod["spec"]["nodeName"]
        if node in self._tools:
            return self._tools[node]
        name = f"muster-e2e-cut-{node}"
        container = {
            "name": "cut",
            "image": pod["spec"]["containers"][0]["image"],
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
        self.cluster.kubectl(
            *("wait", f"pod/{name}", "-n", _NAMESPACE), "--for=condition=Ready", "--timeout=2m"
        )
        return name
