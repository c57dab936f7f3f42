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

from .conftest import IMAGES

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
    section = OperatorSection.model_validate({**IMAGES, "ops_port": port})
    config = OperatorConfig(muster=section)
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
