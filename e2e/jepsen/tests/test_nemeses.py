"""Each nemesis does to a real store what it says, and the store has mended when it is done."""

import asyncio
import itertools
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest
import pytest_asyncio

from e2e.jepsen.cluster import SIBLINGS, Front, Store, store
from e2e.jepsen.nemeses.clocks import Clocks
from e2e.jepsen.nemeses.disks import Disks
from e2e.jepsen.nemeses.nemesis import Nemesis
from e2e.jepsen.nemeses.partitions import Partitions
from e2e.jepsen.nemeses.processes import Processes
from e2e.jepsen.nemeses.topology import Topology
from e2e.jepsen.plan import Kind, plan
from e2e.jepsen.replicas import folders
from images.worker.tests.storage.conftest import intent, talking
from muster_kv.merging import lww_record
from muster_kv.record import encode
from muster_kv.slots import slot
from muster_kv.wire.messages import Cause, Merged, MergeMany
from muster_protos import kv_pb2 as pb
from muster_testing.postgres import PostgresServer
from muster_testing.waiting import eventually

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

SEED = 1
Watch = Callable[[], Awaitable[None]]
Watching = Callable[[Nemesis, Watch], None]
NUMBERS = itertools.count()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def made(
    tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer
) -> AsyncIterator[Store]:
    """A store that all kinds of trouble can be made for."""
    one, home = plan(SEED, 0, list(Kind)), tmp_path_factory.mktemp("jepsen")
    async with store(one, home, await postgres.create_database()) as found:
        yield found


@pytest.fixture
def watching(monkeypatch: pytest.MonkeyPatch) -> Watching:
    """Let faults last as long as somebody looks at what they do."""

    def watch(nemesis: Nemesis, look: Watch) -> None:
        async def a_while(most: float = 0) -> None:
            await look()

        monkeypatch.setattr(nemesis, "a_while", a_while)

    return watch


async def _writes(front: Front) -> bool:
    answer = await front.client.write(f"k{next(NUMBERS)}", b"v", tenant=SIBLINGS)
    assert answer.success or answer.error_code == pb.QUORUM_NOT_REACHED, answer
    return bool(answer.success)


async def _works(made: Store) -> None:
    """Wait until every coordinator writes at a quorum."""
    for front in made.fronts:
        await eventually(partial(_writes, front), what=f"{front.name} writes")


def _states(made: Store) -> list[str]:
    """Of the members' processes, as the kernel says: T is stopped; gone is nothing."""
    found = []
    for machine in made.members:
        process = machine.node.process
        running = process is not None and machine.node.running
        found.append(_state(process.pid) if process and running else "")
    return found


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


async def test_who_has_no_quorum_on_its_side_acknowledges_nothing(made: Store) -> None:
    cut, whole = made.fronts
    made.network.cut([cut.name], ["s-0", "s-1"])
    assert not await _writes(cut)
    await eventually(partial(_writes, whole), what="who has a quorum writes")
    made.network.mend()
    await _works(made)


async def test_replicas_that_are_not_alike_are_found_and_made_so(made: Store) -> None:
    async def alike() -> bool:
        await made.anti_entropy()
        return not await made.differing()

    await eventually(alike, what="replicas are alike")
    where = slot(SIBLINGS, "unlike")
    record = encode(lww_record(intent(b"v")), where)
    async with talking(made.members[0].node) as talk:
        merged = await talk.ask(MergeMany(((where, record),), Cause.REPAIR))
        assert isinstance(merged, Merged), merged
    assert await made.differing() == [f"{where!r}: replicas differ"]
    await eventually(alike, what="replicas are alike again")


async def test_partitions_are_cut_and_mended(made: Store, watching: Watching) -> None:
    partitions, seen = Partitions(made, SEED), []

    def cut() -> set[tuple[str, str]]:
        pairs = itertools.permutations(made.parties, 2)
        return {pair for pair in pairs if not made.network.is_whole(*pair)}

    async def look() -> None:
        seen.append(cut())

    watching(partitions, look)
    for fault in (
        partitions.cut_in_two,
        partitions.cut_a_minority,
        partitions.cut_one_way,
        partitions.cut_one_off,
    ):
        await fault()
        assert not cut()
    both_ways, minority, one_way, one_off = seen
    assert len(minority) == 2 * 2 * (len(made.parties) - 2)
    assert both_ways == {(sink, source) for source, sink in both_ways} != set()
    assert one_way
    assert not one_way & {(sink, source) for source, sink in one_way}
    assert len(one_off) == 2 * (len(made.parties) - 1)
    await _works(made)


async def _show(states: Callable[[], list[str]], wanted: str, times: int) -> None:
    """Wait until so many processes are in a state; they obey a signal when it is their turn."""
    what = f"{times} processes are {wanted or 'gone'}"
    await eventually(lambda: states().count(wanted) == times, what=what)


async def test_nodes_are_killed_and_stopped_and_come_back(made: Store, watching: Watching) -> None:
    processes = Processes(made, SEED)
    watching(processes, lambda: _show(lambda: _states(made), "", 1))
    await processes.kill_a_node()
    watching(processes, lambda: _show(lambda: _states(made), "T", 1))
    await processes.stop_a_node()
    watching(processes, lambda: _show(lambda: _states(made), "T", 2))
    await processes.stop_two_nodes()
    before = {machine.node.process for machine in made.members}
    await processes.kill_all_nodes()
    assert not before & {machine.node.process for machine in made.members}
    await _show(lambda: _states(made), "", 0)
    await _show(lambda: _states(made), "T", 0)
    await _works(made)


async def test_coordinators_are_killed_and_stopped(made: Store, watching: Watching) -> None:
    processes = Processes(made, SEED)

    def states() -> list[str]:
        return [_state(front.pid) if front.pid else "" for front in made.fronts]

    watching(processes, lambda: _show(states, "T", 1))
    await processes.stop_a_coordinator()
    watching(processes, lambda: _show(states, "", 1))
    await processes.kill_a_coordinator()
    await _works(made)


async def test_clocks_of_coordinators_stamp_what_is_not_so(made: Store, watching: Watching) -> None:
    clocks = Clocks(made, SEED)

    async def stamps(front: Front) -> list[float]:
        """By how many seconds the timestamps of a coordinator are wrong, once it gives some."""
        key = f"clock{next(NUMBERS)}"
        # Timestamps are told where there is more than one value.
        for _ in range(2):
            wrote = await front.client.write(key, b"v", tenant=SIBLINGS, context=pb.VectorClock())
            assert wrote.success, wrote.error_message
        found = await front.client.read(key, tenant=SIBLINGS)
        assert len(found.siblings) == 2
        return [abs(one.timestamp_us / 1e6 - time.time()) for one in found.siblings]

    async def wrong_by() -> float:
        wrong = [await eventually(partial(stamps, front), what="stamps") for front in made.fronts]
        return max(itertools.chain(*wrong))

    async def look() -> None:
        assert await wrong_by() > 30

    watching(clocks, look)
    await clocks.move_all_clocks()
    await clocks.heal()
    assert await wrong_by() < 30


async def test_nodes_without_a_byte_take_no_write(made: Store, watching: Watching) -> None:
    disks, seen = Disks(made, SEED), []

    async def look() -> None:
        free = [os.statvfs(machine.node.data_dir).f_bavail for machine in made.members]
        seen.append(free.count(0))

        async def refused() -> bool:
            return not await _writes(made.fronts[0])

        await eventually(refused, what="no quorum has room")

    watching(disks, look)
    await disks.fill_two_disks()
    assert seen == [2]
    await _works(made)


async def test_members_come_and_go_and_lose_their_disks(made: Store, watching: Watching) -> None:
    topology = Topology(made, SEED)
    watching(topology, lambda: asyncio.sleep(0))
    await topology.settled()
    before = await folders([machine.node for machine in made.members])
    await topology.come_or_go()
    assert len((await made.ring()).members) == 4
    await topology.lose_a_disk()
    held = await folders([machine.node for machine in made.members])
    assert len([name for name, folder in before.items() if held[name] == folder]) >= 2
    assert len(set(held.values()) - set(before.values())) in (1, 2)
    await topology.come_or_go()
    assert len((await made.ring()).members) == 3
    assert made.spare is not None
    assert not made.spare.node.data_dir.exists()
    await _works(made)
