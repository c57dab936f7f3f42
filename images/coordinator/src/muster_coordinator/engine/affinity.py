"""Affinity: which workers a workload must have, would rather have, and must not have."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

_WORKER_POINTS = 50
_TAG_POINTS = 5


@dataclass(frozen=True, slots=True)
class Rule:
    """Words about a worker; those that are empty say nothing.

    Args:
        worker_id: its name.
        worker_tags: names and values of its tags.
        workload_types: kinds of work, at least one of which it holds.
    """

    worker_id: str = ""
    worker_tags: frozenset[tuple[str, str]] = frozenset()
    workload_types: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.worker_id or self.worker_tags or self.workload_types)

    def all_hold(self, worker_id: str, tags: Mapping[str, str], types: Collection[str]) -> bool:
        """Whether everything that the rule says is so."""
        return (
            (not self.worker_id or self.worker_id == worker_id)
            and all(tags.get(name) == value for name, value in self.worker_tags)
            and (not self.workload_types or not self.workload_types.isdisjoint(types))
        )

    def any_holds(self, worker_id: str, tags: Mapping[str, str], types: Collection[str]) -> bool:
        """Whether the name, one of the tags, or one of the types is as the rule says."""
        return (
            (bool(self.worker_id) and self.worker_id == worker_id)
            or any(tags.get(name) == value for name, value in self.worker_tags)
            or not self.workload_types.isdisjoint(types)
        )

    def points(self, worker_id: str, tags: Mapping[str, str], types: Collection[str]) -> int:
        """How well a worker fits: 50 for its name, 5 for each tag and each type."""
        named = bool(self.worker_id) and self.worker_id == worker_id
        fitting = sum(tags.get(name) == value for name, value in self.worker_tags)
        fitting += len(self.workload_types.intersection(types))
        return named * _WORKER_POINTS + fitting * _TAG_POINTS


@dataclass(frozen=True, slots=True)
class Affinity:
    """Rules of one workload.

    Args:
        hard: all of it must hold.
        soft: the workers for which the most of it holds come first.
        anti: none of it may hold.
    """

    hard: Rule = Rule()
    soft: Rule = Rule()
    anti: Rule = Rule()

    def __bool__(self) -> bool:
        return bool(self.hard or self.soft or self.anti)

    def admits(self, worker_id: str, tags: Mapping[str, str], types: Collection[str]) -> bool:
        """Whether a worker may have the workload at all."""
        return self.hard.all_hold(worker_id, tags, types) and not self.anti.any_holds(
            worker_id, tags, types
        )


NO_AFFINITY = Affinity()


def to_json(affinity: Affinity) -> dict[str, Any]:
    """An affinity in the words of the workload API; rules that say nothing are left out."""
    rules = {
        "hard_affinity": affinity.hard,
        "soft_affinity": affinity.soft,
        "anti_affinity": affinity.anti,
    }
    return {name: _rule_to_json(rule) for name, rule in rules.items() if rule}


def from_json(document: Mapping[str, Any]) -> Affinity:
    """The affinity that `to_json` made `document` of."""
    return Affinity(
        _rule_from_json(document.get("hard_affinity", {})),
        _rule_from_json(document.get("soft_affinity", {})),
        _rule_from_json(document.get("anti_affinity", {})),
    )


def _rule_to_json(rule: Rule) -> dict[str, Any]:
    document: dict[str, Any] = {}
    if rule.worker_id:
        document["worker_id"] = rule.worker_id
    if rule.worker_tags:
        document["worker_tags"] = dict(sorted(rule.worker_tags))
    if rule.workload_types:
        document["workload_types"] = sorted(rule.workload_types)
    return document


def _rule_from_json(document: Mapping[str, Any]) -> Rule:
    return Rule(
        document.get("worker_id", ""),
        frozenset(document.get("worker_tags", {}).items()),
        frozenset(document.get("workload_types", ())),
    )
