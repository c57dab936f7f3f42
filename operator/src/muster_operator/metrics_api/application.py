"""The HTTP side of the API."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from muster_operator.cluster import ClusterError
from muster_operator.inventory import Inventory
from muster_operator.metrics import OperatorMetrics
from muster_operator.metrics_api import documents
from muster_operator.metrics_api.access import GROUP, Access
from muster_operator.metrics_api.front_proxy import FrontProxy, UnauthenticatedError, User
from muster_operator.metrics_api.queues import METRICS
from muster_operator.metrics_api.selector import SelectorError, parse_selector
from muster_operator.reconcile.reconciler import Reports

log = logging.getLogger(__name__)

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_USER = web.RequestKey("user", User)

_DISCOVERY: dict[str, dict[str, Any]] = {
    "/apis": documents.GROUP_LIST,
    f"/apis/{GROUP}": documents.GROUP_DOCUMENT,
    f"/apis/{documents.GROUP_VERSION}": documents.RESOURCE_LIST,
    "/openapi/v2": documents.OPENAPI_V2,
    "/openapi/v3": documents.OPENAPI_V3_INDEX,
    f"/openapi/v3/apis/{documents.GROUP_VERSION}": documents.OPENAPI_V3,
}


class MetricsApi:
    """Answers the API server's questions about queues.

    Args:
        front_proxy: returns how the front proxy is recognised at present.
        pools: which pools there are, and whose they are.
        reports: what their coordinators said.
    """

    def __init__(
        self,
        front_proxy: Callable[[], FrontProxy],
        access: Access,
        pools: Inventory,
        reports: Reports,
        metrics: OperatorMetrics,
    ) -> None:
        self._front_proxy = front_proxy
        self._access = access
        self._pools = pools
        self._reports = reports
        self._metrics = metrics

    def application(self) -> web.Application:
        """The routes."""
        app = web.Application(middlewares=[self._counted, self._guarded])
        for path in _DISCOVERY:
            app.router.add_get(path, self._discover)
        app.router.add_get(
            f"/apis/{documents.GROUP_VERSION}/namespaces/{{namespace}}/{{metric}}", self._values
        )
        return app

    @web.middleware
    async def _counted(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            response = await handler(request)
        except web.HTTPException as error:
            response = _failed(error.status, error.reason.replace(" ", ""), error.reason)
        self._metrics.metric_requests.labels(str(response.status)).inc()
        return response

    @web.middleware
    async def _guarded(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        certificate = (
            request.transport.get_extra_info("peercert") if request.transport is not None else None
        )
        try:
            request[_USER] = self._front_proxy().identify(certificate, request.headers)
        except UnauthenticatedError as error:
            return _failed(401, "Unauthorized", str(error))
        try:
            return await handler(request)
        except ClusterError as error:
            log.warning("no access review", extra={"error": str(error)})
            return _failed(503, "ServiceUnavailable", "the API server does not say who may ask")

    async def _discover(self, request: web.Request) -> web.Response:
        user = request[_USER]
        if not await self._access.may_discover(user, request.path):
            return _forbidden(user, request.path)
        return web.json_response(_DISCOVERY[request.path])

    async def _values(self, request: web.Request) -> web.Response:
        user = request[_USER]
        namespace, metric = request.match_info["namespace"], request.match_info["metric"]
        if not await self._access.may_list(user, namespace, metric):
            return _forbidden(user, f"{metric} in {namespace}")
        if metric not in METRICS:
            message = f"there is no metric {metric}; there are {' and '.join(METRICS)}"
            return _failed(404, "NotFound", message)
        try:
            matches = parse_selector(request.query.get("labelSelector", ""))
        except SelectorError as error:
            return _failed(400, "BadRequest", str(error))
        values: list[tuple[Mapping[str, str], int]] = []
        for queue in METRICS[metric](self._pools, namespace):
            if not matches(queue.labels):
                continue
            report = self._reports.fresh(queue.coordinator) if queue.coordinator else None
            if report is None:
                # An error, not zero: the autoscaler then keeps the number of workers.
                message = f"the coordinator of {queue} has not answered lately"
                return _failed(503, "ServiceUnavailable", message)
            values.append((queue.labels, report.queue(queue.pool).outstanding))
        return web.json_response(documents.value_list(metric, values, datetime.now(UTC)))


def _forbidden(user: User, what: str) -> web.Response:
    return _failed(403, "Forbidden", f"{user.name} may not read {what}")


def _failed(code: int, reason: str, message: str) -> web.Response:
    return web.json_response(documents.failure(code, reason, message), status=code)
