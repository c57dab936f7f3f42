"""The contender that is Muster's prover and verifier, and the one that is py_ecc's verifier."""

import json
import resource
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from muster_proving import (
    CircuitSpec,
    Prover,
    Verifier,
    generate_insecure_key,
    load_proving_key,
    load_verifying_key,
    parse_inputs,
)
from muster_proving.circuits import witness
from muster_proving.independent import verify_with_py_ecc

BATCH = 64


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class _Loaded:
    """A circuit with keys, inputs and a proof."""

    def __init__(self, spec: CircuitSpec, inputs: dict[str, Any]) -> None:
        material = generate_insecure_key(spec)
        self.inputs = parse_inputs(spec, inputs)
        self.prover: Prover = load_proving_key(
            spec, material.proving_key, material.version, threads=1
        )
        self.verifier: Verifier = load_verifying_key(spec, material.verifying_key, material.version)
        self.bundle = self.prover.prove(self.inputs)
        proof, key, public = self.verifier.to_snarkjs(self.bundle.public, self.bundle.proof)
        self.files = (key, public, proof)

    def facts(self) -> dict[str, Any]:
        """What the other contenders need to prove and verify the same."""
        spec = self.prover.spec
        return {
            "inputs": witness(spec, self.inputs),
            "public": self.bundle.public,
            "files": self.files,
            "table_bytes": self.prover.table_bytes,
        }

    def work(self, what: str) -> Callable[[], bool]:
        """The work that is measured; it says whether it went well."""
        claim = (self.bundle.public, self.bundle.proof)
        match what:
            case "prove":
                return lambda: bool(self.prover.prove(self.inputs).proof)
            case "verify":
                return lambda: self.verifier.verify(*claim)
            case "verify_batch":
                return lambda: all(self.verifier.verify_batch([claim] * BATCH))
            case _:
                raise ValueError(f"cannot {what}")


def _measure(work: Callable[[], bool], times: int) -> dict[str, float]:
    before = _cpu_seconds()
    for _ in range(times):
        if not work():
            raise RuntimeError("a proof was refused")
    return {"cpu_seconds": (_cpu_seconds() - before) / times}


def main() -> None:
    """Answers requests until standard input ends."""
    loaded: dict[str, _Loaded] = {}
    files: dict[str, tuple[Any, Any, Any]] = {}
    for line in sys.stdin:
        request = json.loads(line)
        name = request["id"]
        match request["do"]:
            case "load":
                loaded[name] = _Loaded(CircuitSpec.from_key_id(request["key"]), request["inputs"])
                answer = loaded[name].facts()
            case "load_files":
                files[name] = request["files"]
                answer = {}
            case "verify_files":
                answer = _measure(partial(verify_with_py_ecc, *files[name]), 1)
            case what:
                answer = _measure(loaded[name].work(what), request["times"])
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
