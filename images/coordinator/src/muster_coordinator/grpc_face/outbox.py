"""What waits to be said to one worker; what is there when a frame is made goes out in it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from muster_protos import coordinator_pb2 as pb

_FRAME_BYTES = 4 * 2**20
"""Of assignments in one frame, unless a single one is larger; a message may have 10 MB."""


class Outbox:
    """Frames for one stream."""

    def __init__(self) -> None:
        self._frame = pb.CoordinatorFrame()
        self._assignments: deque[pb.TaskAssignment] = deque()
        self._wake = asyncio.Event()
        self._ended = False
        self._error: Exception | None = None

    def welcome(self, welcome: pb.Welcome) -> None:
        """The worker is known."""
        self._frame.welcome.CopyFrom(welcome)
        self._wake.set()

    def heartbeat(self, *, known: bool) -> None:
        """A heartbeat is noted."""
        self._frame.heartbeat.CopyFrom(pb.HeartbeatAck(known=known))
        self._wake.set()

    def assign(self, assignment: pb.TaskAssignment) -> None:
        """There is a task for the worker."""
        self._assignments.append(assignment)
        self._wake.set()

    def stop(self, stop: pb.Stop) -> None:
        """An assignment is to end."""
        self._frame.stops.append(stop)
        self._wake.set()

    def drain(self) -> None:
        """The worker gets nothing more."""
        self._frame.drain = True
        self._wake.set()

    def accepted(self, sequence: int) -> None:
        """A report was taken in."""
        self._frame.accepted.append(sequence)
        self._wake.set()

    def refused(self, refusal: pb.Refusal) -> None:
        """A report was not taken in."""
        self._frame.refused.append(refusal)
        self._wake.set()

    def end(self, error: Exception | None = None) -> None:
        """Nothing more is said after what waits; then `frames` ends, or raises `error`."""
        self._ended = True
        self._error = self._error or error
        self._wake.set()

    async def frames(self) -> AsyncIterator[pb.CoordinatorFrame]:
        """All frames, until the end.

        Raises:
            Exception: what `end` was given.
        """
        while True:
            await self._wake.wait()
            self._wake.clear()
            frame = self._next()
            if frame.ByteSize():
                yield frame
            elif self._ended:
                break
            if self._assignments or self._ended:
                self._wake.set()
        if self._error is not None:
            raise self._error

    def _next(self) -> pb.CoordinatorFrame:
        frame, self._frame = self._frame, pb.CoordinatorFrame()
        size = 0
        while self._assignments and size < _FRAME_BYTES:
            assignment = self._assignments.popleft()
            size += assignment.ByteSize()
            frame.assignments.append(assignment)
        return frame
