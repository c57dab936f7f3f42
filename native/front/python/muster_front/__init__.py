"""A gRPC server in Rust whose unary calls Python answers in batches; see `_front.pyi`."""

from ._front import Front

__all__ = ["Front"]
