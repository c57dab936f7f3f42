"""Where the CPU time of a task goes: `python -m bench.dispatch.cpu`.

Muster alone, as in `bench.dispatch`; the time is that of the processes, user and system, from
/proc, so that it says something on a busy machine too. One line for each round.
"""

import argparse
import os
import sys

from bench.cpu_time import postmaster, seconds_by
from bench.proving.contender import Contender


def main() -> int:
    """Run the rounds."""
    parser = argparse.ArgumentParser(prog="bench.dispatch.cpu", description="Muster's CPU time")
    parser.add_argument("--rounds", type=int, default=5, help="rounds (5)")
    parser.add_argument("--tasks", type=int, default=1000, help="tasks of a round (1000)")
    parser.add_argument("--workers", type=int, default=100, help="simulated workers (100)")
    parser.add_argument("--starts", action="store_true", help="workers say that they began, too")
    parser.add_argument("--single-calls", action="store_true", help="workers speak by single calls")
    arguments = parser.parse_args()
    command = [sys.executable, "-m", "bench.dispatch.muster"]
    with Contender("muster", command, dict(os.environ)) as muster:
        opened = muster.ask(
            do="open",
            workers=arguments.workers,
            starts=arguments.starts,
            single_calls=arguments.single_calls,
        )
        muster.ask(do="run", tasks=arguments.tasks)
        processes = (muster.pid, postmaster(opened["database_port"]))
        for number in range(1, arguments.rounds + 1):
            before = _spent(*processes)
            answer = muster.ask(do="run", tasks=arguments.tasks)
            spent = {
                part: (seconds - before.get(part, 0.0)) / arguments.tasks * 1000
                for part, seconds in _spent(*processes).items()
            }
            wall = answer["seconds"] / arguments.tasks * 1000
            parts = "  ".join(f"{part} {spent[part]:.2f}" for part in sorted(spent))
            load = os.getloadavg()[0]
            print(
                f"round {number}: {wall:.2f} ms a task; CPU ms a task: {parts}  "
                f"all {sum(spent.values()):.2f}; load {load:.1f}",
                flush=True,
            )
    return 0


def _spent(contender: int, database: int) -> dict[str, float]:
    """CPU seconds so far, by part."""
    return seconds_by(lambda pid, command: _part(pid == contender, command), contender, database)


def _part(is_contender: bool, command: bytes) -> str:
    if is_contender:
        return "workers"
    return "coordinator" if b"muster_coordinator" in command else "postgresql"


if __name__ == "__main__":
    sys.exit(main())
