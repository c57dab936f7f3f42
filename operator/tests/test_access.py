"""Whether who asks for a metric may have it."""

from muster_operator.cluster import Cluster
from muster_operator.metrics_api.access import Access
from muster_operator.metrics_api.front_proxy import User
from muster_operator.resources import Manifest, Resource

ALL = User("ada", ("system:authenticated",), (("scopes", ("all",)),))
NONE = User("ada", ("system:authenticated",), (("scopes", ("none",)),))


class Authorizer(Cluster):
    """Judges by scope, which the API server's own authorizers do not."""

    def __init__(self) -> None:
        self.asked = 0

    async def ask(self, resource: Resource, question: Manifest) -> Manifest:
        self.asked += 1
        return {"status": {"allowed": question["spec"]["extra"] == {"scopes": ["all"]}}}


async def test_an_answer_is_kept_for_a_while() -> None:
    authorizer = Authorizer()
    access = Access(authorizer)
    assert await access.may_list(ALL, "proofs", "metric")
    assert await access.may_list(ALL, "proofs", "metric")
    assert authorizer.asked == 1
    assert await access.may_list(ALL, "other", "metric")
    assert authorizer.asked == 2


async def test_an_answer_is_for_the_scopes_that_it_was_asked_with() -> None:
    access = Access(Authorizer())
    assert await access.may_list(ALL, "proofs", "metric")
    assert not await access.may_list(NONE, "proofs", "metric")
    assert await access.may_discover(ALL, "/apis")
    assert not await access.may_discover(NONE, "/apis")
