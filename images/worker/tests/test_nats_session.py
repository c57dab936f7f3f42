"""When a session with a coordinator on the broker is over."""

import asyncio

import pytest

from muster_worker.coordinator import Unavailable
from muster_worker.nats_session import Session
from muster_worker.tasks import Cancel, Command, Ticket

FIRST, SECOND = (Cancel(Ticket("t", generation)) for generation in (1, 2))


def now() -> float:
    return asyncio.get_running_loop().time()


async def read(session: Session) -> tuple[list[Command], str]:
    """All commands to the end, and why it ended."""
    found = []
    try:
        async for command in session.commands():
            found.append(command)  # noqa: PERF401 - what came before the end counts
    except Unavailable as error:
        return found, str(error)
    raise AssertionError("it ended without a reason")


async def test_copies_of_a_command_count_once() -> None:
    session = Session("s", now())
    for message_id, command in (("a", FIRST), ("a", FIRST), ("b", SECOND), ("a", FIRST)):
        session.put(message_id, command)
    reading = asyncio.create_task(read(session))
    await asyncio.sleep(0)
    session.end("enough")
    found, problem = await reading
    assert (found, problem) == ([FIRST, SECOND], "enough")


async def test_the_first_reason_stands() -> None:
    session = Session("s", now())
    session.end("one")
    session.end("two")
    assert (await read(session))[1] == "one"


async def test_it_is_over_without_news_of_its_coordinator() -> None:
    session = Session("s", now())
    session.answered("c-1", 0.1, now())
    reading = asyncio.create_task(read(session))
    for _ in range(10):
        # Others' news are no news.
        session.news("c-2", now())
        await asyncio.sleep(0.1)
    async with asyncio.timeout(60):
        assert "no news of coordinator c-1" in (await reading)[1]


async def test_news_keep_it_alive() -> None:
    session = Session("s", 0.0)
    session.answered("c-1", 100.0, 0.0)
    reading = asyncio.create_task(read(session))
    for moment in range(0, 3000, 300):
        session.news("c-1", moment)
        session._listen(moment + 300)
        assert not session.over
    session.leaves("c-2")
    assert not session.over
    session.leaves("c-1")
    assert (await reading)[1] == "coordinator c-1 leaves"


async def test_without_an_answer_there_is_nothing_to_miss() -> None:
    session = Session("s", now() - 1000)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1.0):
            await read(session)
