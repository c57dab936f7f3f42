"""Tokens judged by the Kubernetes API server, with its TokenReview."""

import logging

import aiohttp
from kubernetes.aio import client

from muster_coordinator.engine.errors import Unavailable
from muster_coordinator.grpc_face.authentication import REVIEW_SECONDS, Principal

log = logging.getLogger(__name__)

_SERVICE_ACCOUNT = "system:serviceaccount:"
_POD_NAME = "authentication.kubernetes.io/pod-name"


class TokenReviews:
    """Implements `TokenAuthority`.

    Args:
        audience: what a token must have been issued for.
    """

    def __init__(self, api: client.ApiClient, audience: str) -> None:
        self._api = client.AuthenticationV1Api(api)
        self._audience = audience

    async def review(self, token: str) -> Principal | None:
        """See `TokenAuthority`."""
        spec = client.V1TokenReviewSpec(token=token, audiences=[self._audience])
        try:
            answer = await self._api.create_token_review(
                client.V1TokenReview(spec=spec), _request_timeout=REVIEW_SECONDS
            )
        except (client.ApiException, aiohttp.ClientError, OSError) as error:
            # By name and status only: an error's text may hold the request, and so the token.
            status = getattr(error, "status", None)
            why = type(error).__name__ if status is None else f"status {status}"
            log.warning("a token can't be reviewed", extra={"error": why})
            raise Unavailable(
                f"the Kubernetes API can't judge the token now ({why}); try again"
            ) from None
        return None if answer.status is None else principal(answer.status, self._audience)


def principal(status: client.V1TokenReviewStatus, audience: str) -> Principal | None:
    """Whom the status of a TokenReview names; None where the token is not good for `audience`.

    An API server that knows no audiences names none; its answer is about itself, so it is no yes.
    """
    if not status.authenticated or audience not in (status.audiences or []) or not status.user:
        return None
    username = status.user.username or ""
    of_account = username.startswith(_SERVICE_ACCOUNT)
    pods = (status.user.extra or {}).get(_POD_NAME, [])
    return Principal(
        username=username,
        account=username.removeprefix(_SERVICE_ACCOUNT) if of_account else "",
        pod=pods[0] if pods else "",
    )
