"""Clients of the store that know what they were told, and what they were not."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from e2e.jepsen.cluster import Front
from e2e.jepsen.history import Outcome
from muster_protos import kv_pb2 as pb

_SECONDS = 2.5
_PAUSE_SECONDS = 0.01
_EMPTY = pb.VectorClock()


@dataclass(frozen=True, slots=True)
class Seen:
    """What a read was shown.

    Args:
        values: of all siblings.
        context: of a write that replaces them; empty where the store could promise none.
    """

    values: frozenset[str]
    context: pb.VectorClock

    @property
    def replaced(self) -> frozenset[str]:
        """What a write with the context replaces."""
        return self.values if self.context.entries else frozenset()


NEVER_READ = Seen(frozenset(), _EMPTY)


@dataclass(frozen=True, slots=True)
class Told:
    """How a write ended, as far as its client knows."""

    outcome: Outcome
    duplicate: bool = False


class Connection:
    """One client, which speaks to one coordinator after the other.

    Args:
        tenant: whose keys.
    """

    def __init__(self, fronts: Sequence[Front], tenant: str, first: int = 0) -> None:
        self._fronts = fronts
        self._tenant = tenant
        self._at = first

    async def read(self, key: str, level: str = "quorum") -> Seen | None:
        """All values of a key; None where that can't be known."""
        answer = await self._call("ReadKeyValue", key=key, consistency=level)
        if answer is None:
            return None
        if answer.error_code == pb.KEY_NOT_FOUND:
            return Seen(frozenset(), answer.vector_clock)
        if not answer.success:
            return None
        held = [sibling.value for sibling in answer.siblings] or [answer.value]
        return Seen(frozenset(value.decode() for value in held), answer.vector_clock)

    async def write(
        self, key: str, value: str | None, context: pb.VectorClock | None, idempotency_key: str = ""
    ) -> Told:
        """Write once, or delete where there is no value. Without a context what is there goes."""
        fields: dict[str, Any] = {"key": key, "idempotency_key": idempotency_key}
        if context is not None:
            fields["context"] = context
        if value is not None:
            fields["value"] = value.encode()
        name = "DeleteKeyValue" if value is None else "WriteKeyValue"
        answer = await self._call(name, **fields)
        if answer is None:
            return Told(Outcome.UNKNOWN)
        if answer.success:
            return Told(Outcome.DONE, answer.is_duplicate)
        if answer.error_code == pb.QUORUM_NOT_REACHED and (
            "may have happened" in answer.error_message
        ):
            return Told(Outcome.UNKNOWN)
        if answer.error_code == pb.INTERNAL_ERROR:
            return Told(Outcome.UNKNOWN)
        return Told(Outcome.NOT_DONE)

    async def _call(self, method: str, **fields: Any) -> Any:
        """The answer of the coordinator whose turn it is; None where there is none."""
        front = self._fronts[self._at % len(self._fronts)]
        # What is to be found needs processes that have time to fail in every way, not load.
        await asyncio.sleep(_PAUSE_SECONDS)
        try:
            return await front.client.call(method, _SECONDS, tenant_id=self._tenant, **fields)
        except grpc.aio.AioRpcError:
            self._at += 1
            return None
