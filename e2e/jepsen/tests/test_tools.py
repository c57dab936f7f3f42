"""What nemeses break things with does break them, and mends them again."""

import asyncio
import errno
import itertools
import math
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from e2e.jepsen.clock import Clock, build
from e2e.jepsen.disk import Disk
from e2e.jepsen.network import Network
from e2e.jepsen.plan import Kind, plan
from muster_kv.errors import FailureCode
from muster_kv.wire.client import NodeClient, Options
from muster_kv.wire.hello import Identity, Role
from muster_kv.wire.messages import Failure, Found, Get, ReplyBody
from muster_kv.wire.peer import Call
from muster_kv.wire.server import serve
from muster_testing.waiting import eventually

HOUR = 3600
# At each line: what three clocks say, how much time has passed, and how long it waits until a
# moment of the wall clock in a tenth of a second.
_TELLS_TIME = """
import ctypes, datetime, sys, time
libc = ctypes.CDLL(None)
mutex, condition = (ctypes.create_string_buffer(64) for _ in range(2))
def waited():
    begun, end = time.monotonic(), time.time_ns() + 10**8
    libc.pthread_cond_timedwait(
        condition, mutex, (ctypes.c_long * 2)(end // 10**9, end % 10**9)
    )
    return time.monotonic() - begun
libc.pthread_mutex_lock(mutex)
for _ in sys.stdin:
    walls = time.time(), time.time_ns() / 1e9, datetime.datetime.now().timestamp()
    print(*walls, time.monotonic(), waited(), flush=True)
"""


class Links:
    """A node behind a gate, and clients to it by name."""

    def __init__(self, network: Network, port: int) -> None:
        self.network = network
        self.asked: list[bytes] = []
        self.port = port

    async def answer(self, calls: list[Call]) -> list[ReplyBody]:
        """Every slot is found to hold itself."""
        bodies = [call.body for call in calls if isinstance(call.body, Get)]
        self.asked += [body.slot for body in bodies]
        return [Found(body.slot) for body in bodies]

    @asynccontextmanager
    async def client(self, name: str) -> AsyncIterator[NodeClient]:
        """A client that says this name, and keeps connections on which nothing is heard."""
        identity = Identity(name, Role.COORDINATOR, "muster")
        made = NodeClient("127.0.0.1", self.port, identity, options=Options(silence=600.0))
        made.start()
        try:
            yield made
        finally:
            await made.close()


@asynccontextmanager
async def linked() -> AsyncIterator[Links]:
    network = Network()
    links = Links(network, 0)
    server = await serve(
        links.answer, Identity("s-0", Role.STORAGE, "muster"), host="127.0.0.1", port=0
    )
    try:
        links.port = await network.gate("s-0", server.port)
        yield links
    finally:
        await network.close()
        await server.close(0)


async def test_a_pair_that_is_cut_off_hears_nothing_and_others_do() -> None:
    async with linked() as links, links.client("c-0") as cut, links.client("c-1") as whole:
        for client in (cut, whole):
            await client.ready(30)
        links.network.cut(["c-0"], ["s-0"])
        silent = await cut.request(Get(b"a"), 0.2)
        assert isinstance(silent, Failure)
        assert silent.code is FailureCode.TIMEOUT
        assert await whole.request(Get(b"b"), 30) == Found(b"b")
        assert links.asked == [b"b"]
        links.network.mend()
        await cut.ready(30)
        assert await cut.request(Get(b"c"), 30) == Found(b"c")


async def test_one_way_questions_arrive_and_answers_do_not() -> None:
    async with linked() as links, links.client("c-0") as client:
        await client.ready(30)
        links.network.cut(["s-0"], ["c-0"], one_way=True)
        asked = asyncio.create_task(client.request(Get(b"a"), 60))
        await eventually(lambda: links.asked == [b"a"], what="the question arrives")
        # Long enough for an answer that is let through.
        await asyncio.wait({asked}, timeout=0.5)
        assert not asked.done()
        links.network.mend()
        assert await asked == Found(b"a")


async def test_no_connection_begins_while_either_way_is_cut() -> None:
    async with linked() as links:
        links.network.cut(["s-0"], ["c-0"], one_way=True)
        async with links.client("c-0") as client:
            with pytest.raises(TimeoutError):
                await client.ready(0.3)
            links.network.mend()
            await client.ready(30)


async def test_who_connects_to_the_database_is_known_by_the_gate() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(2))
        writer.close()

    network = Network()
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = await network.gate("postgres", server.sockets[0].getsockname()[1], "c-0")
    network.cut(["postgres"], ["c-0"])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"hi")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(2), 0.2)
    network.mend()
    assert await asyncio.wait_for(reader.read(2), 30) == b"hi"
    writer.close()
    await network.close()
    server.close()


def test_a_clock_is_wrong_for_one_process_alone_and_time_passes_all_the_same(
    tmp_path: Path,
) -> None:
    clock = Clock(build(tmp_path), "one")
    process = subprocess.Popen(
        [sys.executable, "-c", _TELLS_TIME],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
        env={**os.environ, **clock.environment},
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        for moved in (0, HOUR, -HOUR, 0):
            clock.move(moved)
            process.stdin.write("\n")
            *walls, passed, waited = map(float, process.stdout.readline().split())
            for wall in walls:
                assert wall == pytest.approx(time.time() + moved, abs=60)
            assert passed == pytest.approx(time.monotonic(), abs=60)
            assert 0.1 <= waited < 60
        process.stdin.close()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk", mebibytes=4)
    yield made
    made.close()


@pytest.mark.integration
async def test_a_full_disk_takes_no_byte_until_it_is_emptied(disk: Disk) -> None:
    kept = disk.place / "kept"
    kept.write_bytes(b"before")
    for _ in range(2):
        disk.fill()
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
            (disk.place / "more").write_bytes(b"more")
        disk.empty()
        (disk.place / "more").write_bytes(b"more")
        (disk.place / "more").unlink()
    assert kept.read_bytes() == b"before"
    disk.empty()


def test_a_seed_says_what_is_done_and_all_kinds_have_their_turn() -> None:
    plans = [plan(seed, 1) for seed in range(100)]
    assert plans == [plan(seed, 1) for seed in range(100)]
    met = {pair for one in plans for pair in itertools.combinations(sorted(one.kinds, key=str), 2)}
    assert len(met) == math.comb(len(Kind), 2)
    assert {len(one.kinds) for one in plans} == {2, 3}
    assert plan(0, 1, [Kind.DISKS]).names == "disks"
    # A clock that is wrong by more than the grace may forget a deletion that not all know of.
    assert all(one.grace_seconds > 1200 for one in plans if Kind.CLOCKS in one.kinds)
