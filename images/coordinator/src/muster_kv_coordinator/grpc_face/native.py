"""Calls from the native front: many handed over at once, their answers too.

What grpc.aio does for each call (two trips between threads, three tasks, objects for contexts and
handlers) costs several times what a write costs here without it.
"""

import asyncio
import logging
import sys
from functools import partial

import grpc
from google.protobuf.message import DecodeError, Message

from muster_front import Front
from muster_kv_coordinator.api.caller import Caller
from muster_kv_coordinator.api.service import NAME, Service
from muster_kv_coordinator.grpc_face.stream import Begin, NativeStreams
from muster_kv_coordinator.nodes.connections import so_far

log = logging.getLogger(__name__)

_INVALID_ARGUMENT: int = grpc.StatusCode.INVALID_ARGUMENT.value[0]
_INTERNAL: int = grpc.StatusCode.INTERNAL.value[0]


class NativeFront:
    """Answers the calls of a front in this loop.

    A call that its client gives up is cancelled, as is one whose deadline has passed.
    """

    def __init__(self, front: Front, service: Service) -> None:
        self._front = front
        self._service = service
        self._methods = [
            (name, method.request.FromString) for name, method in service.methods.items()
        ]
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._replies: list[tuple[int, bytes]] = []
        self._loop = asyncio.get_running_loop()
        self._begin = _eager(self._loop)
        self._streams = NativeStreams(front.streams, service, self._begin)
        self._started = False
        self.ended: asyncio.Future[None] = self._loop.create_future()

    def start(self) -> None:
        """Begin to serve."""
        self._started = True
        self._loop.add_reader(self._front.fileno(), self._look)
        self._streams.start()
        self._front.start()

    async def stop(self, grace: float) -> None:
        """Take no more calls, and cut off after `grace` seconds those that have not ended."""
        if not self._started:
            return
        self._front.stop(grace)
        await self.ended
        await asyncio.to_thread(self._front.join)

    def _look(self) -> None:
        arrived, given_up, ended = self._front.drain()
        for number, method, data, seconds, authorization, common_name, begun in arrived:
            name, parse = self._methods[method]
            try:
                request = parse(data)
            except DecodeError:
                text = f"the request is no message of {name}; allowed: its protobuf form"
                self._front.fail(number, _INVALID_ARGUMENT, text)
                continue
            caller = Caller(authorization or "", common_name or "", seconds, so_far(begun))
            task = self._begin(self._serve(number, name, request, caller))
            if not task.done():
                self._tasks[number] = task
        for number in given_up:
            # One that has not begun never comes to the end of `_serve`.
            left = self._tasks.pop(number, None)
            if left is not None:
                left.cancel()
        if ended:
            self._loop.remove_reader(self._front.fileno())
            self._streams.stop()
            # That the end cut them off may be told after the end, to nobody.
            for left in self._tasks.values():
                left.cancel()
            if not self.ended.done():
                self.ended.set_result(None)

    async def _serve(self, number: int, name: str, request: Message, caller: Caller) -> None:
        try:
            answer = await self._service.call(name, request, caller)
            data = answer.SerializeToString()
        except Exception:
            log.exception("an answer can't be sent", extra={"method": name})
            self._front.fail(number, _INTERNAL, "internal error; see the coordinator's log")
        else:
            if not self._replies:
                self._loop.call_soon(self._flush)
            self._replies.append((number, data))
        finally:
            self._tasks.pop(number, None)

    def _flush(self) -> None:
        replies, self._replies = self._replies, []
        self._front.reply(replies)


def paths(service: Service) -> list[str]:
    """The paths of the calls that a `NativeFront` answers, in its order."""
    return [f"/{NAME}/{name}" for name in service.methods]


def _eager(loop: asyncio.AbstractEventLoop) -> Begin:
    """Tasks that begin at once, where this Python has them: most calls wait but once or twice."""
    if sys.version_info >= (3, 12):
        return partial(asyncio.Task, loop=loop, eager_start=True)
    return loop.create_task
