"""One run in a process of its own: `python -m e2e.jepsen.one HOME DSN`, its plan in the folder."""

import asyncio
import logging
import signal
import sys
from pathlib import Path

import msgspec

from e2e.jepsen.plan import Plan
from e2e.jepsen.run import run
from e2e.jepsen.verdict import Verdict

# To start, to heal and to judge, on a machine that does other things too.
JUDGING_SECONDS = 600.0
_PLAN, _VERDICT = "plan.json", "verdict.json"


def hand_over(plan: Plan, home: Path) -> None:
    """Leave a plan for the process."""
    (home / _PLAN).write_bytes(msgspec.json.encode(plan))


def verdict_in(home: Path) -> Verdict | None:
    """What the process has found; None where it did not come to its end."""
    path = home / _VERDICT
    return msgspec.json.decode(path.read_bytes(), type=Verdict) if path.exists() else None


async def _main(home: Path, dsn: str) -> None:
    me = asyncio.current_task()
    if me is not None:
        # What was started ends with it.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, me.cancel)
    plan = msgspec.json.decode((home / _PLAN).read_bytes(), type=Plan)
    verdict = await asyncio.wait_for(run(plan, home, dsn), plan.seconds + JUDGING_SECONDS)
    (home / _VERDICT).write_bytes(msgspec.json.encode(verdict))


if __name__ == "__main__":
    # What is broken on purpose is no news.
    logging.getLogger("muster_kv").addHandler(logging.NullHandler())
    asyncio.run(_main(Path(sys.argv[1]), sys.argv[2]))
