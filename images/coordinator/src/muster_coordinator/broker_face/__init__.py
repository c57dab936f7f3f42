"""Workers over NATS: the same calls of the engine as over gRPC."""
