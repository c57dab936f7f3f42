"""The gRPC contracts of Muster, as generated Python. Made by `make protos` from `protos/`."""
