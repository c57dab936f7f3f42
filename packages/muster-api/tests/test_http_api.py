import re
from ipaddress import ip_network

import pytest
from pydantic import ValidationError

from muster_api.http_api import HttpApi
from muster_api.schema import structural_schema

PATTERN = structural_schema(HttpApi)["properties"]["trustedProxies"]["items"]["pattern"]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("10.1.2.3/8", "10.0.0.0/8"),
        ("192.168.1.1", "192.168.1.1/32"),
        ("fd00::/8", "fd00::/8"),
        ("::1", "::1/128"),
    ],
)
def test_an_address_or_a_network_is_a_network(written: str, meant: str) -> None:
    assert re.search(PATTERN, written)
    (proxy,) = HttpApi(trusted_proxies=[written]).trusted_proxies
    assert proxy == meant
    assert str(ip_network(proxy)) == meant


@pytest.mark.parametrize("written", ["10.0.0.0/33", "300.1.1.1", "10.0.0", "", "a.example", "1:2"])
def test_what_is_no_network_is_refused(written: str) -> None:
    with pytest.raises(ValidationError):
        HttpApi(trusted_proxies=[written])
