"""What JetStream keeps: the events of workers until they are stored, and those that can't be."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import nats.js.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DiscardPolicy,
    RetentionPolicy,
    StorageType,
    StreamConfig,
)

from muster_broker.subjects import CONSUMER, Subjects

_API_SECONDS = 3.0
_ACK_SECONDS = 30.0
_AT_ONCE = 1000
"""Events that all coordinators together have in hand."""

_DUPLICATES_SECONDS = 120.0
_DEAD_LETTERS_SECONDS = 7 * 24 * 3600.0
_DEAD_LETTERS_BYTES = 32 * 2**20
_NAME_IN_USE = 10058


@dataclass(frozen=True, slots=True)
class Keeping:
    """How much JetStream keeps: copies of it, and bytes of events that nobody has stored yet."""

    replicas: int
    max_bytes: int


async def prepare(client: Client, subjects: Subjects, keeping: Keeping) -> None:
    """Make the streams and the consumer, or bring them up to date.

    Raises:
        nats.errors.Error: the broker can't, or does not answer.
    """
    stream = client.jetstream(timeout=_API_SECONDS)
    await _ensure(stream, _events(subjects, keeping))
    await _ensure(stream, _dead_letters(subjects, keeping))
    await stream.add_consumer(subjects.events_stream, _consumer(subjects))


async def listen(
    client: Client, subjects: Subjects, arrived: Callable[[Msg], Awaitable[None]]
) -> Subscription:
    """Have events handed to `arrived`, each to one of all coordinators that listen.

    Raises:
        nats.errors.Error: the broker can't.
    """
    return await client.subscribe(subjects.delivery, queue=CONSUMER, cb=arrived)


async def _ensure(stream: JetStreamContext, config: StreamConfig) -> None:
    try:
        await stream.add_stream(config)
    except nats.js.errors.BadRequestError as error:
        if error.err_code != _NAME_IN_USE:
            raise
        await stream.update_stream(config)


def _events(subjects: Subjects, keeping: Keeping) -> StreamConfig:
    return StreamConfig(
        name=subjects.events_stream,
        subjects=[subjects.events],
        # Gone as soon as a coordinator has stored what it says.
        retention=RetentionPolicy.WORK_QUEUE,
        storage=StorageType.FILE,
        num_replicas=keeping.replicas,
        max_bytes=keeping.max_bytes,
        # A full stream takes nothing new, and its senders keep it; nothing is thrown away.
        discard=DiscardPolicy.NEW,
        duplicate_window=_DUPLICATES_SECONDS,
    )


def _dead_letters(subjects: Subjects, keeping: Keeping) -> StreamConfig:
    return StreamConfig(
        name=subjects.dead_letters_stream,
        subjects=[subjects.dead_letters],
        retention=RetentionPolicy.LIMITS,
        storage=StorageType.FILE,
        num_replicas=keeping.replicas,
        max_bytes=_DEAD_LETTERS_BYTES,
        max_age=_DEAD_LETTERS_SECONDS,
        discard=DiscardPolicy.OLD,
    )


def _consumer(subjects: Subjects) -> ConsumerConfig:
    # nats-py's pull fetches wait until a batch is full; events are pushed as they come.
    return ConsumerConfig(
        name=CONSUMER,
        durable_name=CONSUMER,
        ack_policy=AckPolicy.EXPLICIT,
        ack_wait=_ACK_SECONDS,
        max_deliver=-1,
        max_ack_pending=_AT_ONCE,
        deliver_subject=subjects.delivery,
        deliver_group=CONSUMER,
    )
