"""Token buckets, and whom a request counts for."""

from ipaddress import ip_network

import pytest

from muster_coordinator.accounts.ratelimit import RateLimit
from muster_coordinator.http_face.clients import client


class Clock:
    """A clock that goes on when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def _take(limit: RateLimit, times: int, who: str = "a") -> list[int | None]:
    return [limit.take(who).retry_after for _ in range(times)]


def test_a_burst_passes_and_no_more() -> None:
    limit = RateLimit(10, 20, Clock())
    assert _take(limit, 21) == [None] * 20 + [1]


def test_tokens_come_back_at_the_rate() -> None:
    clock = Clock()
    limit = RateLimit(10, 20, clock)
    _take(limit, 20)
    clock.now += 0.5
    assert _take(limit, 6) == [None] * 5 + [1]


def test_a_refused_request_takes_nothing() -> None:
    clock = Clock()
    limit = RateLimit(1, 1, clock)
    _take(limit, 50)
    clock.now += 1
    assert _take(limit, 1) == [None]


def test_clients_do_not_share() -> None:
    limit = RateLimit(1, 1, Clock())
    assert _take(limit, 2, "a") == [None, 1]
    assert _take(limit, 2, "b") == [None, 1]


def test_a_slow_rate_says_how_long_to_wait() -> None:
    limit = RateLimit(0.1, 1, Clock())
    assert _take(limit, 2) == [None, 10]


def test_what_is_left_is_told() -> None:
    limit = RateLimit(10, 20, Clock())
    assert limit.take("a").headers == {
        "X-RateLimit-Limit": "20",
        "X-RateLimit-Remaining": "19",
        "X-RateLimit-Reset": "1",
    }
    _take(limit, 19)
    refused = limit.take("a")
    assert (refused.remaining, refused.reset, refused.retry_after) == (0, 2, 1)


def test_full_buckets_are_forgotten() -> None:
    clock = Clock()
    limit = RateLimit(10, 20, clock)
    for number in range(1000):
        limit.take(str(number))
    clock.now += 1
    limit.take("late")
    assert len(limit) == 1001
    clock.now += 1.5
    limit.take("later")
    assert len(limit) == 2


def _client(peer: str | None, *forwarded: str, trusted: tuple[str, ...] = ()) -> str:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    scope = {"type": "http", "client": peer and (peer, 4711), "headers": headers}
    return client(scope, [ip_network(one) for one in trusted])


PROXY = ("10.0.0.0/8",)


@pytest.mark.parametrize(
    ("peer", "forwarded", "trusted", "counted"),
    [
        ("192.0.2.1", (), (), "192.0.2.1"),
        ("::ffff:192.0.2.1", (), (), "192.0.2.1"),
        ("2001:db8::1", (), (), "2001:db8::/64"),
        ("2001:db8::ffff:1", (), (), "2001:db8::/64"),
        (None, (), (), "unknown"),
        # Nobody is believed who is not trusted.
        ("192.0.2.1", ("198.51.100.7",), (), "192.0.2.1"),
        ("192.0.2.1", ("198.51.100.7",), PROXY, "192.0.2.1"),
        ("10.1.1.1", ("198.51.100.7",), PROXY, "198.51.100.7"),
        ("::ffff:10.1.1.1", ("198.51.100.7",), PROXY, "198.51.100.7"),
        # What a client puts in front itself is not looked at.
        ("10.1.1.1", ("1.1.1.1, 198.51.100.7",), PROXY, "198.51.100.7"),
        ("10.1.1.1", ("1.1.1.1", "198.51.100.7"), PROXY, "198.51.100.7"),
        ("10.1.1.1", ("198.51.100.7, 10.2.2.2",), PROXY, "198.51.100.7"),
        ("10.1.1.1", ("198.51.100.7:4711",), PROXY, "198.51.100.7"),
        ("10.1.1.1", ("[2001:db8::7]:4711",), PROXY, "2001:db8::/64"),
        ("10.1.1.1", ("nonsense",), PROXY, "10.1.1.1"),
        ("10.1.1.1", ("198.51.100.7, unknown",), PROXY, "10.1.1.1"),
        ("10.1.1.1", ("",), PROXY, "10.1.1.1"),
        ("10.1.1.1", (), PROXY, "10.1.1.1"),
    ],
)
def test_whom_a_request_counts_for(
    peer: str | None, forwarded: tuple[str, ...], trusted: tuple[str, ...], counted: str
) -> None:
    assert _client(peer, *forwarded, trusted=trusted) == counted
