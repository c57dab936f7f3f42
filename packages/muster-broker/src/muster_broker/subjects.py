"""Where messages go: the names of subjects, streams and consumers."""

import re
from dataclasses import dataclass

PREFIX = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_-]{0,126}[A-Za-z0-9])?")
"""What may be put before all names, where several coordinators share one server."""


@dataclass(frozen=True, slots=True)
class Subjects:
    """All names, with `prefix` before them; an empty one puts nothing there."""

    prefix: str = ""

    @property
    def events(self) -> str:
        """What workers report; kept by JetStream until a coordinator has stored it."""
        return self._named("coordinator.events")

    @property
    def delivery(self) -> str:
        """Where JetStream hands events to coordinators; each goes to one of them."""
        return self._named("coordinator.delivery")

    @property
    def broadcast(self) -> str:
        """What coordinators tell all workers."""
        return self._named("coordinator.broadcast")

    @property
    def dead_letters(self) -> str:
        """Events that can't be understood."""
        return self._named("coordinator.dead-letters")

    @property
    def statuses(self) -> str:
        """`status` of all workers."""
        return self._named("worker.*.status")

    def commands(self, worker_id: str) -> str:
        """What coordinators tell one worker."""
        return self._named(f"worker.{_token(worker_id)}.commands")

    def status(self, worker_id: str) -> str:
        """What one worker asks of coordinators, and tells about itself."""
        return self._named(f"worker.{_token(worker_id)}.status")

    def worker_of(self, subject: str) -> str:
        """Whose status subject this is."""
        return subject.split(".")[-2].replace("%2E", ".")

    @property
    def events_stream(self) -> str:
        """The JetStream stream behind `events`."""
        return self._stream("EVENTS")

    @property
    def dead_letters_stream(self) -> str:
        """The JetStream stream behind `dead_letters`."""
        return self._stream("DEAD_LETTERS")

    def _named(self, name: str) -> str:
        return f"{self.prefix}.{name}" if self.prefix else name

    def _stream(self, name: str) -> str:
        return f"MUSTER_{self.prefix}_{name}" if self.prefix else f"MUSTER_{name}"


CONSUMER = "coordinators"
"""The durable consumer of the events, and the group in which each message goes to one."""


def _token(worker_id: str) -> str:
    """A name of a worker as one token of a subject: dots part tokens, and no name has a `%`."""
    return worker_id.replace(".", "%2E")
