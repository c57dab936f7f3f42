"""Who may submit workloads to a coordinator, and who administers it."""

from typing import Annotated, Literal

from pydantic import Field

from muster_api.model import Model
from muster_api.shared import SecretKeyReference


class JsonWebTokens(Model):
    """Tokens of somebody who knows the customers; claim `sub` names the customer."""

    secret_ref: SecretKeyReference = Field(
        description="The key of a Secret that holds what tokens are checked with: a public key in "
        "PEM, the secret of HS256, or a JWK set."
    )
    algorithm: Literal["HS256", "RS256", "ES256", "EdDSA"] | None = Field(
        None, description="Of the key; absent means that secretRef holds a JWK set."
    )
    issuer: Annotated[str, Field(min_length=1, max_length=1000)] | None = Field(
        None, description="What claim iss must say; absent means anything."
    )
    audience: Annotated[str, Field(min_length=1, max_length=1000)] | None = Field(
        None, description="What claim aud must say; absent means that tokens have none."
    )


class Accounts(Model):
    """Administrators and customers of the workload API."""

    admin_key: Literal["Managed", "Disabled"] = Field(
        "Managed",
        description="Managed: the operator makes an administrator's API key once, in the Secret "
        "NAME-coordinator-admin. Disabled: `muster-coordinator keys` makes them all.",
    )
    jwt: JsonWebTokens | None = Field(
        None, description="JSON Web Tokens that count beside API keys; absent means none."
    )
