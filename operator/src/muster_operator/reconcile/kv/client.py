"""Asking the coordinators of a KVCluster, by their HTTP faces.

Every call has a deadline and is made once: the next reconciling asks again.
"""

import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import quote

import aiohttp

from muster_api.kv_tenants import KVTenant
from muster_operator import naming
from muster_operator.reconcile.kv.access import OPEN, Access
from muster_operator.resources import Key

_DEADLINE_SECONDS = 5.0
_NOT_FOUND = 404


class SilentError(Exception):
    """No coordinator answered in time, or none can at the moment: ask again later."""


class AnswerError(Exception):
    """A coordinator refused; the text is its sentence.

    Args:
        status: of HTTP.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Faces:
    """Addresses of a KVCluster's coordinators: of the API, and of the operations port."""

    api: str
    ops: str


def faces_in_cluster(cluster: Key) -> Faces:
    """Where the coordinators of a KVCluster are reached."""
    host = naming.kv_api_host(cluster)
    return Faces(f"{host}:{naming.KV_HTTP_PORT}", f"{host}:{naming.KV_OPS_PORT}")


@dataclass(frozen=True, slots=True)
class Member:
    """A storage node as coordinators list it.

    Args:
        status: joining, active, draining, inactive; an inactive one has left, or never joined.
    """

    host: str
    port: int
    status: str
    zone: str = ""
    virtual_nodes: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """A migration that has not ended.

    Args:
        of: the storage node or the tenant.
        waiting_for: why it does not go on; empty where it does.
    """

    id: str
    type: str
    of: str
    status: str
    percent: int = 0
    stage: str = ""
    waiting_for: str = ""


@dataclass(frozen=True, slots=True)
class Topology:
    """How a store stands.

    Args:
        under_replicated: ranges of the ring that lack a replica.
        ahead: storage nodes that hold a newer ring than the database has.
        factor: the largest replication factor of all tenants, however they were made; 0 without
            tenants, None where coordinators don't tell.
        smallest: the smallest; 0 without tenants, or where coordinators don't tell.
    """

    ring_version: int
    under_replicated: int = 0
    hints_waiting: int = 0
    work: tuple[Work, ...] = field(default=())
    ahead: tuple[str, ...] = ()
    factor: int | None = None
    smallest: int = 0


class StoreClient(AbstractAsyncContextManager["StoreClient"]):
    """One conversation with the coordinators of a KVCluster.

    Every method raises `SilentError`, and `AnswerError` where it is refused.
    """

    def __init__(self, faces: Faces, access: Access = OPEN) -> None:
        self._faces = faces
        self._access = access
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_DEADLINE_SECONDS)
        )

    async def __aenter__(self) -> Self:
        """Begin it."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """End it."""
        await self._session.close()

    async def topology(self) -> Topology:
        """How the store stands."""
        answer = await self._ask("GET", f"http://{self._faces.ops}/topology")
        try:
            return Topology(
                int(answer["ring_version"]),
                int(answer["under_replicated_ranges"]),
                int(answer["hints_waiting"]),
                tuple(map(_work, answer["migrations"])),
                # Coordinators of the version before don't tell.
                tuple(map(str, answer.get("nodes_ahead", ()))),
                int(answer["replication_factor"]) if "replication_factor" in answer else None,
                int(answer.get("smallest_replication_factor", 0)),
            )
        except (KeyError, TypeError, ValueError):
            raise SilentError("the state of the ring can't be read") from None

    async def members(self) -> dict[str, Member]:
        """The storage nodes by their names."""
        answer = await self._ask("GET", self._url("admin/storage-nodes"))
        try:
            return {
                str(node["node_id"]): Member(
                    str(node["host"]),
                    int(node["port"]),
                    str(node["status"]),
                    str(node.get("zone", "")),
                    int(node.get("virtual_nodes", 0)),
                )
                for node in answer["nodes"]
            }
        except (KeyError, TypeError, ValueError):
            raise SilentError("the list of storage nodes can't be read") from None

    async def add(self, node: str, member: Member) -> None:
        """Register a storage node; one that is there already gets its address."""
        body = {
            "node_id": node,
            "host": member.host,
            "port": member.port,
            "zone": member.zone,
            "virtual_nodes": member.virtual_nodes,
        }
        await self._ask("POST", self._url("admin/storage-nodes"), body)

    async def remove(self, node: str) -> None:
        """Have a storage node's records moved away; asking again changes nothing."""
        await self._ask("DELETE", self._url("admin/storage-nodes", node))

    async def cancel(self, migration: str) -> None:
        """Have a migration ended that is not too far; asking again changes nothing."""
        await self._ask("POST", self._url("admin/migrations", migration, "cancel"))

    async def tenant(self, name: str) -> Mapping[str, Any] | None:
        """A tenant: `replication_factor` and `policy`; None where there is none."""
        try:
            return await self._ask("GET", self._url("tenants", name))
        except AnswerError as error:
            if error.status == _NOT_FOUND:
                return None
            raise

    async def create(self, tenant: KVTenant) -> None:
        """Make a tenant."""
        body = {
            "tenant_id": tenant.name,
            "replication_factor": tenant.replication_factor,
            "policy": policy(tenant),
        }
        await self._ask("POST", self._url("tenants"), body)

    async def set_policy(self, tenant: KVTenant) -> None:
        """Have a tenant's data treated as it says."""
        await self._ask("PUT", self._url("tenants", tenant.name, "policy"), policy(tenant))

    async def set_factor(self, tenant: KVTenant) -> None:
        """Want its number of replicas; asking again changes nothing."""
        body = {"replication_factor": tenant.replication_factor}
        await self._ask("PUT", self._url("tenants", tenant.name, "replication-factor"), body)

    def _url(self, path: str, *parts: str) -> str:
        base = f"{'https' if self._access.tls else 'http'}://{self._faces.api}/v1"
        return "/".join([base, path, *(quote(part, safe="") for part in parts)])

    async def _ask(
        self, method: str, url: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        try:
            async with self._session.request(
                method,
                url,
                json=body,
                allow_redirects=False,
                headers=self._access.headers(time.time()),
                ssl=self._access.tls or True,
            ) as response:
                answer = await response.json()
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise SilentError(str(error) or type(error).__name__) from None
        if not isinstance(answer, dict):
            raise SilentError("the answer is no object")
        if 200 <= status < 300:
            return answer
        said = (answer.get("error_code"), answer.get("message", f"status {status}"))
        text = ": ".join(str(part) for part in said if part)
        if status >= 500:
            raise SilentError(text)
        raise AnswerError(status, text)


def policy(tenant: KVTenant) -> dict[str, Any]:
    """A tenant's policy as the API has it."""
    return {
        "conflict_resolution": tenant.conflict_resolution,
        "durability": tenant.durability,
        "idempotency": tenant.idempotency,
        "writes_per_minute": tenant.writes_per_minute,
        "reads_per_minute": tenant.reads_per_minute,
    }


def _work(migration: Mapping[str, Any]) -> Work:
    return Work(
        str(migration["migration_id"]),
        str(migration["type"]),
        str(migration["node_id"] or migration["tenant_id"]),
        str(migration["status"]),
        int(migration["percentage"]),
        str(migration["stage"]),
        str(migration["waiting_for"]),
    )
