"""Whatever a stranger sends ends his connection with one line in the log, and harms nobody else."""

import asyncio
import logging
import os
import random
import ssl
import struct
import subprocess
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster_kv.wire.client import NodeClient
from muster_kv.wire.frames import (
    HEAD_BYTES,
    Kind,
    ProtocolError,
    Unframer,
    decode_replies,
    decode_requests,
    frame,
)
from muster_kv.wire.hello import Hello, Identity, Role, answer, challenge, hello, verify
from muster_kv.wire.messages import Found, Get
from muster_kv.wire.server import Limits
from muster_kv.wire.timing import Offset, Wheel
from muster_testing.waiting import eventually

from .loopback import COORDINATOR, NODE, QUICK, connected, echo, serving

NONCE = bytes(16)
HELLO = hello(COORDINATOR, NONCE, 1)
SEED = int(os.environ.get("MUSTER_KV_FUZZ_SEED", "0"))


def hostile(draw: random.Random) -> list[bytes]:
    """Return what one stranger sends."""
    good = bytes(frame(Kind.HELLO, HELLO))
    at = draw.randrange(len(good))
    body = draw.randbytes(draw.randrange(0, 60))
    choices = [
        [draw.randbytes(draw.randrange(1, 200))],
        [good[:at] + bytes([draw.randrange(256)]) + good[at + 1 :], draw.randbytes(40)],
        [good, struct.pack(">IB", len(body) + 1, draw.randrange(12)) + body],
        [good, bytes(frame(Kind.PROOF, [draw.randbytes(32)]))],
        [bytes(frame(Kind.REQUESTS, [1, [[1, 1, 1, [4, b"x"]]]]))],
        [struct.pack(">IB", draw.randrange(2**32), draw.randrange(256))],
        [good, bytes(frame(Kind.PING, draw.choice([None, "x", [], [[]], {}])))],
    ]
    return draw.choice(choices)


async def test_strangers_are_hung_up_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    draw = random.Random(SEED)
    strangers = 300
    limits = Limits(hello_timeout=0.2)
    async with serving(echo, limits=limits) as server, connected(server.port) as client:
        # It may have been too slow to say who it is at first.
        caplog.clear()
        for _ in range(strangers):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            for data in hostile(draw):
                writer.write(data)
            if draw.random() < 0.3:
                writer.write_eof()
            async with asyncio.timeout(60):
                try:
                    while await reader.read(65536):
                        pass
                except ConnectionError:
                    pass
            writer.close()
        assert await client.request(Get(b"x"), 30) == Found(b"x")
        lines = [record for record in caplog.records if record.name == "muster_kv.wire.peer"]
        assert len(lines) <= strangers
        assert {record.levelname for record in caplog.records} == {"WARNING"}
        assert not [record for record in caplog.records if record.exc_info]


async def test_a_friend_that_goes_mad_is_hung_up_on(caplog: pytest.LogCaptureFixture) -> None:
    draw = random.Random(SEED)
    async with serving(echo) as server:
        for _ in range(100):
            reader, writer = await _befriend(server.port)
            body = draw.randbytes(draw.randrange(1, 80))
            kind = draw.choice([Kind.REQUESTS, Kind.PING, Kind.HELLO, Kind.PROOF, Kind.REPLIES])
            writer.write(struct.pack(">IB", len(body) + 1, kind) + body)
            async with asyncio.timeout(60):
                try:
                    while await reader.read(65536):
                        pass
                except ConnectionError:
                    pass
            writer.close()
        await eventually(lambda: caplog.messages.count("connection ended") == 100)
        assert not [record for record in caplog.records if record.exc_info]


async def _befriend(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(frame(Kind.HELLO, HELLO))
    asked = msgspec.msgpack.decode(await _body(reader))
    from_server = msgspec.convert(asked, _Challenge)
    writer.write(frame(Kind.PROOF, answer(COORDINATOR, HELLO, from_server)))
    await _body(reader)
    return reader, writer


async def _body(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(HEAD_BYTES)
    return await reader.readexactly(int.from_bytes(head[:4], "big") - 1)


_Challenge = type(challenge(NODE, HELLO, NONCE))


class TestHandshake:
    @pytest.mark.parametrize(
        ("identity", "sentence"),
        [
            (Identity("c", Role.COORDINATOR, "other", b"secret"), "cluster: 'other'; allowed"),
            (Identity("c", Role.COORDINATOR, "demo", b"guess"), "has another token"),
            (Identity("c", Role.COORDINATOR, "demo"), "has another token"),
        ],
    )
    async def test_strangers_are_told_why(self, identity: Identity, sentence: str) -> None:
        async with serving(echo) as server:
            client = NodeClient("127.0.0.1", server.port, identity, options=QUICK)
            client.start()
            await eventually(lambda: sentence in client.last_error, what=sentence)
            assert not client.connected
            await client.close()

    async def test_a_server_without_the_token_gets_no_requests(self) -> None:
        impostor = Identity("node-0", Role.STORAGE, "demo", b"guess")
        async with serving(echo, identity=impostor) as server:
            client = NodeClient("127.0.0.1", server.port, COORDINATOR, options=QUICK)
            client.start()
            await eventually(lambda: "another token" in client.last_error, what="the refusal")
            await client.close()

    async def test_a_cluster_may_have_no_token(self) -> None:
        node = Identity("node-0", Role.STORAGE, "demo")
        coordinator = Identity("c", Role.COORDINATOR, "demo")
        async with (
            serving(echo, identity=node) as server,
            connected(server.port, identity=coordinator) as client,
        ):
            assert await client.request(Get(b"x"), 30) == Found(b"x")

    async def test_who_says_nothing_is_hung_up_on(self) -> None:
        async with serving(echo, limits=Limits(hello_timeout=0.05)) as server:
            reader, _ = await asyncio.open_connection("127.0.0.1", server.port)
            async with asyncio.timeout(60):
                assert await reader.read() == b""

    async def test_only_so_many_connections(self) -> None:
        async with (
            serving(echo, limits=Limits(max_connections=1)) as server,
            connected(server.port),
        ):
            other = NodeClient("127.0.0.1", server.port, COORDINATOR, options=QUICK)
            other.start()
            await eventually(lambda: "no more connections" in other.last_error, what="refusal")
            await other.close()

    def test_a_proof_is_good_for_one_handshake(self) -> None:
        asked = challenge(NODE, HELLO, NONCE)
        proof = answer(COORDINATOR, HELLO, asked)
        verify(NODE, HELLO, asked, proof)
        other = challenge(NODE, HELLO, b"1" * 16)
        with pytest.raises(ProtocolError, match="another token"):
            verify(NODE, HELLO, other, proof)
        with pytest.raises(ProtocolError, match="another token"):
            verify(NODE, HELLO, asked, msgspec.structs.replace(proof, proof=asked.proof))

    @pytest.mark.parametrize(
        ("said", "sentence"),
        [
            (msgspec.structs.replace(HELLO, protocol=9), "protocol: 9; allowed: 1"),
            (msgspec.structs.replace(HELLO, nonce=b""), "nonce: 0 bytes; allowed: 16"),
        ],
    )
    def test_a_wrong_hello_is_named(self, said: Hello, sentence: str) -> None:
        with pytest.raises(ProtocolError, match=sentence):
            challenge(NODE, said, NONCE)


class TestFrames:
    @given(st.lists(st.binary(max_size=30), max_size=6), st.data())
    def test_frames_come_back_however_they_are_cut(
        self, bodies: list[bytes], data: st.DataObject
    ) -> None:
        stream = b"".join(bytes(frame(Kind.PING, body)) for body in bodies)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
        unframer, found = Unframer(), []
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
            found += [
                msgspec.msgpack.decode(body, type=bytes)
                for _, body in unframer.feed(stream[start:end])
            ]
        assert found == bodies

    @given(st.binary(max_size=100))
    def test_decoders_raise_nothing_but_their_error(self, data: bytes) -> None:
        for decode in (decode_requests, decode_replies):
            with suppress(ProtocolError):
                decode(memoryview(data))
        with suppress(ProtocolError):
            Unframer(1000).feed(data)

    def test_a_deep_body_is_an_error(self) -> None:
        with pytest.raises(ProtocolError):
            decode_requests(memoryview(b"\x91" * 100_000))

    def test_a_wrong_head_is_named(self) -> None:
        with pytest.raises(ProtocolError, match="frame length: 9999; allowed: 1 to 100"):
            Unframer(100).feed(struct.pack(">IB", 9999, 1))
        with pytest.raises(ProtocolError, match=r"frame kind: 77; allowed: 1 \(hello\)"):
            Unframer(100).feed(struct.pack(">IB", 2, 77))


class TestTiming:
    def test_a_deadline_is_moved_to_our_clock(self) -> None:
        offset = Offset()
        offset.observe(1_000, 501_000)
        assert offset.ours(3_000) == 503_000

    def test_a_frame_that_waited_is_late_not_fresh(self) -> None:
        offset = Offset()
        offset.observe(1_000, 501_000)
        offset.observe(2_000, 10_000_000)
        assert offset.ours(2_500) == 502_500

    def test_after_a_long_stop_the_old_offset_still_counts(self) -> None:
        offset = Offset()
        offset.observe(0, 500_000)
        offset.observe(1_000_000, 600_500_000)
        assert offset.ours(1_250_000) == 1_750_000

    def test_drift_is_followed(self) -> None:
        offset = Offset()
        for second in range(3600):
            sent = second * 1_000_000
            offset.observe(sent, 500_000 + sent + second * 50)
        assert abs(offset.ours(3_600_000_000) - (3_600_500_000 + 3600 * 50)) < 3_500

    def test_no_frame_no_offset(self) -> None:
        with pytest.raises(ValueError, match="no frame has come yet"):
            Offset().ours(1)

    @given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 10)), max_size=50))
    def test_what_is_due_comes_once_and_never_early(
        self, timeouts: list[tuple[int, float]]
    ) -> None:
        wheel, came = Wheel(0.01), []
        for number, (_, due) in enumerate(timeouts):
            wheel.add(number, due)
        for tick in range(1020):
            now = tick / 100
            for number in wheel.due(now):
                came.append(number)
                assert timeouts[number][1] <= now + 1e-9
                assert now - timeouts[number][1] <= 0.021
        assert sorted(came) == list(range(len(timeouts)))


async def test_tls_and_only_with_the_right_authority(tmp_path: Path) -> None:
    _certificate(tmp_path)
    theirs = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    theirs.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    ours = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    async with serving(echo, tls=theirs) as server:
        trusting = NodeClient("localhost", server.port, COORDINATOR, options=QUICK, tls=ours)
        trusting.start()
        await trusting.ready(30)
        assert await trusting.request(Get(b"x"), 30) == Found(b"x")
        await trusting.close()
        wary = NodeClient(
            "localhost", server.port, COORDINATOR, options=QUICK, tls=ssl.create_default_context()
        )
        wary.start()
        await eventually(lambda: "certificate" in wary.last_error.lower(), what="the refusal")
        await wary.close()


def _certificate(folder: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
         "-days", "2", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
