"""By what the next request of a caller is recognised."""

from __future__ import annotations

import h11
import pytest

from app.serving.callers import Callers, key_of

ADDRESS = ("192.0.2.1", 40000)


def head(target: str = "/api/v1/sites", **headers: str) -> h11.Request:
    return h11.Request(method="GET", target=target, headers=[("Host", "localhost"), *headers.items()])


def test_requests_with_the_same_token_are_alike_whatever_they_ask_for() -> None:
    one = key_of(ADDRESS, head(Authorization="Bearer one"))
    assert one == key_of(("192.0.2.1", 40001), head("/api/v1/account", Authorization="Bearer one"))
    assert one != key_of(ADDRESS, head(Authorization="Bearer two"))
    assert one != key_of(("192.0.2.2", 40000), head(Authorization="Bearer one"))
    assert one != key_of(ADDRESS, head(Cookie="Bearer one"))


@pytest.mark.parametrize("address", [ADDRESS, "", None], ids=["tcp", "unix", "unknown"])
def test_requests_without_are_alike_by_the_owner_in_their_path(address: object) -> None:
    folder = "/api/v1/blobs/user-uploaded-content/ada"
    one = key_of(address, head(f"{folder}/file?signature=x"))
    assert one == key_of(address, head(f"{folder}/another/file?signature=y"))
    assert one != key_of(address, head("/api/v1/blobs/user-uploaded-content/grace/file?signature=x"))
    assert key_of(address, head("/api/v1/hooks/1?a")) != key_of(address, head("/api/v1/hooks/2?a"))


def test_only_the_last_ones_are_remembered() -> None:
    callers = Callers()
    for number in range(5000):
        callers.remember(str(number).encode(), f"account {number}")
        callers.remember(b"0", "account 0")
    assert callers.find(b"0") == "account 0"
    assert callers.find(b"1") is None
    assert callers.find(b"4999") == "account 4999"
