"""A lease record in a `coordination.k8s.io/v1` Lease."""

from datetime import UTC, datetime
from http import HTTPStatus

import aiohttp
from kubernetes.aio import client
from kubernetes.aio.client.exceptions import ApiException

from muster_runtime.election.elector import LeaseStore
from muster_runtime.election.record import LeaseRecord

_ERRORS = (ApiException, aiohttp.ClientError)


def kube_leases(api: client.ApiClient, namespace: str, name: str) -> LeaseStore:
    """The Lease `namespace/name`; created at the first election where it is not there."""
    return _KubeLease(client.CoordinationV1Api(api), namespace, name)


class _KubeLease:
    def __init__(self, api: client.CoordinationV1Api, namespace: str, name: str) -> None:
        self._api = api
        self._namespace = namespace
        self._name = name
        self._read: client.V1Lease | None = None

    async def get(self) -> LeaseRecord | None:
        try:
            self._read = await self._api.read_namespaced_lease(self._name, self._namespace)
        except _ERRORS as error:
            if getattr(error, "status", None) == HTTPStatus.NOT_FOUND:
                return None
            raise ConnectionError(f"reading Lease {self._name}: {error}") from error
        return _record(self._read.spec)

    async def create(self, record: LeaseRecord) -> bool:
        lease = client.V1Lease(metadata=client.V1ObjectMeta(name=self._name), spec=_spec(record))
        try:
            self._read = await self._api.create_namespaced_lease(self._namespace, lease)
        except _ERRORS as error:
            return _refused(error, f"creating Lease {self._name}")
        return True

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
