"""The hashes that circuits are made with."""

from enum import StrEnum


class Hash(StrEnum):
    """A hash of two field elements; the value is its name on the wire and in circuit ids."""

    POSEIDON = "poseidon"
    MIMC = "mimc"
    """gnark's MiMC, for deployments that have it already."""
