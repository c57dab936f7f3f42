"""How much one client may ask of a coordinator's HTTP API, and from where."""

from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from muster_api.model import Model, Rule, ruled
from muster_api.shared import LocalReference

_ORIGIN_PATTERN = r"^(\*|https?://[A-Za-z0-9.-]+(:[0-9]{1,5})?)$"
_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_NETWORK_PATTERN = (
    rf"^({_OCTET}(\.{_OCTET}){{3}}(/(3[0-2]|[12]?[0-9]))?"
    r"|[0-9a-fA-F:]*:[0-9a-fA-F:]*(/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))?)$"
)


def _network(value: str) -> str:
    """The network that `value` means, an address inside it included.

    Raises:
        ValueError: it is none.
    """
    return str(ip_network(value, strict=False))


Origin = Annotated[str, Field(max_length=253, pattern=_ORIGIN_PATTERN)]
Network = Annotated[str, Field(max_length=43, pattern=_NETWORK_PATTERN), AfterValidator(_network)]


class HttpTls(Model):
    """Transport security of the HTTP API; the certificate is made by others."""

    rules = (
        Rule(
            "(self.mode == 'Disabled') != has(self.secretRef)",
            "mode and secretRef belong together: write both, or neither",
            ".secretRef",
        ),
    )

    mode: Literal["Disabled", "Server", "Optional", "Mutual"] = Field(
        "Disabled",
        description="Server: clients show no certificates. Optional: they may show one of the "
        "authorities in ca.crt, which then says whose workloads they see. Mutual: they have to.",
    )
    secret_ref: LocalReference | None = Field(
        None,
        description="A Secret with tls.crt, tls.key and ca.crt. The certificate must be for the "
        "names that clients use, such as NAME-coordinator.NAMESPACE.svc.",
    )


class HttpApi(Model):
    """Limits of the HTTP API for one client, and who else may speak for clients."""

    rate_limit: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        10, description="Requests of one client a second, at each replica; 0 for no limit."
    )
    rate_burst: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        20, description="Requests of one client at once."
    )
    require_keys: bool = Field(
        False,
        description="Whether proofs may be asked for only with an API key, token or certificate, "
        "as workloads may; kubectl muster prove shows none.",
    )
    tls: HttpTls = Field(HttpTls(), description="Transport security.")
    trusted_proxies: Annotated[list[Network], Field(max_length=32)] = Field(
        [],
        description="Addresses or networks, such as 10.0.0.0/8, whose X-Forwarded-For is believed.",
    )
    cors_origins: Annotated[list[Origin], Field(max_length=32)] = Field(
        [],
        description="Origins, such as https://example.com, whose web pages may ask; * for all.",
        json_schema_extra=ruled(
            Rule(
                "size(self) <= 1 || !self.exists(each, each == '*')",
                "* means every origin: remove the others, or remove *",
            )
        ),
    )
