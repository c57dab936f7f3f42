"""The commands of docs/workloads-api.md, run as they stand."""

import asyncio
import json
import os
import re
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from .harness import Replica, serving
from .tenants import make_key, workloads

pytestmark = pytest.mark.integration

PAGE = Path(__file__).parents[3] / "docs" / "workloads-api.md"


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def _kubectl(home: Path, dsn: str) -> None:
    """A `kubectl` whose pod is this process' machine."""
    (home / "dsn").write_text(dsn)
    document = workloads() | {"database": {"dsn_file": str(home / "dsn")}}
    (home / "pod.yaml").write_text(yaml.safe_dump(document))
    program = home / "kubectl"
    program.write_text(
        "#!/bin/sh\n"
        '[ "$1 $2 $3 $4" = "exec deploy/demo-coordinator -- muster-coordinator" ] || exit 64\n'
        "shift 4\n"
        f'exec {sys.executable} -m muster_coordinator --config {home}/pod.yaml "$@"\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


async def _run(replica: Replica, home: Path) -> str:
    script = "set -euo pipefail\n" + "\necho\n".join(_blocks("bash")) + "\necho\n"
    running = await asyncio.create_subprocess_exec(
        *("bash", "-c", script),
        cwd=home,
        env=os.environ
        | {"PATH": f"{home}:{os.environ['PATH']}", "MUSTER": str(replica.http.base_url)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complained = await running.communicate()
    assert running.returncode == 0, complained.decode()
    return said.decode()


def _objects(text: str) -> list[dict[str, Any]]:
    decoder, found, place = json.JSONDecoder(), [], 0
    while (place := text.find("{", place)) >= 0:
        document, place = decoder.raw_decode(text, place)
        found.append(document)
    return found


async def test_the_commands_work(dsn: str, tmp_path: Path) -> None:
    _kubectl(tmp_path, dsn)
    async with serving(dsn, workloads(), tmp_path) as replica:
        said = await _run(replica, tmp_path)
    assert "nyt_acme_" in said
    assert (tmp_path / "admin.key").read_text().startswith("nyt_admin_")
    submitted, seen, listed, audit, logs, cancelled, config, queue = _objects(said)
    assert seen["workload_id"] == submitted["workload_id"]
    assert seen["priority"] == 20
    assert [one["workload_id"] for one in listed["workloads"]] == [seen["workload_id"]]
    assert audit["events"][0]["event"] == "workload.submitted"
    assert logs == {"lines": [], "next_after": 0}
    assert cancelled["status"] == "CANCELLED"
    assert (config["name"], config["max_retries"]) == ("nightly", 1)
    assert set(queue) == {"queues", "pending", "assigned", "in_progress"}


async def test_the_client_works(dsn: str, tmp_path: Path) -> None:
    [text] = _blocks("python")
    names: dict[str, Any] = {}
    exec(text, names)  # noqa: S102 - of our own page
    async with serving(dsn, workloads(), tmp_path) as replica:
        key = await make_key(dsn, "acme")
        status = await asyncio.to_thread(names["submit_and_watch"], replica.target, key)
    assert status == "WORKLOAD_STATUS_CANCELLED"
