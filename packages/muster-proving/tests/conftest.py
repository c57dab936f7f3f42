"""Keys of every circuit on both curves, made once for all tests."""

import pytest

from muster_proving import CircuitSpec

from .samples import SPECS, Loaded


@pytest.fixture(scope="session")
def keys() -> dict[CircuitSpec, Loaded]:
    return {spec: Loaded(spec) for spec in SPECS}


@pytest.fixture(params=SPECS, ids=lambda spec: str(spec.key_id))
def loaded(request: pytest.FixtureRequest, keys: dict[CircuitSpec, Loaded]) -> Loaded:
    return keys[request.param]
