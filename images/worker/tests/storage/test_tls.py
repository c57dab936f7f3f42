"""With TLS, both ends have to have a certificate of the cluster's authority."""

import ssl
from pathlib import Path
from typing import Any

import pytest

from muster_kv.errors import FailureCode
from muster_kv.merging import Intent, lww_record
from muster_kv.record import encode
from muster_kv.ring import Member, Ring
from muster_kv.slots import slot
from muster_kv.wire.client import NodeClient
from muster_kv.wire.hello import Identity, Role
from muster_kv.wire.messages import Done, Failure, Get, SetRing, StoreHint
from muster_storage.config import TlsSection
from muster_storage.tls import client_context
from muster_testing.authority import Authority
from muster_testing.storage import StorageNodes
from muster_testing.waiting import eventually

from .conftest import DEADLINE, TENANT, Talk, now_us

pytestmark = pytest.mark.integration


def _files(root: Path, name: str, authority: Authority) -> dict[str, str]:
    authority.write(root / f"{name}-ca.crt")
    authority.issue(name, root / name, addresses=["127.0.0.1"])
    files = {"ca_file": f"{name}-ca.crt", "cert_file": f"{name}.crt", "key_file": f"{name}.key"}
    return {key: str(root / file) for key, file in files.items()}


def _client(node: Any, tls: ssl.SSLContext | None) -> NodeClient:
    identity = Identity("test", Role.COORDINATOR, "muster")
    client = NodeClient(node.host, node.port, identity, tls=tls)
    client.start()
    return client


async def test_only_who_has_a_certificate_is_talked_to(storage_node: StorageNodes) -> None:
    root = storage_node.root
    ours, strangers = Authority("ours"), Authority("strangers")
    files = _files(root, "s1", ours)
    node = await storage_node("s1", tls=files, hints={"interval": "200ms"}).start()
    other = await storage_node("s2", tls=_files(root, "s2", ours)).start()
    client = _client(node, client_context(TlsSection.model_validate(files)))
    second = _client(other, client_context(TlsSection.model_validate(files)))
    stranger = TlsSection.model_validate(
        {**_files(root, "x", strangers), "ca_file": files["ca_file"]}
    )
    refused = [_client(node, None), _client(node, client_context(stranger))]
    try:
        await client.ready(DEADLINE)
        await second.ready(DEADLINE)
        talk = Talk(client)
        await talk.put("k", b"v")
        for each in refused:
            answer = await each.request(Get(slot(TENANT, "k")), 1)
            assert isinstance(answer, Failure)
            assert answer.code is FailureCode.UNAVAILABLE
        # Nodes bring each other hints by the same certificates.
        ring = Ring(1, tuple(Member(n.node_id, n.host, n.port) for n in (node, other)))
        at = slot(TENANT, "missed")
        record = encode(lww_record(Intent(bytes(16), b"v", now_us())), at)
        assert await talk.ask(SetRing(ring)) == Done()
        assert await talk.ask(StoreHint("s2", ((at, record),))) == Done()

        async def brought() -> bool:
            return await Talk(second).values("missed") == [b"v"]

        await eventually(brought, what="hint brought")
    finally:
        for each in (client, second, *refused):
            await each.close()
