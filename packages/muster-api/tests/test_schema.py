from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from pydantic import Field

from muster_api.circuits import Circuit
from muster_api.conditions import ConditionType, EventReason, Reason
from muster_api.crd import KINDS, Kind
from muster_api.duration import format_duration, parse_duration
from muster_api.model import Model
from muster_api.proverpool import ProverPoolSpec
from muster_api.schema import SchemaError, structural_schema

by_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)


def nodes(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for key in ("items", "additionalProperties"):
        if isinstance(schema.get(key), dict):
            yield from nodes(schema[key], f"{path}[]")


def written(kind: Kind) -> list[tuple[str, dict[str, Any]]]:
    return list(nodes(kind.schema()["properties"]["spec"], "spec"))


@by_kind
def test_every_field_says_what_it_is(kind: Kind) -> None:
    silent = [
        f"{path}.{name}"
        for path, node in nodes(kind.schema())
        for name, child in node.get("properties", {}).items()
        if path and not child.get("description")
    ]
    assert silent == []


@by_kind
def test_everything_a_user_writes_is_bounded(kind: Kind) -> None:
    unbounded = [
        path
        for path, node in written(kind)
        if (node.get("type") == "string" and not ({"enum", "maxLength"} & node.keys()))
        or (node.get("type") == "array" and "maxItems" not in node)
        or ("additionalProperties" in node and "maxProperties" not in node)
    ]
    assert unbounded == []


@by_kind
def test_the_schema_has_neither_references_nor_null(kind: Kind) -> None:
    text = repr(kind.schema())
    assert "$ref" not in text
    assert ": None" not in text
    assert "nullable" not in text


@by_kind
def test_schema_and_model_default_alike(kind: Kind) -> None:
    def defaulted(node: dict[str, Any]) -> dict[str, Any]:
        found = {}
        for name, child in node.get("properties", {}).items():
            if "default" not in child:
                continue
            value = child["default"]
            found[name] = defaulted(child) | value if isinstance(value, dict) else value
        return found

    def complete(node: dict[str, Any], value: Any) -> Any:
        """Default inside what a default says, as the API server does."""
        if isinstance(value, list):
            return [complete(node["items"], item) for item in value]
        if not isinstance(value, dict) or "properties" not in node:
            return value
        whole = defaulted(node) | value
        return {name: complete(node["properties"][name], inner) for name, inner in whole.items()}

    spec = kind.schema()["properties"]["spec"]
    model = kind.model.model_fields["spec"].annotation
    assert model is not None
    assert complete(spec, {}) == model().to_wire()


def test_what_kubernetes_does_not_know_is_an_error() -> None:
    class Union(Model):
        field: int | str | None = Field(None, description="Two kinds.")

    with pytest.raises(SchemaError, match="no structural form"):
        structural_schema(Union)


@pytest.mark.parametrize(
    ("text", "seconds"), [("500ms", 0.5), ("30s", 30), ("5m", 300), ("1h30m", 5400), ("0s", 0)]
)
def test_durations_are_read_and_written_back(text: str, seconds: float) -> None:
    value = parse_duration(text)
    assert value == timedelta(seconds=seconds)
    assert parse_duration(format_duration(value)) == value


@pytest.mark.parametrize("text", ["", "5", "five minutes", "5m ", "-5s", 5, None])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="a duration such as"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("circuit", "size"),
    [
        (Circuit(name="merkle"), 20),
        (Circuit(name="merkle", depth=3), 3),
        (Circuit(name="range"), 64),
        (Circuit(name="range", bits=8), 8),
        (Circuit(name="addition"), None),
    ],
)
def test_a_circuit_without_a_size_has_the_usual_one(circuit: Circuit, size: int | None) -> None:
    assert circuit.size == size


def test_a_pool_proves_all_circuits_unless_told_otherwise() -> None:
    circuits = ProverPoolSpec().circuits
    assert [(each.name, each.curve) for each in circuits] == [
        ("merkle", "BN254"),
        ("range", "BN254"),
        ("addition", "BN254"),
    ]


@pytest.mark.parametrize("catalogue", [ConditionType, Reason, EventReason])
def test_every_word_of_the_catalogue_is_explained(catalogue: type[Reason]) -> None:
    for word in catalogue:
        assert word.meaning.endswith((".", ". "))
        assert word.value.isalnum()
