"""How the operator shows coordinators who it is."""

import base64
import hashlib
import hmac
import json
import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from aiohttp import web

from muster_operator.certificates import Subject, Usage, issue, new_authority
from muster_operator.reconcile.kv.access import OPEN, Access, tls_context
from muster_operator.reconcile.kv.client import Faces, SilentError, StoreClient

SECRET = b"s" * 43


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_a_token_is_an_administrators_and_soon_over() -> None:
    kind, _, token = Access(None, SECRET).headers(1000.5)["Authorization"].partition(" ")
    head, claims, signature = token.split(".")
    assert (kind, json.loads(decoded(head))["alg"]) == ("Bearer", "HS256")
    assert json.loads(decoded(claims)) == {"admin": True, "exp": 1060}
    signed = hmac.new(SECRET, f"{head}.{claims}".encode(), hashlib.sha256).digest()
    assert decoded(signature) == signed


def test_where_no_token_is_asked_for_none_is_shown() -> None:
    assert OPEN.headers(0) == {}


def test_secrets_that_hold_something_else_are_refused() -> None:
    now = datetime.now(UTC)
    ca = {"ca.crt": new_authority("a", now).certificates}
    with pytest.raises(ValueError, match=r"ca\.crt has no certificates in PEM"):
        tls_context({"ca.crt": b"nonsense"}, None)
    with pytest.raises(ValueError, match="no certificate in PEM with its key"):
        tls_context(ca, {"tls.crt": b"nonsense", "tls.key": b"nonsense"})


async def test_both_sides_show_certificates(tmp_path: Path) -> None:
    authority = new_authority("a", datetime.now(UTC))
    server, client = (
        issue(authority, Subject((name,), usage), datetime.now(UTC))
        for name, usage in (("localhost", Usage.SERVER), ("operator", Usage.CLIENT))
    )
    ca = authority.certificates

    async def nobody(_: web.Request) -> web.Response:
        return web.json_response({"nodes": []})

    app = web.Application()
    app.add_routes([web.get("/v1/admin/storage-nodes", nobody)])
    runner = web.AppRunner(app)
    await runner.setup()
    pem = tmp_path / "pair.pem"
    pem.write_bytes(server.key + server.certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=ca.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(pem)
    site = web.TCPSite(runner, "localhost", 0, ssl_context=context)
    await site.start()
    faces = Faces(f"localhost:{runner.addresses[0][1]}", "nowhere:1")
    pair = {"tls.crt": client.certificate, "tls.key": client.key}
    try:
        async with StoreClient(faces, Access(tls_context({"ca.crt": ca}, pair))) as known:
            assert await known.members() == {}
        async with StoreClient(faces, Access(tls_context({"ca.crt": ca}, None))) as stranger:
            with pytest.raises(SilentError):
                await stranger.members()
        other = new_authority("b", datetime.now(UTC)).certificates
        async with StoreClient(faces, Access(tls_context({"ca.crt": other}, pair))) as wary:
            with pytest.raises(SilentError, match="certificate verify failed"):
                await wary.members()
    finally:
        await runner.cleanup()
