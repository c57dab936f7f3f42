"""What the coordinator decides: no SQL, no gRPC, no HTTP, no Redis."""
