"""The connection to a real broker: it comes back, and says what did not arrive."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from nats.aio.client import Client

from muster_broker.access import Access, BrokerSection
from muster_broker.link import Away, Link, Nobody, Refused
from muster_testing.authority import Authority
from muster_testing.nats import MAX_PAYLOAD, NatsServer
from muster_testing.waiting import eventually

pytestmark = pytest.mark.integration


async def nothing(_: Client) -> None:
    return


@contextlib.asynccontextmanager
async def connected(
    section: BrokerSection,
    prepare: object = nothing,
    on_change: Callable[[bool], None] = lambda _: None,
) -> AsyncIterator[Link]:
    link = Link(Access(section), "test", prepare, on_change)  # type: ignore[arg-type]
    task = asyncio.create_task(link.run())
    try:
        yield link
    finally:
        task.cancel()
        await asyncio.wait({task})


def section(server: NatsServer, **keys: object) -> BrokerSection:
    return BrokerSection.model_validate({"servers": [server.url], **keys})


async def test_it_connects_once_there_is_a_server(nats: NatsServer) -> None:
    nats.stop()
    async with connected(section(nats)) as link:
        with pytest.raises(Away, match="no connection to the broker"):
            await link.publish("a", b"")
        await eventually(lambda: "onnect" in link.problem, what="the problem is named")
        await asyncio.to_thread(nats.start)
        await link.wait(60)
        assert link.max_payload == MAX_PAYLOAD
        assert link.problem == ""


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_it_comes_back_and_prepares_anew(nats: NatsServer, how: str) -> None:
    told: list[object] = []

    async def prepare(_: Client) -> None:
        told.append("prepared")

    async with connected(section(nats), prepare, told.append) as link:
        await link.wait(60)
        await asyncio.to_thread(getattr(nats, how))
        await eventually(lambda: not link.connected, what="the loss is noticed")
        await asyncio.to_thread(nats.start)
        await link.wait(60)
        # A server that is slow may be lost and found more often.
        assert told[:3] == ["prepared", True, False]
        assert told[-2:] == ["prepared", True]


async def test_a_call_fails_at_once_when_the_connection_is_lost(nats: NatsServer) -> None:
    async with connected(section(nats)) as link:
        await link.wait(60)
        inbox = await link.subscribe("deaf")
        call = asyncio.create_task(link.request("deaf", b"", 600))
        await inbox.next(60)
        await asyncio.to_thread(nats.kill)
        async with asyncio.timeout(60):
            with pytest.raises(Away):
                await call


async def test_a_server_that_hangs_counts_as_gone(nats: NatsServer) -> None:
    async with connected(section(nats)) as link:
        await link.wait(60)
        nats.pause()
        try:
            await eventually(lambda: not link.connected, deadline=60, what="the hang is noticed")
        finally:
            nats.resume()
        await link.wait(60)


async def test_nobody_listening_is_said_at_once(nats: NatsServer) -> None:
    async with connected(section(nats)) as link:
        await link.wait(60)
        async with asyncio.timeout(60):
            with pytest.raises(Nobody):
                await link.request("nobody.here", b"", 600)


async def test_what_is_too_large_is_refused(nats: NatsServer) -> None:
    async with connected(section(nats)) as link:
        await link.wait(60)
        with pytest.raises(Refused, match=f"larger than the {MAX_PAYLOAD} bytes"):
            await link.publish("a", bytes(MAX_PAYLOAD + 1))
        assert link.connected


async def test_a_wrong_token_is_no_end(nats: NatsServer, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("wrong")
    nats.configure({"authorization": {"token": "right"}})
    await asyncio.to_thread(nats.restart)
    async with connected(section(nats, token_file=token)) as link:
        await eventually(lambda: "uthoriz" in link.problem, what="the refusal is named")
        token.write_text("right")
        await link.wait(60)


async def test_a_token_that_is_revoked_and_replaced(nats: NatsServer, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    nats.configure({"authorization": {"token": "first"}})
    await asyncio.to_thread(nats.restart)
    async with connected(section(nats, token_file=token)) as link:
        await link.wait(60)
        nats.configure({"authorization": {"token": "second"}})
        await asyncio.to_thread(nats.restart)
        await eventually(lambda: "uthoriz" in link.problem, what="the refusal is named")
        token.write_text("second")
        await link.wait(60)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    authority = Authority("muster-test")
    authority.write(tmp_path / "ca.crt")
    authority.issue("nats", tmp_path / "server", addresses=["127.0.0.1"])
    authority.issue("worker", tmp_path / "client")
    return tmp_path


def tls(files: Path, *, mutual: bool) -> dict[str, object]:
    return {
        "tls": {
            "cert_file": str(files / "server.crt"),
            "key_file": str(files / "server.key"),
            "ca_file": str(files / "ca.crt"),
            "verify": mutual,
        }
    }


@pytest.mark.parametrize("mutual", [False, True])
async def test_it_speaks_tls(nats: NatsServer, files: Path, *, mutual: bool) -> None:
    nats.configure(tls(files, mutual=mutual))
    await asyncio.to_thread(nats.restart)
    keys: dict[str, object] = {"ca_file": files / "ca.crt"}
    if mutual:
        keys |= {"cert_file": files / "client.crt", "key_file": files / "client.key"}
    async with connected(section(nats, **keys)) as link:
        await link.wait(60)
        with pytest.raises(Nobody):
            await link.request("nobody.here", b"", 60)


async def test_a_server_of_another_authority_is_not_believed(nats: NatsServer, files: Path) -> None:
    nats.configure(tls(files, mutual=False))
    await asyncio.to_thread(nats.restart)
    other = files / "other.crt"
    Authority("other").write(other)
    async with connected(section(nats, ca_file=other)) as link:
        await eventually(lambda: "certificate" in link.problem, what="the refusal is named")
        assert not link.connected


async def test_a_server_without_tls_is_told_no_secret(nats: NatsServer, files: Path) -> None:
    token = files / "token"
    token.write_text("hunter2")
    async with connected(section(nats, ca_file=files / "ca.crt", token_file=token)) as link:
        await eventually(lambda: "offers no TLS" in link.problem, what="the refusal is named")
        assert not link.connected
