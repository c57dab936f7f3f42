"""The certificates of a Coordinator and its workers."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from muster_operator import naming
from muster_operator.reconcile.tls import Data, settled
from muster_operator.resources import (
    CLUSTER_ROLE_BINDINGS,
    CONFIG_MAPS,
    COORDINATORS,
    DEPLOYMENTS,
    SECRETS,
    Key,
    Manifest,
)
from muster_operator.reviewers import subjects
from muster_testing.waiting import eventually

from .conftest import Space

NAMES = naming.coordinator_names("demo", "proofs")
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
NOTHING: tuple[Data, ...] = ({}, {}, {})


def verify(server: Data, client: Data, trusted: bytes, at: datetime) -> None:
    builder = PolicyBuilder().store(Store(x509.load_pem_x509_certificates(trusted))).time(at)
    for name in NAMES:
        verifier = builder.build_server_verifier(x509.DNSName(name))
        verifier.verify(x509.load_pem_x509_certificate(server["tls.crt"]), [])
    theirs = builder.build_client_verifier()
    theirs.verify(x509.load_pem_x509_certificate(client["tls.crt"]), [])


def test_both_sides_get_certificates_that_the_other_trusts() -> None:
    authority, server, client = settled(NOTHING, NAMES, BEGIN)
    assert server["ca.crt"] == client["ca.crt"] == authority["ca.crt"]
    verify(server, client, server["ca.crt"], BEGIN)
    assert "ca.key" not in {*server, *client}
    # A worker's certificate is none of a coordinator.
    with pytest.raises(VerificationError):
        verify(client, client, server["ca.crt"], BEGIN)


def test_nothing_is_made_anew_before_it_is_due() -> None:
    held = settled(NOTHING, NAMES, BEGIN)
    assert settled(held, NAMES, BEGIN + timedelta(days=59)) == held


def test_certificates_are_renewed_before_they_expire() -> None:
    authority, server, client = held = settled(NOTHING, NAMES, BEGIN)
    later = BEGIN + timedelta(days=61)
    fresh_authority, fresh_server, fresh_client = settled(held, NAMES, later)
    assert fresh_authority == authority
    assert fresh_server["tls.crt"] != server["tls.crt"]
    assert fresh_client["tls.key"] != client["tls.key"]
    verify(fresh_server, fresh_client, authority["ca.crt"], later)


def test_a_new_authority_is_trusted_beside_the_old_one() -> None:
    begin = BEGIN + timedelta(days=2400)
    held = settled(settled(NOTHING, NAMES, BEGIN), NAMES, begin)
    later = BEGIN + timedelta(days=2440)
    authority, server, client = settled(held, NAMES, later)
    assert len(x509.load_pem_x509_certificates(authority["ca.crt"])) == 2
    verify(server, client, authority["ca.crt"], later)
    # Who has not got the new certificate yet is trusted, too.
    verify(held[1], held[2], authority["ca.crt"], later)


@pytest.mark.parametrize("broken", range(3))
def test_what_is_damaged_is_made_anew(broken: int) -> None:
    held = list(settled(NOTHING, NAMES, BEGIN))
    held[broken] = {**held[broken], "tls.crt": b"nonsense", "ca.crt": b"nonsense"}
    _, server, client = settled(tuple(held), NAMES, BEGIN)
    verify(server, client, server["ca.crt"], BEGIN)


@pytest.mark.parametrize("key", [b"nonsense", settled(NOTHING, NAMES, BEGIN)[1]["tls.key"]])
@pytest.mark.parametrize(("broken", "name"), [(0, "ca.key"), (1, "tls.key"), (2, "tls.key")])
def test_a_key_that_is_damaged_or_anothers_is_made_anew(broken: int, name: str, key: bytes) -> None:
    held = list(settled(NOTHING, NAMES, BEGIN))
    held[broken] = {**held[broken], name: key}
    authority, server, client = settled(tuple(held), NAMES, BEGIN)
    verify(server, client, server["ca.crt"], BEGIN)
    for certificate, private in (
        (authority["ca.crt"], authority["ca.key"]),
        (server["tls.crt"], server["tls.key"]),
        (client["tls.crt"], client["tls.key"]),
    ):
        public = x509.load_pem_x509_certificate(certificate).public_key()
        assert load_pem_private_key(private, password=None).public_key() == public


def test_the_accounts_that_may_review_are_those_of_the_coordinators() -> None:
    keys = [Key("Coordinator", "b", "two"), Key("Coordinator", "a", "one")]
    assert subjects(keys) == [
        {"kind": "ServiceAccount", "name": "one-coordinator", "namespace": "a"},
        {"kind": "ServiceAccount", "name": "two-coordinator", "namespace": "b"},
    ]


def test_the_name_of_an_anchor_tells_its_revision() -> None:
    for revision in (1, 12):
        name = naming.certificates_name("demo", revision)
        assert naming.certificates_revision("demo", name) == revision
    for other in ("demo-coordinator", "demo-coordinator-certificates-x", "a-certificates-1"):
        assert naming.certificates_revision("demo", other) == 0


@pytest.mark.integration
@pytest.mark.usefixtures("operator")
class TestOnTheApiServer:
    async def test_managed_certificates_reach_both_sides(self, space: Space) -> None:
        await space.coordinator("{tls: {mode: Managed}}", name="shared")
        await space.pool("coordinatorRef: {name: shared}")

        async def tls(name: str, file: str) -> bool:
            config = await space.the(CONFIG_MAPS, name)
            assert "/etc/muster/tls/tls.crt" in config["data"][file]
            return True

        await eventually(lambda: tls("shared-coordinator", "coordinator.yaml"), what="the server")
        await eventually(lambda: tls("demo-worker", "worker.yaml"), what="the workers")
        first = await self._secrets(space, 1)
        anchor = await space.the(CONFIG_MAPS, "shared-coordinator-certificates-1")
        assert anchor["metadata"]["ownerReferences"][0]["name"] == "shared"
        for made in first.values():
            assert made["metadata"]["ownerReferences"][0]["uid"] == anchor["metadata"]["uid"]
        await eventually(lambda: self._workers_have(space, 1), what="workers have theirs")

        damaged = {**first["tls"], "data": {"tls.crt": base64.b64encode(b"x").decode()}}
        await space.cluster.replace(SECRETS, damaged)
        second = await self._secrets(space, 2)
        assert second["tls"]["data"]["ca.crt"] == first["authority"]["data"]["ca.crt"]
        assert second["authority"]["data"] == first["authority"]["data"]
        await eventually(lambda: self._workers_have(space, 2), what="workers have the new ones")
        # Pods that are not replaced yet still have the first.
        assert await space.get(SECRETS, "shared-coordinator-tls-1")

        await space.cluster.replace(SECRETS, {**second["tls"], "data": damaged["data"]})
        await eventually(lambda: self._workers_have(space, 3), what="workers have the third")
        for name in ("authority", "tls", "workers"):
            await space.gone(SECRETS, f"shared-coordinator-{name}-1")
        assert await space.get(SECRETS, "shared-coordinator-tls-2")

        await space.coordinator("{}", name="shared")
        await space.gone(SECRETS, "shared-coordinator-authority-3")

    async def _secrets(self, space: Space, revision: int) -> dict[str, Manifest]:
        return {
            name: await space.the(SECRETS, f"shared-coordinator-{name}-{revision}")
            for name in ("authority", "tls", "workers")
        }

    async def _workers_have(self, space: Space, revision: int) -> bool:
        deployment = await space.the(DEPLOYMENTS, "demo-worker")
        volumes = str(deployment["spec"]["template"]["spec"]["volumes"])
        assert f"shared-coordinator-workers-{revision}" in volumes
        assert "authority" not in volumes
        coordinator = await space.the(COORDINATORS, "shared")
        assert coordinator.get("status", {}).get("certificateRevision") == revision
        return True

    async def test_a_revision_that_was_only_begun_is_completed(self, space: Space) -> None:
        await space.coordinator("tls: {mode: Managed}")
        authority = await space.the(SECRETS, "demo-coordinator-authority-1")
        workers = await space.the(SECRETS, "demo-coordinator-workers-1")
        await space.cluster.delete(SECRETS, workers)

        async def again() -> bool:
            there = await space.get(SECRETS, "demo-coordinator-workers-1")
            assert there is not None
            assert there["metadata"]["uid"] != workers["metadata"]["uid"]
            assert there["data"]["ca.crt"] == authority["data"]["ca.crt"]
            return True

        await eventually(again, what="the missing one is made, by the same authority")
        assert await space.get(SECRETS, "demo-coordinator-authority-2") is None

    async def test_a_missing_certificate_of_others_is_said(self, space: Space) -> None:
        await space.coordinator("tls: {mode: SecretRef, secretRef: {name: mine}}")
        stalled = await space.reason(COORDINATORS, "Stalled", "SecretNotFound")
        assert stalled["message"] == "Secret mine is missing: make it, for the TLS of coordinators"
        metadata = {"name": "mine", "namespace": space.name}
        data = dict.fromkeys(("tls.crt", "tls.key", "ca.crt"), "x")
        await space.cluster.apply(SECRETS, SECRETS.manifest(metadata, stringData=data))
        await space.the(DEPLOYMENTS, "demo-coordinator")

    async def test_a_secret_of_somebody_else_is_left_alone(self, space: Space) -> None:
        metadata = {"name": "demo-coordinator-tls-1", "namespace": space.name}
        theirs = await space.cluster.create(SECRETS, SECRETS.manifest(metadata))
        await space.coordinator("tls: {mode: Managed}")
        stalled = await space.reason(COORDINATORS, "Stalled", "NameTaken")
        assert stalled["message"].startswith("Secret demo-coordinator-tls-1 exists and is not ours")
        assert await space.get(SECRETS, "demo-coordinator-tls-1") == theirs

    async def test_coordinators_may_review_tokens_while_they_have_to(self, space: Space) -> None:
        account = {
            "kind": "ServiceAccount",
            "name": "demo-coordinator",
            "namespace": space.name,
        }

        async def allowed(wanted: bool) -> bool:
            found = await space.cluster.get(CLUSTER_ROLE_BINDINGS, None, "muster-token-review")
            assert found is not None
            assert (account in found.get("subjects", [])) is wanted, found
            return True

        await space.pool()
        await space.the(DEPLOYMENTS, "demo-coordinator")
        await space.coordinator("authentication: {mode: TokenReview}")
        await eventually(lambda: allowed(True), what="it may")

        async def tokens() -> bool:
            config = await space.the(CONFIG_MAPS, "demo-worker")
            assert "token_file: /var/run/secrets/muster/token" in config["data"]["worker.yaml"]
            config = await space.the(CONFIG_MAPS, "demo-coordinator")
            assert f"- {space.name}:demo-worker" in config["data"]["coordinator.yaml"]
            return True

        await eventually(tokens, what="both sides know of tokens")
        await space.coordinator("authentication: {mode: Disabled}")
        await eventually(lambda: allowed(False), what="it may no more")
