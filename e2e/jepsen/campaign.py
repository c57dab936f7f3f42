"""Many runs, some at a time, each in a process of its own, over one PostgreSQL server."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from e2e.jepsen.one import JUDGING_SECONDS, hand_over, verdict_in
from e2e.jepsen.plan import Plan
from e2e.jepsen.verdict import Verdict
from muster_testing.postgres import PostgresServer

_ENDING_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Ended:
    """A run that is over.

    Args:
        verdict: None where it did not come to one.
        home: logs and history, and what the process said; they are kept where it was not good.
    """

    plan: Plan
    verdict: Verdict | None
    home: Path

    @property
    def good(self) -> bool:
        """Whether nothing was wrong."""
        return self.verdict is not None and self.verdict.good

    @property
    def said(self) -> str:
        """What its process said at last."""
        return (self.home / _OUTPUT).read_text()


_OUTPUT = "output"


async def campaign(plans: Sequence[Plan], at_once: int, told: Callable[[Ended], None]) -> None:
    """Carry out plans, so many at a time; tell of each when it has ended."""
    left = iter(plans)

    async def worker(server: PostgresServer, plans: Iterator[Plan]) -> None:
        for plan in plans:
            one = await _carried_out(plan, server)
            told(one)
            if one.good:
                shutil.rmtree(one.home)

    with PostgresServer() as server:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(at_once, len(plans))):
                group.create_task(worker(server, left))


async def _carried_out(plan: Plan, server: PostgresServer) -> Ended:
    home = Path(tempfile.mkdtemp(prefix=f"muster-jepsen-{plan.seed}-"))
    hand_over(plan, home)
    dsn = await server.create_database()
    with (home / _OUTPUT).open("wb") as output:
        # A session of its own: whoever ends this one ends that in order. And mounts of its own:
        # its disks are gone with it, however it ends.
        process = await asyncio.create_subprocess_exec(
            *("unshare", "--mount", sys.executable, "-m", "e2e.jepsen.one", str(home), dsn),
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        async with asyncio.timeout(plan.seconds + JUDGING_SECONDS + _ENDING_SECONDS):
            await process.wait()
    except TimeoutError:
        pass
    finally:
        await _end(process)
    await _drop(server, dsn)
    return Ended(plan, verdict_in(home), home)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a run that has not ended, with all that it has started."""
    if process.returncode is not None:
        return
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_ENDING_SECONDS):
            await process.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def _drop(server: PostgresServer, dsn: str) -> None:
    name = dsn.rpartition("/")[2]
    connection = await asyncpg.connect(server.dsn())
    try:
        await connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)')
    finally:
        await connection.close()
