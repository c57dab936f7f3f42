"""Against a real API server."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import pytest
import pytest_asyncio
from kubernetes.aio import client

from muster_runtime.election import LeaseElector, LeaseRecord, Timings
from muster_runtime.election.elector import LeaseStore
from muster_runtime.election.kube_lease import kube_leases
from muster_runtime.kube import connect
from muster_testing.apiserver import ControlPlane
from muster_testing.waiting import eventually

from .candidates import Candidate, campaigning

pytestmark = pytest.mark.integration

FAST = Timings(lease_duration=3.0, renew_deadline=1.5, retry_period=0.2)
# Who pauses once more after the deadline leads for longer than the lease lasts.
CLOSE = Timings(lease_duration=2.0, renew_deadline=1.9, retry_period=1.0)
# Nobody loses it by being slow, nor is too slow to give it back.
PATIENT = Timings(lease_duration=300.0, renew_deadline=200.0, retry_period=0.2)


class Cuttable:
    """A lease store whose link to the API server can be cut: every call then hangs.

    Of a `deaf` one the answers to writes are lost, and one with `refusals` left refuses as many
    calls.
    """

    def __init__(self, store: LeaseStore) -> None:
        self._store = store
        self.cut = False
        self.deaf = False
        self.refusals = 0
        self.wrote = asyncio.Event()

    async def _link(self) -> None:
        if self.cut:
            await asyncio.Event().wait()
        if self.refusals:
            self.refusals -= 1
            raise ConnectionError("the server is not ready")

    async def _answer(self) -> None:
        self.wrote.set()
        if self.deaf:
            await asyncio.Event().wait()

    async def get(self) -> LeaseRecord | None:
        await self._link()
        return await self._store.get()

    async def create(self, record: LeaseRecord) -> bool:
        await self._link()
        created = await self._store.create(record)
        await self._answer()
        return created

    async def update(self, record: LeaseRecord) -> bool:
        await self._link()
        updated = await self._store.update(record)
        await self._answer()
        return updated


@pytest_asyncio.fixture
async def api(
    apiserver: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[client.ApiClient]:
    monkeypatch.setenv("KUBECONFIG", str(apiserver.kubeconfig))
    async with connect() as api:
        yield api


@pytest.fixture
def store(api: client.ApiClient) -> Callable[[], Cuttable]:
    name = f"lease-{uuid.uuid4().hex[:8]}"
    return lambda: Cuttable(kube_leases(api, "default", name))


async def test_one_of_two_leads_and_the_other_follows_at_once_after_a_release(
    store: Callable[[], Cuttable],
) -> None:
    a, b = (Candidate(LeaseElector(store(), name, PATIENT)) for name in ("a", "b"))
    async with campaigning(b):
        async with campaigning(a):
            await eventually(lambda: a.leading != b.leading, what="exactly one leads")
            first, second = (a, b) if a.leading else (b, a)
            await eventually(lambda: second.elector.leader == first.elector.identity)
            assert not second.leading
            if first is b:
                return
        # Long before the lease would have ended.
        await eventually(lambda: b.leading, what="b follows")
        assert b.terms[0].number == a.terms[0].number + 1


@pytest.mark.parametrize("timings", [FAST, CLOSE])
async def test_a_leader_that_is_cut_off_steps_down_before_another_begins(
    store: Callable[[], Cuttable], timings: Timings
) -> None:
    cut = store()
    # How long b waits is for the Lease of a to say.
    a, b = (
        Candidate(LeaseElector(cut, "a", timings)),
        Candidate(LeaseElector(store(), "b", PATIENT)),
    )
    async with campaigning(a):
        await eventually(lambda: a.leading, what="a leads")
        async with campaigning(b):
            cut.cut = True
            await eventually(lambda: b.leading, every=0.001, what="b leads")
            assert not a.leading
            before = list(a.terms)
            assert b.terms[0].number == before[-1].number + 1
            cut.cut = False
            await eventually(lambda: a.elector.leader == "b", what="a sees b")
            assert a.terms == before


async def test_a_lease_is_given_back_through_errors_of_the_api_server(
    store: Callable[[], Cuttable],
) -> None:
    flaky = store()
    a, b = (
        Candidate(LeaseElector(flaky, "a", PATIENT)),
        Candidate(LeaseElector(store(), "b", PATIENT)),
    )
    async with campaigning(a):
        await eventually(lambda: a.leading, what="a leads")
        flaky.refusals = 3
    assert not flaky.refusals
    async with campaigning(b):
        await eventually(lambda: b.leading, what="b follows")


async def test_a_lease_is_given_back_that_was_won_without_hearing_so(
    store: Callable[[], Cuttable],
) -> None:
    deaf = store()
    deaf.deaf = True
    a, b = (
        Candidate(LeaseElector(deaf, "a", PATIENT)),
        Candidate(LeaseElector(store(), "b", PATIENT)),
    )
    async with campaigning(a):
        await deaf.wrote.wait()
        deaf.deaf = False
    assert not a.terms
    async with campaigning(b):
        await eventually(lambda: b.leading, what="b follows")


async def test_a_lease_made_beforehand_keeps_its_labels(
    api: client.ApiClient, store: Callable[[], Cuttable]
) -> None:
    leases = client.CoordinationV1Api(api)
    name = f"made-{uuid.uuid4().hex[:8]}"
    metadata = client.V1ObjectMeta(name=name, labels={"app.kubernetes.io/name": "muster"})
    await leases.create_namespaced_lease("default", client.V1Lease(metadata=metadata))
    a = Candidate(LeaseElector(kube_leases(api, "default", name), "a", PATIENT))
    async with campaigning(a):
        await eventually(lambda: a.leading)
    lease = api.sanitize_for_serialization(await leases.read_namespaced_lease(name, "default"))
    assert lease["metadata"]["labels"] == {"app.kubernetes.io/name": "muster"}
    assert lease["spec"]["holderIdentity"] == ""
    assert lease["spec"]["leaseTransitions"] == 1


async def test_a_lease_goes_with_its_candidates_and_is_not_made_after_them(
    api: client.ApiClient,
) -> None:
    leases, apps = client.CoordinationV1Api(api), client.AppsV1Api(api)
    name = f"owned-{uuid.uuid4().hex[:8]}"
    labels = {"app": name}
    candidate = client.V1Container(name="candidate", image="candidate")
    pod = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels), spec=client.V1PodSpec(containers=[candidate])
    )
    candidates = client.V1Deployment(
        metadata=client.V1ObjectMeta(name=name),
        spec=client.V1DeploymentSpec(
            selector=client.V1LabelSelector(match_labels=labels), template=pod
        ),
    )
    made = await apps.create_namespaced_deployment("default", candidates)
    store = kube_leases(api, "default", name, name)
    record = LeaseRecord("a", 15.0, datetime.now(UTC), datetime.now(UTC), 1)
    assert await store.create(record)
    lease = api.sanitize_for_serialization(await leases.read_namespaced_lease(name, "default"))
    owner = {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}
    uid = api.sanitize_for_serialization(made)["metadata"]["uid"]
    assert lease["metadata"]["ownerReferences"] == [{**owner, "uid": uid}]
    # As an uninstall does it: both go, and candidates are left for a moment.
    await leases.delete_namespaced_lease(name, "default")
    await apps.delete_namespaced_deployment(name, "default", propagation_policy="Foreground")
    assert not await store.create(record), "it is about to go"
    await apps.patch_namespaced_deployment(name, "default", {"metadata": {"finalizers": None}})
    assert not await store.create(record), "it is gone"
    assert await kube_leases(api, "default", name).create(record)


async def test_an_error_of_the_leader_ends_its_term_and_is_raised(
    store: Callable[[], Cuttable],
) -> None:
    async def fail(_: object) -> None:
        raise LookupError("no database")

    with pytest.raises(LookupError, match="no database"):
        await LeaseElector(store(), "a", PATIENT).run(fail)
    b = Candidate(LeaseElector(store(), "b", PATIENT))
    async with campaigning(b):
        await eventually(lambda: b.leading, what="the lease was released")
