"""TLS of the gRPC port: who gets in, who is known by its certificate, and renewal."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from muster_kv_coordinator.grpc_face.certificates import Certificates
from muster_protos import kv_pb2 as pb
from muster_runtime import renewal
from muster_runtime.certificate_files import CertificateFiles
from muster_testing.authority import Authority
from muster_testing.waiting import eventually

from .harness import Client
from .test_front import Script, code_of, served

pytestmark = pytest.mark.integration


class Files:
    """Certificates of one authority: the server's, and those of clients."""

    def __init__(self, home: Path, name: str = "ours") -> None:
        self._home = home / name
        self._home.mkdir()
        self.authority = Authority(name)
        self.authority.write(self._home / "ca.crt")
        self.issue("server")

    def issue(self, name: str) -> None:
        """Make a certificate, and its key."""
        self.authority.issue(name, self._home / name, addresses=["127.0.0.1"])

    def read(self, name: str) -> bytes:
        return (self._home / name).read_bytes()

    def server(self, *, mutual: bool = False) -> CertificateFiles:
        """What the server is given."""
        certificate, key = (self._home / f"server.{kind}" for kind in ("crt", "key"))
        return CertificateFiles(certificate, key, self._home / "ca.crt" if mutual else None)

    def client(self, name: str | None = None) -> grpc.ChannelCredentials:
        """What a client is given: whom to trust, and its own certificate if it has one."""
        if name is None:
            return grpc.ssl_channel_credentials(self.read("ca.crt"))
        self.issue(name)
        pair = self.read(f"{name}.key"), self.read(f"{name}.crt")
        return grpc.ssl_channel_credentials(self.read("ca.crt"), *pair)


async def _shown(port: int) -> str:
    """The certificate that a new connection is shown."""
    return await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))


async def _batches() -> AsyncIterator[pb.BatchRequest]:
    yield pb.BatchRequest(operations=[pb.Operation(read=pb.ReadKeyValueRequest(key="k"))])


async def test_a_client_is_known_by_its_certificate_however_it_calls(tmp_path: Path) -> None:
    files, script = Files(tmp_path), Script()
    certificates = Certificates(files.server(mutual=True))
    operator = files.client("öperator")
    async with served(script, operator, certificates=certificates, names=True) as (_, client):
        await client.read("k")
        call = client.method("ReadKeyValue")
        await call(pb.ReadKeyValueRequest(key="k"), compression=grpc.Compression.Gzip)
        [_] = [answer async for answer in client.stream(_batches())]
    assert [caller.common_name for caller in script.callers] == ["öperator"] * 3


async def test_names_that_nobody_asks_for_are_not_told(tmp_path: Path) -> None:
    files, script = Files(tmp_path), Script()
    certificates = Certificates(files.server(mutual=True))
    async with served(script, files.client("one"), certificates=certificates) as (_, client):
        await client.read("k")
    assert script.callers[0].common_name == ""


async def test_only_who_has_a_certificate_of_our_authority_gets_in(tmp_path: Path) -> None:
    files, others = Files(tmp_path), Files(tmp_path, "others")
    certificates = Certificates(files.server(mutual=True))
    async with served(Script(), certificates=certificates) as (face, plain):
        others.issue("one")
        stranger = grpc.ssl_channel_credentials(
            files.read("ca.crt"), others.read("one.key"), others.read("one.crt")
        )
        target = f"127.0.0.1:{face.bound_port}"
        refused = [plain, Client(target, files.client()), Client(target, stranger)]
        for client in refused:
            code = await code_of(client.read("k"))
            assert code is grpc.StatusCode.UNAVAILABLE
            await client.close()
        welcome = Client(target, files.client("one"))
        assert (await welcome.read("k")).success
        await welcome.close()


async def test_renewal_drops_no_connection_and_forgets_old_authorities(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(renewal, "LOOK_SECONDS", 0.05)
    files, script = Files(tmp_path), Script()
    certificates = Certificates(files.server(mutual=True))
    old = files.client("one")
    async with served(script, old, certificates=certificates) as (face, client):
        call = asyncio.create_task(client.write("k", b""))
        await eventually(lambda: script.waiting == 1, what="a call is under way")
        before = await _shown(face.bound_port)
        # Its new authority signs another server's certificate and knows no client of the old one.
        renewed = Files(tmp_path, "renewed")
        for name in ("server.crt", "server.key", "ca.crt"):
            (tmp_path / "ours" / name).write_bytes(renewed.read(name))

        async def shows_another() -> bool:
            return await _shown(face.bound_port) != before

        await eventually(shows_another, what="new connections are shown the new certificate")
        target = f"127.0.0.1:{face.bound_port}"
        newcomer = Client(target, renewed.client("one"))
        assert (await newcomer.read("k")).success
        await newcomer.close()
        stale = grpc.ssl_channel_credentials(
            renewed.read("ca.crt"), files.read("one.key"), files.read("one.crt")
        )
        refused = Client(target, stale)
        assert await code_of(refused.read("k")) is grpc.StatusCode.UNAVAILABLE
        await refused.close()
        script.go_on.set()
        assert (await call).success
        assert (await client.read("k")).success


def test_files_that_do_not_fit_together_are_refused_in_one_sentence(tmp_path: Path) -> None:
    files, others = Files(tmp_path), Files(tmp_path, "others")
    (tmp_path / "ours" / "server.key").write_bytes(others.read("server.key"))
    with pytest.raises(ValueError, match=r"server\.crt and .*server\.key are no such pair$"):
        Certificates(files.server())


async def test_a_client_that_does_not_shake_hands_keeps_nobody_from_it(tmp_path: Path) -> None:
    files = Files(tmp_path)
    certificates = Certificates(files.server())
    async with served(Script(), files.client(), certificates=certificates) as (face, client):
        _, silent = await asyncio.open_connection("127.0.0.1", face.bound_port)
        assert (await client.read("k")).success
        silent.close()
