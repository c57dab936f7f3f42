"""The HTTP API for those who want proofs. Translates requests into engine calls."""
