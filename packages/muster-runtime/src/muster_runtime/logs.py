"""JSON logs: one object a line on standard error, through the standard `logging` package.

python-json-logger formats, because it keeps `extra=` fields and exceptions as JSON.
"""

import contextlib
import logging
import sys
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal

from pythonjsonlogger.json import JsonFormatter

Level = Literal["debug", "info", "warning", "error"]

_bound: ContextVar[Mapping[str, object]] = ContextVar(
    "muster_log_fields", default=MappingProxyType({})
)


class _Formatter(JsonFormatter):
    def __init__(self, component: str) -> None:
        super().__init__("%(message)s")
        self._component = component

    def add_fields(
        self,
        log_data: dict[str, Any],
        record: logging.LogRecord,
        message_dict: dict[str, Any],
    ) -> None:
        moment = datetime.fromtimestamp(record.created, UTC)
        log_data["timestamp"] = moment.isoformat(timespec="milliseconds")
        log_data["level"] = record.levelname.lower()
        log_data["component"] = self._component
        log_data["logger"] = record.name
        log_data["caller"] = f"{record.filename}:{record.lineno}"
        log_data.update(_bound.get())
        super().add_fields(log_data, record, message_dict)


def configure(component: str, level: Level = "info") -> None:
    """Send every record of this process at `level` and above to standard error as JSON.

    Each line has `timestamp` (ISO 8601, UTC, milliseconds), `level`, `component`, `logger`,
    `caller` (file:line), `message`, the fields of `extra=` and those of `bind`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter(component))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


@contextlib.contextmanager
def bind(**fields: object) -> Iterator[None]:
    """Add `fields` to every line logged in this context and in the tasks started from it."""
    token = _bound.set({**_bound.get(), **fields})
    try:
        yield
    finally:
        _bound.reset(token)
