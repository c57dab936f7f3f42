"""Callers and their tokens: what is asked, what is remembered, and for how long."""

import asyncio
import gc

import pytest

from muster_coordinator.accounts.errors import Forbidden, Unauthenticated
from muster_coordinator.engine.errors import Unavailable
from muster_coordinator.grpc_face import authentication
from muster_coordinator.grpc_face.authentication import Authentication, Principal, act_as

WORKERS = Principal("system:serviceaccount:demo:workers", "demo:workers")


class Authority:
    """Knows one token, and counts the questions."""

    def __init__(self) -> None:
        self.asked = 0
        self.known: dict[str, Principal] = {"good": WORKERS}
        self.answers = asyncio.Event()
        self.answers.set()

    async def review(self, token: str) -> Principal | None:
        self.asked += 1
        await self.answers.wait()
        return self.known.get(token)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _guard(authority: Authority, clock: Clock) -> Authentication:
    return Authentication(authority, ["demo:workers"], clock)


async def test_an_answer_is_kept_for_a_while() -> None:
    authority, clock = Authority(), Clock()
    guard = _guard(authority, clock)
    for _ in range(3):
        assert await guard.caller(["Bearer good"]) == WORKERS
    assert authority.asked == 1
    authority.known.clear()
    clock.now = authentication.ACCEPTED_SECONDS
    with pytest.raises(Unauthenticated):
        await guard.caller(["Bearer good"])


async def test_a_refusal_is_kept_for_a_shorter_while() -> None:
    authority, clock = Authority(), Clock()
    guard = _guard(authority, clock)
    for _ in range(3):
        with pytest.raises(Unauthenticated):
            await guard.caller(["Bearer new"])
    assert authority.asked == 1
    authority.known["new"] = WORKERS
    clock.now = authentication.REFUSED_SECONDS
    assert await guard.caller(["bearer new"]) == WORKERS


async def test_calls_at_once_ask_once_and_one_that_gives_up_spoils_nothing() -> None:
    authority = Authority()
    authority.answers.clear()
    guard = _guard(authority, Clock())
    calls = [asyncio.create_task(guard.caller(["Bearer good"])) for _ in range(10)]
    await asyncio.sleep(0)
    calls[0].cancel()
    authority.answers.set()
    assert await asyncio.gather(*calls[1:]) == [WORKERS] * 9
    assert authority.asked == 1


async def test_an_authority_that_is_silent_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(authentication, "REVIEW_SECONDS", 0.05)
    authority = Authority()
    authority.answers.clear()
    guard = _guard(authority, Clock())
    with pytest.raises(Unavailable, match="could not be judged within"):
        await guard.caller(["Bearer good"])
    monkeypatch.undo()
    authority.answers.set()
    assert await guard.caller(["Bearer good"]) == WORKERS


async def test_tokens_are_not_kept() -> None:
    guard = _guard(Authority(), Clock())
    token = "".join(["very", "secret"])
    with pytest.raises(Unauthenticated):
        await guard.caller([f"Bearer {token}"])
    gc.collect()
    assert "verysecret" not in repr(vars(guard))


async def test_another_account_is_named() -> None:
    authority = Authority()
    authority.known["user"] = Principal("jane")
    with pytest.raises(Forbidden, match=r"jane is not in auth\.allowed_service_accounts"):
        await _guard(authority, Clock()).caller(["Bearer user"])


def test_only_a_token_of_a_pod_binds_to_a_name() -> None:
    act_as(WORKERS, "anyone")
    bound = Principal(WORKERS.username, WORKERS.account, pod="demo-worker-1")
    act_as(bound, "demo-worker-1")
    act_as(bound, None)
    for name in ("demo-worker-2", ""):
        with pytest.raises(Forbidden, match="allowed with this token: 'demo-worker-1'"):
            act_as(bound, name)
