"""The workload type `http`: one request, without redirects."""

import base64
import contextlib
import http.client
import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, urlsplit

from muster_sdk import Context, Environment, Failed, Fields, InvalidInput, Task, Workload
from muster_worker.workloads.addresses import Addresses, networks

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]{0,8192}")
_OF_THE_CONNECTION = frozenset(
    ("connection", "content-length", "host", "te", "trailer", "transfer-encoding", "upgrade")
)
_AGAIN = frozenset((408, 425, 429, 500, 502, 503, 504))
_URL = "http:// or https:// with a host, without a user, of at most 8192 ASCII characters"


@dataclass(frozen=True, slots=True)
class _Request:
    """What is asked; it may hold secrets."""

    method: str
    url: SplitResult
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    expected: frozenset[int]
    seconds: float
    most: int


class Http(Workload):
    """Sends one request, and gives the response as its result.

    Options: `allow`, networks that may be asked though they are refused by default (link-local,
    loopback, metadata services and the like); `ca_file`, authorities beside those of the system;
    `size_limit`, bytes of a response at most.

    Result: `{"status", "headers", "body"}`, or `body_base64` where the body is no UTF-8.
    """

    def __init__(self) -> None:
        self._addresses = Addresses(())
        self._most = 0
        self._tls = ssl.create_default_context()

    def init(self, environment: Environment) -> None:
        """See `Workload`."""
        options = Fields(environment.options)
        self._addresses = Addresses(networks("allow", options.texts("allow", ())))
        self._most = options.whole("size_limit", 2**18, least=0, most=2**19)
        authorities = options.text("ca_file", "")
        options.end()
        if authorities:
            try:
                self._tls.load_verify_locations(authorities)
            except (OSError, ssl.SSLError) as error:
                raise InvalidInput("ca_file", authorities, f"a file in PEM ({error})") from error

    def execute(self, task: Task, context: Context) -> object:
        """See `Workload`."""
        request = self._request(Fields(task.input))
        with self._connected(request) as connection, _deadline(connection, request.seconds):
            try:
                path = request.url._replace(scheme="", netloc="", fragment="").geturl() or "/"
                connection.request(request.method, path, request.body, dict(request.headers))
                response = connection.getresponse()
                body = response.read(request.most + 1)
            except (OSError, http.client.HTTPException) as error:
                raise Failed(f"{request.url.hostname}: {_said(error)}") from None
        if response.status not in request.expected:
            raise Failed(
                f"{request.url.hostname} answered with status {response.status}",
                transient=response.status in _AGAIN,
            )
        if len(body) > request.most:
            raise Failed(f"the response is larger than max_bytes, {request.most}", transient=False)
        context.progress(100)
        return {"status": response.status, "headers": dict(response.getheaders()), **_body(body)}

    def _request(self, fields: Fields) -> _Request:
        headers = _headers(fields)
        body = fields.anything("body")
        if not isinstance(body, str | None):
            body = json.dumps(body)
            headers = {"content-type": "application/json"} | headers
        request = _Request(
            method=fields.text("method", "GET", one_of=_METHODS),
            url=_url(fields),
            headers=headers,
            body=None if body is None else body.encode(),
            expected=_expected(fields),
            seconds=fields.number("timeout_seconds", 30, least=0.001, most=3600),
            most=fields.whole("max_bytes", self._most, least=0, most=self._most),
        )
        fields.end()
        return request

    @contextlib.contextmanager
    def _connected(self, request: _Request) -> "Iterator[http.client.HTTPConnection]":
        """A connection to an address that was looked at, whatever the name means a moment later."""
        host = request.url.hostname or ""
        secure = request.url.scheme == "https"
        port = request.url.port or (443 if secure else 80)
        address = self._addresses.resolve(host, port)
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        connection = kind(host, port)
        try:
            raw = socket.create_connection((address, port), timeout=request.seconds)
            tls = self._tls
            connection.sock = tls.wrap_socket(raw, server_hostname=host) if secure else raw
        except OSError as error:
            raise Failed(f"{host}: {_said(error)}") from None
        try:
            yield connection
        finally:
            connection.close()


@contextlib.contextmanager
def _deadline(connection: http.client.HTTPConnection, seconds: float) -> Iterator[None]:
    """Break the connection after `seconds`, however slowly the other side goes on speaking.

    Raises:
        Failed: they are over.
    """
    end = time.monotonic() + seconds
    link: Any = connection.sock

    def cut() -> None:
        with contextlib.suppress(OSError):
            link.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    late = Failed(f"{connection.host}: no answer within {seconds:g} s")
    try:
        yield
    except Failed:
        if time.monotonic() < end:
            raise
        raise late from None
    else:
        # A response without a length ends where the connection does.
        if time.monotonic() >= end:
            raise late
    finally:
        timer.cancel()


def _url(fields: Fields) -> SplitResult:
    text = fields.text("url", most=8192)
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        raise fields.wrong("url", _URL, text) from None
    # Whoever writes a password here would not want to read it in an error.
    if "@" in url.netloc:
        raise InvalidInput("url", "one with a user", _URL)
    plain = text.isascii() and text.isprintable() and " " not in text
    if url.scheme not in {"http", "https"} or not url.hostname or not plain or port == 0:
        raise fields.wrong("url", _URL, text)
    return url


def _headers(fields: Fields) -> dict[str, str]:
    headers = fields.table("headers", most=64)
    for name, value in headers.items():
        shown = f"headers.{name[:64]}"
        if _HEADER.fullmatch(name) is None or name.lower() in _OF_THE_CONNECTION:
            raise InvalidInput(shown, "not allowed", "names of headers that the task may set")
        if _HEADER_VALUE.fullmatch(value) is None:
            raise InvalidInput(
                shown, "not printable, or too long", "at most 8192 printable characters"
            )
    return {name.lower(): value for name, value in headers.items()}


def _expected(fields: Fields) -> frozenset[int]:
    allowed = "a list of 1 to 64 statuses from 100 to 599"
    listed = fields.anything("expected_status")
    if listed is None:
        return frozenset(range(200, 300))
    if not isinstance(listed, list) or not 1 <= len(listed) <= 64:
        raise fields.wrong("expected_status", allowed, listed)
    for status in listed:
        if isinstance(status, bool) or not isinstance(status, int) or not 100 <= status <= 599:
            raise fields.wrong("expected_status", allowed, listed)
    return frozenset(listed)


def _body(body: bytes) -> dict[str, str]:
    try:
        return {"body": body.decode()}
    except UnicodeDecodeError:
        return {"body_base64": base64.b64encode(body).decode()}


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"
