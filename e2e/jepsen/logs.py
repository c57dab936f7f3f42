"""What processes of a run complained of in their logs."""

import json
from collections import Counter
from pathlib import Path

_SHOWN = 160


def complaints(home: Path) -> Counter[str]:
    """Errors by component and what they say; of exceptions their last line."""
    found: Counter[str] = Counter()
    for path in (*home.glob("*.log"), *home.glob("*/log")):
        for line in path.read_text(errors="replace").splitlines():
            if told := _error(line):
                found[told[:_SHOWN]] += 1
    return found


def _error(line: str) -> str:
    try:
        said = json.loads(line)
    except ValueError:
        return f"no JSON: {line}"
    if said.get("level") not in ("error", "critical"):
        return ""
    message: str = said["message"]
    reason: str = said.get("exc_info") or said.get("error") or ""
    said_last = reason.strip().rpartition("\n")[2]
    cut = (text.partition(" <")[0] for text in (said["component"], message, said_last))
    return ": ".join(cut)
