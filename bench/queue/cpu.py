"""Where the CPU time of a job goes: `python -m bench.queue.cpu`.

Muster and River as in `bench.queue`, but each on a server of its own, so that it is known whose
work the database does. One line for each turn.
"""

import argparse
import asyncio
import os
import sys

from bench import go_program
from bench.cpu_time import postmaster, seconds_by
from bench.proving.contender import Contender
from bench.queue.__main__ import RIVER
from muster_testing.postgres import PostgresServer


def main() -> int:
    """Run the turns."""
    parser = argparse.ArgumentParser(prog="bench.queue.cpu", description="CPU time of a job")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (3)")
    parser.add_argument("--jobs", type=int, default=10_000, help="jobs of one turn (10000)")
    parser.add_argument("--batch", type=int, default=500, help="jobs of one submission (500)")
    parser.add_argument("--workers", type=int, default=2_000, help="jobs at work at once (2000)")
    parser.add_argument("--alone", action="store_true", help="Muster without River")
    arguments = parser.parse_args()
    commands = {"muster": [sys.executable, "-m", "bench.queue.muster"]}
    if not arguments.alone:
        commands["river"] = [str(go_program.build(RIVER))]
    for name, command in commands.items():
        _measure(name, command, arguments)
    return 0


def _measure(name: str, command: list[str], arguments: argparse.Namespace) -> None:
    with PostgresServer() as server, Contender(name, command, dict(os.environ)) as one:
        dsn = asyncio.run(server.create_database())
        one.ask(do="open", dsn=dsn, workers=arguments.workers)
        one.ask(do="run", jobs=max(arguments.batch, arguments.jobs // 5), batch=arguments.batch)
        database = postmaster(server.port)
        for number in range(1, arguments.rounds + 1):
            before = _spent(one.pid, database)
            [wall] = one.ask(do="run", jobs=arguments.jobs, batch=arguments.batch)["seconds"]
            spent = {
                part: (seconds - before[part]) / arguments.jobs * 1e6
                for part, seconds in _spent(one.pid, database).items()
            }
            parts = "  ".join(f"{part} {spent[part]:.0f}" for part in sorted(spent))
            print(
                f"{name} {number}: {arguments.jobs / wall:.0f} jobs a second; "
                f"CPU us a job: {parts}  all {sum(spent.values()):.0f}; "
                f"load {os.getloadavg()[0]:.1f}",
                flush=True,
            )


def _spent(contender: int, database: int) -> dict[str, float]:
    return seconds_by(
        lambda _, command: "postgresql" if b"postgres" in command.split(b"\0")[0] else "itself",
        contender,
        database,
    )


if __name__ == "__main__":
    sys.exit(main())
