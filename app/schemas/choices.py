"""The field types for members of enumerations."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from marshmallow import ValidationError, fields


class Choice(fields.Field[Any]):
    """A member of an enumeration, or of some of its members. Input may be in any case."""

    def __init__(self, kind: type[enum.StrEnum], *, among: Iterable[enum.StrEnum] | None = None, **kwargs: Any) -> None:
        self.kind, self.among = kind, tuple(among or kind)
        metadata = {"type": "string", "enum": [member.value for member in self.among], **kwargs.pop("metadata", {})}
        if kwargs.get("allow_none"):
            metadata["enum"] = [*metadata["enum"], None]
        super().__init__(metadata=metadata, **kwargs)

    def _serialize(self, value: Any, attr: str | None, obj: Any, **kwargs: Any) -> str | None:
        return None if value is None else self.kind(value).value

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> enum.StrEnum:
        return member_of(self.among, value)


class Choices(fields.Field[Any]):
    """A comma-separated list of members of an enumeration, or of names for groups of them, in a query. Empty items are
    ignored."""

    def __init__(
        self, kind: type[enum.StrEnum], *, groups: Mapping[str, Sequence[enum.StrEnum]] | None = None, **kwargs: Any
    ) -> None:
        self.named = {member.value: [member] for member in kind} | {name: [*of] for name, of in (groups or {}).items()}
        names = ", ".join(self.named)
        one = "|".join("".join(_either_case(letter) for letter in name) for name in self.named)
        metadata = {
            "type": "string",
            "pattern": f"^ *({one})? *(, *({one})? *)*$",
            "description": f"A comma-separated list of {names}, in any case.",
            "example": next(iter(kind)).value,
        }
        super().__init__(metadata=metadata, **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> list[enum.StrEnum]:
        named = [named_in(self.named, part.strip()) for part in str(value).split(",") if part.strip()]
        return [member for name in named for member in self.named[name]]


def _either_case(letter: str) -> str:
    return f"[{letter.upper()}{letter.lower()}]" if letter.isalpha() else letter


def member_of(kind: Iterable[enum.StrEnum], value: Any) -> enum.StrEnum:
    """The member that `value` names in any case; raises `ValidationError`."""
    members = {member.value: member for member in kind}
    return members[named_in(members, value)]


def named_in(names: Iterable[str], value: Any) -> str:
    """The one of the names that `value` is in any case; raises `ValidationError`."""
    known = [*names]
    for name in known:
        if isinstance(value, str) and name.lower() == value.lower():
            return name
    raise ValidationError(f"must be one of {', '.join(known)}")
