"""The workload type `http`: real requests to a real server."""

import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from muster_sdk import Failed, InvalidInput
from muster_sdk.testing import run
from muster_testing.authority import Authority
from muster_testing.ports import free_port
from muster_worker.workloads.addresses import Addresses, networks
from muster_worker.workloads.http_request import Http

LOCAL = {"allow": ["127.0.0.0/8"]}


class _Handler(BaseHTTPRequestHandler):
    """Answers as its path says."""

    def do_GET(self) -> None:
        match self.path.partition("?")[0]:
            case "/large":
                self._answer(200, b"x" * 5000)
            case "/binary":
                self._answer(200, b"\xff\x00")
            case "/status":
                self._answer(int(self.path.partition("?")[2]), b"")
            case "/drip":
                self._drip()
            case _:
                self._answer(200, f"{self.command} {self.path}".encode())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        kind = self.headers["content-type"] or "none"
        self._answer(201, f"{kind} {self.headers['x-mark']} ".encode() + body)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Kind", "test")
        self.send_header("Location", "/elsewhere")
        self.end_headers()
        self.wfile.write(body)

    def _drip(self) -> None:
        """A response without a length, a byte at a time, without an end."""
        self.send_response(200)
        self.end_headers()
        try:
            while True:
                self.wfile.write(b"x")
                time.sleep(0.01)
        except OSError:
            return

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()


def _ask(given: dict[str, Any], **options: Any) -> Any:
    return run(Http(), given, options=LOCAL | options).result


@pytest.mark.integration
def test_a_response_is_the_result(server: str) -> None:
    found = _ask({"url": f"{server}/path?query=1"})
    assert found["status"] == 200
    assert found["body"] == "GET /path?query=1"
    assert found["headers"]["X-Kind"] == "test"


@pytest.mark.integration
def test_method_headers_and_body_are_sent(server: str) -> None:
    given = {"url": server, "method": "POST", "headers": {"X-Mark": "m"}, "body": "text"}
    assert _ask(given)["body"] == "none m text"
    given["body"] = {"a": [1]}
    assert _ask(given)["body"] == 'application/json m {"a": [1]}'


@pytest.mark.integration
def test_a_body_that_is_no_text_is_given_in_base64(server: str) -> None:
    assert _ask({"url": f"{server}/binary"})["body_base64"] == "/wA="


@pytest.mark.integration
@pytest.mark.parametrize(
    ("status", "transient"), [(500, True), (503, True), (429, True), (404, False), (302, False)]
)
def test_an_unexpected_status_fails(server: str, status: int, *, transient: bool) -> None:
    with pytest.raises(Failed) as failed:
        _ask({"url": f"{server}/status?{status}"})
    assert failed.value.message == f"127.0.0.1 answered with status {status}"
    assert failed.value.transient is transient
    found = _ask({"url": f"{server}/status?{status}", "expected_status": [status]})
    assert found["status"] == status


@pytest.mark.integration
def test_a_response_beyond_the_limit_fails_for_good(server: str) -> None:
    with pytest.raises(Failed, match="the response is larger than max_bytes, 4999") as failed:
        _ask({"url": f"{server}/large", "max_bytes": 4999})
    assert not failed.value.transient
    assert len(_ask({"url": f"{server}/large", "max_bytes": 5000})["body"]) == 5000


@pytest.mark.integration
def test_a_response_that_drips_ends_with_the_deadline(server: str) -> None:
    with pytest.raises(Failed, match=r"no answer within 0\.3 s") as failed:
        _ask({"url": f"{server}/drip", "timeout_seconds": 0.3})
    assert failed.value.transient


@pytest.mark.integration
def test_a_server_that_is_not_there_fails_for_now() -> None:
    with pytest.raises(Failed, match="ConnectionRefusedError") as failed:
        _ask({"url": f"http://127.0.0.1:{free_port()}/"})
    assert failed.value.transient


@pytest.mark.integration
def test_a_certificate_has_to_be_of_an_authority_that_is_known(tmp_path: Path) -> None:
    authority = Authority("test")
    authority.write(tmp_path / "ca.crt")
    authority.issue("server", tmp_path / "server", dns=["localhost"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    with ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as serving:
        serving.socket = context.wrap_socket(serving.socket, server_side=True)
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        given = {"url": f"https://localhost:{serving.server_port}/"}
        options = {"allow": ["127.0.0.0/8", "::1/128"]}
        with pytest.raises(Failed, match="CERTIFICATE_VERIFY_FAILED"):
            _ask(given, **options)
        assert _ask(given, **options, ca_file=str(tmp_path / "ca.crt"))["status"] == 200
        serving.shutdown()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "169.254.169.254",
        "169.254.1.1",
        "100.100.100.200",
        "0.0.0.0",  # noqa: S104 - nobody listens there
        "224.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fd00:ec2::254",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::1",
    ],
)
def test_addresses_of_machines_and_clouds_themselves_are_refused(address: str) -> None:
    assert Addresses(()).refused(address)


@pytest.mark.parametrize("address", ["10.0.0.1", "192.168.1.1", "93.184.216.34", "fd00::1"])
def test_addresses_of_others_are_not(address: str) -> None:
    assert not Addresses(()).refused(address)


def test_a_network_can_be_allowed() -> None:
    addresses = Addresses(networks("allow", ["127.0.0.1/32"]))
    assert not addresses.refused("127.0.0.1")
    assert not addresses.refused("::ffff:127.0.0.1")
    assert addresses.refused("127.0.0.2")


@pytest.mark.parametrize("host", ["169.254.169.254", "127.0.0.1", "[::1]", "2130706433", "0x7f.1"])
def test_a_request_to_them_fails_for_good_before_a_connection_is_made(host: str) -> None:
    with pytest.raises(InvalidInput, match=r"^url is at .*; allowed: hosts with no link-local"):
        run(Http(), {"url": f"http://{host}:1/"})


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({}, "url is missing"),
        ({"url": "ftp://host/"}, 'url is "ftp://host/"; allowed: http:// or https://'),
        ({"url": "http://"}, 'url is "http://"'),
        ({"url": "http://host:99999/"}, 'url is "http://host:99999/"'),
        ({"url": "http://host/a b"}, 'url is "http://host/a b"'),
        ({"url": "http://host/\r\nX: y"}, "url is "),
        ({"url": "http://user:pass@host/"}, "url is one with a user; allowed: "),
        ({"url": "http://h/", "method": "get"}, 'method is "get"; allowed: GET, HEAD, POST'),
        ({"url": "http://h/", "headers": {"a b": "c"}}, "headers.a b is not allowed"),
        ({"url": "http://h/", "headers": {"Host": "c"}}, "headers.Host is not allowed"),
        ({"url": "http://h/", "headers": {"a": "b\r\nc: d"}}, "headers.a is not printable"),
        ({"url": "http://h/", "headers": {"a": 1}}, "headers.a is a number"),
        ({"url": "http://h/", "expected_status": 200}, "expected_status is 200; allowed: a list"),
        ({"url": "http://h/", "expected_status": [99]}, "expected_status is [99]"),
        ({"url": "http://h/", "timeout_seconds": 0}, "timeout_seconds is 0; allowed: a number"),
        ({"url": "http://h/", "max_bytes": 2**20}, "max_bytes is 1048576; allowed: a whole"),
        ({"url": "http://h/", "follow": True}, "follow is unknown; allowed: body, expected_st"),
    ],
)
def test_what_cannot_be_right_is_named(given: dict[str, Any], error: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        run(Http(), given)
    assert str(caught.value).startswith(error)
    assert "allowed: " in str(caught.value)
    assert "pass" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"allow": ["10.0.0.0/33"]}, "allow[0] is '10.0.0.0/33'; allowed: a network such as"),
        ({"size_limit": 2**20}, "size_limit is 1048576; allowed: a whole number from 0 to 524288"),
        ({"ca_file": "/nowhere"}, "ca_file is /nowhere; allowed: a file in PEM"),
        ({"proxy": "x"}, "proxy is unknown; allowed: allow, ca_file, size_limit"),
    ],
)
def test_an_option_that_cannot_be_right_is_named(options: dict[str, Any], error: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        run(Http(), {"url": "http://h/"}, options=options)
    assert str(caught.value).startswith(error)
