"""The gRPC face, behind a front of our own."""
