"""What many runs showed together, as tables for people. Pure: verdicts in, text out."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import chain, combinations

from e2e.jepsen.history import Outcome
from e2e.jepsen.plan import Kind
from e2e.jepsen.verdict import DOUBTS, WORKLOADS, Verdict

_COMPLAINTS = 10
Row = Sequence[object]


def summary(verdicts: Sequence[Verdict]) -> str:
    """All tables; runs without a verdict are none of them."""
    parts = [
        _told(verdicts),
        _checked(verdicts),
        _faults(verdicts),
        _together(verdicts),
        _missing(verdicts),
        _seconds(verdicts),
        _complaints(verdicts),
    ]
    return "\n\n".join(part for part in parts if part)


def _told(verdicts: Sequence[Verdict]) -> str:
    found = "faults where the last write wins"
    head = ("writes", "acknowledged", "refused", "unknown", DOUBTS, found, "in")
    rows: list[Row] = [head]
    for workload in WORKLOADS:
        counts = _added(verdict.asked.get(workload, {}) for verdict in verdicts)
        lost = [verdict.control.get(workload, 0) for verdict in verdicts]
        ended = (counts[outcome.value] for outcome in (Outcome.DONE, Outcome.NOT_DONE))
        unknown = counts[Outcome.UNKNOWN.value]
        runs = f"{sum(map(bool, lost))} of {len(lost)} runs"
        rows.append((workload, *ended, unknown, counts[DOUBTS], sum(lost), runs))
    return _table(rows)


def _checked(verdicts: Sequence[Verdict]) -> str:
    checked = _added(verdict.checked for verdict in verdicts)
    noted = _added(verdict.noted for verdict in verdicts)
    healing = max((verdict.seconds.get("healing", 0.0) for verdict in verdicts), default=0.0)
    found = sum(len(verdict.faults) for verdict in verdicts)
    judged = (
        f"{found} faults of the store in {checked['reads']:,} reads judged, "
        f"{checked['repeats']:,} acknowledged writes asked for again, "
        f"{len(verdicts)} comparisons of all replicas (alike after {healing:.1f} s at most)"
    )
    return "\n".join([judged, *(f"{count:,} {name}" for name, count in sorted(noted.items()))])


def _faults(verdicts: Sequence[Verdict]) -> str:
    """Each fault: how often, in how many runs, and what was under way while it lasted."""
    under_way = (f"{workload} under way" for workload in WORKLOADS)
    head = ("trouble", "fault", "times", "runs", *chain(*((one, DOUBTS) for one in under_way)))
    rows: list[Row] = [head]
    for kind, fault in _all_faults(verdicts):
        times = [verdict.broken.get(kind, {}).get(fault, 0) for verdict in verdicts]
        cells: list[object] = []
        for workload in WORKLOADS:
            counts = _added(_meanwhile(verdict, fault, workload) for verdict in verdicts)
            cells += [_writes(counts), counts[DOUBTS]]
        rows.append((kind, fault, sum(times), sum(map(bool, times)), *cells))
    return _table(rows)


def _together(verdicts: Sequence[Verdict]) -> str:
    """In how many runs kinds of trouble were side by side."""
    rows: list[Row] = [("runs with both", *(kind.value for kind in Kind))]
    for kind in Kind:
        both = (_runs_with(verdicts, kind, other) for other in Kind)
        rows.append((kind.value, *both))
    return _table(rows)


def _missing(verdicts: Sequence[Verdict]) -> str:
    """What did not meet, so that nothing is known of it."""
    missing = [
        f"{workload} and {fault}"
        for _, fault in _all_faults(verdicts)
        for workload in WORKLOADS
        if not any(_writes(_meanwhile(verdict, fault, workload)) for verdict in verdicts)
    ]
    missing += [
        f"{one.value} and {other.value}"
        for one, other in combinations(Kind, 2)
        if not _runs_with(verdicts, one, other)
    ]
    if not missing:
        return "every workload met every fault, and every kind of trouble every other"
    return f"did not meet: {', '.join(missing)}"


def _seconds(verdicts: Sequence[Verdict]) -> str:
    stages = dict.fromkeys(chain(*(verdict.seconds for verdict in verdicts)))
    rows: list[Row] = [("seconds of a run", "mean", "most")]
    for stage in stages:
        taken = [verdict.seconds.get(stage, 0.0) for verdict in verdicts]
        rows.append((stage, f"{sum(taken) / len(taken):.1f}", f"{max(taken):.1f}"))
    return _table(rows)


def _complaints(verdicts: Sequence[Verdict]) -> str:
    """What was logged most."""
    logged = _added(verdict.complaints for verdict in verdicts).most_common(_COMPLAINTS)
    return "\n".join(f"logged {count:,} times: {text}" for text, count in logged)


def _all_faults(verdicts: Iterable[Verdict]) -> list[tuple[str, str]]:
    pairs = [
        (kind, fault)
        for verdict in verdicts
        for kind, faults in verdict.broken.items()
        for fault in faults
    ]
    order = [kind.value for kind in Kind]
    return sorted(dict.fromkeys(pairs), key=lambda pair: order.index(pair[0]))


def _meanwhile(verdict: Verdict, fault: str, workload: str) -> dict[str, int]:
    return verdict.meanwhile.get(fault, {}).get(workload, {})


def _writes(counts: dict[str, int]) -> int:
    return sum(counts.get(outcome.value, 0) for outcome in Outcome)


def _runs_with(verdicts: Iterable[Verdict], *kinds: Kind) -> int:
    return sum(all(kind in verdict.plan.kinds for kind in kinds) for verdict in verdicts)


def _added(counts: Iterable[dict[str, int]]) -> Counter[str]:
    found: Counter[str] = Counter()
    for one in counts:
        found.update(one)
    return found


def _table(rows: Sequence[Row]) -> str:
    """Columns of words to the left, columns of numbers to the right."""
    cells = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    words = [isinstance(cell, str) for cell in rows[-1]]
    lines = (
        "  ".join(
            cell.ljust(width) if word else cell.rjust(width)
            for cell, width, word in zip(row, widths, words, strict=True)
        )
        for row in cells
    )
    return "\n".join(line.rstrip() for line in lines)
