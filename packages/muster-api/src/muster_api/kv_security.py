"""Who may connect to a KVCluster, and how."""

from typing import Annotated, Literal

from pydantic import Field

from muster_api.model import Model, Rule
from muster_api.shared import LocalReference, SecretKeyReference

_Text = Annotated[str, Field(min_length=1, max_length=1000)]


class KVTls(Model):
    """Transport security; all certificates are made by others, such as cert-manager."""

    rules = (
        Rule(
            "(self.mode == 'SecretRef') == has(self.secretRef)",
            "secretRef belongs to mode SecretRef: write both or neither",
            ".secretRef",
        ),
        Rule(
            "self.mode == 'SecretRef' || !has(self.clientSecretRef)",
            "clientSecretRef belongs to mode SecretRef: remove it, or write that mode",
            ".clientSecretRef",
        ),
        Rule(
            "has(self.nodeSecretRef) == has(oldSelf.nodeSecretRef)",
            "nodeSecretRef can't come or go, for processes with and without TLS would not reach "
            "each other: make a new KVCluster",
            ".nodeSecretRef",
        ),
    )

    mode: Literal["Disabled", "SecretRef"] = Field(
        "Disabled", description="Whether clients connect to coordinators by TLS."
    )
    secret_ref: LocalReference | None = Field(
        None,
        description="The coordinators' Secret, with tls.crt, tls.key and ca.crt. The certificate "
        "must be for the DNS name NAME-kv-coordinator.NAMESPACE.svc.",
    )
    client_secret_ref: LocalReference | None = Field(
        None,
        description="A Secret with tls.crt and tls.key, the certificate that the operator shows. "
        "Every client then has to show one of the authorities in ca.crt of secretRef. Absent means "
        "that clients show none.",
    )
    node_secret_ref: LocalReference | None = Field(
        None,
        description="A Secret with tls.crt, tls.key and ca.crt, for TLS between coordinators and "
        "storage nodes: both sides show that certificate, which must be for the DNS name "
        "*.NAME-kv-storage.NAMESPACE.svc. Absent means that they show a token only.",
    )


class KVAuthentication(Model):
    """How clients say who they are, beside their certificates."""

    rules = (
        Rule(
            "(self.mode == 'JWT') == has(self.secretRef)",
            "secretRef belongs to mode JWT: write both or neither",
            ".secretRef",
        ),
        Rule(
            "self.mode == 'JWT' || (!has(self.issuer) && !has(self.audience) && "
            "!has(self.adminCommonNames))",
            "issuer, audience and adminCommonNames belong to mode JWT: remove them, or write that "
            "mode",
            ".mode",
        ),
    )

    mode: Literal["Disabled", "JWT"] = Field(
        "Disabled",
        description="JWT: every request brings a token whose claim tenant says whose data it "
        "opens, or whose claim admin is true. Disabled: whoever reaches the ports may do all.",
    )
    keys: Literal["PublicKeys", "SharedSecret"] = Field(
        "PublicKeys",
        description="What secretRef holds: public keys in PEM, one or more, or the secret of "
        "HS256, at least 32 bytes.",
    )
    secret_ref: SecretKeyReference | None = Field(
        None, description="The key of a Secret with what tokens are checked with."
    )
    issuer: _Text | None = Field(
        None, description="What claim iss must say; absent means anything."
    )
    audience: _Text | None = Field(
        None, description="What claim aud must say; absent means anything."
    )
    admin_common_names: Annotated[list[_Text], Field(max_length=32)] | None = Field(
        None,
        description="Common names of client certificates that administrate without a token, by "
        "gRPC; needs tls.clientSecretRef.",
    )
