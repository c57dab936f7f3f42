"""Check saved proofs with py_ecc, a verifier that shares no code with the prover."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from muster_proving.independent import verify_with_py_ecc


def verify(folders: Sequence[Path]) -> Iterator[tuple[Path, bool]]:
    """Whether each saved proof holds, one by one in order; on all processors, about 1 s each."""
    # No plain fork: a thread here, such as one that draws progress, may hold a lock just then.
    processes = get_context("forkserver")
    processes.set_forkserver_preload([verify_with_py_ecc.__module__])
    with ProcessPoolExecutor(mp_context=processes) as workers:
        yield from zip(folders, workers.map(_holds, folders), strict=True)


def _holds(folder: Path) -> bool:
    def read(name: str) -> Any:
        return json.loads((folder / f"{name}.json").read_text())

    return verify_with_py_ecc(read("verification_key"), read("public"), read("proof"))
