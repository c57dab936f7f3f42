import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster_worker.session import Event, Phase, Session, advance


def after(*events: Event, start: Session | None = None) -> Session:
    session = start or Session()
    for event in events:
        session = advance(session, event, random=0.5)
    return session


SERVING = after(Event.KEYS_LOADED, Event.REGISTERED)


def test_keys_come_before_registration_and_registration_before_tasks() -> None:
    assert Session().phase is Phase.PREPARING
    assert after(Event.KEYS_LOADED).phase is Phase.REGISTERING
    assert SERVING.phase is Phase.SERVING


def test_failed_calls_wait_1_2_4_8_16_seconds_without_end() -> None:
    delays = []
    session = Session()
    for _ in range(7):
        session = after(Event.CALL_FAILED, start=session)
        assert session.phase is Phase.WAITING
        delays.append(session.delay)
        session = after(Event.WAITED, start=session)
    assert delays == [1, 2, 4, 8, 16, 16, 16]


def test_a_refused_registration_waits_too() -> None:
    assert after(Event.KEYS_LOADED, Event.CALL_FAILED).phase is Phase.WAITING


def test_a_broken_stream_is_reopened_at_once() -> None:
    assert after(Event.STREAM_BROKE, start=SERVING) == Session(Phase.PREPARING)


def test_a_stream_that_never_lives_is_reopened_with_growing_pauses() -> None:
    delays = []
    session = SERVING
    for _ in range(3):
        session = after(Event.STREAM_REFUSED, start=session)
        delays.append(session.delay)
        session = after(Event.WAITED, Event.KEYS_LOADED, Event.REGISTERED, start=session)
    assert delays == [1, 2, 4]


def test_an_answered_heartbeat_ends_the_count_of_failures() -> None:
    shaky = Session(Phase.SERVING, failures=4)
    session = after(Event.HEARTBEAT_ANSWERED, Event.STREAM_REFUSED, start=shaky)
    assert session.delay == 1


def test_the_third_missed_heartbeat_in_a_row_means_a_dead_connection() -> None:
    twice = after(Event.HEARTBEAT_MISSED, Event.HEARTBEAT_MISSED, start=SERVING)
    assert twice.phase is Phase.SERVING
    assert after(Event.HEARTBEAT_MISSED, start=twice).phase is Phase.PREPARING
    answered = after(Event.HEARTBEAT_ANSWERED, Event.HEARTBEAT_MISSED, start=twice)
    assert answered.phase is Phase.SERVING


def test_a_forgotten_worker_registers_again() -> None:
    again = after(Event.FORGOTTEN, Event.KEYS_LOADED, start=SERVING)
    assert again.phase is Phase.REGISTERING


@pytest.mark.parametrize("phase", [Phase.REGISTERING, Phase.SERVING])
def test_without_executors_no_tasks_are_taken_until_keys_load_again(phase: Phase) -> None:
    session = after(Event.EXECUTORS_LOST, start=Session(phase, failures=2))
    assert session == Session(Phase.PREPARING, failures=2)


EXPECTED = {
    Phase.PREPARING: {Event.KEYS_LOADED, Event.CALL_FAILED},
    Phase.REGISTERING: {Event.REGISTERED, Event.CALL_FAILED, Event.EXECUTORS_LOST},
    Phase.WAITING: {Event.WAITED},
    Phase.SERVING: {
        Event.STREAM_BROKE,
        Event.STREAM_REFUSED,
        Event.FORGOTTEN,
        Event.EXECUTORS_LOST,
        Event.HEARTBEAT_MISSED,
    },
}


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("event", Event)
def test_events_of_another_phase_change_nothing(phase: Phase, event: Event) -> None:
    session = Session(phase)
    assert (advance(session, event, 0.5) != session) is (event in EXPECTED[phase])


@given(st.lists(st.sampled_from(Event)))
def test_a_pause_is_never_longer_than_20_seconds(events: list[Event]) -> None:
    session = after(*events)
    assert (session.delay > 0) is (session.phase is Phase.WAITING)
    assert session.delay <= 20
