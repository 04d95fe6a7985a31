"""Which requests of an account are served at once, and in which order the others are."""

from __future__ import annotations

import pytest

from app.errors import TooMany
from app.serving.processor_time import BURST_SECONDS, MOST_SECONDS, PART, WINDOW_SECONDS, Activity, ProcessorTime
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
def activity() -> Activity:
    return Activity()


@pytest.fixture
def sender(activity: Activity, clock: Clock) -> Shares:
    """Of a process that passes on what is beyond the part of an account."""
    shares = Shares(2, ProcessorTime(activity, clock))
    shares.most_beyond_part = 0
    return shares


@pytest.fixture
def receiver(clock: Clock) -> Shares:
    return Shares(2, ProcessorTime(Activity(), clock))


def use(shares: Shares, who: str, seconds: float = 0.01) -> None:
    """A request that uses so much processor time."""
    serve(shares, "earlier", who).leave(seconds)


def test_an_account_that_computes_much_is_passed_on_while_another_is_active(sender: Shares) -> None:
    use(sender, "grace")
    use(sender, "ada", BURST_SECONDS + 0.01)
    serve(sender, "first", "ada")
    assert sender.is_beyond_part("ada")
    assert not sender.is_beyond_part("grace")
    assert sender.next("ada") is None
    assert sender.next_beyond_part("ada") == "first"
    assert sender.next_beyond_part("ada") is None


def test_so_it_is_if_the_other_is_active_in_another_process(sender: Shares, activity: Activity, clock: Clock) -> None:
    use(sender, "ada", BURST_SECONDS + 0.01)
    assert not sender.is_beyond_part("ada")
    use(Shares(2, ProcessorTime(activity, clock)), "grace")
    assert sender.is_beyond_part("ada")
    clock.now = WINDOW_SECONDS
    assert not sender.is_beyond_part("ada")


@pytest.mark.parametrize("order", [["ada", "grace", "alan"], ["grace", "ada", "alan"], ["grace", "alan", "ada"]])
def test_so_it_is_whichever_of_many_was_active_last(sender: Shares, clock: Clock, order: list[str]) -> None:
    use(sender, "ada", MOST_SECONDS)
    for number in range(6):
        clock.now += 0.1
        use(sender, order[number % 3], 0.0)
        assert sender.is_beyond_part("ada") or number == 0


def test_a_file_or_an_address_is_nobody_beside_it(sender: Shares) -> None:
    use(sender, "ada", BURST_SECONDS + 0.01)
    address = Share(sender)
    address.take("failed authentications of 192.0.2.1", is_account=False)
    assert not sender.is_beyond_part("ada")
    address.leave(BURST_SECONDS + 0.01)
    assert sender.is_beyond_part("failed authentications of 192.0.2.1"), "an account is beside it"


def test_what_cannot_be_passed_on_waits_before_all_others(sender: Shares) -> None:
    use(sender, "grace")
    use(sender, "ada", BURST_SECONDS + 0.01)
    for name in ("first", "second"):
        serve(sender, name, "ada")
    sender.put_back("ada", sender.next_beyond_part("ada"))
    assert sender.waiting() == ["ada"]
    assert [sender.next_beyond_part("ada") for _ in range(3)] == ["first", "second", None]


def test_where_it_is_passed_to_it_has_one_thread_beside_others(receiver: Shares) -> None:
    use(receiver, "grace")
    use(receiver, "ada", BURST_SECONDS + 0.01)
    held = serve(receiver, "first", "ada")
    with pytest.raises(MustWait):
        Share(receiver).take("ada")
    for _ in range(2):
        Share(receiver).take("grace")
    receiver.wait("ada", "second")
    assert receiver.next("ada") is None
    held.leave(0.0)
    assert receiver.next("ada") == "second"


def test_what_it_took_to_receive_a_request_counts_once_it_is_served(sender: Shares) -> None:
    use(sender, "grace")
    upload = Share(sender, read_seconds=BURST_SECONDS)
    upload.take("ada")
    upload.leave(0.01)
    assert sender.is_beyond_part("ada")


def test_no_request_waits_for_its_part_when_the_process_ends(sender: Shares) -> None:
    use(sender, "grace")
    use(sender, "ada", MOST_SECONDS)
    for name in ("first", "second", "third"):
        serve(sender, name, "ada")
    assert sender.next("ada") is None
    sender.end()
    assert sender.next_beyond_part("ada") is None
    assert [sender.next("ada") for _ in range(3)] == ["first", "second", None], "two threads are its share"


def test_alone_it_has_its_share_however_much_it_computes(sender: Shares) -> None:
    use(sender, "ada", MOST_SECONDS)
    for _ in range(2):
        Share(sender).take("ada")


def test_its_requests_wait_no_longer_once_it_is_alone(receiver: Shares, clock: Clock) -> None:
    use(receiver, "grace")
    use(receiver, "ada", MOST_SECONDS)
    held = serve(receiver, "first", "ada")
    serve(receiver, "second", "ada")
    assert receiver.next("ada") is None
    clock.now = WINDOW_SECONDS
    assert receiver.waiting() == ["ada"]
    assert receiver.next("ada") == "second"
    held.leave(0.0)


@pytest.mark.parametrize(
    ("used", "seconds"), [(BURST_SECONDS + PART, 1.0), (100.0, (MOST_SECONDS - BURST_SECONDS) / PART)]
)
def test_what_an_account_used_is_forgotten_as_time_passes(
    sender: Shares, clock: Clock, used: float, seconds: float
) -> None:
    use(sender, "ada", used)
    for clock.now, is_beyond in ((seconds - 0.1, True), (seconds + 0.1, False)):
        use(sender, "grace")
        assert sender.is_beyond_part("ada") == is_beyond
