"""`externalscaler.ExternalScaler`: how much work there is, as KEDA asks for it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from muster_coordinator.engine.errors import InvalidRequest
from muster_coordinator.engine.ports import QueueStore
from muster_coordinator.grpc_face.server import Service
from muster_coordinator.proving.offers import Offers
from muster_protos import externalscaler_pb2 as pb
from muster_protos.externalscaler_pb2_grpc import (
    ExternalScalerServicer,
    add_ExternalScalerServicer_to_server,
)

METRIC = "muster_outstanding_tasks"
POOL, TARGET = "pool", "targetTasksPerWorker"

_SERVICE = pb.DESCRIPTOR.services_by_name["ExternalScaler"].full_name
_MOST_TASKS = 100_000

_Context = grpc.aio.ServicerContext[Any, Any]


class ExternalScaler(ExternalScalerServicer):
    """See protos/externalscaler.proto.

    Any replica answers, from the database. While that is away the answer is UNAVAILABLE and never
    zero, and KEDA keeps the workers that there are.

    Args:
        every: seconds between two looks at the queue for those who listen to it.
    """

    def __init__(self, queue: QueueStore, offers: Offers, every: float) -> None:
        self._queue = queue
        self._offers = offers
        self._every = every

    async def IsActive(  # noqa: N802 - the contract's name, as all here
        self, request: pb.ScaledObjectRef, _context: _Context
    ) -> pb.IsActiveResponse:
        """Whether any task of the pool is unfinished."""
        return pb.IsActiveResponse(result=await self._outstanding(request) > 0)

    async def StreamIsActive(  # noqa: N802
        self, request: pb.ScaledObjectRef, _context: _Context
    ) -> AsyncIterator[pb.IsActiveResponse]:
        """The same, at once and whenever it changes, for as long as somebody listens."""
        told: bool | None = None
        while True:
            active = await self._outstanding(request) > 0
            if active is not told:
                yield pb.IsActiveResponse(result=active)
                told = active
            await asyncio.sleep(self._every)

    async def GetMetricSpec(  # noqa: N802
        self, request: pb.ScaledObjectRef, _context: _Context
    ) -> pb.GetMetricSpecResponse:
        """One metric, and how many tasks make one worker."""
        self._pool(request)
        target = _target(request)
        spec = pb.MetricSpec(metric_name=METRIC, target_size=target, target_size_float=target)
        return pb.GetMetricSpecResponse(metric_specs=[spec])

    async def GetMetrics(  # noqa: N802
        self, request: pb.GetMetricsRequest, _context: _Context
    ) -> pb.GetMetricsResponse:
        """The number of the pool's unfinished tasks."""
        if request.metric_name != METRIC:
            raise InvalidRequest(f"metricName is {request.metric_name[:64]!r}; allowed: {METRIC}")
        tasks = await self._outstanding(request.scaled_object_ref)
        value = pb.MetricValue(metric_name=METRIC, metric_value=tasks, metric_value_float=tasks)
        return pb.GetMetricsResponse(metric_values=[value])

    async def _outstanding(self, request: pb.ScaledObjectRef) -> int:
        pool = self._pool(request)
        return sum(
            depth.pending + depth.assigned + depth.in_progress
            for depth in await self._queue.depth()
            if depth.pool == pool
        )

    def _pool(self, request: pb.ScaledObjectRef) -> str:
        name = request.scaler_metadata.get(POOL, "")
        if name not in self._offers.pools:
            served = ", ".join(self._offers.pools) or "none"
            raise InvalidRequest(f"scalerMetadata.{POOL} is {name[:64]!r}; allowed: {served}")
        return name


def _target(request: pb.ScaledObjectRef) -> int:
    text = request.scaler_metadata.get(TARGET, "")
    number = int(text) if text.isascii() and text.isdecimal() and len(text) <= 6 else 0
    if not 1 <= number <= _MOST_TASKS:
        raise InvalidRequest(
            f"scalerMetadata.{TARGET} is {text[:64]!r}; allowed: 1 to {_MOST_TASKS}"
        )
    return number


def scaler_service(scaler: ExternalScaler) -> Service:
    """The service of KEDA."""
    return Service(_SERVICE, lambda server: add_ExternalScalerServicer_to_server(scaler, server))
