"""The bench of the key-value store: its servers end, its CPU is counted, its figures add up."""

import hashlib
import itertools
import os
import random
import signal
import subprocess
import sys
from collections import OrderedDict
from dataclasses import replace
from pathlib import Path

import pytest

from bench import cpu_time
from bench.kv import maven, prices
from bench.kv.load import Sample
from bench.kv.reckoning import CACHE_HITS, as_json, cache, comparison, price
from bench.kv.servers import Server
from bench.kv.turns import wait_until_quiet
from muster_testing.waiting import eventually_sync

SAMPLE = Sample(
    operations=20_000,
    failures=0,
    seconds=2.0,
    p50=5.0,
    p95=20.0,
    p99=40.0,
    server_cpu=100.0,
    client_cpu=20.0,
    load_average=1.0,
)

# Starts a child, and tells both; it ignores SIGTERM, so that only the end of the group ends it.
PARENT = """
import os, signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import signal, time\\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def said(log: Path) -> list[str]:
    return log.read_text().split()


def test_a_failing_bench_leaves_no_server_and_no_child(tmp_path: Path) -> None:
    log = tmp_path / "log"
    pids: list[int] = []

    def bench() -> None:
        with Server("parent", [sys.executable, "-c", PARENT], log) as server:
            server.until("it has a child", lambda: len(said(log)) == 2)
            pids.extend([server.pid, *(int(word) for word in said(log) if word != "up")])
            assert all(map(alive, pids))
            raise ValueError("the bench breaks")

    with pytest.raises(ValueError, match="the bench breaks"):
        bench()
    eventually_sync(lambda: not any(map(alive, pids)), what="all have ended")


def test_a_killed_bench_leaves_no_server(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys, time\n"
        "from bench.kv.servers import Server\n"
        f"server = Server('s', ['sleep', '600'], pathlib.Path({str(tmp_path / 'log')!r}))\n"
        "server.until('it sleeps', lambda: b'sleep' in "
        "pathlib.Path(f'/proc/{server.pid}/cmdline').read_bytes().split(b'\\0')[0])\n"
        "print(server.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
    ) as bench:
        assert bench.stdout is not None
        pid = int(bench.stdout.readline())
        assert alive(pid)
        bench.send_signal(signal.SIGKILL)
    eventually_sync(lambda: not alive(pid), what="it has ended")


def test_waiting_ends_with_the_server(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "raise SystemExit('no disk')"]
    with (
        Server("short", command, tmp_path / "log") as server,
        pytest.raises(RuntimeError, match="short ended before it is up: no disk"),
    ):
        server.until("it is up", lambda: False)


def test_what_a_server_tells_is_found_in_its_log(tmp_path: Path) -> None:
    lines = ["not JSON", "5", "[1]", '{"other": 6}', '{"port": 7}', '{"port": 8}']
    program = f"import time; print(*{lines!r}, sep=chr(10), flush=True); time.sleep(600)"
    with Server("teller", [sys.executable, "-c", program], tmp_path / "log") as server:
        assert server.told("port") == 7


def test_waiting_has_a_deadline(tmp_path: Path) -> None:
    with (
        Server("idle", ["sleep", "600"], tmp_path / "log") as server,
        pytest.raises(RuntimeError, match=r"idle: not true in 0\.2 s that it is up"),
    ):
        server.until("it is up", lambda: False, deadline=0.2)


def test_cpu_of_children_counts() -> None:
    burn = "import time\nwhile time.process_time() < 0.3: pass\n"
    # One child has ended, the other waits for its end.
    program = (
        "import subprocess, sys\n"
        f"subprocess.run([sys.executable, '-c', {burn!r}])\n"
        f"subprocess.run([sys.executable, '-c', {burn + 'print(flush=True); input()'!r}])\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        assert cpu_time.seconds([parent.pid]) >= 0.58
        parent.communicate(b"\n")


def test_cpu_of_a_process_that_is_gone_is_none() -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    assert cpu_time.seconds([ended.pid]) == 0.0
    assert cpu_time.seconds([os.getpid()]) > 0.0


def test_a_turn_waits_until_others_have_nothing_left_to_do() -> None:
    readings = iter([0.0, 0.9, 0.9, 1.3, 1.3, 1.5])
    assert wait_until_quiet(lambda: next(readings) / 1000, window=0.001)
    assert next(readings, None) is None


def test_others_that_never_rest_are_not_waited_for_any_longer() -> None:
    readings = itertools.count()
    assert not wait_until_quiet(lambda: float(next(readings)), window=0.001, patience=0.01)


def test_a_comparison_takes_medians_and_knows_the_promises() -> None:
    slow = replace(SAMPLE, operations=2_000, server_cpu=300.0, p95=60.0)
    ours = [SAMPLE, slow, replace(SAMPLE, operations=30_000)]
    samples = {"muster": ours, "etcd": [slow] * 3, "cassandra": [slow] * 3}
    found = {one.metric: one for one in comparison(samples, samples, samples)}
    assert found["quorum_writes_vs_etcd3"].ours == 10_000
    assert found["quorum_writes_vs_etcd3"].anchor == 1_000
    assert found["quorum_writes_vs_cassandra3"].ratio == 10
    assert found["cpu_per_write_vs_etcd3"].ours == 100
    assert all(one.kept for one in found.values())
    worse = {"muster": [slow], "etcd": [SAMPLE]}
    broken = {one.metric for one in comparison(worse, worse, worse) if not one.kept}
    assert broken == {
        "quorum_writes_vs_etcd3",
        "cpu_per_write_vs_etcd3",
        "write_p95_ms_vs_etcd3",
        "paced_read_p95_ms_vs_etcd3",
    }


def test_a_guarantee_has_a_price_and_the_cache_a_promise() -> None:
    paid = price("idempotency keys", replace(SAMPLE, server_cpu=150.0), SAMPLE)
    assert paid.line() == "cpu_per_write_idempotency_keys ours=150 anchor=100 ratio=1.500"
    assert cache(1000, 900).kept
    assert not cache(1000, 899).kept
    assert as_json(SAMPLE)["per_second"] == 10_000


def test_other_programs_than_pinned_are_seen(tmp_path: Path) -> None:
    for name in ("a.jar", "b.jar"):
        (tmp_path / name).write_text(name)
    sums = tmp_path.with_suffix(".sums")
    right, wrong = (hashlib.sha256(name.encode()).hexdigest() for name in ("a.jar", "other"))
    sums.write_text(f"{right}  a.jar\n{wrong}  b.jar\n{wrong}  c.jar\n")
    assert maven.differences(tmp_path, sums) == ["b.jar", "c.jar"]
    assert maven.version().count(".") == 2


def test_the_promised_hit_ratio_can_be_reached() -> None:
    weights = [(number + 1) ** -prices.ZIPF for number in range(prices.TENANTS)]
    chosen = random.Random(1).choices(range(prices.TENANTS), weights, k=50_000)
    cached: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for at, tenant in enumerate(chosen):
        hits += tenant in cached and at >= len(chosen) // 2
        cached[tenant] = None
        cached.move_to_end(tenant)
        if len(cached) > prices.CACHED:
            cached.popitem(last=False)
    assert CACHE_HITS < hits / (len(chosen) // 2) < 0.95
