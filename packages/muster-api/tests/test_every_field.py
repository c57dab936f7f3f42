"""Every field of every custom resource: each way to write it wrong, and the API server's sentence.

The cases are read from the schema, so that there is no field and no limit without one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from muster_api.crd import COORDINATOR, KINDS, KV_CLUSTER, PROVER_POOL, Kind

from .manifests import create, manifest
from .test_bad_manifests import CHANGES, COORDINATORS, KV_CLUSTERS, POOLS, refusal

TABLES = {
    PROVER_POOL.name: POOLS,
    COORDINATOR.name: COORDINATORS,
    KV_CLUSTER.name: KV_CLUSTERS,
}

ITEM, VALUE = "[]", "{}"
NONSENSE = "?"

Node = dict[str, Any]


@dataclass(frozen=True)
class Place:
    """A field of a kind: its schema, and the schemas of what it is in."""

    kind: Kind
    path: tuple[str, ...]
    node: Node
    above: tuple[Node, ...]

    def __str__(self) -> str:
        return f"{self.kind.name}.{'.'.join(self.path)}".replace(f".{ITEM}", ITEM)

    @property
    def spoken(self) -> str:
        """How the API server names the field of `written`."""
        path = ".".join(self.path)
        return path.replace(f".{ITEM}", "[0]").replace(VALUE, "x")

    def written(self, value: Any) -> dict[str, Any]:
        """A spec with that value there, and what is required beside it."""
        for name, schema in zip(reversed(self.path[1:]), reversed(self.above), strict=True):
            if name == ITEM:
                value = [value]
            else:
                value = {**required(schema), ("x" if name == VALUE else name): value}
        spec: dict[str, Any] = value
        return spec if self.kind is not PROVER_POOL else {"keys": {"insecureSetup": True}} | spec


def required(schema: Node) -> dict[str, Any]:
    """The least that an object of that schema needs."""
    return {name: least(schema["properties"][name]) for name in schema.get("required", [])}


def least(schema: Node) -> Any:
    """A value that passes the schema, though perhaps no rule."""
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            return required(schema)
        case "array":
            return [least(schema["items"])] * schema.get("minItems", 0)
        case "integer":
            return schema.get("minimum", 1)
        case "boolean":
            return True
    candidates = ("1s", "a", "1", "*", "10.0.0.0/8", "ab" * 32, "sha256:" + "ab" * 32)
    pattern = schema.get("pattern", "")
    return next(each for each in candidates if re.search(pattern, each))


def places(kind: Kind) -> Iterator[Place]:
    """Every field below spec."""

    def walk(place: Place) -> Iterator[Place]:
        yield place
        below = dict(place.node.get("properties", {}))
        for name, key in ((ITEM, "items"), (VALUE, "additionalProperties")):
            if key in place.node:
                below[name] = place.node[key]
        for name, node in below.items():
            yield from walk(Place(kind, (*place.path, name), node, (*place.above, place.node)))

    yield from walk(Place(kind, ("spec",), kind.schema()["properties"]["spec"], ()))


FIELDS = [place for kind in KINDS for place in places(kind)]


def mistakes(place: Place) -> Iterator[tuple[Any, str]]:
    """Wrong values, each with the sentence that it is refused with."""
    node, at = place.node, place.spoken
    if node.get("x-kubernetes-int-or-string"):
        yield NONSENSE, f"{at} in body should match '{node['pattern']}'"
        return
    wrong = NONSENSE if node["type"] == "boolean" else True
    yield wrong, f'{at} in body must be of type {node["type"]}: "{type_of(wrong)}"'
    yield from wrong_scalars(node, at)
    yield from wrong_sizes(node, at)
    for name in node.get("required", []):
        without = {key: value for key, value in required(node).items() if key != name}
        yield without, f"{at}.{name}: Required value"
    if "properties" in node:
        yield {**required(node), "bogus": 1}, f'unknown field "{at}.bogus"'


def wrong_scalars(node: Node, at: str) -> Iterator[tuple[Any, str]]:
    """Values of the right type that are not allowed."""
    if "enum" in node:
        allowed = ", ".join(f'"{value}"' for value in node["enum"])
        yield NONSENSE, f'{at}: Unsupported value: "{NONSENSE}": supported values: {allowed}'
    if "pattern" in node:
        yield NONSENSE, f"{at} in body should match '"
    if "minimum" in node:
        fewest = node["minimum"]
        yield fewest - 1, f"{at} in body should be greater than or equal to {fewest}"
    if "maximum" in node:
        most = node["maximum"]
        yield most + 1, f"{at} in body should be less than or equal to {most}"


def wrong_sizes(node: Node, at: str) -> Iterator[tuple[Any, str]]:
    """Texts, lists and maps that are too short or too long."""
    if "minLength" in node:
        yield "", f"{at} in body should be at least {node['minLength']} chars long"
    if "maxLength" in node:
        yield "a" * (node["maxLength"] + 1), f"{at}: Too long: may not be more than"
    if node.get("minItems"):
        yield [], f"{at} in body should have at least {node['minItems']} items"
    if "maxItems" in node:
        many = [least(node["items"])] * (node["maxItems"] + 1)
        yield many, f"{at}: Too many: {len(many)}: must have at most {node['maxItems']} items"
    if "maxProperties" in node:
        value = least(node["additionalProperties"])
        crowd = {f"x{number}": value for number in range(node["maxProperties"] + 1)}
        yield crowd, f"{at}: Too many: {len(crowd)}: must have at most"


def type_of(value: Any) -> str:
    return "boolean" if value is True else "string"


@pytest.mark.integration
@pytest.mark.parametrize("place", FIELDS, ids=str)
def test_a_field_is_refused_by_its_name_with_what_is_allowed(
    objects: client.CustomObjectsApi, place: Place
) -> None:
    cases = list(mistakes(place))
    assert cases, f"{place} takes anything"
    for value, sentence in cases:
        body = manifest(place.kind, "") | {
            "spec": value if place.path == ("spec",) else place.written(value)
        }
        with pytest.raises(ApiException) as error:
            create(objects, place.kind, body)
        assert sentence in refusal(error.value), value


def rules() -> Iterator[tuple[Kind, str, str]]:
    """Every rule below spec: its kind, the field that it is about, and its message."""
    for place in FIELDS:
        for rule in place.node.get("x-kubernetes-validations", []):
            about = ".".join(place.path) + rule.get("fieldPath", "")
            yield place.kind, about.removesuffix(f".{ITEM}"), rule["message"]


@pytest.mark.parametrize(
    ("kind", "about", "message"),
    [pytest.param(*rule, id=f"{rule[0].name}.{rule[1]}: {rule[2][:30]}") for rule in rules()],
)
def test_every_rule_has_a_case_that_shows_its_sentence(
    kind: Kind, about: str, message: str
) -> None:
    cases = [
        *TABLES[kind.name].items(),
        *((after, sentence) for each, _, after, sentence in CHANGES if each is kind),
    ]
    field = about.rpartition(".")[2]
    shown = [text for text, sentence in cases if sentence in message and field in text]
    # A field that is wrong by not being there is in no text.
    if kind is PROVER_POOL and field in {"keys", "coordinatorRef"}:
        shown += [text for text, sentence in cases if sentence in message]
    assert shown, f"no manifest of the tables breaks this rule of {about}: {message}"
