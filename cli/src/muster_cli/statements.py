"""Random statements to prove, and where a proof is kept with what it takes to check it."""

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LEAVES = 8


def random_inputs(circuit: str) -> dict[str, Any]:
    """Inputs of `circuit` that are true."""
    if circuit == "merkle":
        leaves = [f"0x{secrets.token_hex(31)}" for _ in range(LEAVES)]
        return {"leaves": leaves, "leaf_index": secrets.randbelow(LEAVES)}
    if circuit == "range":
        low = secrets.randbelow(1000)
        return {"value": low + secrets.randbelow(1000), "min": low, "max": low + 1000}
    return {"a": secrets.randbelow(10**6), "b": secrets.randbelow(10**6)}


def save(folder: Path, task: Mapping[str, Any], key: Mapping[str, Any]) -> None:
    """Write one proof as snarkjs expects it: proof, public signals and verifying key."""
    home = folder / str(task["task_id"])
    home.mkdir(parents=True, exist_ok=True)
    parts = {
        "proof": task["proof"],
        "public": task["public_inputs"],
        "verification_key": key,
    }
    for name, content in parts.items():
        (home / f"{name}.json").write_text(json.dumps(content, indent=1))


def saved(folder: Path) -> list[Path]:
    """The folders of the proofs below `folder`, in order."""
    return sorted(path.parent for path in folder.rglob("proof.json"))
