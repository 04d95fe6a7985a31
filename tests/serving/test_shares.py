"""Which requests of an account are served at once, and in which order the others are."""

from __future__ import annotations

import pytest

from app.errors import TooMany
from app.serving.processor_time import BURST_SECONDS, MOST_SECONDS, PART, WINDOW_SECONDS, Activity, ProcessorTime
from app.serving.shares import MOST_WAITING, STAYS, MustWait, Share, Shares


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
def passing(clock: Clock) -> Shares:
    """Those of a process that passes requests on."""
    return Shares(2, 0, ProcessorTime(clock=clock))


@pytest.fixture
def receiving(clock: Clock) -> Shares:
    """Those of the process of low priority."""
    return Shares(2, processor_time=ProcessorTime(clock=clock))


def use(shares: Shares, who: str, seconds: float) -> None:
    """A request that uses so much processor time."""
    serve(shares, "earlier", who).leave(seconds)


def test_one_that_computes_much_while_another_is_active_is_served_elsewhere(passing: Shares) -> None:
    use(passing, "grace", 0.01)
    use(passing, "ada", BURST_SECONDS)
    held = serve(passing, "first", "ada")
    held.leave(0.01)
    for name in ("second", "third"):
        serve(passing, name, "ada")
    assert passing.next("ada") is None
    assert [passing.next_beyond_part("ada") for _ in range(3)] == ["second", "third", None]
    for _ in range(2):
        Share(passing).take("grace")


def test_what_could_not_be_passed_on_is_the_next_again(passing: Shares) -> None:
    use(passing, "grace", 0.01)
    use(passing, "ada", 2 * BURST_SECONDS)
    for name in ("first", "second"):
        serve(passing, name, "ada")
    first = passing.next_beyond_part("ada")
    passing.put_back("ada", first)
    assert [passing.next_beyond_part("ada") for _ in range(2)] == ["first", "second"]


def test_who_only_waits_for_a_thread_is_not_passed_on(passing: Shares) -> None:
    use(passing, "grace", 0.01)
    for name in ("first", "second", "third"):
        serve(passing, name, "ada")
    assert passing.next_beyond_part("ada") is None


def test_one_that_stays_has_one_thread_and_is_not_served_elsewhere(passing: Shares) -> None:
    streams = f"{STAYS}ada"
    use(passing, "grace", 0.01)
    use(passing, streams, 2 * BURST_SECONDS)
    held = serve(passing, "first", streams)
    serve(passing, "second", streams)
    assert (passing.next(streams), passing.next_beyond_part(streams)) == (None, None)
    held.leave(0.0)
    assert passing.next(streams) == "second"


def test_there_an_account_has_one_thread_while_another_is_served(receiving: Shares) -> None:
    use(receiving, "grace", 0.01)
    use(receiving, "ada", 2 * BURST_SECONDS)
    held = serve(receiving, "first", "ada")
    serve(receiving, "second", "ada")
    for _ in range(2):
        Share(receiving).take("grace")
    assert receiving.next("ada") is None
    held.leave(0.0)
    assert receiving.next("ada") == "second"


def test_it_is_served_where_it_was_once_it_is_within_its_part_again(passing: Shares, clock: Clock) -> None:
    use(passing, "ada", BURST_SECONDS + PART)
    for clock.now, is_beyond in ((0.9, True), (1.1, False)):
        use(passing, "grace", 0.01)
        if is_beyond:
            serve(passing, "first", "ada")
        assert passing.next("ada") == (None if is_beyond else "first")


def test_what_it_took_to_receive_a_request_counts_once_it_is_served(passing: Shares) -> None:
    use(passing, "grace", 0.01)
    upload = Share(passing, read_seconds=2 * BURST_SECONDS)
    upload.take("ada")
    upload.leave(0.01)
    with pytest.raises(MustWait):
        Share(passing).take("ada")


def test_to_refuse_a_request_does_not_count(passing: Shares, clock: Clock) -> None:
    """Else one that tries again and again would never be served here again."""
    use(passing, "ada", BURST_SECONDS + PART)
    for tries in range(100):
        clock.now = tries / 100
        use(passing, "grace", 0.001)
        share = serve(passing, tries, "ada")
        share.leave(0.5)
        assert passing.next_beyond_part("ada") == tries
    clock.now = 1.1
    Share(passing).take("ada")


def test_processor_time_does_not_count_when_the_process_ends(passing: Shares) -> None:
    use(passing, "grace", 0.01)
    use(passing, "ada", WINDOW_SECONDS)
    for name in ("first", "second", "third"):
        serve(passing, name, "ada")
    passing.end()
    assert passing.next_beyond_part("ada") is None
    assert [passing.next("ada") for _ in range(3)] == ["first", "second", None], "two threads are its share"


def test_alone_it_has_its_share_however_much_it_computes(passing: Shares, clock: Clock) -> None:
    use(passing, "grace", 0.01)
    clock.now = WINDOW_SECONDS + 1
    use(passing, "ada", WINDOW_SECONDS)
    for _ in range(2):
        Share(passing).take("ada")


def test_accounts_are_active_for_all_processes(clock: Clock) -> None:
    activity = Activity()
    one, other = (Shares(2, 0, ProcessorTime(activity, clock)) for _ in range(2))
    use(one, "ada", 2 * BURST_SECONDS)
    Share(one).take("ada")
    use(other, "grace", 0.01)
    with pytest.raises(MustWait):
        Share(one).take("ada")


def test_what_an_account_used_is_forgotten_after_a_while(passing: Shares, clock: Clock) -> None:
    use(passing, "ada", 100.0)
    for clock.now, is_beyond in ((MOST_SECONDS / PART - 6, True), (MOST_SECONDS / PART, False)):
        use(passing, "grace", 0.01)
        if is_beyond:
            serve(passing, "first", "ada")
        assert passing.next("ada") == (None if is_beyond else "first")
