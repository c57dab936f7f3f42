"""The cluster under test, through the programs that a user has: kubectl and helm."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


class CommandError(AssertionError):
    """A command failed; an AssertionError, so that waiting for it to succeed is possible."""


@dataclass(frozen=True)
class Cluster:
    """A Kubernetes cluster that the tests may do with as they like.

    Args:
        kubeconfig: how to reach it.
        bin: the folder with kubectl and helm.
    """

    kubeconfig: Path
    bin: Path

    def run(self, program: str, *words: str, stdin: str | None = None) -> str:
        """Run kubectl or helm in at most ten minutes and return what it printed.

        Raises:
            CommandError: it failed; with its words.
        """
        done = subprocess.run(
            [self.bin / program, f"--kubeconfig={self.kubeconfig}", *words],
            check=False,
            input=stdin or "",
            capture_output=True,
            text=True,
            timeout=600,
        )
        if done.returncode != 0:
            raise CommandError(f"{program} {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        """Run kubectl."""
        return self.run("kubectl", *words, stdin=stdin)

    def helm(self, *words: str) -> str:
        """Run helm."""
        return self.run("helm", *words)

    def get(self, kind: str, name: str, namespace: str) -> dict[str, Any]:
        """Read one object."""
        found: dict[str, Any] = json.loads(
            self.kubectl("get", kind, name, "-n", namespace, "-o", "json")
        )
        return found

    def list(self, kind: str, namespace: str, selector: str = "") -> Sequence[dict[str, Any]]:
        """Read the objects of a kind."""
        items: list[dict[str, Any]] = json.loads(
            self.kubectl("get", kind, "-n", namespace, "-l", selector, "-o", "json")
        )["items"]
        return items

    def apply(self, manifest: Mapping[str, Any], namespace: str) -> None:
        """Apply one object, as `kubectl apply -f` does."""
        self.kubectl("apply", "-n", namespace, "-f", "-", stdin=yaml.safe_dump(dict(manifest)))

    def condition(self, kind: str, name: str, namespace: str, condition: str) -> str:
        """The status of a condition: True, False, Unknown, or empty where it is not there."""
        for found in self.get(kind, name, namespace).get("status", {}).get("conditions", []):
            if found["type"] == condition:
                return str(found["status"])
        return ""

    def node_address(self) -> str:
        """The address of a node, for NodePort Services."""
        path = "{.items[0].status.addresses[?(@.type=='InternalIP')].address}"
        return self.kubectl("get", "nodes", "-o", f"jsonpath={path}").strip()
