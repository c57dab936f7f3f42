"""Calls to the coordinator over gRPC: connection, token, counting, and errors in our words."""

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import grpc
import grpc.aio

from muster_protos.coordinator_pb2_grpc import CoordinatorServiceStub
from muster_worker.coordinator import (
    CoordinatorError,
    Fenced,
    NotKnown,
    Refused,
    Unavailable,
)
from muster_worker.link import Link, Metadata
from muster_worker.metrics import Metrics

if TYPE_CHECKING:
    # Exists in the generated stub file only.
    from muster_protos.coordinator_pb2_grpc import CoordinatorServiceAsyncStub

log = logging.getLogger(__name__)

CALL_SECONDS = 10.0
HEARTBEAT_SECONDS = 3.0

# Comes from a client of the coordinator; anything else could not be sent.
_TRACEPARENT = re.compile(r"[0-9a-f-]{1,128}")


class NotServed(Unavailable):
    """The coordinator does not know this method."""


_ERRORS: dict[grpc.StatusCode, Callable[[str], CoordinatorError]] = {
    grpc.StatusCode.FAILED_PRECONDITION: Fenced,
    grpc.StatusCode.NOT_FOUND: NotKnown,
    grpc.StatusCode.INVALID_ARGUMENT: Refused,
    grpc.StatusCode.OUT_OF_RANGE: Refused,
    grpc.StatusCode.UNIMPLEMENTED: NotServed,
}


class Calls:
    """What all calls on one link have in common.

    Raises:
        OSError: a file of the link can't be read.
    """

    def __init__(self, link: Link, metrics: Metrics) -> None:
        self._link = link
        self._closing: set[asyncio.Task[None]] = set()
        self._channel = link.channel()
        self.metrics = metrics

    @property
    def stub(self) -> "CoordinatorServiceAsyncStub":
        """The service at the other end."""
        return CoordinatorServiceStub(self._channel)

    def reconnect(self) -> None:
        """Replace the channel; calls that are under way on the old one may end."""
        try:
            new = self._link.channel()
        except OSError as error:
            # In the middle of a rotation; the old channel connects again by itself.
            log.warning("connection not replaced", extra={"error": str(error)})
            return
        old = asyncio.create_task(self._channel.close(grace=CALL_SECONDS))
        self._closing.add(old)
        old.add_done_callback(self._closing.discard)
        self._channel = new

    async def close(self) -> None:
        """Close all channels."""
        await asyncio.gather(self._channel.close(grace=None), *self._closing)

    def metadata(self, traceparent: str = "") -> Metadata:
        """What goes with a call.

        Raises:
            Unavailable: there is no token.
        """
        trace = (("traceparent", traceparent),) if traced(traceparent) else ()
        try:
            return self._link.metadata() + trace
        except (OSError, ValueError) as error:
            raise Unavailable(f"{self._link.token_file}: no token: {error}") from error

    @contextlib.contextmanager
    def counted(self, method: str) -> Iterator[None]:
        """Count the call in this context and translate its error."""
        try:
            yield
        except grpc.aio.AioRpcError as error:
            code = error.code()
            self.metrics.called(method, code.name)
            sentence = f"{method}: {code.name}: {error.details()}"
            raise _ERRORS.get(code, Unavailable)(sentence) from error
        except grpc.aio.BaseError as error:
            # So it ends calls whose channel is closed while they begin.
            raise Unavailable(f"{method}: the connection was closed") from error
        except asyncio.CancelledError as error:
            # grpc.aio raises this in the callers of a channel that is closed under them, too.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            raise Unavailable(f"{method}: the connection was replaced") from error
        else:
            self.metrics.called(method, grpc.StatusCode.OK.name)


def traced(traceparent: str) -> bool:
    """Whether this can be sent as the trace context of a step."""
    return _TRACEPARENT.fullmatch(traceparent) is not None


def accepted(success: bool, message: str) -> None:
    """Look whether the coordinator took something in.

    Raises:
        Refused: it did not.
    """
    if not success:
        raise Refused(message or "refused without a reason")
