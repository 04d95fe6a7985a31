"""The times of cron expressions, across the changes of the clock."""

from __future__ import annotations

import datetime

import pytest

from app.errors import Invalid
from app.services.schedules import times


def following(cron: str, after: str, count: int = 2, timezone: str = "Europe/Berlin") -> list[str]:
    found = times.following(cron, timezone, datetime.datetime.fromisoformat(after), count)
    return [time.strftime("%m-%dT%H:%MZ") for time in found]


def test_times_are_those_of_the_time_zone() -> None:
    assert following("0 9 * * MON-FRI", "2026-11-27T12:00Z") == ["11-30T08:00Z", "12-01T08:00Z"]
    assert following("0 9 * * MON-FRI", "2026-06-26T12:00Z", 1) == ["06-29T07:00Z"]


def test_a_time_that_summer_skips_comes_right_after_the_skip() -> None:
    assert following("30 2 * * *", "2026-03-28T12:00Z") == ["03-29T01:00Z", "03-30T00:30Z"]


def test_a_time_that_winter_repeats_comes_once() -> None:
    assert following("30 2 * * *", "2026-10-24T12:00Z") == ["10-25T00:30Z", "10-26T01:30Z"]


def test_every_hour_follows_elapsed_time() -> None:
    assert following("0 * * * *", "2026-10-24T23:30Z", 4) == [
        "10-25T00:00Z",
        "10-25T01:00Z",
        "10-25T02:00Z",
        "10-25T03:00Z",
    ]


@pytest.mark.parametrize("cron", ["", "soon", "* * * *", "61 * * * *", "0 0 30 2 *", "0 9 * * MON-FRI extra words"])
def test_an_expression_without_times_is_refused(cron: str) -> None:
    with pytest.raises(Invalid) as refused:
        times.check(cron, "UTC")
    assert refused.value.error_code == "bad_cron"


@pytest.mark.parametrize("timezone", ["Mars/Olympus", "../../etc/passwd", "/etc/localtime", "a\0b", ""])
def test_an_unknown_time_zone_is_refused(timezone: str) -> None:
    with pytest.raises(Invalid) as refused:
        times.check("0 9 * * *", timezone)
    assert refused.value.error_code == "unknown_timezone"
