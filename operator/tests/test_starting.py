"""An operator that starts before the cluster knows its kinds."""

import asyncio
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from muster_operator.config import OperatorConfig, OperatorSection
from muster_operator.operator import Identity, Operator
from muster_testing.ports import free_port
from muster_testing.waiting import eventually

NOBODY: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "nobody",
    "contexts": [{"name": "nobody", "context": {"cluster": "nobody", "user": "nobody"}}],
    "clusters": [{"name": "nobody", "cluster": {"server": "http://127.0.0.1:1"}}],
    "users": [{"name": "nobody", "user": {"token": "none"}}],
}


async def test_it_lives_and_is_not_ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(NOBODY))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    port = free_port()
    section = {
        "coordinator_image": "muster/coordinator:1",
        "worker_image": "muster/worker:1",
        "postgres_image": "postgres:17",
        "nats_image": "nats:2",
        "ops_port": port,
    }
    config = OperatorConfig(muster=OperatorSection.model_validate(section))
    stop = asyncio.Event()
    running = asyncio.create_task(Operator(config, Identity("operator-0", "system")).run(stop))
    async with aiohttp.ClientSession() as session:

        async def status(path: str) -> int:
            try:
                async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                    return answer.status
            except aiohttp.ClientConnectionError:
                return 0

        await eventually(lambda: status("/health"), what="it answers")
        assert await status("/health") == 200
        assert await status("/ready") == 503
    stop.set()
    await running
