"""Who may submit workloads, in the settings of coordinators."""

from typing import Any

from muster_api.coordinator import CoordinatorSpec
from muster_operator.children.secret_files import ADMIN_FILE, JWT_FILE


def account_settings(spec: CoordinatorSpec) -> dict[str, Any]:
    """The section `accounts` of a coordinator's configuration, where there is one."""
    accounts = spec.accounts
    if accounts is None:
        return {}
    settings: dict[str, Any] = {}
    if accounts.admin_key == "Managed":
        settings["admin_keys_file"] = ADMIN_FILE
    if accounts.jwt:
        jwt = accounts.jwt
        if jwt.algorithm:
            settings |= {"jwt_algorithm": jwt.algorithm, "jwt_key_file": JWT_FILE}
        else:
            settings["jwt_jwks_file"] = JWT_FILE
        settings |= {"jwt_issuer": jwt.issuer} if jwt.issuer else {}
        settings |= {"jwt_audience": jwt.audience} if jwt.audience else {}
    return {"accounts": settings} if settings else {}
