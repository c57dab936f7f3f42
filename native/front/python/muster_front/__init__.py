"""The hot part of a coordinator, in Rust: its gRPC server and its storage nodes.

See `_front.pyi`.
"""

from ._front import Front, Nodes, Plain, Streams, Tls

__all__ = ["Front", "Nodes", "Plain", "Streams", "Tls"]
