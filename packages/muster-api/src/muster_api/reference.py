"""The API reference in Markdown, written from the same models as the CRDs."""

from collections.abc import Iterable, Iterator
from typing import Any

from muster_api.conditions import ConditionType, Documented, EventReason, Reason
from muster_api.crd import KINDS, Kind
from muster_api.model import API_VERSION

_AS_IN_CORE = {"affinity", "tolerations", "topologySpreadConstraints"}

_HEAD = f"""\
# API reference

Group and version `{API_VERSION}`. Written by `python -m muster_api.generate` from the models in
`packages/muster-api`; change those, not this file.

A field without a default may be left out unless it is marked *required*. Durations are written
`500ms`, `30s`, `5m` or `1h30m`, quantities `100m`, `512Mi` or `2Gi`. The API server refuses what
does not fit, with the sentences listed under *Refused*.

The annotation `muster.dev/paused: "true"` on an object stops all changes to what belongs to it;
its status is still kept.
"""


def reference() -> str:
    """The whole page."""
    parts = [_HEAD]
    parts.extend(_kind(kind) for kind in KINDS)
    parts.append("## Conditions\n\n" + _catalogue(ConditionType))
    parts.append("## Reasons of conditions\n\n" + _catalogue(Reason))
    parts.append("## Reasons of Events\n\n" + _catalogue(EventReason))
    return "\n".join(parts)


def _kind(kind: Kind) -> str:
    schema = kind.schema()
    names = f"`{kind.plural}`, short `{kind.short}`, category `muster`, namespaced."
    text = f"## {kind.name}\n\n{schema['description']} {names}\n"
    for part in ("spec", "status"):
        rows = "\n".join(_rows(schema["properties"][part], part))
        text += f"\n### {kind.name} {part}\n\n| field | type | default | |\n|---|---|---|---|\n"
        text += rows + "\n"
    refusals = "\n".join(f"- `{path}`: {message}" for path, message in _rules(schema, ""))
    return f"{text}\n### {kind.name}: refused\n\n{refusals}\n"


def _rows(node: dict[str, Any], path: str) -> Iterator[str]:
    required = set(node.get("required", []))
    for name, child in node.get("properties", {}).items():
        here = f"{path}.{name}"
        inner = child.get("items", child) if child.get("type") == "array" else child
        suffix = "[]" if child.get("type") == "array" else ""
        meaning = child.get("description", "") + (" *Required.*" if name in required else "")
        if name in _AS_IN_CORE:
            meaning += " As in a Pod's spec."
        yield f"| `{here}{suffix}` | {_type(child)} | {_default(child)} | {meaning} |"
        if name not in _AS_IN_CORE:
            yield from _rows(inner, here + suffix)


def _type(node: dict[str, Any]) -> str:
    if node.get("x-kubernetes-int-or-string"):
        return "quantity"
    if "enum" in node:
        return ", ".join(f"`{value}`" for value in node["enum"])
    if node.get("type") == "array":
        return "list"
    if "additionalProperties" in node:
        return "map"
    bounds = (node.get("minimum"), node.get("maximum"))
    if None not in bounds:
        return f"{node['type']} {bounds[0]}-{bounds[1]}"
    return str(node.get("type", ""))


def _default(node: dict[str, Any]) -> str:
    if "default" not in node or node["default"] in ({}, []):
        return ""
    return f"`{_flow(node['default'])}`"


def _flow(value: Any) -> str:
    """YAML flow style, short."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(inner) for inner in value) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _rules(node: dict[str, Any], path: str) -> Iterator[tuple[str, str]]:
    for rule in node.get("x-kubernetes-validations", []):
        yield path.lstrip(".") + rule.get("fieldPath", "") or "object", rule["message"]
    for name, child in node.get("properties", {}).items():
        yield from _rules(child, f"{path}.{name}")
    if "items" in node:
        yield from _rules(node["items"], f"{path}[]")


def _catalogue(words: Iterable[Documented]) -> str:
    rows = "\n".join(f"| `{word.value}` | {word.meaning} |" for word in words)
    return f"| | |\n|---|---|\n{rows}\n"
