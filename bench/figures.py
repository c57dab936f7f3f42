"""How every bench ends: one line for each figure, and the same as JSON under bench/results/."""

import json
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Figure:
    """One comparison: the same quantity of ours and of the anchor."""

    metric: str
    unit: str
    ours: float
    anchor: float
    anchor_name: str
    limit: float | None = None
    """The ratio that must not be reached; None where nothing is promised."""
    most: float | None = None
    """What ours must not exceed; None where nothing is promised."""
    least: float | None = None
    """The ratio that must be reached, where more is better; None where nothing is promised."""
    floor: float | None = None
    """What ours must reach; None where nothing is promised."""

    @property
    def ratio(self) -> float:
        """Ours as a part of the anchor's."""
        return self.ours / self.anchor

    @property
    def kept(self) -> bool:
        """Whether the promise holds."""
        return (
            (self.limit is None or self.ratio < self.limit)
            and (self.most is None or self.ours <= self.most)
            and (self.least is None or self.ratio >= self.least)
            and (self.floor is None or self.ours >= self.floor)
        )

    @property
    def promise(self) -> str:
        """What must hold."""
        if self.most is not None:
            return f"ours must be at most {self.most} {self.unit}"
        if self.floor is not None:
            return f"ours must be at least {self.floor} {self.unit}"
        if self.least is not None:
            return f"the ratio must be at least {self.least}"
        return f"the ratio must stay below {self.limit}"

    def line(self) -> str:
        """`<metric> ours=<x> anchor=<y> ratio=<ours/anchor>`."""
        return f"{self.metric} ours={self.ours:.4g} anchor={self.anchor:.4g} ratio={self.ratio:.3f}"

    def as_json(self) -> dict[str, Any]:
        """All of the figure, JSON-able."""
        return {
            "metric": self.metric,
            "unit": self.unit,
            "ours": self.ours,
            "anchor": self.anchor,
            "anchor_name": self.anchor_name,
            "ratio": self.ratio,
            "limit": self.limit,
            "most": self.most,
            "least": self.least,
            "floor": self.floor,
        }


def publish(
    bench: str,
    figures: Sequence[Figure],
    *,
    command: str,
    versions: Mapping[str, str],
    details: Mapping[str, Any],
    results: Path = RESULTS,
) -> bool:
    """Write `<results>/<bench>.json`, print a line for each figure; whether all promises hold."""
    document = {
        "bench": bench,
        "command": command,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"processor": _processor(), "system": platform.platform()},
        "versions": dict(versions),
        "details": dict(details),
        "figures": [figure.as_json() for figure in figures],
    }
    results.mkdir(parents=True, exist_ok=True)
    (results / f"{bench}.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    for figure in figures:
        if not figure.kept:
            sys.stderr.write(f"{figure.metric}: {figure.promise}\n")
    sys.stderr.flush()
    print(*(figure.line() for figure in figures), sep="\n", flush=True)
    return all(figure.kept for figure in figures)


def _processor() -> str:
    """The model of the processor, as far as the system tells."""
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or "unknown"
