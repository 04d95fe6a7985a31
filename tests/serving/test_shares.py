"""Which requests of an account are served at once, and in which order the others are."""

from __future__ import annotations

import pytest

from app.errors import TooMany
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
        shares.wait(who, connection, first=share.has_waited)
    return share


def test_an_account_that_has_its_share_waits_and_another_does_not(shares: Shares) -> None:
    held = [serve(shares, name, "ada") for name in ("first", "second")]
    for name in ("third", "fourth"):
        serve(shares, name, "ada")
    assert shares.next("ada") is None
    Share(shares).take("grace")
    held[0].leave()
    assert (shares.next("ada"), shares.next("grace")) == ("third", None)
    held[1].leave()
    assert (shares.next("ada"), shares.next("ada")) == ("fourth", None)


def test_nobody_overtakes_those_that_wait(shares: Shares) -> None:
    held = [serve(shares, name, "ada") for name in ("first", "second")]
    waiting = serve(shares, "third", "ada")
    held[0].leave()
    serve(shares, "fourth", "ada")
    assert shares.next("ada") == "third"
    waiting.has_waited = True
    held.append(serve(shares, "third", "ada", waiting))
    assert shares.next("ada") is None
    held[1].leave()
    assert shares.next("ada") == "fourth"


def test_a_request_counts_once_and_leaves_once(shares: Shares) -> None:
    one = serve(shares, "first", "ada")
    one.take("ada")
    Share(shares).take("ada")
    one.leave()
    one.leave()
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
