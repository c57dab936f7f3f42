"""HTTP/2 and gRPC's framing on a thread of its own, which never takes the GIL."""

from collections.abc import Sequence

Arrival = tuple[int, int, bytes, float | None, str | None]

class Front:
    """A gRPC server without TLS, which listens from the start.

    Unary calls of `methods` without compression are handed to whoever calls `drain`. All others go
    to the server behind this one. A call that passes its deadline is answered DEADLINE_EXCEEDED
    here; one with a message above `largest`, or beyond `most` at once, RESOURCE_EXHAUSTED.

    Args:
        host: a name or an address; the first one that a name has.
        port: 0 takes a free one.
        methods: paths, as `/package.Service/Method`.
        behind: the name of the other server's abstract Unix socket.
        most: calls at once, those that go to the other server among them.
        largest: bytes of a message, in either direction.
        authorization: whether that header is handed over.

    Raises:
        OSError: the address can't be listened on.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        methods: Sequence[str],
        behind: str,
        most: int,
        largest: int,
        authorization: bool,
    ) -> None: ...
    @property
    def port(self) -> int:
        """The port that is listened on."""

    def fileno(self) -> int:
        """A descriptor that can be read from whenever `drain` has something."""

    def start(self) -> None:
        """Begin to serve.

        Raises:
            RuntimeError: it was started before.
        """

    def drain(self) -> tuple[list[Arrival], list[int], bool]:
        """What has happened since the last time; never waits.

        Returns:
            Calls (number, place in `methods`, message, seconds until its deadline,
            authorization), numbers of calls that nobody waits for any more, and whether the
            server has ended, after which nothing comes.
        """

    def reply(self, replies: Sequence[tuple[int, bytes]]) -> None:
        """Answer calls with messages; those that nobody waits for are passed over."""

    def fail(self, number: int, code: int, message: str) -> None:
        """Answer a call with a status that is not OK."""

    def stop(self, grace: float) -> None:
        """Take no more connections and calls; cut off after `grace` seconds what has not ended.

        Returns at once; `drain` says when the server has ended.
        """

    def join(self) -> None:
        """Wait for the end of the server's thread.

        Raises:
            RuntimeError: it ended by a fault of its own.
        """
