"""Which requests of an account are served at once, and in which order the others are."""

from __future__ import annotations

import pytest

from app.errors import TooMany
from app.serving.processor_time import BURST_SECONDS, PART, WINDOW_SECONDS, ProcessorTime
from app.serving.shares import MOST_WAITING, MustWait, Share, Shares


@pytest.fixture
def shares() -> Shares:
    return Shares(2)


def serve(shares: Shares, connection: object, who: str, share: Share | None = None) -> Share:
    """Begin to serve a request, as a thread does. Where it must wait, keep it, as the server's loop does."""
    share = share or Share(shares)
    try:
        share.take(who)
    except MustWait:
        shares.wait(who, connection)
    return share


def test_an_account_that_has_its_share_waits_and_another_does_not(shares: Shares) -> None:
    held = [serve(shares, name, "ada") for name in ("first", "second")]
    for name in ("third", "fourth"):
        serve(shares, name, "ada")
    assert shares.next("ada") is None
    Share(shares).take("grace")
    held[0].leave(0.0)
    assert (shares.next("ada"), shares.next("ada"), shares.next("grace")) == ("third", None, None)
    held[1].leave(0.0)
    assert (shares.next("ada"), shares.next("ada")) == ("fourth", None)


def test_nobody_overtakes_those_that_wait(shares: Shares) -> None:
    held = [serve(shares, name, "ada") for name in ("first", "second")]
    waiting = serve(shares, "third", "ada")
    held[0].leave(0.0)
    serve(shares, "fourth", "ada")
    assert shares.next("ada") == "third"
    waiting.resume()
    serve(shares, "third", "ada", waiting)
    assert shares.next("ada") is None
    waiting.leave(0.0)
    assert shares.next("ada") == "fourth"


def test_a_request_counts_once_and_leaves_once(shares: Shares) -> None:
    one = serve(shares, "first", "ada")
    one.take("ada")
    Share(shares).take("ada")
    one.leave(0.0)
    one.leave(0.0)
    Share(shares).take("ada")
    with pytest.raises(MustWait):
        Share(shares).take("ada")


def test_so_many_wait_and_no_more(shares: Shares) -> None:
    for number in range(2 + MOST_WAITING):
        serve(shares, number, "ada")
    with pytest.raises(TooMany) as refused:
        Share(shares).take("ada")
    assert refused.value.error_code == "too_many_requests_at_once"
    assert shares.evict() == 1 + MOST_WAITING, "the last one makes room"


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(clock: Clock) -> Shares:
    return Shares(2, ProcessorTime(clock))


def use(shares: Shares, who: str, seconds: float) -> None:
    """A request that uses so much processor time."""
    serve(shares, "earlier", who).leave(seconds)


def test_an_account_that_computes_much_has_one_thread_while_another_is_active(timed: Shares, clock: Clock) -> None:
    use(timed, "grace", 0.01)
    use(timed, "ada", 2 * BURST_SECONDS)
    held = serve(timed, "first", "ada")
    with pytest.raises(MustWait):
        Share(timed).take("ada")
    for _ in range(2):
        Share(timed).take("grace")
    timed.wait("ada", "second")
    assert timed.next("ada") is None
    held.leave(0.0)
    assert timed.next("ada") == "second"


def test_one_that_computes_more_rests_until_it_is_within_its_part_again(timed: Shares, clock: Clock) -> None:
    use(timed, "ada", 2 * BURST_SECONDS + PART)
    for clock.now, waits in ((0.9, True), (1.1, False)):
        use(timed, "grace", 0.01)
        if waits:
            serve(timed, "first", "ada")
        assert timed.next("ada") == (None if waits else "first")


def test_what_it_took_to_receive_a_request_counts_once_it_is_served(timed: Shares, clock: Clock) -> None:
    use(timed, "grace", 0.01)
    upload = Share(timed, read_seconds=2 * BURST_SECONDS)
    upload.take("ada")
    upload.leave(0.01)
    with pytest.raises(MustWait):
        Share(timed).take("ada")


def test_an_account_that_tries_again_and_again_is_served_in_its_part(timed: Shares, clock: Clock) -> None:
    """To refuse its requests costs as well. If that counted, they would all wait for ever."""
    served = 0
    for number in range(600):
        clock.now = number / 10
        use(timed, "grace", 0.001)
        for _ in range(30):
            share = Share(timed)
            try:
                share.take("ada")
                served += 1
            except MustWait:
                timed.wait("ada", share)
            except TooMany:
                pass
            share.leave(0.02)
        while (share := timed.next("ada")) is not None:
            share.resume()
            served += 1
            share.leave(0.02)
    assert served * 0.02 == pytest.approx(60 * PART, rel=0.2)


def test_no_request_waits_for_its_part_when_the_process_ends(timed: Shares) -> None:
    use(timed, "grace", 0.01)
    use(timed, "ada", WINDOW_SECONDS)
    for name in ("first", "second", "third"):
        serve(timed, name, "ada")
    assert timed.next("ada") is None
    timed.end_rests()
    assert [timed.next("ada") for _ in range(3)] == ["first", "second", None], "two threads are its share"


def test_alone_it_has_its_share_however_much_it_computes(timed: Shares) -> None:
    use(timed, "ada", WINDOW_SECONDS)
    for _ in range(2):
        Share(timed).take("ada")


def test_its_requests_wait_no_longer_once_it_is_alone(timed: Shares, clock: Clock) -> None:
    use(timed, "grace", 0.01)
    use(timed, "ada", WINDOW_SECONDS)
    serve(timed, "first", "ada")
    clock.now = WINDOW_SECONDS + 1
    Share(timed).leave(0.0)
    assert timed.waiting() == ["ada"]
    assert timed.next("ada") == "first"


def test_what_an_account_used_is_forgotten_as_time_passes(timed: Shares, clock: Clock) -> None:
    use(timed, "ada", BURST_SECONDS + PART)
    for clock.now, waits in ((0.9, True), (1.1, False)):
        use(timed, "grace", 0.01)
        first = serve(timed, "first", "ada")
        second = Share(timed)
        if waits:
            with pytest.raises(MustWait):
                second.take("ada")
            timed.wait("ada", "second")
            first.leave(0.0)
            assert timed.next("ada") == "second"
            second.resume()
            second.leave(0.0)
        else:
            second.take("ada")
