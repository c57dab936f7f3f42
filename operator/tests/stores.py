"""A KVCluster's coordinators as the operator sees them, over a real HTTP server."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web

Json = dict[str, Any]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class FakeStore:
    """Keeps nodes and tenants as coordinators do: nodes join at once until there is a tenant.

    `refusing` is the sentence with which new tenants are refused, `staying` that with which nodes
    may not leave; `others` are migrations besides those of nodes, to which changes of factors come
    where it is `slow`; nodes that are `ahead` hold a ring that the database has not. `calls` is
    what was changed, `shown` the authorizations of all requests.
    """

    def __init__(self) -> None:
        self.nodes: dict[str, Json] = {}
        self.tenants: dict[str, Json] = {}
        self.calls: list[str] = []
        self.refusing = ""
        self.staying = ""
        self.others: list[Json] = []
        self.slow = False
        self.ahead: list[str] = []
        self.shown: set[str] = set()
        self.under = 0
        self.ring = 0
        self.url = ""

    async def _topology(self, _: web.Request) -> web.Response:
        kinds = {"draining": "node_deletion", "joining": "node_addition"}
        of_nodes = [
            migration(kinds[node["status"]], name)
            for name, node in self.nodes.items()
            if node["status"] in kinds
        ]
        factors = [each["replication_factor"] for each in self.tenants.values()]
        return web.json_response(
            {
                "ring_version": self.ring,
                "phase": "stable",
                "under_replicated_ranges": self.under,
                "hints_waiting": 7,
                "migrations": [*of_nodes, *self.others],
                "nodes_ahead": self.ahead,
                "replication_factor": max(factors, default=0),
                "smallest_replication_factor": min(factors, default=0),
            }
        )

    async def _cancel(self, request: web.Request) -> web.Response:
        name = request.match_info["id"].removeprefix("m-")
        self.calls.append(f"cancel {name}")
        back = {"draining": "active", "joining": "inactive"}
        self.nodes[name]["status"] = back[self.nodes[name]["status"]]
        return web.json_response({"status": "success"}, status=202)

    async def _remove(self, request: web.Request) -> web.Response:
        if self.staying:
            return refusal(409, "NODE_IN_USE", self.staying)
        name = request.match_info["name"]
        self.calls.append(f"remove {name}")
        self.nodes[name]["status"] = "draining" if self.tenants else "inactive"
        return web.json_response({"status": "success"}, status=202)

    async def _list(self, _: web.Request) -> web.Response:
        return web.json_response({"status": "success", "nodes": list(self.nodes.values())})

    async def _add(self, request: web.Request) -> web.Response:
        node = await request.json()
        known = self.nodes.get(node["node_id"])
        if known and known["zone"] != node["zone"]:
            return refusal(409, "NODE_IN_USE", "is a member in another zone")
        status = "joining" if self.tenants else "active"
        if known and known["status"] != "inactive":
            status = known["status"]
        self.ring += status == "active"
        self.calls.append(f"add {node['node_id']}")
        self.nodes[node["node_id"]] = {**node, "status": status}
        return web.json_response({"status": "success"}, status=202)

    async def _create(self, request: web.Request) -> web.Response:
        if self.refusing:
            return refusal(400, "INVALID_REQUEST", self.refusing)
        tenant = await request.json()
        self.calls.append(f"create {tenant['tenant_id']}")
        self.tenants[tenant["tenant_id"]] = {**tenant, "nodes": len(self.nodes)}
        return web.json_response({"status": "success"}, status=201)

    async def _tenant(self, request: web.Request) -> web.Response:
        found = self.tenants.get(request.match_info["name"])
        if found is None:
            return refusal(404, "TENANT_NOT_FOUND", "there is no such tenant")
        return web.json_response({"status": "success", **found})

    async def _policy(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self.calls.append(f"policy {name}")
        self.tenants[name]["policy"] = await request.json()
        return web.json_response({"status": "success"})

    async def _factor(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        self.calls.append(f"factor {name}")
        if self.slow:
            self.others = [migration("replication_change", name)]
        else:
            factor = (await request.json())["replication_factor"]
            self.tenants[name]["replication_factor"] = factor
        return web.json_response({"status": "success"})

    @web.middleware
    async def _noted(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/v1/"):
            self.shown.add(request.headers.get("Authorization", ""))
        return await handler(request)

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator["FakeStore"]:
        """Serve both faces on one free port."""
        app = web.Application(middlewares=[self._noted])
        app.add_routes(
            [
                web.get("/topology", self._topology),
                web.get("/v1/admin/storage-nodes", self._list),
                web.post("/v1/admin/storage-nodes", self._add),
                web.delete("/v1/admin/storage-nodes/{name}", self._remove),
                web.post("/v1/admin/migrations/{id}/cancel", self._cancel),
                web.post("/v1/tenants", self._create),
                web.get("/v1/tenants/{name}", self._tenant),
                web.put("/v1/tenants/{name}/policy", self._policy),
                web.put("/v1/tenants/{name}/replication-factor", self._factor),
            ]
        )
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield self
        finally:
            await runner.cleanup()


def migration(kind: str, of: str, waiting_for: str = "") -> Json:
    """One that has not ended, of a node or (`replication_change`) a tenant."""
    of_tenant = kind == "replication_change"
    return {
        "migration_id": f"m-{of}",
        "type": kind,
        "node_id": "" if of_tenant else of,
        "tenant_id": of if of_tenant else "",
        "status": "in_progress",
        "stage": "copying",
        "keys_migrated": 50,
        "total_keys": 200,
        "percentage": 25,
        "waiting_for": waiting_for,
    }


def refusal(status: int, code: str, message: str) -> web.Response:
    body = {"status": "error", "error_code": code, "message": message}
    return web.json_response(body, status=status)
