"""Which results are looked at, and by whom."""

from collections.abc import Mapping, Sequence

from muster_coordinator.engine.errors import EngineError
from muster_coordinator.engine.model import Result
from muster_coordinator.engine.ports import Acceptance, Statement, Submission, Verdict


class AsReported:
    """Takes results as they are reported; implements `ports.Acceptance`.

    A proof is none of them: what nobody looked at is never shown as one.
    """

    async def judge(
        self, items: Sequence[tuple[Statement, Submission]]
    ) -> list[Verdict | EngineError]:
        """See `Acceptance.judge`."""
        return [
            Verdict(accepted=True, result=Result(submission.duration_ms, output=submission.output))
            for _, submission in items
        ]


class ByType:
    """Leaves each kind of work to its own acceptance; implements `ports.Acceptance`.

    Args:
        kinds: acceptances by the beginning of the types that they look at.
        otherwise: looks at all other types.
    """

    def __init__(self, kinds: Mapping[str, Acceptance], otherwise: Acceptance) -> None:
        self._kinds = kinds
        self._otherwise = otherwise

    async def judge(
        self, items: Sequence[tuple[Statement, Submission]]
    ) -> list[Verdict | EngineError]:
        """See `Acceptance.judge`."""
        types = {statement.held.requirement.type for statement, _ in items}
        acceptances = {one: self._of(one) for one in types}
        if len(set(acceptances.values())) == 1:
            [acceptance] = set(acceptances.values())
            return await acceptance.judge(items)
        parts: dict[Acceptance, list[int]] = {}
        for place, (statement, _) in enumerate(items):
            parts.setdefault(acceptances[statement.held.requirement.type], []).append(place)
        verdicts: dict[int, Verdict | EngineError] = {}
        for acceptance, places in parts.items():
            found = await acceptance.judge([items[place] for place in places])
            verdicts.update(zip(places, found, strict=True))
        return [verdicts[place] for place in range(len(items))]

    def _of(self, kind: str) -> Acceptance:
        for beginning, acceptance in self._kinds.items():
            if kind.startswith(beginning):
                return acceptance
        return self._otherwise
