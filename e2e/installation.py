"""Muster on the cluster under test: brought there from the chart, taken away without a trace."""

import fcntl
import json
from pathlib import Path

from e2e.cluster import Cluster

CHART = Path(__file__).parents[1] / "charts" / "muster"
SYSTEM = "muster-system"

_OURS = "--selector=app.kubernetes.io/name=muster"


def next_image(values: Path, name: str) -> str:
    """The image that says of itself that it is the next version of an image of the chart.

    It is built and loaded beside the other, with a tag that ends in `-next`.
    """
    images = json.loads(values.read_text())["images"]
    wanted = f"{images[name]['repository']}:{images[name]['tag']}-next"
    return "/".join(filter(None, (images.get("registry"), wanted)))


class Installation:
    """The one Muster of a cluster; tests may remove it, the next one that needs it brings it back.

    Args:
        cluster: where it is.
        values: values for the chart: the images that were built and loaded.
    """

    def __init__(self, cluster: Cluster, values: Path) -> None:
        self._cluster = cluster
        self._values = values
        self._current = False

    def ensure(self) -> str:
        """Install it unless it is there; its namespace.

        Whatever an earlier run left there is replaced by what is in this checkout.
        """
        # Helm refuses to install what is being installed by a test in another process.
        with self._values.open() as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            self._ensure()
        return SYSTEM

    def _ensure(self) -> None:
        state = self._state()
        if state not in {"", "deployed"}:
            # Helm refuses to go on where a run was killed in the middle.
            self.remove()
        if not (self._current and state == "deployed"):
            self._cluster.helm(
                *("upgrade", "--install", "muster", str(CHART), "-n", SYSTEM),
                *("--create-namespace", "--take-ownership", "--values", str(self._values)),
                *("--wait", "--timeout", "6m"),
            )
            self._current = True

    def remove(self) -> None:
        """Remove it, however it came there, with its definitions and every object of them."""
        run = self._cluster.kubectl
        # With an aggregated API that nobody serves, no namespace can be deleted.
        run("delete", "apiservices", _OURS)
        if run("get", "crds", _OURS, "-o", "name"):
            run("delete", "proverpools,coordinators,kvclusters", "--all", "--all-namespaces")
        self._cluster.helm("uninstall", "muster", "-n", SYSTEM, "--ignore-not-found", "--wait")
        run("delete", "clusterroles,clusterrolebindings,crds", _OURS)
        run("delete", "roles,rolebindings", _OURS, "-n", "kube-system")
        run("delete", "namespace", SYSTEM, "--ignore-not-found", "--timeout=4m")

    def _state(self) -> str:
        """What Helm says of the release; empty where there is none."""
        found = json.loads(self._cluster.helm("list", "--all", "-n", SYSTEM, "-o", "json"))
        return next((str(each["status"]) for each in found if each["name"] == "muster"), "")
