"""The kinds of values that JSON carries here, each strict about what it takes."""

from __future__ import annotations

import datetime
import enum
import math
import re
import uuid
from collections.abc import Callable
from typing import Any

from marshmallow import ValidationError, fields, validate

from app.errors import NotFound, TooLarge

PROMPT_BYTES = 1024 * 1024
DIFF_BYTES = 4 * 1024 * 1024
WITHOUT_NUL = r"^[^\x00]*$"
MORE_THAN_BLANKS = r"^[^\x00]*[^\s\x00][^\x00]*$"
LARGEST_INTEGER = 2**31 - 1
_EARLIEST, _LATEST = (datetime.datetime(year, 1, 1, tzinfo=datetime.UTC) for year in (2, 9999))


class Text(fields.String):
    """Text that every database can store, of a length between `least` and `most` characters."""

    def __init__(self, most: int, *, least: int = 0, **kwargs: Any) -> None:
        checks = [_refuse_nul, validate.Length(min=least or None, max=most), *kwargs.pop("validate", [])]
        # A pattern of its own among the checks says more, and leaves out NUL too.
        pattern = {} if any(isinstance(check, Pattern) for check in checks) else {"pattern": WITHOUT_NUL}
        super().__init__(validate=checks, metadata={**pattern, **kwargs.pop("metadata", {})}, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        return whole_text(super()._deserialize(value, attr, data, **kwargs))


class Pattern(validate.Regexp):
    """A pattern that all of the text fits. Python's `$` alone would let a newline at the end through."""

    def __call__(self, value: Any) -> Any:
        if re.fullmatch(str(self.regex.pattern), value) is None:
            raise ValidationError(self.error or "Does not fit the pattern.")
        return value


NOT_BLANK = Pattern(MORE_THAN_BLANKS, error="Must not be blank.")


class Prompt(fields.String):
    """What the agent is told: at most 1 MiB of UTF-8, and more than blanks."""

    def __init__(self, **kwargs: Any) -> None:
        said = {"minLength": 1, "pattern": MORE_THAN_BLANKS, **kwargs.pop("metadata", {})}
        super().__init__(metadata=said, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = whole_text(super()._deserialize(value, attr, data, **kwargs))
        if len(text.encode()) > PROMPT_BYTES:
            raise TooLarge(f"a prompt may have at most {PROMPT_BYTES} bytes of UTF-8")
        if not text.strip():
            raise ValidationError("Must not be blank.")
        _refuse_nul(text)
        return text


class InlineDiff(fields.String):
    """A diff inside JSON. It goes to the artifact store, never into the database, so it may hold any character."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = whole_text(super()._deserialize(value, attr, data, **kwargs))
        if len(text.encode()) > DIFF_BYTES:
            raise TooLarge(f"an inline diff may have at most {DIFF_BYTES} bytes; upload it and name its _s3_key")
        return text


def whole_text(text: str) -> str:
    """The text; refuses half of a surrogate pair, which JSON can write and UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValidationError("Must be valid Unicode, without lone surrogates.") from None
    return text


def _refuse_nul(text: str) -> None:
    if "\0" in text:
        raise ValidationError("Must not contain NUL characters.")


class Whole(fields.Integer):
    """A JSON integer, not one in quotes or with a fraction. `5.0` is one: JSON knows no other numbers than these."""

    def __init__(self, *, least: int = 0, most: int = LARGEST_INTEGER, **kwargs: Any) -> None:
        super().__init__(strict=True, validate=validate.Range(least, most), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:
        whole = int(value) if isinstance(value, float) and value.is_integer() else value
        return super()._deserialize(whole, attr, data, **kwargs)


class Amount(fields.Float):
    """A JSON number."""

    def __init__(self, *, above: float | None = None, **kwargs: Any) -> None:
        bounds = validate.Range(0 if above is None else above, 1e9, min_inclusive=above is None)
        exclusive = {} if above is None else {"exclusiveMinimum": above}
        super().__init__(validate=bounds, metadata={**exclusive, **kwargs.pop("metadata", {})}, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise self.make_error("invalid")
        return super()._deserialize(value, attr, data, **kwargs)


class Flag(fields.Boolean):
    """`true` or `false`, not a word or a number for it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid")
        return value


class Reference(fields.UUID):
    """The id of another thing. What is no UUID names nothing, so it answers as an id does that nobody has."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> uuid.UUID:
        try:
            return super()._deserialize(value, attr, data, **kwargs)
        except ValidationError:
            if isinstance(value, str):
                raise NotFound(f"{attr} names nothing that there is") from None
            raise


class Choice(fields.Field[Any]):
    """A member of an enumeration, in any case when it comes in."""

    def __init__(self, kind: type[enum.StrEnum], **kwargs: Any) -> None:
        self.kind = kind
        metadata = {"type": "string", "enum": [member.value for member in kind], **kwargs.pop("metadata", {})}
        if kwargs.get("allow_none"):
            metadata["enum"] = [*metadata["enum"], None]
        super().__init__(metadata=metadata, **kwargs)

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else self.kind(value).value

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> enum.StrEnum:
        return member_of(self.kind, value)


class Choices(fields.Field[Any]):
    """A comma list of members of an enumeration, in a query. Nothing between the commas is nothing."""

    def __init__(self, kind: type[enum.StrEnum], **kwargs: Any) -> None:
        self.kind = kind
        names = ", ".join(member.value for member in kind)
        one = "|".join("".join(f"[{letter.upper()}{letter.lower()}]" for letter in member.value) for member in kind)
        metadata = {
            "type": "string",
            "pattern": f"^ *({one})? *(, *({one})? *)*$",
            "description": f"A comma list of {names}, in any case.",
            "example": next(iter(kind)).value,
        }
        super().__init__(metadata=metadata, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[enum.StrEnum]:
        return [member_of(self.kind, part.strip()) for part in str(value).split(",") if part.strip()]


def member_of(kind: type[enum.StrEnum], value: Any) -> enum.StrEnum:
    """The member that `value` names in any case; raises `ValidationError`."""
    for member in kind:
        if isinstance(value, str) and member.value.lower() == value.lower():
            return member
    raise ValidationError(f"Must be one of {', '.join(kind)}.")


class Moment(fields.Field[Any]):
    """A moment: ISO-8601 UTC with milliseconds going out, ISO-8601 or Unix seconds coming in."""

    def __init__(self, **kwargs: Any) -> None:
        metadata = {"type": "string", "format": "date-time", "example": "2026-01-31T12:00:00.000Z"}
        super().__init__(metadata={**metadata, **kwargs.pop("metadata", {})}, **kwargs)

    def _serialize(self, value: datetime.datetime | None, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else written(value)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime.datetime:
        for read in _READERS:
            try:
                return read(str(value))
            except (ValueError, OverflowError, OSError):
                continue
        raise ValidationError("Must be a moment in ISO-8601 or Unix seconds.")


class Bound(Moment):
    """A moment in a query, which a list begins or ends with."""

    def __init__(self, **kwargs: Any) -> None:
        seconds = {"type": "number", "minimum": _EARLIEST.timestamp(), "exclusiveMaximum": _LATEST.timestamp()}
        either = {"anyOf": [{"type": "string", "format": "date-time"}, seconds]}
        super().__init__(
            metadata={**either, "description": "ISO-8601 or Unix seconds.", **kwargs.pop("metadata", {})}, **kwargs
        )
        del self.metadata["type"], self.metadata["format"]


def written(moment: datetime.datetime) -> str:
    """`2026-01-31T12:00:00.000Z`"""
    return moment.astimezone(datetime.UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _from_seconds(text: str) -> datetime.datetime:
    seconds = float(text)
    if not math.isfinite(seconds):
        raise ValueError
    return _within(datetime.datetime.fromtimestamp(seconds, datetime.UTC))


def _from_iso(text: str) -> datetime.datetime:
    # A plus sign that a caller did not escape in a query arrives as a blank.
    moment = datetime.datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    return _within(moment)


def _within(moment: datetime.datetime) -> datetime.datetime:
    # A year on either side keeps every later sum of moments within what Python can write.
    if not _EARLIEST <= moment < _LATEST:
        raise ValueError
    return moment.astimezone(datetime.UTC)


_READERS: tuple[Callable[[str], datetime.datetime], ...] = (_from_seconds, _from_iso)
