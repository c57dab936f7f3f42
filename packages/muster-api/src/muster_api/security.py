"""Who may connect to a coordinator's gRPC port, and how."""

from typing import Literal

from pydantic import Field

from muster_api.model import Model, Rule
from muster_api.shared import LocalReference


class Tls(Model):
    """Transport security between workers and coordinators."""

    rules = (
        Rule(
            "(self.mode == 'SecretRef') == has(self.secretRef)",
            "secretRef belongs to mode SecretRef: write both or neither",
            ".secretRef",
        ),
        Rule(
            "self.mode == 'SecretRef' || !has(self.workerSecretRef)",
            "workerSecretRef belongs to mode SecretRef: remove it, or write that mode",
            ".workerSecretRef",
        ),
    )

    mode: Literal["Disabled", "Managed", "SecretRef"] = Field(
        "Disabled",
        description="Managed: the operator makes an authority and certificates for both sides, and "
        "renews them. SecretRef: the certificates are yours.",
    )
    secret_ref: LocalReference | None = Field(
        None,
        description="The coordinators' Secret, with tls.crt, tls.key and ca.crt, as cert-manager "
        "makes them. The certificate must be for the DNS name NAME-coordinator.",
    )
    worker_secret_ref: LocalReference | None = Field(
        None,
        description="The workers' Secret, with the same keys; workers then have to show that "
        "certificate. Absent means that they show none.",
    )


class Authentication(Model):
    """How workers say who they are, beside their certificates."""

    mode: Literal["Disabled", "TokenReview"] = Field(
        "Disabled",
        description="TokenReview: workers show a token of their pool's ServiceAccount, and the API "
        "server judges it.",
    )
