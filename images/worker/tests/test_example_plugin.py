"""The example that users copy: its own tests, and its package in a real worker."""

import ensurepip
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from muster_testing.waiting import eventually

from .conftest import running_coordinator, started_worker
from .recording import failure_of, until

EXAMPLE = Path(__file__).parents[3] / "examples" / "workload-plugin"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the example installed, from its sources, without network or other packages."""
    root = tmp_path_factory.mktemp("example")
    source = shutil.copytree(EXAMPLE, root / "source")
    [pip] = (Path(ensurepip.__file__).parent / "_bundled").glob("pip-*.whl")
    install = ["install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    subprocess.run(
        [sys.executable, "-m", "pip", *install, "--target", str(root / "site"), str(source)],
        check=True,
        env={**os.environ, "PYTHONPATH": str(pip), "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    return root / "site"


@pytest.mark.integration
def test_the_examples_own_tests_pass(site: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLE / "tests")],
        check=True,
        env={**os.environ, "PYTHONPATH": str(site)},
    )


@pytest.mark.integration
async def test_a_worker_runs_the_example(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(site))
    async with running_coordinator([]) as coordinator:
        own = {"workloads": ["example.primes"], "options": {"example.primes": {"most": 10_000_000}}}
        async with started_worker(coordinator, tmp_path, **own) as worker:
            await eventually(lambda: coordinator.streams, what="stream open")
            assert list(coordinator.registrations[0].types) == ["example.primes"]
            record = coordinator.assign("task-1", "example.primes", {"limit": 100})
            await until(record, "completed")
            assert record.output == {"primes": 25}
            assert record.progress[-1][0] == 100
            wrong = coordinator.assign("task-2", "example.primes", {"limit": -1})
            allowed = "allowed: a whole number from 0 to 10000000"
            assert await failure_of(wrong) == (f"limit is -1; {allowed}", False)
            assert worker.running
