"""Wall time per task, and from a submission to its assignment: Muster, Dask and Celery.

All contenders are up in this one run and take turns in every round, so that whatever else the
machine does meets all of them. A round gives each 1,000 tasks for 100 simulated workers with one
place each, which share one process; the dispatcher is a process of its own. A figure is the median
over the rounds. Muster stores each task, its way and its result in PostgreSQL with durability on,
fences every write, and verifies each proof; Dask and Celery keep everything in memory and check
nothing.
"""

import argparse
import os
import platform
import statistics
import sys
from collections import defaultdict
from contextlib import ExitStack
from typing import Any

from bench.dispatch import anchors
from bench.figures import Figure, publish
from bench.proving.contender import Contender

DISPATCH_MS = 1.0
"""What is promised for one task."""

ASSIGN_P99_MS = 5.0
"""What is promised from a submission to its assignment on an idle system."""


def main() -> int:
    """Runs the bench; 1 if a promise is broken."""
    parser = argparse.ArgumentParser(prog="bench.dispatch", description="Muster, Dask and Celery")
    parser.add_argument("--rounds", type=int, default=7, help="turns of each contender (7)")
    parser.add_argument("--tasks", type=int, default=1000, help="tasks of one turn (1000)")
    parser.add_argument("--workers", type=int, default=100, help="simulated workers (100)")
    parser.add_argument("--lone", type=int, default=200, help="lone submissions (200)")
    parser.add_argument(
        "--starts", action="store_true", help="Muster's workers say that they began, too"
    )
    parser.add_argument(
        "--single-calls", action="store_true", help="Muster's workers speak by single calls"
    )
    arguments = parser.parse_args()
    if min(arguments.rounds, arguments.tasks, arguments.workers, arguments.lone) < 1:
        parser.error("each number must be at least 1")

    seconds: dict[str, list[float]] = defaultdict(list)
    lone: dict[str, list[float]] = defaultdict(list)
    with ExitStack() as stack:
        contenders = [stack.enter_context(one) for one in _contenders()]
        for one in contenders:
            print(f"starting {one.name}", flush=True)
            one.ask(
                do="open",
                workers=arguments.workers,
                starts=arguments.starts,
                single_calls=arguments.single_calls,
            )
            one.ask(do="run", tasks=arguments.tasks)
        for number in range(1, arguments.rounds + 1):
            print(f"round {number} of {arguments.rounds}", flush=True)
            for one in contenders:
                answer = one.ask(do="run", tasks=arguments.tasks)
                seconds[one.name].append(answer["seconds"])
                few = -(-arguments.lone // arguments.rounds)
                for what, found in one.ask(do="idle", times=few).items():
                    lone[_name(one.name, what)] += found

    kept = publish(
        "dispatch",
        _figures(seconds, lone, arguments.tasks),
        command="make bench-dispatch" + (f" ARGS='{' '.join(sys.argv[1:])}'" * (len(sys.argv) > 1)),
        versions=_versions(),
        details=vars(arguments)
        | {
            "load_average": os.getloadavg()[0],
            "processors": os.cpu_count(),
            "ms_per_task": _milliseconds(seconds, arguments.tasks),
            "lone_ms": {name: _spread(found) for name, found in lone.items()},
        },
    )
    return 0 if kept else 1


def _contenders() -> list[Contender]:
    environment = os.environ | {"DASK_LOGGING__DISTRIBUTED": "error"}
    other = str(anchors.python())
    return [
        Contender("muster", [sys.executable, "-m", "bench.dispatch.muster"], environment),
        Contender("dask", [other, "-m", "bench.dispatch.dask_anchor"], environment),
        Contender("celery", [other, "-m", "bench.dispatch.celery_anchor"], environment),
    ]


def _figures(
    seconds: dict[str, list[float]], lone: dict[str, list[float]], tasks: int
) -> list[Figure]:
    each = {name: statistics.median(found) / tasks * 1000 for name, found in seconds.items()}
    p99 = {name: _spread(found)["p99"] for name, found in lone.items()}
    dask = p99["dask"]
    assigned = {"assign": "", "assign_elsewhere": "elsewhere_"}
    return [
        Figure(
            "dispatch_ms_per_task", "ms", each["muster"], each["dask"], "dask", most=DISPATCH_MS
        ),
        Figure("dispatch_celery_ms_per_task", "ms", each["muster"], each["celery"], "celery"),
        *(
            Figure(
                f"{name}_p99_ms",
                "ms",
                p99[f"muster {where}answered"],
                dask,
                "dask",
                most=ASSIGN_P99_MS,
            )
            for name, where in assigned.items()
        ),
        *(
            Figure(
                f"{name}_from_request_p99_ms",
                "ms",
                p99[_name("muster", f"{where}seconds")],
                dask,
                "dask",
            )
            for name, where in assigned.items()
        ),
    ]


def _name(contender: str, what: str) -> str:
    """Of what a contender measured of lone submissions."""
    return contender if what == "seconds" else f"{contender} {what}"


def _milliseconds(seconds: dict[str, list[float]], tasks: int) -> dict[str, list[float]]:
    return {
        name: [round(one / tasks * 1000, 3) for one in found] for name, found in seconds.items()
    }


def _spread(found: list[float]) -> dict[str, float]:
    ordered = sorted(one * 1000 for one in found)

    def part(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 3)

    return {"p50": part(0.5), "p90": part(0.9), "p99": part(0.99), "max": part(1.0)}


def _versions() -> dict[str, Any]:
    pinned = dict(
        line.split(" ")[0].split("==")
        for line in anchors.REQUIREMENTS.read_text(encoding="utf-8").splitlines()
        if "==" in line
    )
    return {"python": platform.python_version()} | {
        name: pinned[name] for name in ("dask", "distributed", "celery", "redis")
    }


if __name__ == "__main__":
    sys.exit(main())
