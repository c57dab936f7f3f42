"""The application that Celery's worker process and its client share."""

import os
import time

from celery import Celery

_BROKER = os.environ["BENCH_REDIS"]

app = Celery("bench", broker=_BROKER, backend=_BROKER)
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=2)


@app.task  # type: ignore[untyped-decorator]
def work(_number: int) -> list[float | str]:
    """When it began, by the clock that all processes of a machine share, and a result."""
    return [time.monotonic(), "01" * 128]
