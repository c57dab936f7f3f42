"""Who may ask for workloads, what of others it sees, and how often it may ask."""

import asyncio
import functools
import ssl
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
import pytest_asyncio

from muster_coordinator import faces
from muster_coordinator.accounts import authentication
from muster_coordinator.accounts.entrance import Entrance
from muster_coordinator.accounts.keys import digest
from muster_coordinator.engine.customers import Tier
from muster_coordinator.store.accounts import PostgresAccounts
from muster_coordinator.store.database import Database
from muster_runtime import renewal
from muster_testing.postgres import PostgresServer
from muster_testing.waiting import eventually

from .answers import refused
from .credentials import Certs
from .harness import Replica, process, serving
from .tenants import client, look, make_key, submit, workloads

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

CUSTOMER = "/v1/customer"
SECRET = "s" * 40


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def dsn(postgres: PostgresServer) -> str:
    return await postgres.create_database()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Replica]:
    home: Path = tmp_path_factory.mktemp("workloads")
    (home / "secret").write_text(SECRET)
    accounts = {"jwt_algorithm": "HS256", "jwt_key_file": str(home / "secret")}
    with pytest.MonkeyPatch.context() as patch:
        # Buckets stay as empty as they are made.
        patch.setattr(faces, "Entrance", functools.partial(Entrance, clock=lambda: 0.0))
        async with serving(dsn, workloads() | {"accounts": accounts}, home) as shared:
            yield shared


async def _asked(
    served: Replica, authorization: str | None, path: str = CUSTOMER
) -> httpx.Response:
    headers = {} if authorization is None else {"Authorization": authorization}
    return await served.http.get(path, headers=headers)


def _token(**claims: Any) -> str:
    return jwt.encode({"sub": "tokened", "exp": time.time() + 3600} | claims, SECRET, "HS256")


class TestCredentials:
    @pytest.mark.parametrize(
        ("authorization", "said"),
        [
            (None, "authorization is missing; allowed: Bearer <key or token>"),
            ("Basic abc", "authorization is something else; allowed: Bearer <key or token>"),
            ("Bearer", "authorization is something else"),
            ("Bearer nyt_acme_" + "a" * 32, "the key in authorization is not known, or has ended"),
            ("Bearer rubbish", "the token in authorization is not good"),
        ],
    )
    async def test_strangers_are_refused(
        self, served: Replica, authorization: str | None, said: str
    ) -> None:
        answer = await _asked(served, authorization)
        assert said in refused(answer, 401, "UNAUTHORIZED")["message"]
        assert answer.headers["WWW-Authenticate"] == "Bearer"

    async def test_two_credentials_are_refused(self, served: Replica) -> None:
        headers = [("Authorization", "Bearer a"), ("Authorization", "Bearer b")]
        answer = await served.http.get(CUSTOMER, headers=headers)
        message = refused(answer, 401, "UNAUTHORIZED")["message"]
        assert message == "authorization is there 2 times; allowed: once"

    async def test_a_key_opens_until_it_ends(
        self, served: Replica, dsn: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(authentication, "REMEMBERED_SECONDS", 3600.0)
        # One that has ended before it was shown says nothing: the first that was good in time.
        for seconds in (4, 16, 64):
            key = await make_key(dsn, "brief", lifetime=timedelta(seconds=seconds))
            first = await _asked(served, f"Bearer {key}")
            if first.status_code == 200:
                break
        assert first.status_code == 200

        async def ended() -> bool:
            return (await _asked(served, f"Bearer {key}")).status_code == 401

        # Sooner than what is remembered of other keys would end.
        await eventually(ended, deadline=120)

    async def test_a_revoked_key_opens_nothing(
        self, served: Replica, dsn: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(authentication, "REMEMBERED_SECONDS", 0.2)
        key = await make_key(dsn, "revoked")
        assert (await _asked(served, f"Bearer {key}")).status_code == 200
        async with Database(dsn) as database:
            store = PostgresAccounts(database)
            found = await store.find_key(digest(key))
            assert found is not None
            assert found[0].last_used_at is not None
            assert await store.revoke_key(found[0].id)

        async def refused_now() -> bool:
            return (await _asked(served, f"Bearer {key}")).status_code == 401

        await eventually(refused_now)

    async def test_a_token_is_a_customer_who_is_made_known(self, served: Replica) -> None:
        answer = await _asked(served, f"Bearer {_token()}")
        assert (answer.json()["customer_id"], answer.json()["tier"]) == ("tokened", "free")
        answer = await _asked(served, f"Bearer {_token(tier='premium')}")
        assert answer.json()["tier"] == "premium"
        # A token without a tier leaves it as it is.
        answer = await _asked(served, f"Bearer {_token(more=1)}")
        assert answer.json()["tier"] == "premium"

    async def test_a_token_may_be_an_administrators(self, served: Replica) -> None:
        token = _token(admin=True)
        answer = await _asked(served, f"Bearer {token}", "/v1/admin/queue")
        assert answer.status_code == 200
        refused(await _asked(served, f"Bearer {token}"), 403, "FORBIDDEN")

    async def test_what_says_how_to_ask_is_open(self, served: Replica) -> None:
        for path in ("/v1/openapi.json", "/v1/docs", "/v1/docs/start.js"):
            assert (await _asked(served, None, path)).status_code == 200
        for path in ("/v1", "/v1/", "/v1/nothing", "/v1/docs/nothing"):
            refused(await _asked(served, None, path), 401, "UNAUTHORIZED")


class TestApart:
    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/v1/workloads/{id}"),
            ("POST", "/v1/workloads/{id}/cancel"),
            ("POST", "/v1/workloads/{id}/pause"),
            ("POST", "/v1/workloads/{id}/resume"),
            ("GET", "/v1/workloads/{id}/logs"),
            ("GET", "/v1/workloads/{id}/audit"),
        ],
    )
    async def test_workloads_of_others_are_not_there(
        self, served: Replica, dsn: str, method: str, path: str
    ) -> None:
        async with client(served, await make_key(dsn, "owner")) as owner:
            workload_id = await submit(owner)
            async with client(served, await make_key(dsn, "thief")) as thief:
                answer = await thief.request(method, path.format(id=workload_id))
                missing = "00000000-0000-7000-8000-000000000000"
                absent = await thief.request(method, path.format(id=missing))
            said = refused(answer, 404, "NOT_FOUND")["message"]
            assert said.replace(workload_id, missing) == absent.json()["error"]["message"]
            assert (await look(owner, workload_id))["status"] == "PENDING"

    async def test_lists_show_ones_own(self, served: Replica, dsn: str) -> None:
        async with client(served, await make_key(dsn, "owner")) as owner:
            await submit(owner)
        async with client(served, await make_key(dsn, "empty")) as empty:
            found = (await empty.get("/v1/workloads")).json()
        assert (found["workloads"], found["total"]) == ([], 0)

    @pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
    async def test_configurations_of_others_are_not_there(
        self, served: Replica, dsn: str, method: str
    ) -> None:
        body = {"name": f"own-{method}", "workload_type": "sleep"}
        async with client(served, await make_key(dsn, "owner")) as owner:
            made = (await owner.post("/v1/workload-configs", json=body)).json()
            path = f"/v1/workload-configs/{made['config_id']}"
            async with client(served, await make_key(dsn, "thief")) as thief:
                sent = body if method == "PUT" else None
                refused(await thief.request(method, path, json=sent), 404, "NOT_FOUND")
                stolen = {"workload_config_id": made["config_id"]}
                refused(await thief.post("/v1/workloads", json=stolen), 404, "NOT_FOUND")
            assert (await owner.get(path)).json() == made

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/v1/admin/workers"),
            ("POST", "/v1/admin/workers/w/drain"),
            ("DELETE", "/v1/admin/workers/w"),
            ("GET", "/v1/admin/queue"),
        ],
    )
    async def test_customers_do_not_administrate(
        self, served: Replica, dsn: str, method: str, path: str
    ) -> None:
        async with client(served, await make_key(dsn, "owner")) as owner:
            refused(await owner.request(method, path), 403, "FORBIDDEN")

    @pytest.mark.parametrize(
        "path", ["/v1/workloads", "/v1/workload-configs", "/v1/customer", "/v1/customer/stats"]
    )
    async def test_administrators_have_no_workloads(
        self, served: Replica, dsn: str, path: str
    ) -> None:
        async with client(served, await make_key(dsn, None)) as admin:
            refused(await admin.get(path), 403, "FORBIDDEN")


class TestLimits:
    async def test_a_customer_asks_as_often_as_its_tier_may(
        self, served: Replica, dsn: str
    ) -> None:
        async with client(served, await make_key(dsn, "hurried", Tier.FREE)) as hurried:
            answers = [await hurried.get(CUSTOMER) for _ in range(8)]
        passed = [answer for answer in answers if answer.status_code == 200]
        assert len(passed) == 5
        assert passed[0].headers["X-RateLimit-Limit"] == "5"
        assert passed[0].headers["X-RateLimit-Remaining"] == "4"
        late = [answer for answer in answers if answer.status_code != 200][-1]
        error = refused(late, 429, "RATE_LIMITED")
        assert late.headers["Retry-After"] == "1"
        assert late.headers["X-RateLimit-Remaining"] == "0"
        assert error["details"] == {"limit": 5, "retry_after": 1}

    async def test_one_customer_does_not_use_up_anothers_bucket(
        self, served: Replica, dsn: str
    ) -> None:
        async with client(served, await make_key(dsn, "greedy", Tier.FREE)) as greedy:
            await asyncio.gather(*(greedy.get(CUSTOMER) for _ in range(12)))
            refused(await greedy.get(CUSTOMER), 429, "RATE_LIMITED")
        async with client(served, await make_key(dsn, "patient", Tier.FREE)) as patient:
            assert (await patient.get(CUSTOMER)).status_code == 200

    async def test_two_keys_of_one_customer_share_a_bucket(self, served: Replica, dsn: str) -> None:
        statuses = []
        for _ in range(3):
            async with client(served, await make_key(dsn, "manifold", Tier.FREE)) as one:
                answers = await asyncio.gather(*(one.get(CUSTOMER) for _ in range(4)))
            statuses += [answer.status_code for answer in answers]
        assert 429 in statuses

    async def test_a_customer_waits_with_no_more_than_it_may(
        self, served: Replica, dsn: str
    ) -> None:
        key = await make_key(dsn, "hoarder", max_queued=3)
        async with client(served, key) as hoarder:
            for _ in range(3):
                await submit(hoarder, "hoarded")
            answer = await hoarder.post("/v1/workloads", json={"workload_type": "hoarded"})
            error = refused(answer, 429, "RATE_LIMITED")
            assert "3 workloads wait, of at most 3" in error["message"]
            assert "Retry-After" in answer.headers
        async with client(served, await make_key(dsn, "modest")) as modest:
            await submit(modest)

    async def test_strangers_may_not_try_keys_for_ever(self, dsn: str, tmp_path: Path) -> None:
        document = workloads(rate_limit=0.01, rate_burst=3)
        async with serving(dsn, document, tmp_path) as replica:
            statuses = [
                (await _asked(replica, f"Bearer nyt_acme_{n:032d}")).status_code for n in range(5)
            ]
            assert statuses == [401, 401, 401, 429, 429]

    async def test_a_known_key_is_not_held_up_by_its_address(
        self, dsn: str, tmp_path: Path
    ) -> None:
        document = workloads(rate_limit=0.01, rate_burst=2)
        async with (
            serving(dsn, document, tmp_path) as replica,
            client(replica, await make_key(dsn, "known")) as known,
        ):
            answers = [await known.get(CUSTOMER) for _ in range(6)]
        assert {answer.status_code for answer in answers} == {200}


class TestTls:
    async def test_a_certificate_is_a_customer(self, dsn: str, tmp_path: Path) -> None:
        certs = Certs(tmp_path / "certs")
        certs.authority.issue("acme-client", certs.folder / "acme", organization="Acme")
        certs.authority.issue("root", certs.folder / "root")
        known = [
            {"subject": "O=Acme,CN=acme-client", "customer": "acme-tls", "tier": "standard"},
            {"subject": "CN=root", "admin": True},
        ]
        document = workloads() | {
            "http_tls": certs.section("mutual") | {"mode": "optional"},
            "accounts": {"certificates": known},
        }
        key = await make_key(dsn, "keyed")
        async with serving(dsn, document, tmp_path) as replica:
            url = f"https://127.0.0.1:{replica.ports.http}"

            async def asked(name: str | None, path: str = CUSTOMER, **more: Any) -> httpx.Response:
                async with httpx.AsyncClient(
                    base_url=url, timeout=60.0, verify=_trusting(certs, name)
                ) as one:
                    return await one.get(path, **more)

            found = (await asked("acme")).json()
            assert (found["customer_id"], found["tier"]) == ("acme-tls", "standard")
            assert (await asked("root", "/v1/admin/queue")).status_code == 200
            message = refused(await asked("worker"), 401, "UNAUTHORIZED")["message"]
            assert message == "no customer has the certificate of 'CN=worker'"
            refused(await asked(None), 401, "UNAUTHORIZED")
            headers = {"Authorization": f"Bearer {key}"}
            # A key counts before a certificate.
            assert (await asked("acme", headers=headers)).json()["customer_id"] == "keyed"
            assert (await asked(None, headers=headers)).json()["customer_id"] == "keyed"

    async def test_with_mutual_tls_nobody_connects_without_a_certificate(
        self, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(renewal, "LOOK_SECONDS", 0.1)
        certs = Certs(tmp_path / "certs")
        document = workloads() | {"http_tls": certs.section("mutual")}
        async with serving(dsn, document, tmp_path) as replica:
            url = f"https://127.0.0.1:{replica.ports.http}"

            async def status(name: str | None) -> int:
                verify = _trusting(certs, name)
                async with httpx.AsyncClient(base_url=url, timeout=60.0, verify=verify) as one:
                    return (await one.get("/v1/openapi.json")).status_code

            assert await status("worker") == 200
            with pytest.raises(httpx.TransportError):
                await status(None)
            serial = await asyncio.to_thread(ssl.get_server_certificate, _address(replica))
            certs.renew_server()

            async def renewed() -> bool:
                now = await asyncio.to_thread(ssl.get_server_certificate, _address(replica))
                return now != serial

            await eventually(renewed)
            assert await status("worker") == 200


async def test_keys_are_not_logged(dsn: str, tmp_path: Path) -> None:
    key = await make_key(dsn, "quiet")
    token = "a.b.c-secret-token"
    with process(dsn, workloads(), tmp_path / "c-0") as running:
        replica = await running.serving()
        async with client(replica, key) as quiet:
            workload_id = await submit(quiet)
        await _asked(replica, f"Bearer {token}")
        await _asked(replica, f"Bearer nyt_nobody_{'z' * 32}")
        await replica.close()
        assert await eventually(lambda: running.said("workload submitted"))
        text = str(running.lines)
    assert workload_id in text
    for secret in (key, key[-24:], token, "z" * 32):
        assert secret not in text


def _address(replica: Replica) -> tuple[str, int]:
    return "127.0.0.1", replica.ports.http


def _trusting(certs: Certs, name: str | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(certs.ca))
    if name is not None:
        context.load_cert_chain(certs.folder / f"{name}.crt", certs.folder / f"{name}.key")
    return context
