"""What clients do all the time: registers, sets and counters, each client one thing at a time."""

import asyncio
import itertools
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial

from e2e.jepsen.clients import NEVER_READ, Connection, Seen, Told
from e2e.jepsen.cluster import Front
from e2e.jepsen.history import Addition, Again, History, Outcome, Read, Write

# Keys that all clients of a tenant share.
SET, COUNTER = "set", "counter"
_TRIES = 4
_GENERATION_SECONDS = 3.0
# How many of the keys that were deleted last are looked at again: those of about two seconds.
_LOOKED_AT = 20


class Workload:
    """Clients of one tenant, and what they wrote down."""

    def __init__(self, fronts: Sequence[Front], tenant: str, seed: int) -> None:
        self.history = History()
        self.stop = asyncio.Event()
        self.fronts = fronts
        self.tenant = tenant
        self._seed = seed
        self._names = 0

    def connection(self, number: int) -> Connection:
        """The connection of a client."""
        return Connection(self.fronts, self.tenant, number)

    def drawn(self, client: str) -> random.Random:
        """Chances of one client: the same for the same seed."""
        return random.Random(f"{self._seed}/{self.tenant}/{client}")

    def name(self, client: str) -> str:
        """A name for something that is written, unlike all others."""
        self._names += 1
        return f"{client}-{self._names}"


async def registers(work: Workload, client: int) -> None:
    """Read, write what follows from that, delete; try again what has an idempotency key.

    Keys that nobody writes any more are still read: what was deleted there must stay so.
    """
    chance, connection = work.drawn(f"r{client}"), work.connection(client)
    elsewhere = work.connection(client + 1)
    last: dict[str, Seen] = {}
    begun_at = time.monotonic()
    while not work.stop.is_set():
        newest = int((time.monotonic() - begun_at) / _GENERATION_SECONDS)
        if newest and chance.random() < 0.25:
            await _seen(work, connection, _key(chance, chance.randrange(newest)))
            continue
        key = _key(chance, newest)
        seen = NEVER_READ if chance.random() < 0.15 else await _seen(work, connection, key)
        # Who can't read writes with what it knew: that is when a store might take what it may not.
        seen = last[key] = last.get(key, NEVER_READ) if seen is None else seen
        # Keys whose name ends in "b" are written without a context now and then.
        blind = key.endswith("b") and chance.random() < 0.3
        write = Write(
            key,
            work.name(f"r{client}"),
            None if blind else seen.replaced,
            time.monotonic(),
            deletes=chance.random() < 0.25,
        )
        tries = _TRIES if chance.random() < 0.5 else 1
        ended = await _written(work, connection, write, None if blind else seen, tries)
        if ended.outcome is not Outcome.DONE:
            continue
        if chance.random() < 0.3:
            # What was acknowledged by one coordinator is so for all.
            await _seen(work, elsewhere, key)
        if tries > 1 and chance.random() < 0.3:
            told = await _asked(connection, write, None if blind else seen, write.name)
            if told.outcome is Outcome.DONE:
                work.history.agains.append(Again(key, write.name, told.duplicate))


async def deletions(work: Workload) -> None:
    """Write keys that nobody else writes, delete them, and look whether one comes back.

    What one coordinator has acknowledged is asked of the other, which may be with other nodes.
    """
    chance, gone = work.drawn("d"), deque[str](maxlen=_LOOKED_AT)
    here, there = work.connection(0), work.connection(1)
    while not work.stop.is_set():
        key = work.name("d")
        made = Write(key, f"{key}-made", frozenset(), time.monotonic())
        await _written(work, here, made, NEVER_READ)
        seen = await _seen(work, there, key)
        if seen is not None and seen.replaced:
            deleted = Write(key, f"{key}-gone", seen.replaced, time.monotonic(), deletes=True)
            await _written(work, here, deleted, seen)
            gone.append(key)
        for looked_at in chance.sample(gone, min(3, len(gone))):
            await _seen(work, there, looked_at)
        here, there = there, here


def _key(chance: random.Random, generation: int) -> str:
    return f"r{generation}-{chance.choice('012b')}"


async def _seen(work: Workload, connection: Connection, key: str) -> Seen | None:
    begun = time.monotonic()
    seen = await connection.read(key)
    if seen is not None:
        read = Read(key, seen.values, begun, time.monotonic(), seen.replaced)
        work.history.reads.append(read)
    return seen


async def _asked(connection: Connection, write: Write, seen: Seen | None, again: str) -> Told:
    value = None if write.deletes else write.name
    return await connection.write(write.key, value, None if seen is None else seen.context, again)


async def _written(
    work: Workload, connection: Connection, write: Write, seen: Seen | None, tries: int = 1
) -> Write:
    """Write it down as done at last, or not; several tries are one by the idempotency key."""
    again = write.name if tries > 1 else ""
    outcome, doubts = await _tried(lambda: _asked(connection, write, seen, again), tries)
    left = time.monotonic()
    ended = write.ended if outcome is Outcome.UNKNOWN else left
    told = replace(write, outcome=outcome, ended=ended, left=left, doubts=doubts)
    work.history.writes.append(told)
    return told


async def _tried(
    ask: Callable[[], Awaitable[Told]], tries: int, *, until_known: bool = False
) -> tuple[Outcome, int]:
    """Ask until it is done, so many times at most; how it ended, and how often nobody knew.

    Args:
        until_known: what may have happened is asked for until it has.
    """
    doubts = 0
    for tried in itertools.count(1):
        outcome = (await ask()).outcome
        doubts += outcome is Outcome.UNKNOWN
        if outcome is Outcome.DONE:
            return outcome, doubts
        if tried >= tries and not (until_known and doubts):
            break
    return (Outcome.UNKNOWN if doubts else Outcome.NOT_DONE), doubts


async def sets(work: Workload, client: int, key: str) -> None:
    """Add elements to a set that is one value: what siblings have is joined by who writes next."""
    connection = work.connection(client)
    while not work.stop.is_set():
        seen = await connection.read(key)
        if seen is None:
            continue
        element = work.name(f"s{client}")
        value = " ".join(sorted(members(seen.values) | {element}))
        addition = Addition(key, element, time.monotonic())
        write = partial(connection.write, key, value, seen.context)
        outcome, doubts = await _tried(write, 1)
        work.history.additions.append(
            replace(addition, outcome=outcome, left=time.monotonic(), doubts=doubts)
        )


def members(values: frozenset[str]) -> frozenset[str]:
    """The elements of a set whose siblings are these."""
    return frozenset(element for value in values for element in value.split())


async def increments(work: Workload, client: int, key: str) -> None:
    """Add to a counter: each amount is a sibling of all others, until somebody adds them up.

    What may be there is asked for until it is, so that the total is known to one in the end.
    """
    chance, connection = work.drawn(f"i{client}"), work.connection(client)
    while not work.stop.is_set():
        amount = chance.randint(1, 9)
        name = work.name(f"i{client}")
        addition = Addition(key, name, time.monotonic(), amount=amount)
        write = partial(connection.write, key, f"{amount} {name}", NEVER_READ.context, name)
        outcome, doubts = await _tried(write, _TRIES, until_known=True)
        work.history.additions.append(
            replace(addition, outcome=outcome, left=time.monotonic(), doubts=doubts)
        )
        if outcome is Outcome.DONE and chance.random() < 0.3:
            again = await write()
            if again.outcome is Outcome.DONE:
                work.history.agains.append(Again(key, name, again.duplicate))


async def adding_up(work: Workload, key: str) -> None:
    """Replace a counter's siblings by their sum, again and again; two at a time would count twice.

    A sum of which nobody knows whether it was written is written until that is known.
    """
    connection = work.connection(0)
    while not work.stop.is_set():
        seen = await connection.read(key)
        if seen is None or len(seen.replaced) < 2:
            await asyncio.sleep(0.05)
            continue
        name = work.name("sum")
        summed = f"{total(seen.replaced)} {name}"
        await _tried(
            partial(connection.write, key, summed, seen.context, name), 1, until_known=True
        )


def total(values: frozenset[str]) -> int:
    """What a counter with these siblings stands at."""
    return sum(int(value.partition(" ")[0]) for value in values)
