"""CPU time per proof and per verification: Muster against gnark and py_ecc.

All contenders run in this one run, in processes of their own, with one thread each, and take turns
in every round, so that whatever else the machine does meets all of them. A figure is the median
over the rounds of a contender's CPU time (user and system) for one proof. Each contender proves
the same statement with the same hash; gnark is given our public signals, so its circuit is shown
to be the same. Our proofs include the check that follows each of them.

At the end a worker with a full queue is watched, see `busy`.
"""

import argparse
import importlib.metadata
import os
import statistics
import sys
from collections import defaultdict
from typing import Any

from bench.figures import Figure, publish
from bench.proving import gnark
from bench.proving.busy import LEAST_SHARE, share
from bench.proving.contender import Contender
from bench.proving.ours import BATCH
from bench.proving.statements import STATEMENTS, Statement

LIMITS = {"bn254_merkle20_cpu": 0.70}
"""What is promised: the part of gnark's CPU time that ours must stay below."""

Times = dict[str, list[float]]


def main() -> int:
    """Runs the bench; 1 if a promise is broken."""
    parser = argparse.ArgumentParser(prog="bench.proving", description="Muster, gnark and py_ecc")
    parser.add_argument("--rounds", type=int, default=9, help="turns of each contender (9)")
    parser.add_argument("--only", default="", help="statements whose name contains this")
    arguments = parser.parse_args()
    statements = [case for case in STATEMENTS if arguments.only in case.metric]
    if arguments.rounds < 1 or not statements:
        parser.error("there must be at least one round and one statement")

    # One thread: the runtime of Go would else move work to a core that only its collector uses.
    environment = {**os.environ, "GOMAXPROCS": "1", "MUSTER_PROVING_THREADS": "1"}
    python = [sys.executable, "-m", "bench.proving.ours"]
    with (
        Contender("muster", python, environment) as ours,
        Contender("gnark", [str(gnark.build())], environment) as theirs,
        Contender("py_ecc", python, environment) as second,
    ):
        facts = {case.metric: _load(case, ours, theirs, second) for case in statements}
        times: Times = defaultdict(list)
        for number in range(1, arguments.rounds + 1):
            print(f"round {number} of {arguments.rounds}", flush=True)
            for case in statements:
                _round(case, ours, theirs, second, times)
    figures = _figures(statements, times)
    busy = 1.0
    if not arguments.only:
        print("a worker with a full queue", flush=True)
        busy = share()
        figures.append(Figure("worker_busy_share", "share", busy, 1.0, "all of the time"))
    kept = publish(
        "proving",
        figures,
        command="make bench-proving" + (f" ARGS='{' '.join(sys.argv[1:])}'" * (len(sys.argv) > 1)),
        versions={
            "muster-native": importlib.metadata.version("muster-native"),
            "gnark": gnark.version(),
            "py_ecc": importlib.metadata.version("py_ecc"),
            "python": sys.version.split()[0],
        },
        details={"rounds": arguments.rounds, "batch": BATCH, "circuits": facts},
    )
    if busy < LEAST_SHARE:
        sys.stderr.write(f"worker_busy_share: must be at least {LEAST_SHARE}\n")
    return 0 if kept and busy >= LEAST_SHARE else 1


def _load(case: Statement, ours: Contender, theirs: Contender, second: Contender) -> dict[str, Any]:
    """Makes keys everywhere; the same values must satisfy both circuits."""
    print(f"keys for {case.spec.key_id}", flush=True)
    facts = ours.ask(do="load", id=case.metric, key=case.spec.key_id, inputs=case.inputs)
    built = theirs.ask(
        do="load",
        id=case.metric,
        curve=case.spec.curve.value,
        name=case.spec.name,
        size=case.spec.size,
        inputs=facts["inputs"],
        public=facts["public"],
    )
    second.ask(do="load_files", id=case.metric, files=facts["files"])
    return {"gnark_constraints": built["constraints"], "table_bytes": facts["table_bytes"]}


def _round(
    case: Statement, ours: Contender, theirs: Contender, second: Contender, times: Times
) -> None:
    def measure(contender: Contender, what: str, repeat: int) -> None:
        answer = contender.ask(do=what, id=case.metric, times=repeat)
        times[f"{case.metric} {contender.name} {what}"].append(answer["cpu_seconds"])

    for contender in (ours, theirs):
        measure(contender, "prove", case.times)
    if case.spec.name == "merkle":
        for contender in (ours, theirs):
            measure(contender, "verify", 20)
        measure(ours, "verify_batch", 1)
        measure(second, "verify_files", 1)


def _figures(statements: list[Statement], times: Times) -> list[Figure]:
    def median(case: Statement, who: str, what: str) -> float:
        return statistics.median(times[f"{case.metric} {who} {what}"]) * 1000

    def figure(metric: str, ours: float, anchor: float, anchor_name: str) -> Figure:
        return Figure(metric, "ms", ours, anchor, anchor_name, LIMITS.get(metric))

    figures = []
    for case in statements:
        ours, theirs = (median(case, who, "prove") for who in ("muster", "gnark"))
        figures.append(figure(f"{case.metric}_cpu", ours, theirs, "gnark"))
    for case in statements:
        if case.spec.name != "merkle":
            continue
        curve = case.spec.curve.value.replace("-", "_")
        ours, theirs = (median(case, who, "verify") for who in ("muster", "gnark"))
        batch = median(case, "muster", "verify_batch") / BATCH
        second = median(case, "py_ecc", "verify_files")
        figures.append(figure(f"{curve}_verify_cpu", ours, second, "py_ecc"))
        figures.append(figure(f"{curve}_verify_one_cpu", ours, theirs, "gnark"))
        figures.append(figure(f"{curve}_verify_in_batch_cpu", batch, theirs, "gnark"))
    return figures


if __name__ == "__main__":
    sys.exit(main())
