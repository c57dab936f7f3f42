"""The gRPC face on grpc.aio."""
