"""Connections to all storage nodes, whose traffic `muster_front` sees to on a thread of its own."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from muster_front import Nodes
from muster_kv.consistency import Group
from muster_kv.errors import FailureCode
from muster_kv.merging import Intent, Outcome
from muster_kv.wire.messages import Failure, Item, ReplyBody, RequestBody
from muster_kv_coordinator.core.asking import Answers, BegunQuestion
from muster_kv_coordinator.core.ports import Meter, OnReply
from muster_kv_coordinator.core.spread import BegunWrite, Ending, Merging, Start, Verdict, Way

log = logging.getLogger(__name__)

_LEAST_SECONDS = 0.001

_encoder = msgspec.msgpack.Encoder()
_reply: msgspec.msgpack.Decoder[ReplyBody] = msgspec.msgpack.Decoder(ReplyBody)
_clock = msgspec.msgpack.Decoder(dict[str, int])
_intent = msgspec.msgpack.Decoder(Intent)


class Connections:
    """A `Together` over the nodes that are open.

    Args:
        nodes: not started yet.
        missed: told the name of a node, of another one, and what the other has that it misses.
    """

    def __init__(
        self, nodes: Nodes, meter: Meter, missed: Callable[[str, str, Item], None]
    ) -> None:
        self._nodes = nodes
        self._meter = meter
        self._missed = missed
        self._loop = asyncio.get_running_loop()
        self._replies: dict[int, OnReply] = {}
        self._asked: dict[int, asyncio.Future[Answers]] = {}
        self._spread: dict[int, asyncio.Future[Ending]] = {}
        self._links: dict[int, Callable[[bool, str], None]] = {}
        self._loop.add_reader(self._nodes.fileno(), self._look)
        self._nodes.start()

    def close(self) -> None:
        """End all of it."""
        self._loop.remove_reader(self._nodes.fileno())
        self._nodes.stop()

    def open(self, node_id: str, host: str, port: int, changed: Callable[[bool, str], None]) -> int:
        """Begin to connect to a node; its number.

        Args:
            changed: told whether there is a connection, and if not, why.
        """
        node = self._nodes.open(node_id, host, port)
        self._links[node] = changed
        return node

    def shut(self, node: int) -> None:
        """End a connection; what is in flight fails."""
        self._links.pop(node, None)
        self._nodes.close(node)

    def judge(self, node: int, *, healthy: bool) -> None:
        """Say whether a node serves."""
        self._nodes.judge(node, healthy)

    def submit(
        self, node: int, body: RequestBody, ring_version: int, seconds: float, on_reply: OnReply
    ) -> None:
        """Ask one node; see `Replica.submit`."""
        number = self._nodes.submit(node, _encoder.encode(body), ring_version, seconds)
        self._replies[number] = on_reply

    def ask(
        self,
        replicas: Sequence[str],
        body: RequestBody,
        ring_version: int,
        least: int,
        end: float,
    ) -> "asyncio.Future[Answers]":
        """Ask several; see `Together.ask`."""
        packed, seconds = _encoder.encode(body), self._left(end)
        number = self._nodes.ask(replicas, packed, ring_version, least, seconds)
        self._asked[number] = answered = self._loop.create_future()
        return answered

    def spread(self, start: Start, way: Way) -> "asyncio.Future[Ending]":
        """Write to several; see `Together.spread`."""
        going = (
            way.ring_version,
            way.writers,
            way.natural,
            tuple(map(_group, way.progress.groups)),
            way.slot,
            self._left(way.end),
            way.unsynced,
        )
        if isinstance(start, Merging):
            outcome, clock = start.outcome.value, _encoder.encode(start.clock)
            number = self._nodes.merge(going, start.record, outcome, clock, start.holders)
        else:
            intent, blind = _encoder.encode(start.intent), start.intent.context is None
            number = self._nodes.take(going, intent, blind, start.base, tuple(start.late))
        self._spread[number] = ended = self._loop.create_future()
        return ended

    def _left(self, end: float) -> float:
        return max(_LEAST_SECONDS, end - self._loop.time())

    def _look(self) -> None:
        for kind, *what in self._nodes.drain():
            try:
                self._take(kind, what)
            except Exception:
                log.exception("handling what a storage node said failed", extra={"kind": kind})

    def _take(self, kind: str, what: list[Any]) -> None:
        match kind:
            case "replied":
                self._replies.pop(what[0])(_read(what[1]))
            case "asked":
                _settle(self._asked.pop(what[0]), _answers(what[1]))
            case "spread":
                _settle(self._spread.pop(what[0]), _ending(*what[1]))
            case "missed":
                target, holder, slot, record = what
                self._missed(target, holder, (slot, record))
            case "hedged":
                for _ in range(what[0]):
                    self._meter.hedged()
            case "link":
                node, up, error = what
                changed = self._links.get(node)
                if changed is not None:
                    changed(up, error)


def _settle(future: "asyncio.Future[Any]", result: object) -> None:
    # Who waited for it may have given up.
    if not future.done():
        future.set_result(result)


def _group(group: Group) -> tuple[tuple[str, ...], int]:
    return group.nodes, group.needed


def _read(packed: bytes) -> ReplyBody:
    try:
        return _reply.decode(packed)
    except msgspec.MsgspecError as error:
        return Failure(FailureCode.INTERNAL, f"an answer that is none: {error}")


def _answers(said: Iterable[tuple[str, bytes]]) -> Answers:
    answers = Answers()
    for node, packed in said:
        reply = _read(packed)
        if isinstance(reply, Failure):
            answers.bad.append(reply)
        else:
            answers.good[node] = reply
    return answers


def _ending(
    verdict: str,
    late: str | None,
    told: tuple[int, bytes, int, int],
    record: bytes,
    acked: Iterable[str],
    failures: Iterable[bytes],
    unsure: bool,
) -> Ending:
    outcome, clock, answered, siblings = told
    replies = map(_read, failures)
    return Ending(
        Verdict(verdict),
        late,
        Outcome(outcome),
        _clock.decode(clock),
        answered,
        siblings,
        record,
        tuple(acked),
        tuple(reply for reply in replies if isinstance(reply, Failure)),
        unsure,
    )


def so_far(begun: tuple[Any, ...] | None) -> BegunQuestion | BegunWrite | None:
    """What has become of a call that a front began with."""
    match begun:
        case ("written", intent, ending):
            return BegunWrite(_intent.decode(intent), _ending(*ending))
        case ("asked", ring_version, answers):
            return BegunQuestion(ring_version, _answers(answers))
    return None
