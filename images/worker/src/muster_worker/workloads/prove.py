"""The workload types `prove.<circuit>`: Groth16 proofs."""

import json
from collections.abc import Sequence
from typing import Any

from muster_proving import (
    CircuitSpec,
    Curve,
    InvalidInput,
    Prover,
    TableCache,
    load_proving_key,
    parse_inputs,
)
from muster_worker.workloads import Context, InvalidTask, Key, KeyMissing, Result, Task, Workload


class Prove(Workload):
    """Proves the circuits of one kind, for every key of that kind which the pool has."""

    def __init__(self, context: Context) -> None:
        self._task_type = context.task_type
        self._curve = Curve(context.curve.lower())
        self._provers: dict[tuple[str, str], Prover] = {}

    def load(self, keys: Sequence[Key]) -> None:
        """Load keys and build their tables; those that are loaded already are kept.

        Raises:
            KeyMismatch: a key has not the version that was announced.
        """
        provers = {}
        for key in keys:
            spec = CircuitSpec.from_key_id(key.key_id)
            if spec.task_type == self._task_type:
                name = (key.key_id, key.version)
                provers[name] = self._provers.get(name) or _load(spec, key)
        self._provers = provers

    def execute(self, task: Task) -> Result:
        """Prove the statement that the payload holds as JSON. Raises as `Workload.execute`."""
        prover = self._select(task)
        try:
            inputs = parse_inputs(prover.spec, _mapping(task.payload))
        except InvalidInput as invalid:
            raise InvalidTask(str(invalid)) from invalid
        bundle = prover.prove(inputs)
        return Result(bundle.proof, bundle.metadata(), bundle.root or "")

    def _select(self, task: Task) -> Prover:
        if task.key_id:
            found = self._provers.get((task.key_id, task.key_version))
            if found is None:
                raise KeyMissing(f"key {task.key_id} {task.key_version} is not loaded here")
            return found
        fitting = [held for held in self._provers.values() if held.spec.curve is self._curve]
        if len(fitting) != 1:
            raise KeyMissing(
                f"the task names no key, and {len(fitting)} keys for {self._task_type} "
                f"on {self._curve.value} are loaded here"
            )
        return fitting[0]


def _load(spec: CircuitSpec, key: Key) -> Prover:
    # The tables lie beside the key, for all executing processes that share the directory.
    tables = TableCache(key.path.parent)
    return load_proving_key(spec, key.path.read_bytes(), key.version, tables=tables)


def _mapping(payload: bytes) -> dict[str, Any]:
    try:
        document = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise InvalidTask(f"input_data_json: not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidTask("input_data_json: not an object; write the inputs as {...}")
    return document
