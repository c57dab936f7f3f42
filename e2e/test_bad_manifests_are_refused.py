"""The API server itself refuses a bad manifest, and says what to write; nothing is stored."""

from typing import Any

import pytest

from e2e.cluster import CommandError
from e2e.fleet import Fleet

pytestmark = pytest.mark.e2e

BAD: list[tuple[dict[str, Any], str]] = [
    ({"circuits": [{"name": "markle"}]}, 'spec.circuits[0].name: Unsupported value: "markle"'),
    ({"circuits": [{"name": "merkle", "depth": 33}]}, "less than or equal to 32"),
    ({"circuits": [{"name": "range", "depth": 20}]}, "depth belongs to the circuit merkle alone"),
    ({"keys": {"insecureSetup": False}}, "write keys: {insecureSetup: true}"),
    ({"autoscaling": {"minReplicas": 5, "maxReplicas": 2}}, "lower it or raise maxReplicas"),
    ({"replicas": 3}, "replicas is only for pools without autoscaling"),
]


@pytest.mark.parametrize(("spec", "sentence"), BAD)
def test_a_wrong_field_is_named(fleet: Fleet, spec: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CommandError) as refused:
        fleet.cluster.apply(fleet.manifest(**spec), fleet.namespace)
    assert sentence in str(refused.value)
    assert not fleet.cluster.list("proverpools", fleet.namespace)
