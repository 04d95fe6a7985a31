"""The field types of the schemas. Each is strict about what it accepts."""

from __future__ import annotations

import datetime
import math
import re
import uuid
from typing import Any

from marshmallow import ValidationError, fields, validate

from app.errors import NotFound, TooLarge
from app.timestamps import format_moment

PROMPT_BYTES = 1024 * 1024
DIFF_BYTES = 4 * 1024 * 1024
WITHOUT_NUL = r"^[^\x00]*$"
# Blanks, the soft hyphen, and characters without a width.
_INVISIBLE = r"\s\u00ad\u200b-\u200f\u2060\ufeff"
MORE_THAN_BLANKS = rf"^[^\x00]*[^\x00{_INVISIBLE}][^\x00]*$"
LARGEST_INTEGER = 2**31 - 1
# A number of four to eight digits is read as a date, such as 2026 or 20260131, not as a time in the early 1970s.
_AS_DATES = range(1_000, 100_000_000)
_LOST_PLUS = re.compile(r"(\d[T ]\d[\d:.,]*) (\d\d(?::?\d\d)?)$")
_EARLIEST, _LATEST = (datetime.datetime(year, 1, 1, tzinfo=datetime.UTC) for year in (2, 9999))


class Text(fields.String):
    """Text that every database can store, with `least` to `most` characters."""

    default_error_messages = {"invalid": "must be text"}

    def __init__(self, most: int, *, least: int = 0, **kwargs: Any) -> None:
        given = kwargs.pop("validate", [])
        # An empty text is blank as well, and one fault has one error.
        checks = [_refuse_nul, characters(0 if NOT_BLANK in given else least, most), *given]
        if least:
            kwargs["metadata"] = {"minLength": least, **kwargs.get("metadata", {})}
        # Another pattern among the checks is more specific, and excludes NUL as well.
        pattern = {} if any(isinstance(check, Pattern) for check in checks) else {"pattern": WITHOUT_NUL}
        super().__init__(validate=checks, metadata={**pattern, **kwargs.pop("metadata", {})}, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        return whole_text(super()._deserialize(value, attr, data, **kwargs))


class Line(Text):
    """Text in one line: any white space in it, such as a line break, becomes one space."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        return " ".join(super()._deserialize(value, attr, data, **kwargs).split())


def characters(least: int, most: int) -> validate.Length:
    """The check that a text has from `least` to `most` characters."""
    error = f"must have {least} to {most} characters" if least else f"must have at most {most} characters"
    return validate.Length(min=least or None, max=most, error=error)


def items(most: int) -> validate.Length:
    """The check that a list has at most `most` items."""
    return validate.Length(max=most, error=f"must have at most {most} items")


def from_to(least: int, most: int | None = None) -> validate.Range:
    """The check that a number is from `least` to `most`, both included."""
    return validate.Range(
        least, most, error=f"must be at least {least}" if most is None else f"must be from {least} to {most}"
    )


class Pattern(validate.Regexp):
    """A pattern that the whole text must match. Python's `$` alone would accept a newline at the end."""

    def __call__(self, value: Any) -> Any:
        if re.fullmatch(str(self.regex.pattern), value) is None:
            raise ValidationError(self.error)
        return value


NOT_BLANK = Pattern(MORE_THAN_BLANKS, error="must not be blank")


class Names(fields.List):
    """Names of labels or people on a forge: ten at most."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(Text(255, least=1, validate=[NOT_BLANK]), validate=items(10), **kwargs)


class Prompt(fields.String):
    """A prompt: at most 1 MiB of UTF-8, and not blank."""

    def __init__(self, **kwargs: Any) -> None:
        metadata = {"minLength": 1, "pattern": MORE_THAN_BLANKS, **kwargs.pop("metadata", {})}
        super().__init__(metadata=metadata, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = whole_text(super()._deserialize(value, attr, data, **kwargs))
        if len(text.encode()) > PROMPT_BYTES:
            raise TooLarge(f"prompt: must have at most {PROMPT_BYTES} bytes of UTF-8")
        _refuse_blank(text)
        _refuse_nul(text)
        return text


class InlineDiff(fields.String):
    """A diff inside JSON. It goes to the artifact store, never into the database, so it may hold any character."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = whole_text(super()._deserialize(value, attr, data, **kwargs))
        if len(text.encode()) > DIFF_BYTES:
            raise TooLarge(f"{attr}: must have at most {DIFF_BYTES} bytes; upload it and send {attr}_s3_key")
        return text


def whole_text(text: str) -> str:
    """The text; raises `ValidationError` for a lone surrogate, which JSON can express and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValidationError("must be valid Unicode, without lone surrogates") from None
    return text


def _refuse_nul(text: str) -> None:
    if "\0" in text:
        raise ValidationError("must not contain NUL characters")


def _refuse_blank(text: str) -> None:
    if not re.search(f"[^{_INVISIBLE}]", text):
        raise ValidationError("must not be blank")


class Whole(fields.Integer):
    """A JSON integer, not a string or a number with a fraction. `5.0` is an integer: JSON has one type of number."""

    def __init__(self, *, least: int = 0, most: int = LARGEST_INTEGER, **kwargs: Any) -> None:
        super().__init__(strict=True, validate=from_to(least, most), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        whole = int(value) if isinstance(value, float) and value.is_integer() else value
        return super()._deserialize(whole, attr, data, **kwargs)


class Amount(fields.Float):
    """A JSON number."""

    def __init__(self, *, above: float | None = None, **kwargs: Any) -> None:
        lower = "from 0 to" if above is None else f"more than {above:g} and at most"
        error = f"must be {lower} 1000000000"
        bounds = validate.Range(0 if above is None else above, 1e9, min_inclusive=above is None, error=error)
        exclusive = {} if above is None else {"exclusiveMinimum": above}
        super().__init__(validate=bounds, metadata={**exclusive, **kwargs.pop("metadata", {})}, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.make_error("invalid")
        return super()._deserialize(value, attr, data, **kwargs)


class Cost(fields.Float):
    """US dollars, rounded to a millionth: sums of binary fractions have more digits than they should."""

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> Any:
        number = super()._serialize(value, attr, obj, **kwargs)
        return round(number, 6) if isinstance(number, float) else number


class Flag(fields.Boolean):
    """`true` or `false`, not a string or a number in their place."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid")
        return value


class Reference(fields.UUID):
    """The id of another resource. Text that is not a UUID gets the same answer as an id that no resource has."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> uuid.UUID:
        try:
            return super()._deserialize(value, attr, data, **kwargs)
        except ValidationError:
            if isinstance(value, str):
                raise NotFound(f"{attr}: there is nothing with this id in your account") from None
            raise


class Moment(fields.Field[Any]):
    """A time. Output is ISO-8601 in UTC with milliseconds, input ISO-8601 or Unix seconds."""

    def __init__(self, **kwargs: Any) -> None:
        metadata = {"type": "string", "format": "date-time", "example": "2026-01-31T12:00:00.000Z"}
        super().__init__(metadata={**metadata, **kwargs.pop("metadata", {})}, **kwargs)

    def _serialize(self, value: datetime.datetime | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else format_moment(value)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime.datetime:
        try:
            return _within(read_moment(str(value)))
        except (ValueError, OverflowError, OSError):
            raise ValidationError(
                "must be a time in ISO-8601, such as 2026-01-31T12:00:00Z, or in Unix seconds, from the year 2 to 9998"
            ) from None


class Bound(Moment):
    """A time in a query that a list begins or ends with."""

    def __init__(self, **kwargs: Any) -> None:
        before = {"minimum": _EARLIEST.timestamp(), "exclusiveMaximum": _AS_DATES.start}
        after = {"minimum": _AS_DATES.stop, "exclusiveMaximum": _LATEST.timestamp()}
        seconds = [{"type": "number", **range} for range in (before, after)]
        either = {"anyOf": [{"type": "string", "format": "date-time"}, *seconds]}
        super().__init__(metadata={**either, **kwargs.pop("metadata", {})}, **kwargs)
        del self.metadata["type"], self.metadata["format"]


def read_moment(text: str) -> datetime.datetime:
    """The time in `text`, in ISO-8601 or Unix seconds; raises `ValueError`. Without a time zone it is UTC."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = None
    if seconds is not None and not _AS_DATES.start <= seconds < _AS_DATES.stop:
        if not math.isfinite(seconds):
            raise ValueError
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    # A plus sign that a caller did not escape in a query arrives as a space.
    moment = datetime.datetime.fromisoformat(_LOST_PLUS.sub(r"\1+\2", text.strip().upper()))
    return moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)


def _within(moment: datetime.datetime) -> datetime.datetime:
    # A margin of a year on either side keeps later arithmetic within the range of Python's datetime.
    if not _EARLIEST <= moment < _LATEST:
        raise ValueError
    return moment.astimezone(datetime.UTC)
