"""The times of a cron expression."""

from __future__ import annotations

import datetime
import itertools
import zoneinfo

from cronsim import CronSim, CronSimError

from app.errors import invalid


def check(cron: str, timezone: str) -> None:
    """Raise `Invalid` unless the expression and the time zone exist, and the expression has any time at all."""
    try:
        zone = zoneinfo.ZoneInfo(timezone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        message = "is not a time zone; use a name of the IANA database, such as Europe/Berlin or UTC"
        raise invalid("timezone", message, error_code="unknown_timezone") from None
    try:
        CronSim(cron, datetime.datetime.now(zone))
    except CronSimError as error:
        message = (
            f"is not a cron expression ({error}); use five fields for minute, hour, day, month and weekday, as in "
            "`0 9 * * MON-FRI`"
        )
        raise invalid("cron", message, error_code="bad_cron") from None
    if not following(cron, timezone, datetime.datetime.now(datetime.UTC), 1):
        raise invalid("cron", "has no time within the next 50 years", error_code="bad_cron")


def following(cron: str, timezone: str, after: datetime.datetime, count: int) -> list[datetime.datetime]:
    """Up to `count` times later than `after`, in UTC.

    As in Debian's cron, a time that the clock skips when summer begins comes right after the skip, and one that it
    repeats when summer ends comes once. An expression with `*` for minute or hour follows elapsed time instead.
    """
    times = CronSim(cron, after.astimezone(zoneinfo.ZoneInfo(timezone)))
    return [time.astimezone(datetime.UTC) for time in itertools.islice(times, count)]
