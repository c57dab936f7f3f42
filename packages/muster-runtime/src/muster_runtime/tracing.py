"""Traces: spans around the steps of a task, sent to an OpenTelemetry collector.

Off, and without cost, unless `OTEL_EXPORTER_OTLP_ENDPOINT` (or its form for traces only) names a
collector. What is between processes is the W3C `traceparent`, so that a trace goes on wherever a
task goes.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from muster_runtime.config import ConfigError

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

Kind = Literal["internal", "server", "producer", "consumer"]
Attribute = str | bool | int | float


class Span(Protocol):
    """One step, while it lasts."""

    @property
    def traceparent(self) -> str:
        """What makes later steps the children of this one, in whichever process."""
        ...

    def note(self, **attributes: Attribute) -> None:
        """Add what became known meanwhile; names get the prefix `muster.`."""
        ...

    def failed(self, reason: str) -> None:
        """The step did not succeed."""
        ...


@dataclass(frozen=True, slots=True)
class Step:
    """What a span is told at its beginning.

    Attributes:
        name: the kind of step, the same for all tasks.
        parent: traceparent of the step before; empty begins a trace.
        begun: when it began, if that is not now.
    """

    name: str
    parent: str = ""
    kind: Kind = "internal"
    begun: datetime | None = None


class Tracer(Protocol):
    """Where spans come from."""

    @property
    def enabled(self) -> bool:
        """Whether spans go anywhere."""
        ...

    def span(self, step: Step, **attributes: Attribute) -> contextlib.AbstractContextManager[Span]:
        """A span that lasts as long as the context; an exception in it makes it a failed one."""
        ...

    def close(self) -> None:
        """Send what has not been sent, for a few seconds at most."""
        ...


@dataclass(frozen=True, slots=True)
class _Nothing:
    """A span where nothing is traced: it hands on the caller's trace."""

    traceparent: str

    def note(self, **attributes: Attribute) -> None:
        """Nothing to note."""

    def failed(self, reason: str) -> None:
        """Nothing to mark."""


class Off:
    """A tracer without a collector."""

    enabled = False

    @contextlib.contextmanager
    def span(self, step: Step, **_: Attribute) -> Iterator[Span]:
        """See `Tracer.span`."""
        yield _Nothing(step.parent)

    def close(self) -> None:
        """Nothing to send."""


def tracer(service: str, version: str, instance: str, env: Mapping[str, str]) -> Tracer:
    """The tracer of a process.

    Args:
        service: name of the program, as collectors show it.
        version: of the program.
        instance: name of this process.
        env: names the collector; the exporter reads its other settings (headers, certificate,
            sampler) from the process's environment, under the names that OpenTelemetry gives them.

    Raises:
        ConfigError: a collector is named, but the packages that send to it are not installed.
    """
    named = next((name for name in ENDPOINTS if env.get(name)), None)
    if named is None:
        return Off()
    try:
        from muster_runtime.otlp import Otlp  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        raise ConfigError(
            [f"{named}: got {env[named]!r}; allowed: only with the extra muster-runtime[tracing]"]
        ) from None
    return Otlp(service, version, instance)
