"""The workload API, over HTTP, WebSocket and gRPC. Translates requests into engine calls."""
