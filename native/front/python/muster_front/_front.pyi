"""TLS, HTTP/2 and gRPC's framing on a thread of its own, which never takes the GIL."""

from collections.abc import Sequence

Arrival = tuple[int, int, bytes, float | None, str | None, str | None]
Opened = tuple[int, str | None, str | None]

class Tls:
    """What a front shows its clients, and what it asks of them; TLS 1.2 and 1.3.

    Args:
        certificate: PEM, with its chain.
        key: PEM, unencrypted.
        authorities: PEM; clients then need a certificate of theirs.

    Raises:
        ValueError: they can't be used; the text says which and why.
    """

    def __init__(
        self, certificate: bytes, key: bytes, authorities: bytes | None = None
    ) -> None: ...

class Front:
    """A gRPC server, which listens from the start.

    Unary calls of `methods` are handed to whoever calls `drain`, those of `streamed` by way of
    `streams`. All others go to the server behind this one. A call that passes its deadline is
    answered DEADLINE_EXCEEDED here; one with a message above `largest`, or beyond `most` at once,
    RESOURCE_EXHAUSTED. Messages may be compressed by gzip or deflate; answers are not.

    Args:
        host: a name or an address; the first one that a name has.
        port: 0 takes a free one.
        methods: paths, as `/package.Service/Method`.
        streamed: the path of a call with many messages either way.
        behind: the name of the other server's abstract Unix socket.
        most: calls at once, those that go to the other server among them.
        largest: bytes of a message, in either direction.
        authorization: whether that header is handed over.
        names: whether the common names of clients' certificates are.
        tls: None serves without.

    Raises:
        OSError: the address can't be listened on.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        methods: Sequence[str],
        streamed: str,
        behind: str,
        most: int,
        largest: int,
        authorization: bool,
        names: bool,
        tls: Tls | None = None,
    ) -> None: ...
    @property
    def port(self) -> int:
        """The port that is listened on."""

    @property
    def streams(self) -> Streams:
        """The calls with many messages."""

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
            Calls (number, place in `methods`, message, seconds until its deadline, authorization,
            common name), numbers of calls that nobody waits for any more, and whether the server
            has ended, after which nothing comes.
        """

    def reply(self, replies: Sequence[tuple[int, bytes]]) -> None:
        """Answer calls with messages; those that nobody waits for are passed over."""

    def fail(self, number: int, code: int, message: str) -> None:
        """Answer a call with a status that is not OK."""

    def renew(self, tls: Tls) -> None:
        """Accept connections with this from now on; those that are there go on.

        Raises:
            RuntimeError: it serves without TLS.
        """

    def stop(self, grace: float) -> None:
        """Take no more connections and calls; cut off after `grace` seconds what has not ended.

        Returns at once; `drain` says when the server has ended.
        """

    def join(self) -> None:
        """Wait for the end of the server's thread.

        Raises:
            RuntimeError: it ended by a fault of its own.
        """

class Streams:
    """The calls of a front that have many messages either way."""

    def fileno(self) -> int:
        """A descriptor that can be read from whenever `drain` has something."""

    def drain(
        self,
    ) -> tuple[list[Opened], list[tuple[int, bytes]], list[int], list[tuple[int, int]], list[int]]:
        """What has happened since the last time; never waits.

        Returns:
            Calls that have begun (number, authorization, common name); messages; numbers of calls
            whose clients send no more; bytes of answers that have left, told once they are many;
            numbers of calls that nobody waits for any more. Of one call they happened in this
            order, but for the bytes.
        """

    def begun(self, number: int, size: int) -> None:
        """A message of so many bytes has been begun with: another may come in its place."""

    def send(self, number: int, message: bytes) -> int:
        """Send a message; a call that is over is passed over.

        Returns:
            How many bytes will have left with it.
        """

    def end(self, number: int) -> None:
        """End a call well, after what was sent."""

    def fail(self, number: int, code: int, message: str) -> None:
        """End a call with a status that is not OK, after what was sent."""
