"""Where traces go, and what goes on without a collector."""

import sys

import pytest

from muster_runtime.config import ConfigError
from muster_runtime.tracing import Off, Step, tracer


def test_without_a_collector_the_callers_trace_is_handed_on() -> None:
    off = tracer("test", "0", "one", {})
    assert isinstance(off, Off)
    assert not off.enabled
    with off.span(Step("step", "00-parent"), number=1) as span:
        span.note(more=True)
        span.failed("why")
        assert span.traceparent == "00-parent"
    off.close()


@pytest.mark.parametrize(
    "name", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"]
)
def test_a_collector_turns_traces_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    on = tracer("test", "0", "one", {name: "http://127.0.0.1:9"})
    assert on.enabled
    parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"
    with on.span(Step("step", parent), number=1) as span:
        assert span.traceparent.split("-")[1] == parent.split("-")[1]
        assert span.traceparent != parent
    with on.span(Step("step", "nonsense")) as span:
        assert len(span.traceparent) == len(parent)
    on.close()


def test_without_its_packages_a_collector_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "muster_runtime.otlp", None)
    with pytest.raises(ConfigError, match=r"OTEL_EXPORTER_OTLP_ENDPOINT: got 'http://c'; allowed"):
        tracer("test", "0", "one", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"})
