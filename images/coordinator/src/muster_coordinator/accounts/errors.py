"""Callers that are not let in; the faces translate each into their own status codes."""

from muster_coordinator.engine.errors import EngineError


class Unauthenticated(EngineError):  # noqa: N818 - named after the cause, as all of its kind
    """The caller did not show who it is."""


class Forbidden(EngineError):  # noqa: N818 - likewise
    """The caller is known, and may not do this."""
