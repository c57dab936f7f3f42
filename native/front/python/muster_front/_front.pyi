"""TLS, HTTP/2 and gRPC's framing on a thread of its own, which never takes the GIL."""

from collections.abc import Sequence
from typing import Any, Literal

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

Said = list[tuple[str, bytes]]
"""Names of nodes, and the packed bodies of their replies."""

Ending = tuple[str, str | None, tuple[int, bytes, int, int], bytes, list[str], list[bytes], bool]
"""How a write ended: `reached`, `conflict`, `refused`, `stale`, `unsure` or `short`; who may have
taken it; outcome, packed clock, replicas and siblings; the record; who has it; packed failures;
whether it may have happened."""

Begun = tuple[Literal["written"], bytes, Ending] | tuple[Literal["asked"], int, Said]
"""What has become of a plain call: packed intent and end of a write; version of the ring and what
was said to a read, or of the operation of a write."""

Arrival = tuple[int, int, bytes, float | None, str | None, str | None, Begun | None]

Going = tuple[int, Sequence[str], int, Sequence[tuple[Sequence[str], int]], bytes, float, bool]
"""Where a write goes: version of the ring; writers; how many of these are natural; groups and how
many of each are needed; slot; seconds; whether nobody waits for disks."""

Event = tuple[Any, ...]
"""One of

- `("replied", number, packed reply)`
- `("asked", number, Said)`
- `("spread", number, Ending)`
- `("missed", target, holder, slot, record)`: a node misses what another has
- `("hedged", count)`: so many were asked as others were slow
- `("link", node, up, error)`: a connection is there, or lost
"""

class Plain:
    """What the front answers plain calls by; none before it is opened.

    A call is plain that reads, writes or deletes a key of a tenant that is kept, in a ring that
    does not change, within the limits of all that it names.
    """

    def open(self, level: str, write_seconds: float, read_seconds: float) -> None:
        """Answer plain calls: by default at a level, and within so many seconds."""

    def keep(
        self,
        tenant_id: str,
        *,
        factor: int,
        known_at: int,
        writes: bool,
        keyed: bool,
        writes_per_minute: int | None,
        reads_per_minute: int | None,
        unsynced: bool,
        seconds: float,
    ) -> None:
        """Know a tenant for so long.

        Args:
            known_at: the version of the ring when it was looked up.
            writes: whether they may be plain.
            keyed: whether those with an idempotency key may be.
            writes_per_minute, reads_per_minute: None for no limit.
            unsynced: whether writes need not wait for disks.
        """

    def take(
        self, tenant_id: str, writes: bool, per_minute: int, tokens: int
    ) -> tuple[int, float, float | None]:
        """Take tokens of the bucket that plain calls of a tenant take from, or none.

        Returns:
            Whole tokens that are left; seconds until the bucket is full again; and until there
            are tokens enough, None where there were.
        """

    def forget(self, tenant_id: str) -> None:
        """Know a tenant no more."""

    def forget_all(self) -> None:
        """Know no tenant any more."""

    def used(self, tenant_id: str) -> bool:
        """Whether there were calls of a tenant since this was asked last."""

    def ring(self, version: int, factors_version: int, tokens: Sequence[int]) -> None:
        """Another ring is in use, with these tokens in order; `place` says where they are.

        Args:
            factors_version: tenants that were looked up before it are not placed rightly.
        """

    def no_ring(self) -> None:
        """No call is plain while the ring changes."""

    def place(self, version: int, factor: int, placements: Sequence[Sequence[str]]) -> None:
        """The nodes of each token, in the ring of that version."""

    def tallies(self) -> list[tuple[str, list[int], float]]:
        """By method: how many calls were answered in each bucket of time, and seconds of all."""

class Nodes:
    """Connections to storage nodes, on a thread of their own.

    What is asked is answered by an event, whatever happens; `muster_kv.wire` has what is said.

    Args:
        token: that this end and the nodes know; empty for none.
        hedge_seconds: how long a replica may take to answer before another is asked.
        buckets: upper ends of those that the times of plain calls are counted in, seconds.
        tls: PEM: authorities of nodes, and our certificate and its key, if any.

    Raises:
        ValueError: of what `tls` has.
    """

    def __init__(
        self,
        *,
        node_id: str,
        cluster: str,
        token: bytes,
        hedge_seconds: float,
        buckets: Sequence[float],
        tls: tuple[bytes, tuple[bytes, bytes] | None] | None = None,
    ) -> None: ...
    @property
    def plain(self) -> Plain:
        """What a front that runs beside these answers plain calls by."""

    def fileno(self) -> int:
        """A descriptor that can be read from whenever `drain` has something."""

    def start(self) -> None:
        """Begin.

        Raises:
            RuntimeError: it was started before.
        """

    def stop(self) -> None:
        """End all connections, and the thread; a front beside these has ended before.

        Raises:
            RuntimeError: it ended by a fault of its own.
        """

    def open(self, node_id: str, host: str, port: int) -> int:
        """Connect to a node, and again whenever that is lost; its number."""

    def close(self, node: int) -> None:
        """End the connection to a node; what is in flight fails."""

    def judge(self, node: int, healthy: bool) -> None:
        """Say whether a node serves; it is asked last until then."""

    def submit(self, node: int, body: bytes, ring_version: int, seconds: float) -> int:
        """Ask one node with a packed body; the number of the event."""

    def ask(
        self,
        replicas: Sequence[str],
        body: bytes,
        ring_version: int,
        least: int,
        seconds: float,
    ) -> int:
        """Ask until so many have answered; the number of the event."""

    def take(
        self, going: Going, intent: bytes, blind: bool, base: bytes, late: Sequence[str]
    ) -> int:
        """Write with a packed intent; the number of the event.

        Args:
            blind: whether the intent has no context.
            base: a record that its taker joins before; empty for none.
            late: nodes that were asked before, and did not say in time.
        """

    def merge(
        self, going: Going, record: bytes, outcome: int, clock: bytes, holders: Sequence[str]
    ) -> int:
        """Write a record that is made already, and that `holders` have; the number of the event."""

    def drain(self) -> list[Event]:
        """What has happened since the last time; never waits."""

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
        nodes: answer plain calls by, and on the thread of, these.

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
        nodes: Nodes | None = None,
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
            common name, what has become of it), numbers of calls that nobody waits for any more,
            and whether the server has ended, after which nothing comes.
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
