"""The workload types `prove.<circuit>`: Groth16 proofs."""

from collections.abc import Sequence

from muster_proving import (
    CircuitSpec,
    Curve,
    Prover,
    TableCache,
    load_proving_key,
    parse_inputs,
)
from muster_proving import InvalidInput as InvalidStatement
from muster_sdk import Context, Environment, InvalidInput, Task
from muster_worker.workloads import Key, Keyed, KeyMissing, Proof


class Prove(Keyed):
    """Proves the circuits of one kind, for every key of that kind which the pool has.

    The option `curve` is that of tasks which name no key.
    """

    def __init__(self) -> None:
        self._task_type = ""
        self._curve = Curve.BN254
        self._provers: dict[tuple[str, str], Prover] = {}
        self._chosen: Prover | None = None

    def init(self, environment: Environment) -> None:
        """See `Workload`."""
        self._task_type = environment.task_type
        self._curve = Curve(str(environment.options.get("curve", self._curve)).lower())

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

    def choose(self, key_id: str, version: str) -> None:
        """See `Keyed`."""
        self._chosen = self._named(key_id, version) if key_id else self._only()

    def execute(self, task: Task, context: Context) -> Proof:
        """Prove the statement that the input holds. It is too quick to be paused.

        Raises:
            InvalidInput: there is no such statement, or it is not true.
        """
        if self._chosen is None:
            raise KeyMissing("no key is chosen")
        try:
            inputs = parse_inputs(self._chosen.spec, dict(task.input))
        except InvalidStatement as invalid:
            raise InvalidInput(invalid.field, invalid.value, invalid.allowed) from invalid
        bundle = self._chosen.prove(inputs)
        return Proof(bundle.proof, bundle.metadata(), bundle.root or "")

    def _named(self, key_id: str, version: str) -> Prover:
        found = self._provers.get((key_id, version))
        if found is None:
            raise KeyMissing(f"key {key_id} {version} is not loaded here")
        return found

    def _only(self) -> Prover:
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
