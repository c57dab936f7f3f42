"""What workers say about themselves, and ask for: registering, living, leaving, keys."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from muster_broker import messages as wire
from muster_broker.envelope import Envelope, Malformed
from muster_coordinator.broker_face import messages
from muster_coordinator.broker_face.sessions import Sessions
from muster_coordinator.engine.errors import NotFound
from muster_coordinator.engine.ports import KeyStore
from muster_coordinator.engine.registry import Registry
from muster_coordinator.proving.keyring import KeyRing
from muster_coordinator.proving.offers import Offers

_Take = Callable[[str, Envelope], Awaitable[wire.Answer]]


@dataclass(frozen=True, slots=True)
class Keys:
    """Where proving keys are."""

    store: KeyStore
    ring: KeyRing
    offers: Offers


@dataclass(frozen=True, slots=True)
class Manners:
    """What workers are told when they register.

    Args:
        coordinator_id: this replica.
        heartbeat_ms: how often they should send heartbeats.
        news_ms: how often news of this replica come.
    """

    coordinator_id: str
    heartbeat_ms: int
    news_ms: int


class Asks:
    """Answers workers."""

    def __init__(
        self, registry: Registry, sessions: Sessions, keys: Keys, manners: Manners
    ) -> None:
        self._registry = registry
        self._sessions = sessions
        self._keys = keys
        self._manners = manners
        self._takers: dict[str, _Take] = {
            wire.Ask.REGISTER: self._register,
            wire.Ask.HEARTBEAT: self._beat,
            wire.Ask.DRAIN: self._drain,
            wire.Ask.LEAVE: self._leave,
            wire.Ask.LIST_KEYS: self._list_keys,
        }

    def answers(self, kind: str) -> bool:
        """Whether a type of message is answered here."""
        return kind in self._takers

    async def take(self, worker_id: str, message: Envelope) -> wire.Answer:
        """What is answered to a message.

        Raises:
            Malformed: its type is none of these, or its payload is none.
            EngineError: it is not taken in.
        """
        taker = self._takers.get(message.type)
        if taker is None:
            allowed = ", ".join(wire.Ask)
            raise Malformed(f"type is {message.type[:64]!r}; allowed: {allowed}")
        return await taker(worker_id, message)

    async def key(self, message: Envelope) -> AsyncIterator[bytes]:
        """The key that `keys.get` asks for, in pieces.

        Raises:
            Malformed: the payload is none.
            NotFound: there is no such key.
        """
        said = wire.read(message, wire.GetKey)
        found = False
        async for data in self._keys.store.proving_key(said.key_id, said.version):
            found = True
            yield data
        if not found:
            raise NotFound(f"key {said.key_id[:128]} {said.version[:128]}: there is none")

    async def _register(self, worker_id: str, message: Envelope) -> wire.Answer:
        said = wire.read(message, wire.Register)
        held = messages.holding(worker_id, said)
        pool = self._keys.offers.pool(said.pool)
        await self._registry.register(messages.registration(worker_id, said, pool.name))
        await self._sessions.open(worker_id, message.message_id, held)
        manners = self._manners
        return wire.Registered(
            message=f"registered in pool {pool.name}",
            coordinator_id=manners.coordinator_id,
            heartbeat_ms=manners.heartbeat_ms,
            news_ms=manners.news_ms,
        )

    async def _beat(self, worker_id: str, message: Envelope) -> wire.Answer:
        said = wire.read(message, wire.Heartbeat)
        if not await self._registry.beat(worker_id, said.active_tasks):
            raise NotFound(f"worker {worker_id}: unknown; register first")
        return wire.Answer()

    async def _drain(self, worker_id: str, _: Envelope) -> wire.Answer:
        await self._registry.drain(worker_id, "its own word")
        return wire.Answer()

    async def _leave(self, worker_id: str, _: Envelope) -> wire.Answer:
        self._sessions.close(worker_id)
        await self._registry.deregister(worker_id)
        return wire.Answer()

    async def _list_keys(self, _: str, message: Envelope) -> wire.Answer:
        said = wire.read(message, wire.ListKeys)
        pool = self._keys.offers.pool(said.pool)
        return wire.Keys(
            keys=tuple(
                wire.KeyInfo(
                    key_id=record.key_id,
                    version=record.version,
                    proving_key_sha256=record.proving_key_sha256,
                    size_bytes=record.size_bytes,
                )
                for record in await self._keys.ring.provable(pool)
            )
        )
