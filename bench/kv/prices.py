"""What each guarantee of Muster's costs: the same writes with it and without it, in turns."""

import dataclasses
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.kv.load import Load, Sample
from bench.kv.muster import Variant, cache_lookups, muster
from muster_testing.postgres import PostgresServer

CLIENTS: Mapping[str, Mapping[str, Any]] = {
    "idempotency keys": {"idempotency": True},
    "consistency one": {"consistency": "one"},
    "on a stream": {"stream": True},
}
"""What clients choose: how the generator differs."""

SERVERS: Mapping[str, Variant] = {
    "last write wins": Variant(policy={"conflict_resolution": "LastWriteWins"}),
    "tls": Variant(tls=True),
    "durability async": Variant(policy={"durability": "Async"}),
}
"""What operators choose."""

TENANTS = 400
ZIPF = 1.2
CACHED = TENANTS // 2
"""Tenants that the cache has room for: of a quarter of them not even the best choice answers nine
look-ups in ten."""


@dataclasses.dataclass(frozen=True, slots=True)
class Runs:
    """How each run is made.

    Attributes:
        home: for data of servers; each gets a folder below it.
        program: the compiled generator.
        plan: as `Load` takes it.
    """

    home: Path
    postgres: PostgresServer
    program: Path
    plan: Mapping[str, Any]
    seconds: float


def measure(runs: Runs, found: dict[str, tuple[Sample, Sample]]) -> None:
    """For each guarantee: writes with it (or without, as its name says), and as by default.

    Args:
        found: gets each as it is known.

    Raises:
        RuntimeError: a store fails too much of what it is asked.
    """
    with ExitStack() as stack:
        usual = stack.enter_context(muster(_folder(runs, "usual"), runs.postgres))
        plain = stack.enter_context(Load(runs.program, usual, runs.plan))
        plain.fill()
        for name, opening in CLIENTS.items():
            print(f"price: {name}", flush=True)
            other = dataclasses.replace(usual, opening={**usual.opening, **opening})
            with Load(runs.program, other, runs.plan) as load:
                found[name] = _pair(load, plain, runs.seconds)
        for name, variant in SERVERS.items():
            print(f"price: {name}", flush=True)
            with (
                muster(_folder(runs, name), runs.postgres, variant) as deployment,
                Load(runs.program, deployment, runs.plan) as load,
            ):
                load.fill()
                found[name] = _pair(load, plain, runs.seconds)


def cache_hits(runs: Runs) -> tuple[float, float]:
    """Look-ups of tenants chosen by Zipf's law, and hits of a cache for half of them."""
    variant = Variant(coordinator={"cache": {"max_size": CACHED}}, tenants=TENANTS)
    plan = {**runs.plan, "tenants": TENANTS, "zipf": ZIPF}
    with (
        muster(_folder(runs, "cache"), runs.postgres, variant) as deployment,
        Load(runs.program, deployment, plan) as load,
    ):
        # An empty cache has to learn each tenant once.
        load.run("write", runs.seconds)
        before = cache_lookups(deployment)
        load.run("write", runs.seconds)
        lookups, hits = cache_lookups(deployment)
    return lookups - before[0], hits - before[1]


def _pair(load: Load, plain: Load, seconds: float) -> tuple[Sample, Sample]:
    return load.run("write", seconds), plain.run("write", seconds)


def _folder(runs: Runs, name: str) -> Path:
    folder = runs.home / name.replace(" ", "-")
    folder.mkdir()
    return folder
