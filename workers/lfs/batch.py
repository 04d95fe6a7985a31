"""The answer of a server of Git LFS to a request for a batch of objects. Nothing in it is trusted."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

from workers.lfs.pointers import Pointer

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_VALUE = re.compile(r"[\x20-\x7e]{0,8192}")
_URL = re.compile(r"[\x21-\x7e]{1,8192}")
_MOST_HEADERS = 30
# The client sets them.
_OURS = frozenset(
    ("host", "content-length", "transfer-encoding", "connection", "accept-encoding", "upgrade", "expect", "range")
)
_DETAIL = 200


class BadBatch(ValueError):
    """The answer is not one. The message says what is wrong, and follows a colon."""


@dataclass(frozen=True)
class Action:
    """A request that the server wants for an object."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Listed:
    """What a server says of an object: why it cannot be had, or what is to be done. No action: it has it already."""

    error: str | None = None
    action: Action | None = None
    verify: Action | None = None


def read_batch(text: bytes, asked: Mapping[str, Pointer]) -> dict[str, Listed]:
    """What the answer says of the objects that were asked for. Raises BadBatch."""
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        raise BadBatch("it is not JSON") from None
    if not isinstance(answer, dict) or not isinstance(answer.get("objects"), list):
        raise BadBatch("it has no objects")
    if answer.get("transfer", "basic") != "basic":
        raise BadBatch("it wants another transfer than basic")
    found = {}
    for each in answer["objects"]:
        if isinstance(each, dict) and isinstance(each.get("oid"), str) and each["oid"] in asked:
            found[each["oid"]] = _listed(each, asked[each["oid"]])
    return found


def redirected(url: str, headers: Mapping[str, str]) -> Action:
    """The request that an answer redirects to. Raises BadBatch."""
    place = next((value for name, value in headers.items() if name.lower() == "location"), "")
    try:
        return _action({"href": urljoin(url, place)})
    except ValueError:
        raise BadBatch("it redirects to no valid URL") from None


def starts_at(place: int, headers: Mapping[str, str]) -> bool:
    """Whether an answer says that it is the part of an object from there on. Its end shows when all of it is here."""
    given = next((value for name, value in headers.items() if name.lower() == "content-range"), "")
    return bool(re.match(rf"bytes {place}-", given))


def _listed(given: dict[str, Any], pointer: Pointer) -> Listed:
    if (error := given.get("error")) is not None:
        return Listed(error=_error(error))
    if given.get("size") != pointer.size:
        return Listed(error="the server has another size for it than its pointer")
    actions = given.get("actions") or {}
    if not isinstance(actions, dict):
        raise BadBatch("its actions are no object")
    main = actions.get("download") or actions.get("upload")
    verify = actions.get("verify")
    return Listed(action=_action(main) if main else None, verify=_action(verify) if verify else None)


def _error(given: Any) -> str:
    code = given.get("code") if isinstance(given, dict) else None
    if code in (404, 410):
        return "the server does not have it. Push it with git lfs push --all"
    if code == 423:
        return "it is locked on the server. Unlock it there"
    message = str(given.get("message", ""))[:_DETAIL] if isinstance(given, dict) else ""
    return f"the server refused it: {' '.join(message.split()) or f'code {str(code)[:20]}'}"


def _action(given: Any) -> Action:
    url, headers = (given.get("href"), given.get("header") or {}) if isinstance(given, dict) else (None, {})
    if not isinstance(url, str) or not _URL.fullmatch(url) or not _has_host(url):
        raise BadBatch("an action has no valid URL")
    if not isinstance(headers, dict) or len(headers) > _MOST_HEADERS:
        raise BadBatch("an action has too many headers")
    for name, value in headers.items():
        if not _NAME.fullmatch(name) or not isinstance(value, str) or not _VALUE.fullmatch(value):
            raise BadBatch("an action has a header that is not valid")
    return Action(url, {name: value for name, value in headers.items() if name.lower() not in _OURS})


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
