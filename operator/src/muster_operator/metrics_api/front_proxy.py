"""Who asks: the API server's front proxy says so, if it is the front proxy; pure.

The aggregation layer of Kubernetes authenticates itself with a client certificate and names the
user in headers. The certificate's authority, the names allowed in it and the headers stand in the
ConfigMap `kube-system/extension-apiserver-authentication`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from multidict import CIMultiDict, CIMultiDictProxy

_AUTHENTICATED = "system:authenticated"

Headers = CIMultiDict[str] | CIMultiDictProxy[str]


class UnauthenticatedError(Exception):
    """It can't be said who asks."""


@dataclass(frozen=True, slots=True)
class User:
    """Who asks, as the front proxy says.

    Args:
        extra: what else the authorizer may judge by, such as the scopes of a token; by name.
    """

    name: str
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class FrontProxy:
    """How the front proxy is recognised, and where it names the user.

    Args:
        authority: PEM certificates, one of which has signed the front proxy's.
        names: common names allowed; empty means any.
    """

    authority: str
    names: tuple[str, ...]
    user_headers: tuple[str, ...]
    group_headers: tuple[str, ...]
    extra_prefixes: tuple[str, ...]

    @classmethod
    def parse(cls, data: Mapping[str, str]) -> "FrontProxy":
        """Read the ConfigMap's data.

        Raises:
            ValueError: the cluster has no front proxy, or the data is malformed.
        """
        authority = data.get("requestheader-client-ca-file", "")
        if not authority:
            raise ValueError("the cluster names no authority of a front proxy")

        def names(key: str) -> tuple[str, ...]:
            return tuple(json.loads(data.get(key, "[]")))

        return cls(
            authority,
            names("requestheader-allowed-names"),
            names("requestheader-username-headers"),
            names("requestheader-group-headers"),
            names("requestheader-extra-headers-prefix"),
        )

    def identify(self, certificate: Mapping[str, Any] | None, headers: Headers) -> User:
        """Name the user.

        Args:
            certificate: the client's, in the form of `ssl.SSLSocket.getpeercert`, already
                verified against `authority`.

        Raises:
            UnauthenticatedError: no certificate, one that may not speak for others, or no user.
        """
        if not certificate:
            raise UnauthenticatedError("no client certificate of the front proxy")
        names = _common_names(certificate)
        if self.names and not set(names) & set(self.names):
            raise UnauthenticatedError(f"{', '.join(names)} may not speak for others")
        user = next((headers[name] for name in self.user_headers if name in headers), "")
        if not user:
            raise UnauthenticatedError("the front proxy names no user")
        groups = [group for name in self.group_headers for group in headers.getall(name, [])]
        # Kubernetes' own API servers add it too, and the rights to discover hang on it.
        groups = sorted({*groups, _AUTHENTICATED})
        return User(user, tuple(groups), self._extra(headers))

    def _extra(self, headers: Headers) -> tuple[tuple[str, tuple[str, ...]], ...]:
        found: dict[str, tuple[str, ...]] = {}
        for prefix in self.extra_prefixes:
            for name in headers:
                if name.lower().startswith(prefix.lower()):
                    key = unquote(name[len(prefix) :].lower())
                    found[key] = tuple(headers.getall(name))
        return tuple(sorted(found.items()))


def _common_names(certificate: Mapping[str, Any]) -> list[str]:
    subject: Iterable[Iterable[tuple[str, str]]] = certificate.get("subject", ())
    return [value for part in subject for key, value in part if key == "commonName"]
