"""Durable writes and reads by a quorum, a second and by CPU: Muster, etcd and Cassandra.

Each is three nodes on this machine that have a value on disk before they say so; Muster has one
coordinator too, and PostgreSQL for its metadata. All are up in this one run and take turns in
every round, so that whatever else the machine does meets all of them; a turn begins when what the
others had left to do is done. The same generator, a process
of its own for each, writes and reads the same keys and values with as much at once, by single
calls. CPU is that of all processes of a store and of what they started; the generator's is counted
apart. A figure is the median over the rounds.
"""

import argparse
import os
import platform
import signal
import sys
import tempfile
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench import go_program
from bench.figures import Figure, publish
from bench.kv import prices
from bench.kv.cassandra import cassandra
from bench.kv.etcd import etcd
from bench.kv.load import GENERATOR, Load, Sample
from bench.kv.muster import muster
from bench.kv.reckoning import as_json, cache, comparison, price
from bench.kv.turns import Turns
from muster_testing.postgres import PostgresServer

_ANCHORS = {"etcd": etcd, "cassandra": cassandra}
_KINDS = ("write", "read", "paced read")

_Found = dict[str, dict[str, list[Sample]]]
"""By kind of run and by contender, one for each round."""

_Paid = dict[str, tuple[Sample, Sample]]
"""By guarantee: writes with it, and as by default."""


def main() -> int:
    """Runs the bench; 1 if a promise is broken."""
    arguments = _arguments()
    # So that every server is ended then, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    plan = {
        "keys": arguments.keys,
        "tenants": 1,
        "value_bytes": arguments.bytes,
        "concurrency": arguments.concurrency,
        "connections": arguments.connections,
        "zipf": arguments.zipf,
    }
    program = go_program.build(GENERATOR)
    with (
        PostgresServer() as postgres,
        tempfile.TemporaryDirectory(prefix="muster-bench-") as folder,
    ):
        runs = prices.Runs(Path(folder), postgres, program, plan, arguments.seconds)
        found, versions = _compare(runs, arguments)
        paid: _Paid = {}
        lookups, hits, whole = 0.0, 0.0, True
        if not arguments.no_prices:
            try:
                prices.measure(runs, paid)
                lookups, hits = prices.cache_hits(runs)
            except RuntimeError as error:
                # What took many minutes to compare is told nevertheless.
                print(f"the prices end here: {error}", file=sys.stderr, flush=True)
                whole = False

    figures = comparison(*(found[kind] for kind in _KINDS))
    figures += [price(name, *pair) for name, pair in paid.items()]
    if lookups:
        figures.append(cache(lookups, hits))
    kept = _publish(figures, arguments, versions, _details(found, paid))
    return 0 if kept and whole else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench.kv", description="Muster, etcd and Cassandra")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contender (3)")
    parser.add_argument("--seconds", type=float, default=15.0, help="length of one run (15)")
    parser.add_argument("--keys", type=int, default=10_000, help="different keys (10000)")
    parser.add_argument("--bytes", type=int, default=256, help="size of a value (256)")
    parser.add_argument("--concurrency", type=int, default=256, help="operations at once (256)")
    parser.add_argument("--connections", type=int, default=4, help="to each endpoint (4)")
    parser.add_argument("--rate", type=float, default=10_000.0, help="of paced reads (10000)")
    parser.add_argument(
        "--against",
        nargs="*",
        default=list(_ANCHORS),
        choices=list(_ANCHORS),
        help="the others (etcd cassandra)",
    )
    parser.add_argument(
        "--zipf", type=float, default=0.0, help="keys by Zipf's law with this exponent (all alike)"
    )
    parser.add_argument(
        "--no-prices", action="store_true", help="leave out what each guarantee costs"
    )
    arguments = parser.parse_args()
    numbers = ("rounds", "seconds", "keys", "bytes", "concurrency", "connections", "rate")
    for name in numbers:
        if getattr(arguments, name) <= 0:
            parser.error(f"--{name}: got {getattr(arguments, name)}; allowed: greater than 0")
    if arguments.zipf and arguments.zipf <= 1:
        parser.error(f"--zipf: got {arguments.zipf}; allowed: greater than 1, or 0")
    return arguments


def _compare(runs: prices.Runs, arguments: argparse.Namespace) -> tuple[_Found, dict[str, str]]:
    """All runs of all contenders, and their versions."""
    found: _Found = {kind: defaultdict(list) for kind in _KINDS}
    versions = {}
    with ExitStack() as stack:
        loads = {}
        for name in ("muster", *arguments.against):
            print(f"starting {name}", flush=True)
            home = runs.home / name
            home.mkdir()
            started = muster(home, runs.postgres) if name == "muster" else _ANCHORS[name](home)
            deployment = stack.enter_context(started)
            versions[name] = deployment.version
            loads[name] = stack.enter_context(Load(runs.program, deployment, runs.plan))
        for load in loads.values():
            # Once before it counts, so that nobody measures the compiler of a young JVM.
            load.fill()
            load.run("write", runs.seconds)
            load.run("read", runs.seconds)
        turns = Turns(loads)
        for number in range(1, arguments.rounds + 1):
            print(f"round {number} of {arguments.rounds}", flush=True)
            for name in loads:
                found["write"][name].append(turns.run(name, "write", runs.seconds))
                found["read"][name].append(turns.run(name, "read", runs.seconds))
                paced = turns.run(name, "read", runs.seconds, arguments.rate)
                found["paced read"][name].append(paced)
    return found, versions


def _details(found: _Found, paid: _Paid) -> dict[str, Any]:
    return {
        **{
            kind.replace(" ", "_"): {
                name: [as_json(one) for one in samples] for name, samples in by_name.items()
            }
            for kind, by_name in found.items()
        },
        "prices": {
            name: {"with": as_json(with_it), "plain": as_json(plain)}
            for name, (with_it, plain) in paid.items()
        },
    }


def _publish(
    figures: list[Figure],
    arguments: argparse.Namespace,
    versions: dict[str, str],
    details: dict[str, Any],
) -> bool:
    return publish(
        "kv",
        figures,
        command="make bench-kv" + (f" ARGS='{' '.join(sys.argv[1:])}'" * (len(sys.argv) > 1)),
        versions={"python": platform.python_version(), **versions},
        details={
            **vars(arguments),
            "load_average": os.getloadavg()[0],
            "processors": os.cpu_count(),
            **details,
        },
    )


if __name__ == "__main__":
    sys.exit(main())
