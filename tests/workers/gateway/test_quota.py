"""What a provider says of its limits may be anything."""

from __future__ import annotations

import time

import pytest

from workers.egress.gateway.quota import limited, words_of

FAR = "9" * 20


def test_an_error_that_is_nested_too_deep_says_nothing() -> None:
    assert words_of(b'{"error": {"message": "full"}}') == "full"
    assert words_of(b'{"error": ' + b"[" * 100_000) == ""


@pytest.mark.parametrize(
    "named",
    [f"Mon, 01 Jan {FAR} 00:00:00 GMT", f"Mon, 01 Jan 2024 00:00:00 +{FAR}", "0001-01-01", FAR, "inf", "nan", "-inf"],
)
def test_a_time_that_is_none_is_no_reset(named: str) -> None:
    report = limited(429, {"retry-after": named}, "")
    assert report is not None and report["reset_at"] in (None, pytest.approx(time.time(), abs=3600))
