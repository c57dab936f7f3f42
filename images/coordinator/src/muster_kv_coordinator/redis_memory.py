"""Operations in Redis: where retries of tenants with `idempotency: Redis` are recognised."""

import logging
from collections.abc import Callable
from typing import cast

import msgspec
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import RedisError

from muster_kv.clock import VectorClock
from muster_kv_coordinator.config import RedisSection
from muster_kv_coordinator.core.errors import UnavailableError
from muster_kv_coordinator.core.ports import Remembered

log = logging.getLogger(__name__)

_PREFIX = b"muster:kv:op:"
_SECONDS = 24 * 3600
_CALL_SECONDS = 0.5


class _Entry(msgspec.Struct, array_like=True):
    digest: bytes
    clock: VectorClock
    replicas: int = 0


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Entry)


class RedisMemory:
    """A `Memory` in Redis.

    Args:
        failed: told of each call that Redis did not answer.
    """

    def __init__(self, section: RedisSection, failed: Callable[[], None]) -> None:
        self._failed = failed
        pool: BlockingConnectionPool = BlockingConnectionPool(
            host=section.host,
            port=section.port,
            db=section.db,
            password=section.secret(),
            max_connections=section.pool_size,
            timeout=_CALL_SECONDS,
            socket_timeout=_CALL_SECONDS,
            socket_connect_timeout=_CALL_SECONDS,
            retry=Retry(ExponentialWithJitterBackoff(cap=0.1, base=0.01), section.max_retries),
        )
        self._redis: Redis = Redis.from_pool(pool)
        self._warm = section.min_idle_conns

    async def open(self) -> None:
        """Open connections ahead, as far as Redis is there."""
        pool = self._redis.connection_pool
        held = []
        try:
            for _ in range(min(self._warm, pool.max_connections)):
                connection = await pool.get_connection()  # type: ignore[no-untyped-call]
                held.append(connection)
        except (RedisError, OSError, TimeoutError) as error:
            log.warning("Redis is away", extra={"error": repr(error)})
        for connection in held:
            await pool.release(connection)

    async def recall(self, op: bytes) -> Remembered | None:
        """What is known of an operation.

        Raises:
            UnavailableError: Redis is away, or has what is none of ours.
        """
        try:
            data = await self._redis.get(_PREFIX + op)
        except (RedisError, OSError, TimeoutError) as error:
            raise self._away(error) from error
        if data is None:
            return None
        try:
            entry = _decoder.decode(cast("bytes", data))
        except msgspec.MsgspecError as error:
            raise self._away(error) from error
        return Remembered(entry.digest, entry.clock, entry.replicas)

    async def remember(self, op: bytes, happened: Remembered) -> None:
        """Know an operation for 24 hours; where Redis is away, replicas know it anyway."""
        data = _encoder.encode(_Entry(happened.digest, happened.clock, happened.replicas))
        try:
            await self._redis.set(_PREFIX + op, data, ex=_SECONDS, nx=True)
        except (RedisError, OSError, TimeoutError) as error:
            self._away(error)

    async def ping(self) -> bool:
        """Whether Redis answers."""
        try:
            await self._redis.ping()
        except (RedisError, OSError, TimeoutError):
            return False
        return True

    async def close(self) -> None:
        """Close all connections."""
        await self._redis.aclose()

    def _away(self, error: Exception) -> UnavailableError:
        self._failed()
        log.warning("Redis is of no use", extra={"error": repr(error)})
        return UnavailableError("Redis is away")
