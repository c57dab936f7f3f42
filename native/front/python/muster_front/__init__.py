"""A gRPC server in Rust whose calls Python answers in batches; see `_front.pyi`."""

from ._front import Front, Streams, Tls

__all__ = ["Front", "Streams", "Tls"]
