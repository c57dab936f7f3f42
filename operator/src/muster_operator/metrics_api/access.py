"""Whether who asks may: the cluster's own authorizer is asked, and its answer kept for a while."""

import time

from muster_operator.cluster import Cluster
from muster_operator.metrics_api.front_proxy import User
from muster_operator.resources import ACCESS_REVIEWS

GROUP = "external.metrics.k8s.io"

_ALLOWED_SECONDS = 30.0
_DENIED_SECONDS = 5.0
_KEPT = 1024

_Question = tuple[User, str, str]


class Access:
    """Asks SubjectAccessReviews."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._answers: dict[_Question, tuple[bool, float]] = {}

    async def may_list(self, user: User, namespace: str, metric: str) -> bool:
        """Whether `user` may read a metric of a namespace.

        Raises:
            ClusterError: nobody knows now.
        """
        attributes = {
            "group": GROUP,
            "version": "v1beta1",
            "resource": metric,
            "namespace": namespace,
            "verb": "list",
        }
        return await self._ask((user, namespace, metric), {"resourceAttributes": attributes})

    async def may_discover(self, user: User, path: str) -> bool:
        """Whether `user` may read what is at `path` of the discovery documents.

        Raises:
            ClusterError: nobody knows now.
        """
        attributes = {"path": path, "verb": "get"}
        return await self._ask((user, "", path), {"nonResourceAttributes": attributes})

    async def _ask(self, question: _Question, attributes: dict[str, object]) -> bool:
        now, user = time.monotonic(), question[0]
        allowed, until = self._answers.get(question, (False, 0.0))
        if now < until:
            return allowed
        spec = {
            "user": user.name,
            "groups": list(user.groups),
            "extra": {key: list(values) for key, values in user.extra},
            **attributes,
        }
        answer = await self._cluster.ask(ACCESS_REVIEWS, ACCESS_REVIEWS.manifest({}, spec=spec))
        allowed = answer.get("status", {}).get("allowed") is True
        if len(self._answers) >= _KEPT:
            self._answers.clear()
        seconds = _ALLOWED_SECONDS if allowed else _DENIED_SECONDS
        self._answers[question] = (allowed, now + seconds)
        return allowed
