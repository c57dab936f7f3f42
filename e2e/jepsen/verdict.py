"""What a run showed: what is wrong, what was done, and to whom it was done."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from e2e.jepsen.history import Addition, Outcome, Write
from e2e.jepsen.nemeses.nemesis import Span
from e2e.jepsen.plan import Plan

REGISTERS, SETS, COUNTERS = WORKLOADS = ("registers", "sets", "counters")
DOUBTS = "in doubt"


@dataclass(slots=True)
class Verdict:
    """One run, as numbers and sentences. It goes from process to process as JSON.

    Args:
        faults: what is wrong; none in a store that keeps its promises.
        control: how much the same checker finds of each workload where the last write wins, under
            the same faults at the same time.
        asked: writes of each workload by how they ended, and how often clients were in doubt.
        checked: what was held against the promises.
        broken: how often each fault was made, by kind; 0 where its turn did not come.
        meanwhile: the same as `asked`, of writes that were under way during each fault.
        noted: what else happened.
        complaints: errors that processes have logged; some are what was to be expected.
        seconds: what each stage took.
    """

    plan: Plan
    faults: list[str] = field(default_factory=list)
    control: dict[str, int] = field(default_factory=dict)
    asked: dict[str, dict[str, int]] = field(default_factory=dict)
    checked: dict[str, int] = field(default_factory=dict)
    broken: dict[str, dict[str, int]] = field(default_factory=dict)
    meanwhile: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    noted: dict[str, int] = field(default_factory=dict)
    complaints: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def blind(self) -> list[str]:
        """Workloads in which the checker did not find what it must find: they show nothing."""
        return [workload for workload in WORKLOADS if not self.control.get(workload)]

    @property
    def good(self) -> bool:
        """Whether the store kept its promises, and would have been found out if not."""
        return not self.faults and not self.blind

    def line(self) -> str:
        """The run in one line."""
        made = sum(sum(times.values()) for times in self.broken.values())
        acknowledged = sum(counts[Outcome.DONE.value] for counts in self.asked.values())
        doubts = sum(counts[DOUBTS] for counts in self.asked.values())
        lost = ", ".join(f"{self.control.get(workload, 0)} {workload}" for workload in WORKLOADS)
        return (
            f"seed {self.plan.seed} ({self.plan.names}): {'good' if self.good else 'BAD'}; "
            f"{made} times broken, {acknowledged} writes acknowledged, {doubts} answers in doubt; "
            f"found where the last write wins: {lost}; {sum(self.seconds.values()):.0f} s"
        )

    def wrong(self) -> list[str]:
        """What is wrong, a sentence each."""
        text = "BLIND nothing was found where the last write wins"
        blind = [f"{text}: {workload}" for workload in self.blind]
        return [f"FAULT {fault}" for fault in self.faults] + blind


Event = Write | Addition


def counted(events: Iterable[Event]) -> dict[str, int]:
    """How many writes ended how, and after how many answers their clients were in doubt."""
    found: Counter[str] = Counter({outcome.value: 0 for outcome in Outcome} | {DOUBTS: 0})
    for event in events:
        found[event.outcome.value] += 1
        found[DOUBTS] += event.doubts
    return dict(found)


def during(
    spans: Iterable[Span], events: Mapping[str, Sequence[Event]]
) -> dict[str, dict[str, dict[str, int]]]:
    """By fault and workload, writes that were under way at some time while the fault lasted."""
    lasting: dict[str, list[Span]] = {}
    for span in spans:
        lasting.setdefault(span.fault, []).append(span)
    return {
        fault: {
            workload: counted(event for event in made if _overlaps(event, those))
            for workload, made in events.items()
        }
        for fault, those in lasting.items()
    }


def _overlaps(event: Event, spans: Iterable[Span]) -> bool:
    return any(event.begun <= span.ended and event.left >= span.begun for span in spans)


def broken(faults: Mapping[str, Sequence[str]], spans: Iterable[Span]) -> dict[str, dict[str, int]]:
    """How often each of all faults was made, by kind."""
    made = Counter((span.kind.value, span.fault) for span in spans)
    return {kind: {name: made[kind, name] for name in names} for kind, names in faults.items()}
