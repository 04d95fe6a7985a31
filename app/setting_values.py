"""From the text of a setting to its value, and what to say about a text that cannot be one."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parseaddr
from pathlib import Path
from typing import Any, get_type_hints

SECRET_KEY_LENGTH = 32
_LEAST_DIFFERENT_CHARACTERS = 8
_BOOLEANS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": False}


class SettingsError(ValueError):
    """A setting that cannot be used. The message names the variable and what it takes, never a secret value."""


@dataclass(frozen=True)
class Rule:
    """What a value must be, beyond its type. `must_be` completes "NAME must be ...", with an example."""

    must_be: str
    holds: Callable[[Any], object]
    is_secret: bool = False
    """Whether the value, which may hold a password, is left out of messages."""


def name_and_words(text: str) -> tuple[str, tuple[str, ...]]:
    """`NAME=COMMAND` as the name and the words of the command. Both are empty if it is anything else."""
    name, _, command = text.partition("=")
    try:
        return name.strip(), tuple(shlex.split(command))
    except ValueError:
        return "", ()


def one_of(*choices: str) -> Rule:
    """One of a few words."""
    return Rule(f"{', '.join(choices[:-1])} or {choices[-1]}", lambda value: value in choices)


def _matches(pattern: str) -> Callable[[str], object]:
    # What is empty was not set: compose files pass every variable, empty or not.
    return lambda value: not value or re.fullmatch(pattern, value, re.DOTALL)


def _is_strong(value: str) -> bool:
    return not value or (len(value) >= SECRET_KEY_LENGTH and len(set(value)) >= _LEAST_DIFFERENT_CHARACTERS)


def _is_sender(value: str) -> object:
    address = parseaddr(value)[1]
    return not value or (value.isprintable() and re.fullmatch(r"[\w.!#$&'*+/=^{|}~-]+@[\w.-]+", address, re.ASCII))


LOG_LEVEL = Rule("DEBUG, INFO, WARNING or ERROR", lambda value: value.upper() in ("DEBUG", "INFO", "WARNING", "ERROR"))
ABOVE_ZERO = Rule("a number above 0", lambda value: value > 0)
NOT_NEGATIVE = Rule("0 or more", lambda value: value >= 0)
SHARE = Rule("0 or a share below 1, such as 0.9", lambda value: 0 <= value < 1)
PORT = Rule("a port from 1 to 65535", lambda value: 1 <= value <= 65535)
HTTP_URL = Rule("an http or https URL, such as https://runners.example.com", _matches(r"https?://[^\s/]\S*"))
DATABASE_URL = Rule(
    "the URL of a Postgres or SQLite database, such as postgresql://user:password@host/database",
    _matches(r"(postgresql|sqlite)(\+\w+)?://.*"),
    is_secret=True,
)
BROKER_URL = Rule(
    "the URL of a Redis or Valkey server, such as redis://:password@host:6379/0",
    _matches(r"(rediss?|redis\+socket|sentinel|memory)://.*"),
    is_secret=True,
)
USER_AND_PASSWORD = Rule(
    "a user and a password with a colon between them, such as operator:correct-horse",
    _matches(r"[^:]+:.+"),
    is_secret=True,
)
SMTP_URL = Rule(
    "the URL of a mail server, such as smtp://user:password@mail.example.org:587, with special characters of the user and the "
    "password percent-encoded",
    _matches(r"(smtps?|smtp\+plain)://([^\s/@]*@)?([\w.-]+|\[[\da-f:.]+\])(:\d{1,5})?/?"),
    is_secret=True,
)
IDENTITY = Rule(
    "a name and an e-mail address, such as Agent Runners <runners@example.org>",
    lambda value: value.isprintable() and re.fullmatch(r"[^<>\s][^<>]* <[^<>\s]+@[^<>\s]+>", value),
)
SENDER = Rule("an e-mail address, such as Agent Runners <runners@example.org>", _is_sender)
ACP_AGENTS = Rule(
    "a list of NAME=COMMAND, such as goose=goose acp",
    lambda agents: all(name and words for name, words in map(name_and_words, agents)),
)
GITHUB_APP_GRANTS = Rule(
    "a list of ACCOUNT=OWNER or ACCOUNT=OWNER/REPOSITORY, where ACCOUNT is the id of an account, or * for all",
    lambda grants: all(map(_matches(r"(\*|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})=[\w-]+(/[\w.-]+)?"), grants)),
)
SECRET_KEY = Rule(
    f"at least {SECRET_KEY_LENGTH} random characters. Make a key with: "
    "python3 -c 'import secrets; print(secrets.token_hex(32))'",
    _is_strong,
    is_secret=True,
)


def read(settings: type[Any], given: Mapping[str, str], prefix: str) -> dict[str, Any]:
    """The values of the fields of a dataclass, from variables named as these are, below `prefix`. Raises SettingsError."""
    # mypy takes no class of anything for hashable.
    kinds = _kinds_of(settings)  # type: ignore[arg-type]
    fields = {field.name: field for field in dataclasses.fields(settings)}
    found: dict[str, Any] = {}
    for name, text in given.items():
        field = fields.get(name.removeprefix(prefix).lower())
        if field is None:
            raise SettingsError(_unknown(name, prefix, list(fields)))
        found[field.name] = parse(name, text, kinds[field.name], field.default, field.metadata["rule"])
    return found


@functools.cache
def _kinds_of(settings: Callable[..., object]) -> dict[str, Any]:
    """The type of each field. Each annotation is compiled for this, so it is done once."""
    return get_type_hints(settings)


def _unknown(name: str, prefix: str, fields: list[str]) -> str:
    near = difflib.get_close_matches(name.removeprefix(prefix).lower(), fields, n=1)
    meant = f" Did you mean {prefix}{near[0].upper()}?" if near else ""
    return f"{name} is not a setting.{meant} docs/settings.md lists them."


def parse(name: str, text: str, kind: Any, default: Any, rule: Rule | None) -> Any:
    """The value of the variable `name`, of the type `kind`; raises `SettingsError`."""
    try:
        value = _convert(text, kind)
    except (KeyError, ValueError):
        raise SettingsError(f"{name} must be {_KINDS[kind]}{_example(default)}; it is {text!r}") from None
    if kind in (int, float) and rule is None:
        rule = NOT_NEGATIVE
    if rule is None or rule.holds(value):
        return value
    if rule.is_secret:
        raise SettingsError(f"{name} must be {rule.must_be}")
    raise SettingsError(f"{name} must be {rule.must_be}{_example(default)}; it is {text!r}")


_KINDS = {bool: "1 or 0", int: "a whole number", float: "a number"}


def _convert(text: str, kind: Any) -> Any:
    if kind is bool:
        return _BOOLEANS[text.lower()]
    if kind is float:
        if not math.isfinite(number := float(text)):
            raise ValueError
        return number
    if kind is int:
        return int(text)
    if kind == tuple[str, ...]:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    if kind == Path | None:
        return Path(text) if text else None
    return kind(text)


def _example(default: Any) -> str:
    if isinstance(default, bool) or not isinstance(default, int | float):
        return ""
    return f", such as {default:g}" if isinstance(default, float) else f", such as {default}"
