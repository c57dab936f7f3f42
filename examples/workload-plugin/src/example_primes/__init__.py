"""A workload type that counts primes: long enough to be paused, small enough to be read."""

import json
import math

from muster_sdk import Context, Environment, Fields, InvalidInput, Task, Workload

STEP = 2000
"""Numbers between two safe points: some milliseconds of work."""


class Primes(Workload):
    """Counts the primes below `limit`.

    Result: `{"primes": …}`. The option `most` is the greatest limit that a task may ask for.
    """

    def __init__(self) -> None:
        self._most = 0
        self._next = 0
        self._found = 0

    def init(self, environment: Environment) -> None:
        """Read the options; a wrong one keeps the worker from being ready, and is named there."""
        options = Fields(environment.options)
        self._most = options.whole("most", 10_000_000, least=2, most=10**9)
        options.end()

    def execute(self, task: Task, context: Context) -> object:
        """Check the input, go on from the checkpoint if there is one, and work in small steps."""
        fields = Fields(task.input)
        limit = fields.whole("limit", least=0, most=self._most)
        fields.end()
        self._next, self._found = _state(task.checkpoint)
        if task.checkpoint is not None:
            context.log(f"going on at {self._next}")
        while self._next < limit:
            # The state is whole here: this is where a task is paused, or its state is saved.
            context.safe_point()
            end = min(self._next + STEP, limit)
            self._found += sum(map(_is_prime, range(self._next, end)))
            self._next = end
            context.progress(100 * end / limit, f"{self._found} primes below {end}")
        return {"primes": self._found}

    def checkpoint(self) -> bytes:
        """The state, as bytes that `execute` can read again, on any worker."""
        return json.dumps({"next": self._next, "found": self._found}).encode()

    def close(self) -> None:
        """Nothing to let go of; a connection or a file would be closed here."""


def _state(checkpoint: bytes | None) -> tuple[int, int]:
    if checkpoint is None:
        return 0, 0
    try:
        state = json.loads(checkpoint)
        return int(state["next"]), int(state["found"])
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput("checkpoint", "unreadable", "what this type has saved") from error


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, math.isqrt(number) + 1))
