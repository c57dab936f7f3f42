"""A lease record in a `coordination.k8s.io/v1` Lease."""

from datetime import UTC, datetime
from http import HTTPStatus

import aiohttp
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException

from muster_runtime.election.elector import LeaseStore
from muster_runtime.election.record import LeaseRecord

_ERRORS = (ApiException, aiohttp.ClientError)


def kube_leases(
    api: client.ApiClient, namespace: str, name: str, deployment: str = ""
) -> LeaseStore:
    """The Lease `namespace/name`; created at the first election where it is not there.

    Args:
        deployment: the candidates'. A Lease that is created goes with it, and none is once it has
            gone: candidates that outlive it would leave a Lease to nobody.
    """
    return _KubeLease(api, namespace, name, deployment)


class _KubeLease:
    def __init__(self, api: client.ApiClient, namespace: str, name: str, deployment: str) -> None:
        self._api = client.CoordinationV1Api(api)
        self._apps = client.AppsV1Api(api)
        self._namespace = namespace
        self._name = name
        self._deployment = deployment
        self._read: client.V1Lease | None = None

    async def get(self) -> LeaseRecord | None:
        try:
            self._read = await self._api.read_namespaced_lease(self._name, self._namespace)
        except _ERRORS as error:
            _absent(error, f"reading Lease {self._name}")
            return None
        return _record(self._read.spec)

    async def create(self, record: LeaseRecord) -> bool:
        metadata = client.V1ObjectMeta(name=self._name)
        if self._deployment:
            owner = await self._owner()
            if owner is None:
                return False
            metadata.owner_references = [owner]
        lease = client.V1Lease(metadata=metadata, spec=_spec(record))
        try:
            self._read = await self._api.create_namespaced_lease(self._namespace, lease)
        except _ERRORS as error:
            return _refused(error, f"creating Lease {self._name}")
        return True

    async def _owner(self) -> client.V1OwnerReference | None:
        """The Deployment as an owner; None where it has gone, or is about to."""
        try:
            found = await self._apps.read_namespaced_deployment(self._deployment, self._namespace)
        except _ERRORS as error:
            _absent(error, f"reading Deployment {self._deployment}")
            return None
        metadata = found.metadata
        if metadata is None or metadata.deletion_timestamp is not None:
            return None
        return client.V1OwnerReference(
            api_version="apps/v1", kind="Deployment", name=self._deployment, uid=metadata.uid
        )

    async def update(self, record: LeaseRecord) -> bool:
        # The object as it was read goes back whole: its resourceVersion makes the write
        # conditional, and labels and owner references of others stay.
        lease = self._read
        if lease is None:
            return False
        lease.spec = _spec(record)
        try:
            self._read = await self._api.replace_namespaced_lease(
                self._name, self._namespace, lease
            )
        except _ERRORS as error:
            return _refused(error, f"writing Lease {self._name}")
        return True


def _absent(error: Exception, doing: str) -> None:
    """Raise it, unless it says that there is none."""
    if getattr(error, "status", None) != HTTPStatus.NOT_FOUND:
        raise ConnectionError(f"{doing}: {error}") from error


def _refused(error: Exception, doing: str) -> bool:
    if getattr(error, "status", None) in {HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND}:
        return False
    raise ConnectionError(f"{doing}: {error}") from error


def _record(spec: client.V1LeaseSpec | None) -> LeaseRecord:
    # A Lease that was made beforehand, for its owner reference, has no holder and no times yet.
    spec = spec or client.V1LeaseSpec()
    renewed = spec.renew_time or datetime.fromtimestamp(0, UTC)
    return LeaseRecord(
        holder=spec.holder_identity or "",
        duration=float(spec.lease_duration_seconds or 0),
        acquired=spec.acquire_time or renewed,
        renewed=renewed,
        transitions=spec.lease_transitions or 0,
    )


def _spec(record: LeaseRecord) -> client.V1LeaseSpec:
    return client.V1LeaseSpec(
        holder_identity=record.holder,
        lease_duration_seconds=max(1, round(record.duration)),
        acquire_time=record.acquired,
        renew_time=record.renewed,
        lease_transitions=record.transitions,
    )
