"""Jobs a second, and how soon a job is taken in and begun: Muster and River on one PostgreSQL.

Both are up in this one run, each in a process of its own with a database of its own on the same
server, and take turns in every round, so that whatever else the machine does meets both. A job does
nothing; a round lasts from the first submission until the last job is stored as completed. Muster
fences each step, keeps it in its audit, and stores a result; River, as it is by default, does not.
Both work in the process of their user, both are submitted to in batches of the same size, and both
may work on as many jobs at once. A figure is the median over the rounds.
"""

import argparse
import asyncio
import os
import platform
import statistics
import sys
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import go_program
from bench.figures import Figure, publish
from bench.proving.contender import Contender
from muster_testing.postgres import PostgresServer

RIVER = Path(__file__).parent / "river"
MODULE = "github.com/riverqueue/river"

LEAST_RATIO = 1.2
"""What is promised: so many times River's jobs a second."""

RUNNING_P95_MS = 50.0
"""What is promised from a submission to its being at work on an idle system."""

SUBMIT_P95_MS = 100.0
"""What is promised of a submission while so many a second come."""


def main() -> int:
    """Runs the bench; 1 if a promise is broken."""
    parser = argparse.ArgumentParser(prog="bench.queue", description="Muster and River")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contender (5)")
    parser.add_argument("--jobs", type=int, default=20_000, help="jobs of one turn (20000)")
    parser.add_argument("--batch", type=int, default=500, help="jobs of one submission (500)")
    parser.add_argument("--workers", type=int, default=2_000, help="jobs at work at once (2000)")
    parser.add_argument("--lone", type=int, default=200, help="lone submissions (200)")
    parser.add_argument("--rate", type=float, default=500.0, help="submissions a second (500)")
    parser.add_argument("--length", type=float, default=10.0, help="seconds of these (10)")
    arguments = parser.parse_args()
    if min(vars(arguments).values()) <= 0:
        parser.error("each number must be greater than 0")

    rates: dict[str, list[float]] = defaultdict(list)
    lone: dict[str, list[float]] = {}
    single: dict[str, list[float]] = {}
    commands = {
        "muster": [sys.executable, "-m", "bench.queue.muster"],
        "river": [str(go_program.build(RIVER))],
    }
    with PostgresServer() as postgres, ExitStack() as stack:
        contenders = []
        for name, command in commands.items():
            print(f"starting {name}", flush=True)
            one = stack.enter_context(Contender(name, command, dict(os.environ)))
            dsn = asyncio.run(postgres.create_database())
            one.ask(do="open", dsn=dsn, workers=arguments.workers)
            contenders.append(one)
        batch = arguments.batch
        for one in contenders:
            one.ask(do="run", jobs=max(batch, arguments.jobs // 5), batch=batch)
            lone[one.name] = one.ask(do="idle", times=arguments.lone)["seconds"]
        for number in range(1, arguments.rounds + 1):
            print(f"round {number} of {arguments.rounds}", flush=True)
            for one in contenders:
                [seconds] = one.ask(do="run", jobs=arguments.jobs, batch=batch)["seconds"]
                rates[one.name].append(arguments.jobs / seconds)
        for one in contenders:
            print(f"{arguments.rate:g} submissions a second to {one.name}", flush=True)
            answer = one.ask(do="insert", rate=arguments.rate, length=arguments.length)
            single[one.name] = answer["seconds"]

    kept = publish(
        "queue",
        _figures(rates, lone, single),
        command="make bench-queue" + (f" ARGS='{' '.join(sys.argv[1:])}'" * (len(sys.argv) > 1)),
        versions={
            "python": platform.python_version(),
            "river": go_program.version(RIVER, MODULE),
        },
        details=vars(arguments)
        | {
            "load_average": os.getloadavg()[0],
            "processors": os.cpu_count(),
            "jobs_per_second": {
                name: [round(one) for one in found] for name, found in rates.items()
            },
            "running_ms": {name: _spread(found) for name, found in lone.items()},
            "submit_ms": {name: _spread(found) for name, found in single.items()},
        },
    )
    return 0 if kept else 1


def _figures(
    rates: dict[str, list[float]], lone: dict[str, list[float]], single: dict[str, list[float]]
) -> list[Figure]:
    each = {name: statistics.median(found) for name, found in rates.items()}
    begun = {name: _spread(found)["p95"] for name, found in lone.items()}
    taken = {name: _spread(found)["p95"] for name, found in single.items()}
    return [
        Figure("jobs_per_second", "1/s", each["muster"], each["river"], "river", least=LEAST_RATIO),
        Figure(
            "running_p95_ms", "ms", begun["muster"], begun["river"], "river", most=RUNNING_P95_MS
        ),
        Figure("submit_p95_ms", "ms", taken["muster"], taken["river"], "river", most=SUBMIT_P95_MS),
    ]


def _spread(found: list[float]) -> dict[str, Any]:
    ordered = sorted(one * 1000 for one in found)

    def part(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3)

    return {"p50": part(0.5), "p95": part(0.95), "p99": part(0.99), "max": part(1.0)}


if __name__ == "__main__":
    sys.exit(main())
