"""Traces over OTLP/gRPC; only imported where a collector is named.

opentelemetry-sdk and opentelemetry-exporter-otlp-proto-grpc, because collectors differ and these
two speak to all of them; gRPC, because the processes that trace carry it anyway.
"""

import contextlib
import threading
from collections.abc import Iterator

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from muster_runtime.tracing import Attribute, Kind, Span, Step

FLUSH_SECONDS = 2.0

_PROPAGATOR = TraceContextTextMapPropagator()
_KINDS: dict[Kind, trace.SpanKind] = {
    "internal": trace.SpanKind.INTERNAL,
    "server": trace.SpanKind.SERVER,
    "producer": trace.SpanKind.PRODUCER,
    "consumer": trace.SpanKind.CONSUMER,
}


class _OtlpSpan:
    """Implements `Span`."""

    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> str:
        """See `Span`."""
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier, trace.set_span_in_context(self._span))
        return carrier.get("traceparent", "")

    def note(self, **attributes: Attribute) -> None:
        """See `Span`."""
        self._span.set_attributes(_named(attributes))

    def failed(self, reason: str) -> None:
        """See `Span`."""
        self._span.set_status(trace.StatusCode.ERROR, reason)


class Otlp:
    """Implements `Tracer`: spans are sent in batches by a thread of their own."""

    enabled = True

    def __init__(self, service: str, version: str, instance: str) -> None:
        resource = Resource.create(
            {
                "service.name": service,
                "service.version": version,
                "service.instance.id": instance,
            }
        )
        # Closed by `close`, in its own order, and not by a hook at the end of the interpreter.
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._exporter = OTLPSpanExporter()
        self._provider.add_span_processor(BatchSpanProcessor(self._exporter))
        self._tracer = self._provider.get_tracer("muster", version)

    @contextlib.contextmanager
    def span(self, step: Step, **attributes: Attribute) -> Iterator[Span]:
        """See `Tracer.span`."""
        context = _PROPAGATOR.extract({"traceparent": step.parent})
        begun = None if step.begun is None else int(step.begun.timestamp() * 1e9)
        span = self._tracer.start_span(
            step.name,
            context,
            kind=_KINDS[step.kind],
            attributes=_named(attributes),
            start_time=begun,
        )
        try:
            yield _OtlpSpan(span)
        except BaseException as error:
            # By its name only: the text could quote a witness.
            span.set_status(trace.StatusCode.ERROR, type(error).__name__)
            raise
        finally:
            span.end()

    def close(self) -> None:
        """See `Tracer.close`."""
        # The library's own time limits don't hold where the collector is away; this one ends its
        # tries.
        limit = threading.Timer(FLUSH_SECONDS, self._exporter.shutdown)
        limit.daemon = True
        limit.start()
        self._provider.shutdown()
        limit.cancel()


def _named(attributes: dict[str, Attribute]) -> dict[str, Attribute]:
    return {f"muster.{name}": value for name, value in attributes.items()}
