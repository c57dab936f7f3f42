"""Keys of every circuit on both curves, made once for all tests; and independent programs."""

from pathlib import Path

import pytest

from muster_proving import CircuitSpec

from . import installed
from .samples import SPECS, Loaded

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def keys() -> dict[CircuitSpec, Loaded]:
    return {spec: Loaded(spec) for spec in SPECS}


@pytest.fixture(params=SPECS, ids=lambda spec: str(spec.key_id))
def loaded(request: pytest.FixtureRequest, keys: dict[CircuitSpec, Loaded]) -> Loaded:
    return keys[request.param]


@pytest.fixture(scope="session")
def snarkjs() -> Path:
    """The folder with snarkjs installed."""
    return installed.npm("snarkjs", HERE / "snarkjs")
