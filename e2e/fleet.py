"""A ProverPool under test: its API, its database, its pods."""

import asyncio
import contextlib
import socket
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from e2e.cluster import Cluster
from muster_testing.waiting import eventually, eventually_sync

ENDED = {"completed", "failed", "cancelled"}

# What every namespace has of its own.
_OF_THE_NAMESPACE = {"configmap/kube-root-ca.crt", "serviceaccount/default"}
_UNTRACKED = {"events", "events.events.k8s.io"}


def fixed(workers: int) -> dict[str, Any]:
    """The spec of a pool that always has the same number of workers."""
    return {"replicas": workers, "autoscaling": {"enabled": False}}


@dataclass(frozen=True)
class Fleet:
    """One ProverPool with a Coordinator of its own, in a namespace of its own."""

    cluster: Cluster
    namespace: str
    pool: str

    def manifest(self, **spec: Any) -> dict[str, Any]:
        """The ProverPool's manifest, small and fast to start; `spec` is laid over it."""
        return {
            "apiVersion": "muster.dev/v1alpha1",
            "kind": "ProverPool",
            "metadata": {"name": self.pool},
            "spec": {
                "circuits": [{"name": "merkle"}],
                "keys": {"insecureSetup": True},
                **spec,
            },
        }

    def pods(self, component: str) -> Sequence[dict[str, Any]]:
        """The pods of a component that are not on their way out."""
        selector = f"app.kubernetes.io/component={component}"
        found = self.cluster.list("pods", self.namespace, selector)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def leader(self) -> str:
        """The pod that holds the coordinator's Lease; empty while nobody does."""
        lease = self.cluster.get("lease", f"{self.pool}-coordinator", self.namespace)
        return str(lease["spec"].get("holderIdentity") or "")

    def kill(self, pod: str) -> None:
        """Kill a pod without any grace, as a lost node does."""
        self.cluster.kubectl(
            "delete",
            "pod",
            pod,
            "-n",
            self.namespace,
            "--grace-period=0",
            "--force",
            "--wait=false",
        )

    def left(self) -> set[str]:
        """Everything in the namespace, by kind and name."""
        kubectl = self.cluster.kubectl
        kinds = kubectl("api-resources", "--namespaced", "--verbs=list", "-o", "name").split()
        wanted = ",".join(sorted(set(kinds) - _UNTRACKED))
        names = kubectl("get", wanted, "-n", self.namespace, "-o", "name").split()
        return set(names) - _OF_THE_NAMESPACE

    def query(self, sql: str) -> list[list[str]]:
        """Run SQL in the pool's managed database; rows of text."""
        out = self.cluster.kubectl(
            *("exec", "-n", self.namespace, f"{self.pool}-postgres-0", "--"),
            *("psql", "-h", "/var/run/postgresql", "-U", "muster", "-d", "muster"),
            *("-At", "-F", "\t", "-c", sql),
        )
        return [line.split("\t") for line in out.splitlines()]

    def expose(self, name: str, selector: dict[str, str], port: int) -> str:
        """Make a port of pods reachable from the machine of the tests; return its address.

        A NodePort reaches whichever replica is ready; a port-forward would die with one pod.
        """
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name},
            "spec": {"type": "NodePort", "selector": selector, "ports": [{"port": port}]},
        }
        self.cluster.apply(service, self.namespace)
        found = self.cluster.get("service", name, self.namespace)["spec"]["ports"][0]["nodePort"]
        address = self.cluster.node_address()

        def answered() -> bool:
            # The node opens its port some time after the Service is there.
            with contextlib.suppress(OSError), socket.create_connection((address, found), 20):
                return True
            return False

        eventually_sync(answered, deadline=240, what=f"port {port} can be reached")
        return f"{address}:{found}"

    def api(self) -> str:
        """The URL of the pool's API, reachable from the machine of the tests."""
        selector = {
            "muster.dev/coordinator": self.pool,
            "app.kubernetes.io/component": "coordinator",
        }
        return f"http://{self.expose(f'{self.pool}-e2e', selector, 8080)}"


class UnexpectedAnswerError(Exception):
    """The API answered what it never may, such as that it does not know an accepted task."""


class Client:
    """A client of the API that does not give up while replicas come and go.

    It tries again where nobody answers, and where the answer is 503 or 429; nothing else is
    forgiven.
    """

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def submit(self, circuit: str, inputs: dict[str, Any]) -> str:
        """Queue a task; its id once the coordinator has acknowledged it."""
        # An answer may be lost; what is asked again is the same task.
        key = {"Idempotency-Key": str(uuid.uuid4())}

        async def accepted() -> str | None:
            path = f"/api/v1/tasks/{circuit}"
            request = self._http.build_request("POST", path, json=inputs, headers=key)
            answer = await self._answer(request, httpx.codes.ACCEPTED)
            return None if answer is None else str(answer["task_id"])

        return await eventually(accepted, deadline=300, what="the task is accepted")

    async def ended(self, task_id: str, deadline: float) -> dict[str, Any]:
        """Wait until a task has ended, and return it."""

        async def found() -> dict[str, Any] | None:
            path = f"/api/v1/tasks/{task_id}"
            request = self._http.build_request("GET", path, params={"wait": "5s"})
            task = await self._answer(request, httpx.codes.OK)
            return task if task is not None and task["status"] in ENDED else None

        what = f"task {task_id} has ended"
        return await eventually(found, deadline=deadline, every=0.2, what=what)

    async def _answer(self, request: httpx.Request, wanted: int) -> dict[str, Any] | None:
        try:
            answer = await self._http.send(request)
        except httpx.TransportError:
            return None
        if answer.status_code in {
            httpx.codes.SERVICE_UNAVAILABLE,
            httpx.codes.TOO_MANY_REQUESTS,
        }:
            return None
        if answer.status_code != wanted:
            raise UnexpectedAnswerError(f"{request.url}: {answer.status_code} {answer.text}")
        found: dict[str, Any] = answer.json()
        return found

    async def key(self, circuit: str) -> dict[str, Any]:
        """The verifying key of a circuit."""
        path = f"/api/v1/circuits/{circuit}/verification-key"

        async def given() -> dict[str, Any] | None:
            return await self._answer(self._http.build_request("GET", path), httpx.codes.OK)

        return await eventually(given, deadline=180, what=f"the key of {circuit} is given")

    async def all_ended(self, task_ids: Sequence[str], deadline: float) -> list[dict[str, Any]]:
        """Wait until every task has ended, and return them in order."""
        return await asyncio.gather(*(self.ended(task_id, deadline) for task_id in task_ids))


@asynccontextmanager
async def client(fleet: Fleet) -> AsyncIterator[Client]:
    """A client of a fleet's API."""
    limits = httpx.Limits(max_connections=50)
    url = await asyncio.to_thread(fleet.api)
    async with httpx.AsyncClient(base_url=url, timeout=30, limits=limits) as http:
        yield Client(http)
