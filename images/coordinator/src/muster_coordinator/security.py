"""Configuration of the gRPC face's security: workers as whom."""

import re
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from muster_runtime.config import Section

_ACCOUNT = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?:[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


class AuthSection(Section):
    """Bearer tokens of workers; they are ServiceAccount tokens, which the API server judges."""

    mode: Literal["disabled", "token-review"] = "disabled"
    audience: str = Field(default="muster-coordinator", min_length=1, max_length=253)
    allowed_service_accounts: Annotated[tuple[str, ...], Field(validate_default=True)] = ()

    @field_validator("allowed_service_accounts")
    @classmethod
    def _named(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if any(_ACCOUNT.fullmatch(account) is None for account in value):
            raise ValueError("a list of <namespace>:<name>")
        mode = info.data.get("mode")
        if mode == "token-review" and not value:
            raise ValueError("at least one <namespace>:<name>, as mode is token-review")
        if mode == "disabled" and value:
            raise ValueError("only where mode is token-review, and mode is disabled")
        return value
