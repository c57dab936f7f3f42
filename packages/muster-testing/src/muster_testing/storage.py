"""Real storage nodes: processes of their own, whose data folders outlive them."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from muster_testing.ports import free_port
from muster_testing.waiting import eventually


class StorageNode:
    """A storage node with fixed ports and a fixed data folder, started and ended at will.

    Its configuration and its log lie beside the data folder, as `<node id>.yaml` and `.log`.

    Args:
        root: where its files go.
        settings: keys of the section `storage`; other sections by their own name, as mappings.

    Attributes:
        environment: of its process, besides that of this one.
    """

    def __init__(self, node_id: str, root: Path, settings: Mapping[str, Any] | None = None) -> None:
        self.node_id = node_id
        self.host = "127.0.0.1"
        self.port = free_port()
        self.ops_port = free_port()
        self.data_dir = Path((settings or {}).get("data_dir", root / node_id))
        self.config = root / f"{node_id}.yaml"
        self.log = root / f"{node_id}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self.environment: dict[str, str] = {}
        given = dict(settings or {})
        sections = {
            name: given.pop(name) for name in ("hints", "retention", "tls") if name in given
        }
        own = {
            "node_id": node_id,
            "host": self.host,
            "port": self.port,
            "ops_port": self.ops_port,
            "data_dir": str(self.data_dir),
            # How full the machine's disk is decides no test.
            **{f"disk_{step}": 100 for step in ("warn", "large", "all")},
        }
        # JSON is YAML.
        self.config.write_text(json.dumps({"storage": {**own, **given}, **sections}))

    @property
    def address(self) -> str:
        """host:port of the node's wire protocol."""
        return f"{self.host}:{self.port}"

    @property
    def running(self) -> bool:
        """Whether its process is there, stopped by SIGSTOP or not."""
        return self.process is not None and self.process.poll() is None

    def spawn(self) -> None:
        """Start the process, and wait for nothing."""
        if self.running:
            raise RuntimeError(f"{self.node_id} runs already")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "muster_storage", "--config", str(self.config)],
                stderr=log,
                env={**os.environ, **self.environment},
            )

    async def start(self, deadline: float = 120.0) -> Self:
        """Start the process, and wait until it is ready."""
        self.spawn()
        await self.until_ready(deadline)
        return self

    async def until_ready(self, deadline: float = 120.0) -> None:
        """Wait until the node serves."""

        def ready() -> bool:
            if not self.running:
                raise RuntimeError(f"{self.node_id} ended: {self.tail()}")
            status, body = self.ask("/ready")
            assert status == 200, body
            return True

        await eventually(ready, deadline=deadline, what=f"{self.node_id} ready")

    async def stop(self, deadline: float = 60.0) -> int:
        """End it in order, as Kubernetes does; returns the exit status."""
        process = self._started()
        process.send_signal(signal.SIGCONT)
        process.send_signal(signal.SIGTERM)
        await eventually(
            lambda: process.poll() is not None, deadline=deadline, what=f"{self.node_id} ended"
        )
        return process.returncode

    def kill(self) -> None:
        """Kill it with SIGKILL, and return when it is gone."""
        process = self._started()
        process.kill()
        process.wait()

    def freeze(self) -> None:
        """Stop it with SIGSTOP: its connections stay, it answers nothing."""
        self._started().send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on after `freeze`."""
        self._started().send_signal(signal.SIGCONT)

    def ask(self, path: str) -> tuple[int, Any]:
        """Status and JSON of an operations endpoint; an assertion fails if nobody listens."""
        status, text = self._get(path)
        return status, json.loads(text)

    def metric(self, name: str, **labels: str) -> float | None:
        """The value of one sample, such as `storage_hints_total`; None if there is none."""
        _, text = self._get("/metrics")
        for line in text.splitlines():
            sample, _, value = line.rpartition(" ")
            if sample.partition("{")[0] == name and all(
                f'{label}="{wanted}"' in sample for label, wanted in labels.items()
            ):
                return float(value)
        return None

    def tail(self) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-2000:] if self.log.exists() else ""

    def _get(self, path: str) -> tuple[int, str]:
        url = f"http://{self.host}:{self.ops_port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            raise AssertionError(f"{url}: {error}") from error

    def _started(self) -> "subprocess.Popen[bytes]":
        if self.process is None:
            raise RuntimeError(f"{self.node_id} was never started")
        return self.process


class StorageNodes:
    """Makes storage nodes, and removes them and their data at the end."""

    def __init__(self) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="muster-storage-")
        self.root = Path(self._home.name)
        self.nodes: dict[str, StorageNode] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for node in self.nodes.values():
            if node.running:
                node.kill()
        self._home.cleanup()

    def __call__(self, node_id: str = "", **settings: Any) -> StorageNode:
        """A node that is not started yet: `node = storage_node("s1", sync=False)`."""
        node_id = node_id or f"storage-{len(self.nodes)}"
        if node_id in self.nodes:
            raise ValueError(f"{node_id}: there is a node of this name; start that one again")
        self.nodes[node_id] = StorageNode(node_id, self.root, settings)
        return self.nodes[node_id]
