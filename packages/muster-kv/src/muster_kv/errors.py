"""Error codes: of the store's clients, and of the wire between coordinators and storage nodes."""

from enum import IntEnum


class ErrorCode(IntEnum):
    """What a client is told; the numbers are part of the clients' contract."""

    UNKNOWN = 0
    INVALID_REQUEST = 1
    TENANT_NOT_FOUND = 2
    TENANT_EXISTS = 3
    KEY_NOT_FOUND = 4
    QUORUM_NOT_REACHED = 5
    IDEMPOTENCY_KEY_CONFLICT = 6
    INVALID_REPLICATION_FACTOR = 7
    NODE_IN_USE = 8
    MIGRATION_NOT_FOUND = 9
    UNAUTHORIZED = 10
    FORBIDDEN = 11
    RATE_LIMIT_EXCEEDED = 12
    INTERNAL_ERROR = 13


class FailureCode(IntEnum):
    """Why a storage node did not do what it was asked, or why the client's end gave up."""

    INTERNAL = 1
    STALE_RING = 2
    NOT_READY = 3
    DISK_FULL = 4
    TOO_LARGE = 5
    CORRUPT = 6
    OVERLOADED = 7
    INVALID = 8
    # The deadline passed before the node came to the request: not done.
    DEADLINE = 9
    # Made by the client's end. Never sent: surely not done.
    UNAVAILABLE = 10
    # Made by the client's end. Sent, then the connection broke: nobody knows.
    BROKEN = 11
    # Made by the client's end. Sent, and no answer in time: nobody knows.
    TIMEOUT = 12
