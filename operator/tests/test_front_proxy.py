import json

import pytest
from multidict import CIMultiDict

from muster_operator.metrics_api.front_proxy import FrontProxy, UnauthenticatedError, User

DATA = {
    "requestheader-client-ca-file": "PEM",
    "requestheader-allowed-names": json.dumps(["front-proxy-client"]),
    "requestheader-username-headers": json.dumps(["X-Remote-User"]),
    "requestheader-group-headers": json.dumps(["X-Remote-Group"]),
    "requestheader-extra-headers-prefix": json.dumps(["X-Remote-Extra-"]),
}
PROXY = FrontProxy.parse(DATA)
HEADERS = CIMultiDict(
    [
        ("x-remote-user", "system:serviceaccount:kube-system:horizontal-pod-autoscaler"),
        ("X-Remote-Group", "system:serviceaccounts"),
        ("X-Remote-Group", "system:authenticated"),
        ("X-Remote-Extra-Scopes%2Fall", "one"),
    ]
)


def certificate(name: str) -> dict[str, object]:
    return {"subject": ((("organizationName", "x"),), (("commonName", name),))}


def test_the_front_proxy_names_the_user() -> None:
    assert PROXY.identify(certificate("front-proxy-client"), HEADERS) == User(
        "system:serviceaccount:kube-system:horizontal-pod-autoscaler",
        ("system:authenticated", "system:serviceaccounts"),
        (("scopes/all", ("one",)),),
    )


@pytest.mark.parametrize(
    ("presented", "headers", "sentence"),
    [
        (None, HEADERS, "no client certificate of the front proxy"),
        (certificate("mallory"), HEADERS, "mallory may not speak for others"),
        (certificate("front-proxy-client"), CIMultiDict[str](), "names no user"),
    ],
)
def test_nobody_else_is_believed(
    presented: dict[str, object] | None, headers: CIMultiDict[str], sentence: str
) -> None:
    with pytest.raises(UnauthenticatedError, match=sentence):
        PROXY.identify(presented, headers)


def test_without_a_list_of_names_every_certificate_of_the_authority_counts() -> None:
    proxy = FrontProxy.parse(DATA | {"requestheader-allowed-names": "[]"})
    assert proxy.identify(certificate("anybody"), HEADERS).name.endswith("autoscaler")


def test_a_cluster_without_a_front_proxy_is_an_error() -> None:
    with pytest.raises(ValueError, match="names no authority"):
        FrontProxy.parse({})
