"""From a checked request to workloads in the queue."""

import hashlib
import hmac
import json
from dataclasses import dataclass

from muster_coordinator.engine.errors import InvalidRequest, Unavailable
from muster_coordinator.engine.identity import new_id
from muster_coordinator.engine.model import NewWorkload, Once, Requirement
from muster_coordinator.http_face.requests import Batch, Task
from muster_coordinator.proving.keyring import KeyRing, LoadedKey
from muster_coordinator.proving.offers import Offers, Pool
from muster_proving import CircuitSpec, InvalidInput, parse_inputs


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a submission comes from."""

    request_id: str
    traceparent: str


def once(key: str, path: str, body: bytes) -> Once:
    """What an Idempotency-Key stands for: this very request.

    The fingerprint is salted with the key, which is not stored, because a body may say so little
    that it could be found out by trying.
    """
    fingerprint = hmac.digest(key.encode(), path.encode() + b"\n" + body, "sha256")
    return Once(hashlib.sha256(key.encode()).digest(), fingerprint)


class Intake:
    """Makes workloads of what is asked for, with the keys and pools on offer.

    Args:
        max_retries: how often each may be tried again.
    """

    def __init__(self, keyring: KeyRing, offers: Offers, max_retries: int) -> None:
        self._keyring = keyring
        self._offers = offers
        self._max_retries = max_retries

    def workloads(self, asked: Task | Batch, origin: Origin) -> list[NewWorkload]:
        """What a submission asks for, in order.

        Raises:
            InvalidInput, InvalidRequest: inputs are wrong, or no pool offers the circuit; the text
                names the task where there are several.
            Unavailable: a key is not there yet.
        """
        if isinstance(asked, Task):
            return [self._workload(asked, origin)]
        made = []
        for index, task in enumerate(asked.tasks):
            place = f"tasks[{index}]"
            try:
                made.append(self._workload(task, origin))
            except InvalidInput as error:
                field = f"{place}.{error.field}"
                raise InvalidInput(field, error.value, error.allowed) from None
            except InvalidRequest as error:
                raise InvalidRequest(f"{place}: {error}") from None
        return made

    def _workload(self, task: Task, origin: Origin) -> NewWorkload:
        pool, spec = self._offers.find(
            task.circuit_name, task.curve, task.size, task.pool, task.hash
        )
        inputs = json.dumps(parse_inputs(spec, task.inputs), separators=(",", ":"))
        version = self.key(pool, spec).record.version
        return NewWorkload(
            id=new_id(),
            requirement=Requirement(pool.name, spec.task_type, spec.key_id, version),
            input=inputs.encode(),
            priority=task.priority,
            max_retries=self._max_retries,
            request_id=origin.request_id,
            traceparent=origin.traceparent,
            deadline=task.deadline,
            wait_seconds=task.timeout_seconds,
        )

    def key(self, pool: Pool, spec: CircuitSpec) -> LoadedKey:
        """The key that new proofs of a pool are made with.

        Raises:
            Unavailable: it is not there yet.
        """
        key = self._keyring.current(pool, spec)
        if key is None:
            raise Unavailable(f"key {spec.key_id} of pool {pool.name} is not there yet")
        return key
