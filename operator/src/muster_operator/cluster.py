"""The API server, as the operator uses it: plain JSON, a deadline on every call, few errors."""

import asyncio
import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, cast

import aiohttp
from kubernetes.aio import client

from muster_operator.resources import Manifest, Resource

FIELD_MANAGER = "muster-operator"

_APPLY = "application/apply-patch+yaml"
_MERGE = "application/merge-patch+json"
_PAGE = 500


class ClusterError(Exception):
    """A call to the API server failed; `status` is its answer's, None where there was none."""

    def __init__(self, doing: str, status: int | None, message: str) -> None:
        super().__init__(f"{doing}: {message}")
        self.status = status
        self.message = message


class NotFoundError(ClusterError):
    """The object or its kind is not there."""


class ConflictError(ClusterError):
    """It exists already, or has changed since it was read."""


class RefusedError(ClusterError):
    """The request is wrong or not allowed: trying it again unchanged is no use."""


class UnavailableError(ClusterError):
    """No answer in time, or the API server is overloaded or broken: try again."""


class Cluster:
    """Reads and writes objects.

    Args:
        api: the official client, connected.
        deadline: seconds that one call may take.
    """

    def __init__(self, api: client.ApiClient, deadline: float = 10.0) -> None:
        self._api = api
        self._deadline = deadline

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Manifest | None:
        """Read one object; None where there is none.

        Raises:
            ClusterError: the read failed.
        """
        try:
            return await self._request("GET", resource.path(namespace, name))
        except NotFoundError:
            return None

    async def list(
        self, resource: Resource, namespace: str | None = None, selector: str = ""
    ) -> list[Manifest]:
        """Read all objects of a namespace, or of all, that `selector` (of labels) selects.

        Raises:
            ClusterError: the read failed.
        """
        found: list[Manifest] = []
        query = {"labelSelector": selector, "limit": str(_PAGE)}
        while True:
            page = await self._request("GET", resource.path(namespace), query)
            # Items of a list don't say what they are.
            kind = {"apiVersion": resource.api_version, "kind": resource.kind}
            found.extend({**kind, **item} for item in page.get("items", []))
            more = page.get("metadata", {}).get("continue")
            if not more:
                return found
            query = {**query, "continue": more}

    async def apply(
        self, resource: Resource, manifest: Manifest, *, sub: str = "", manager: str = FIELD_MANAGER
    ) -> Manifest:
        """Server-side apply: take the fields of `manifest`, and give up those left out of it.

        Raises:
            ClusterError: the write failed.
        """
        metadata = manifest["metadata"]
        path = resource.path(metadata.get("namespace"), metadata["name"], sub)
        # Forced: everything in a manifest of ours is ours; what is not ours is not in it.
        query = {"fieldManager": manager, "force": "true"}
        return await self._request("PATCH", path, query, manifest, _APPLY)

    async def create(self, resource: Resource, manifest: Manifest) -> Manifest:
        """Make a new object.

        Raises:
            ConflictError: it exists already.
            ClusterError: the write failed.
        """
        path = resource.path(manifest["metadata"].get("namespace"))
        return await self._request("POST", path, {"fieldManager": FIELD_MANAGER}, manifest)

    async def replace(self, resource: Resource, manifest: Manifest) -> Manifest:
        """Write an object as it was read and changed.

        Raises:
            ConflictError: it has changed since.
            ClusterError: the write failed.
        """
        metadata = manifest["metadata"]
        path = resource.path(metadata.get("namespace"), metadata["name"])
        return await self._request("PUT", path, {"fieldManager": FIELD_MANAGER}, manifest)

    async def merge(
        self, resource: Resource, namespace: str | None, name: str, patch: Mapping[str, Any]
    ) -> Manifest:
        """Change some fields of an object (RFC 7386).

        Raises:
            ClusterError: the write failed.
        """
        query = {"fieldManager": FIELD_MANAGER}
        return await self._request(
            "PATCH", resource.path(namespace, name), query, dict(patch), _MERGE
        )

    async def delete(self, resource: Resource, manifest: Manifest) -> None:
        """Remove exactly this object, and what it owns in the background; gone already is fine.

        Raises:
            ClusterError: the write failed.
        """
        metadata = manifest["metadata"]
        options = {
            "propagationPolicy": "Background",
            "preconditions": {"uid": metadata["uid"]},
        }
        path = resource.path(metadata.get("namespace"), metadata["name"])
        try:
            await self._request("DELETE", path, {}, options)
        except (NotFoundError, ConflictError):
            return

    async def ask(self, resource: Resource, question: Manifest) -> Manifest:
        """Send a review and return its answer.

        Raises:
            ClusterError: there was no answer.
        """
        return await self._request("POST", resource.path(), {}, question)

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Manifest | None = None,
        content_type: str = "application/json",
    ) -> Manifest:
        doing = f"{method} {path}"
        try:
            async with asyncio.timeout(self._deadline):
                prepared = await self._api.param_serialize(
                    method,
                    path,
                    query_params=[(key, value) for key, value in (query or {}).items() if value],
                    header_params={"Accept": "application/json", "Content-Type": content_type},
                    body=body,
                    auth_settings=["BearerToken"],
                )
                response = await self._api.call_api(*prepared)
                data = await response.read()
        except TimeoutError:
            message = f"no answer within {self._deadline:g} s"
            raise UnavailableError(doing, None, message) from None
        except (aiohttp.ClientError, OSError) as error:
            raise UnavailableError(doing, None, str(error)) from error
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise _error(doing, response.status, data)
        return cast("Manifest", json.loads(data))


_KINDS: dict[int, type[ClusterError]] = {
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.TOO_MANY_REQUESTS: UnavailableError,
    HTTPStatus.REQUEST_TIMEOUT: UnavailableError,
}


def _error(doing: str, status: int, body: bytes) -> ClusterError:
    try:
        message = str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        message = body[:500].decode(errors="replace") or f"HTTP {status}"
    fallback = UnavailableError if status >= HTTPStatus.INTERNAL_SERVER_ERROR else RefusedError
    return _KINDS.get(status, fallback)(doing, status, message)
