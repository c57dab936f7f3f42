"""The gRPC face: workers. Translates messages into engine calls, and errors into status codes."""
