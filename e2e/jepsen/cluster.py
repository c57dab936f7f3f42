"""A store of real processes: two coordinators, three storage nodes or four, PostgreSQL."""

import asyncio
import json
import shutil
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import msgspec

from e2e.jepsen.clock import Clock, build
from e2e.jepsen.disk import Disk
from e2e.jepsen.network import Network
from e2e.jepsen.plan import Kind, Plan
from e2e.jepsen.replicas import FACTOR, anti_entropy, differing
from images.coordinator.tests.kv.harness import Client, Coordinator, Process, settings
from muster_kv.ring import Member, Phase, Ring
from muster_protos import kv_pb2 as pb
from muster_testing.ports import free_port
from muster_testing.storage import StorageNode
from muster_testing.waiting import eventually

SIBLINGS = "siblings"
LAST_WINS = "last-wins"
DATABASE = "postgres"
_COORDINATORS = 2
_REQUEST_SECONDS = 2
# On a machine that does other things too.
START_SECONDS = 90.0
_ELECTION = {"lease_duration": "3s", "renew_deadline": "2s", "retry_period": "200ms"}


class Front:
    """A coordinator process with ports of its own, which come back with it.

    Args:
        dsn: where it reaches the database.
        home: where its configuration and its log go.
    """

    def __init__(self, dsn: str, name: str, home: Path) -> None:
        self.name = name
        self.environment: dict[str, str] = {}
        self.lock = asyncio.Lock()
        self._ports = (free_port(), free_port())
        self._document = settings(
            dsn,
            server={"node_id": name, "port": self._ports[0], "http_port": self._ports[1]},
            consistency={
                "write_timeout": f"{_REQUEST_SECONDS}s",
                "read_timeout": f"{_REQUEST_SECONDS}s",
            },
            leader_election=_ELECTION,
        )
        self._home = home / name
        self._process: Process | None = None
        self.client = Client(f"127.0.0.1:{self._ports[0]}")

    @property
    def pid(self) -> int | None:
        """Of its process, while there is one."""
        return None if self._process is None else self._process.process.pid

    async def start(self) -> Coordinator:
        """Start the process, and wait until it is ready; the caller closes what is returned."""
        self._process = Process(self._document, self._home, self.environment)
        return await self._process.serving(START_SECONDS)

    def kill(self) -> None:
        """Kill it with SIGKILL, and keep what it logged."""
        if self._process is not None:
            self._process.close()
            with (self._home / "log").open("a") as log:
                log.writelines(json.dumps(line) + "\n" for line in self._process.lines)
            self._process = None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process."""
        if self._process is not None:
            self._process.send(number)


@dataclass(frozen=True, slots=True)
class Reached:
    """Where others reach a storage node: at its gate."""

    node_id: str
    host: str
    port: int


@dataclass(slots=True)
class Machine:
    """A storage node, and what surrounds it.

    Attributes:
        lock: held by who stops, ends or starts its process.
    """

    node: StorageNode
    reached: Reached
    disk: Disk | None
    lock: asyncio.Lock

    @property
    def name(self) -> str:
        """The node's."""
        return self.node.node_id

    async def start(self) -> None:
        """Start it, again where it ends, as Kubernetes does; wait until it serves."""

        async def ready() -> bool:
            if not self.node.running:
                self.node.spawn()
            status, body = await asyncio.to_thread(self.node.ask, "/ready")
            assert status == 200, body
            return True

        what = f"{self.name} serves"
        await eventually(ready, deadline=START_SECONDS, every=0.1, what=what)

    def wipe(self) -> None:
        """Take its data away; it must not run."""
        shutil.rmtree(self.node.data_dir, ignore_errors=True)


class Store:
    """The processes of one run, and what can be asked of them besides what clients ask.

    Attributes:
        spare: the machine that is no member, where there is one.
        database: past the network that the nemesis rules.
    """

    def __init__(
        self,
        machines: list[Machine],
        fronts: list[Front],
        network: Network,
        database: asyncpg.Pool,
    ) -> None:
        self.machines = {machine.name: machine for machine in machines}
        self.fronts = fronts
        self.network = network
        self.database = database
        self.clocks: dict[str, Clock] = {}
        self.spare: Machine | None = machines[FACTOR] if len(machines) > FACTOR else None

    @property
    def members(self) -> list[Machine]:
        """All machines but the spare one."""
        return [machine for machine in self.machines.values() if machine is not self.spare]

    @property
    def parties(self) -> list[str]:
        """All that the network connects."""
        return [*self.machines, *(front.name for front in self.fronts), DATABASE]

    async def begin(self) -> None:
        """Start everything, and make the tenants."""
        (first, *others), _ = await asyncio.gather(
            asyncio.gather(*(front.start() for front in self.fronts)),
            asyncio.gather(*(machine.start() for machine in self.members)),
        )
        await first.join(*(machine.reached for machine in self.members))
        for tenant, policy in ((SIBLINGS, "Siblings"), (LAST_WINS, "LastWriteWins")):
            made = await first.grpc.call(
                "CreateTenant",
                tenant_id=tenant,
                policy=pb.TenantPolicy(
                    conflict_resolution=policy, writes_per_minute=-1, reads_per_minute=-1
                ),
            )
            assert made.success, made.error_message
        for coordinator in (first, *others):
            await coordinator.healthy(FACTOR)
            await coordinator.close()

    async def restart(self, front: Front) -> None:
        """Start a coordinator that was killed."""
        coordinator = await front.start()
        await coordinator.close()

    async def ring(self) -> Ring:
        """The ring in force."""
        query = "SELECT version, phase, members::text FROM ring"
        (row,) = await self.database.fetch(query)
        members = msgspec.json.decode(row["members"], type=tuple[Member, ...])
        return Ring(row["version"], members, Phase(row["phase"]))

    async def anti_entropy(self) -> int | None:
        """A round past the store's own: see `replicas.anti_entropy`."""
        return await anti_entropy(self._nodes(), await self.ring())

    async def differing(self) -> list[str]:
        """Sentences about records that their owners do not have alike."""
        return await differing(self._nodes(), await self.ring())

    def _nodes(self) -> list[StorageNode]:
        return [machine.node for machine in self.members]


@asynccontextmanager
async def store(plan: Plan, home: Path, dsn: str) -> AsyncIterator[Store]:
    """A store that serves while the context is open; what its processes log stays in `home`.

    Args:
        dsn: of an empty database, which is the store's own.
    """
    async with AsyncExitStack() as stack:
        library = build(home) if Kind.CLOCKS in plan.kinds else None
        network = Network()
        stack.push_async_callback(network.close)
        database = await stack.enter_async_context(asyncpg.create_pool(dsn, min_size=1, max_size=2))
        names = [f"s-{n}" for n in range(FACTOR + (Kind.TOPOLOGY in plan.kinds))]
        machines = [await _machine(stack, name, plan, network, home) for name in names]
        fronts = [
            Front(await _through(network, dsn, f"c-{n}"), f"c-{n}", home)
            for n in range(_COORDINATORS)
        ]
        for front in fronts:
            stack.push_async_callback(front.client.close)
            stack.callback(front.kill)
        made = Store(machines, fronts, network, database)
        if library is not None:
            _give_clocks(made, (*machines, *fronts), library)
        await made.begin()
        yield made


async def _machine(
    stack: AsyncExitStack, name: str, plan: Plan, network: Network, home: Path
) -> Machine:
    retention = {"tombstone_grace": f"{plan.grace_seconds}s", "interval": "500ms"}
    given: dict[str, Any] = {"retention": retention, "hints": {"interval": "500ms"}}
    disk = None
    if Kind.DISKS in plan.kinds:
        disk = Disk(home / f"{name}.disk")
        stack.callback(disk.close)
        given |= {"data_dir": str(disk.place / "data"), "write_buffer": "2Mi"}
    node = StorageNode(name, home, given)
    stack.callback(_end, node)
    reached = Reached(name, node.host, await network.gate(name, node.port))
    return Machine(node, reached, disk, asyncio.Lock())


def _end(node: StorageNode) -> None:
    if node.running:
        node.kill()


async def _through(network: Network, dsn: str, front: str) -> str:
    """The connection string of a coordinator, which reaches the database through the network."""
    start, _, rest = dsn.rpartition("@")
    where, _, name = rest.partition("/")
    host, _, port = where.partition(":")
    return f"{start}@{host}:{await network.gate(DATABASE, int(port), front)}/{name}"


def _give_clocks(made: Store, processes: Iterable[Machine | Front], library: Path) -> None:
    for process in processes:
        clock = made.clocks[process.name] = Clock(library, process.name)
        holder = process.node if isinstance(process, Machine) else process
        holder.environment |= clock.environment
