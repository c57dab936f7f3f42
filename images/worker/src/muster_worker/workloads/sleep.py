"""The workload type `sleep`: takes time, and nothing else. It shows what a task can do."""

import json
import time

from muster_sdk import Context, Fields, InvalidInput, Task, Workload

_STEP_SECONDS = 0.05


class Sleep(Workload):
    """Sleeps for `seconds`; saves how long it has slept, and goes on from there.

    Result: `{"slept_seconds": …, "resumed_at_seconds": …}`.
    """

    def __init__(self) -> None:
        self._slept = 0.0

    def execute(self, task: Task, context: Context) -> object:
        """See `Workload`."""
        fields = Fields(task.input)
        seconds = fields.number("seconds", least=0, most=7 * 24 * 3600)
        fields.end()
        self._slept = resumed = _state(task.checkpoint)
        before = time.monotonic()
        while self._slept < seconds:
            context.safe_point()
            time.sleep(min(_STEP_SECONDS, seconds - self._slept))
            now = time.monotonic()
            self._slept, before = self._slept + now - before, now
            context.progress(100 * self._slept / seconds, f"slept {self._slept:.1f} s")
        return {"slept_seconds": round(self._slept, 3), "resumed_at_seconds": round(resumed, 3)}

    def checkpoint(self) -> bytes:
        """How long it has slept, as JSON."""
        return json.dumps({"slept_seconds": self._slept}).encode()


def _state(checkpoint: bytes | None) -> float:
    if checkpoint is None:
        return 0.0
    try:
        state = dict(json.loads(checkpoint))
        return Fields(state).number("slept_seconds", least=0, most=1e9)
    except (ValueError, TypeError) as error:
        raise InvalidInput("checkpoint", str(error), "what this type saved") from error
