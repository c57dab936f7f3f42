"""How this worker reaches its coordinator: address, certificates, token, pings."""

import re
from dataclasses import dataclass
from pathlib import Path

import grpc
import grpc.aio

_MESSAGE_BYTES = 10 * 2**20
_TOKEN = re.compile(r"[!-~]+")

Metadata = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Tls:
    """Files in PEM; with `certificate` and `key` this worker shows who it is.

    Attributes:
        authorities: whose certificates are believed.
        server_name: what the coordinator's certificate has to be for; empty for the host in the
            address.
    """

    authorities: Path
    certificate: Path | None = None
    key: Path | None = None
    server_name: str = ""


@dataclass(frozen=True, slots=True)
class Pings:
    """Seconds between two pings, and until an unanswered one means that the connection is dead."""

    every: float = 10.0
    timeout: float = 3.0


@dataclass(frozen=True, slots=True)
class Link:
    """Makes connections; the files are read for each, as certificates and tokens rotate.

    Attributes:
        address: `host:port`.
        tls: none speaks without TLS.
        token_file: holds a bearer token; none sends no token.
    """

    address: str
    tls: Tls | None = None
    token_file: Path | None = None
    pings: Pings = Pings()

    def channel(self) -> grpc.aio.Channel:
        """A connection of its own.

        Raises:
            OSError: a file can't be read.
        """
        options = self._options()
        if self.tls is None:
            return grpc.aio.insecure_channel(self.address, options=options)
        return grpc.aio.secure_channel(self.address, _credentials(self.tls), options=options)

    def metadata(self) -> Metadata:
        """What goes with every call.

        Raises:
            OSError, ValueError: the token's file can't be read, or holds none.
        """
        if self.token_file is None:
            return ()
        return (("authorization", f"Bearer {read_token(self.token_file)}"),)

    def _options(self) -> list[tuple[str, int | str]]:
        options: list[tuple[str, int | str]] = [
            ("grpc.max_receive_message_length", _MESSAGE_BYTES),
            ("grpc.max_send_message_length", _MESSAGE_BYTES),
            ("grpc.keepalive_time_ms", round(self.pings.every * 1000)),
            ("grpc.keepalive_timeout_ms", round(self.pings.timeout * 1000)),
            ("grpc.keepalive_permit_without_calls", 1),
            # Without this it falls silent after two pings with nothing to send between them.
            ("grpc.http2.max_pings_without_data", 0),
            # Each channel has sockets of its own, so that a new channel is a new connection, and
            # this worker's own pauses are the only ones.
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.initial_reconnect_backoff_ms", 250),
            ("grpc.min_reconnect_backoff_ms", 250),
            ("grpc.max_reconnect_backoff_ms", 1_000),
        ]
        if self.tls is not None and self.tls.server_name:
            options.append(("grpc.ssl_target_name_override", self.tls.server_name))
        return options


def read_token(path: Path) -> str:
    """The bearer token in a file.

    Raises:
        OSError: the file can't be read.
        ValueError: it holds no token; the text does not show what it holds.
    """
    token = path.read_text(encoding="latin-1").strip()
    if _TOKEN.fullmatch(token) is None:
        raise ValueError("a file with one token, of visible ASCII characters")
    return token


def _credentials(tls: Tls) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        tls.authorities.read_bytes(),
        None if tls.key is None else tls.key.read_bytes(),
        None if tls.certificate is None else tls.certificate.read_bytes(),
    )
