"""Coordinators and workers over NATS: what they say, under which subjects, and the connection."""
