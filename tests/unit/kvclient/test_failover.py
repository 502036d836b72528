"""Whom a call asks, with the time as an argument."""

import pytest

from kvclient.errors import Unavailable
from kvclient.failover import ROUND_PAUSE_S, Ask, Attempts, Pause, Preference

ALL = ("http://a", "http://b", "http://c")


def asked(attempts: Attempts, now_s: float) -> Ask:
    step = attempts.next(now_s)
    assert isinstance(step, Ask)
    return step


def fail(attempts: Attempts, now_s: float, **flags: bool) -> str:
    step = asked(attempts, now_s)
    attempts.failed(Unavailable("refused", step.endpoint, **flags))
    return step.endpoint


def test_each_endpoint_gets_its_share_of_what_is_left() -> None:
    attempts = Attempts(Preference(ALL), 30.0, is_write=False)
    assert asked(attempts, 0.0) == Ask("http://a", 10.0)
    attempts.failed(Unavailable("no answer within 10.0 s", "http://a", is_ambiguous=True))
    assert asked(attempts, 10.0) == Ask("http://b", 10.0)
    attempts.failed(Unavailable("refused", "http://b"))
    assert asked(attempts, 10.0) == Ask("http://c", 20.0)


def test_the_next_call_begins_where_the_last_was_answered() -> None:
    preference = Preference(ALL)
    attempts = Attempts(preference, 3.0, is_write=False)
    fail(attempts, 0.0)
    attempts.next(0.0)
    attempts.answered()
    assert preference.endpoint == "http://b"
    again = Attempts(preference, 3.0, is_write=False)
    assert [fail(again, 0.0) for _ in ALL] == ["http://b", "http://c", "http://a"]


def test_a_round_without_an_answer_is_followed_by_another_after_a_pause() -> None:
    attempts = Attempts(Preference(ALL), 3.0, is_write=True)
    for _ in ALL:
        fail(attempts, 1.0)
    assert attempts.next(1.0) == Pause(ROUND_PAUSE_S)
    assert asked(attempts, 1.05).endpoint == "http://a"


def test_the_call_ends_with_its_time_and_says_what_was_last() -> None:
    attempts = Attempts(Preference(ALL), 3.0, is_write=False)
    fail(attempts, 1.0)
    with pytest.raises(Unavailable, match="http://a: refused"):
        attempts.next(3.0)
    with pytest.raises(Unavailable, match="before anybody was asked"):
        Attempts(Preference(ALL), 3.0, is_write=False).next(3.0)


def test_a_write_whose_fate_is_unknown_is_not_repeated_and_its_endpoint_is_left() -> None:
    preference = Preference(ALL)
    attempts = Attempts(preference, 3.0, is_write=True)
    attempts.next(0.0)
    with pytest.raises(Unavailable) as caught:
        attempts.failed(Unavailable("broken", "http://a", is_ambiguous=True))
    assert caught.value.is_ambiguous
    assert preference.endpoint == "http://b"


def test_a_read_whose_fate_is_unknown_goes_on_elsewhere() -> None:
    attempts = Attempts(Preference(ALL), 3.0, is_write=False)
    assert fail(attempts, 0.0, is_ambiguous=True) == "http://a"
    assert asked(attempts, 0.0).endpoint == "http://b"


def test_what_time_does_not_mend_everywhere_ends_the_call_at_once() -> None:
    attempts = Attempts(Preference(ALL), 3.0, is_write=False)
    for _ in ALL:
        fail(attempts, 0.0, is_lasting=True)
    with pytest.raises(Unavailable):
        attempts.next(0.0)


def test_one_endpoint_that_may_recover_is_waited_for() -> None:
    attempts = Attempts(Preference(ALL), 3.0, is_write=False)
    fail(attempts, 0.0, is_lasting=True)
    fail(attempts, 0.0)
    fail(attempts, 0.0, is_lasting=True)
    assert isinstance(attempts.next(0.0), Pause)


def test_only_one_endpoint_is_asked_where_the_caller_says_so() -> None:
    preference = Preference(ALL)
    attempts = Attempts(preference, 3.0, is_write=True, only="http://c")
    assert asked(attempts, 0.0) == Ask("http://c", 3.0)
    with pytest.raises(Unavailable):
        attempts.failed(Unavailable("broken", "http://c", is_ambiguous=True))
    assert preference.endpoint == "http://a"
    attempts = Attempts(preference, 3.0, is_write=False, only="http://c")
    attempts.next(0.0)
    attempts.answered()
    assert preference.endpoint == "http://a"


def test_an_attempt_cut_short_keeps_what_the_one_before_it_told() -> None:
    attempts = Attempts(Preference(ALL[:1]), 3.0, is_write=False)
    attempts.next(0.0)
    attempts.failed(Unavailable("the certificate is for another host", "http://a"))
    attempts.next(2.0)
    attempts.next(2.0)
    attempts.failed(Unavailable("no answer within 0.9 s", "http://a"))
    with pytest.raises(Unavailable, match="before: the certificate"):
        attempts.next(3.0)


def test_an_endpoint_named_twice_is_asked_once() -> None:
    assert Preference(["http://a", "http://a", "http://b"]).endpoints == ("http://a", "http://b")
    with pytest.raises(ValueError, match="at least one endpoint"):
        Preference(())
