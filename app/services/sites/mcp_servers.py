"""The MCP servers of a site: what may be named."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from app.errors import Invalid, invalid

_RESERVED = "questions"


def checked(servers: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]] | None:
    """The servers with all of their fields; None if there are none. Raises `Invalid`."""
    found = [_checked(each) for each in servers or ()]
    names = [each["name"] for each in found]
    if len(set(names)) < len(names) or _RESERVED in names:
        raise _refused(f"must have unique names, other than {_RESERVED}")
    return found or None


def _checked(server: Mapping[str, Any]) -> dict[str, Any]:
    name, url, command = server["name"], server.get("url"), list(server.get("command") or ())
    if bool(url) == bool(command):
        raise _refused(f"{name} must have either a url or a command")
    if url:
        _check_url(name, url)
        if server.get("variables"):
            raise _refused(f"{name} has a url, so it takes no variables; name a credential")
    elif server.get("credential"):
        raise _refused(f"{name} has a command, so it takes no credential; name variables")
    return {
        "name": name,
        "url": url,
        "command": command,
        "credential": server.get("credential"),
        "variables": list(server.get("variables") or ()),
        "disabled_tools": list(server.get("disabled_tools") or ()),
    }


def _check_url(name: str, url: str) -> None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise _refused(f"{name} has a url that cannot be parsed") from None
    if (
        parts.scheme != "https"
        or not parts.hostname
        or port == 0
        or not url.isascii()
        or not url.isprintable()
        or " " in url
    ):
        raise _refused(f"{name} must have a url that begins with https:// and a host")
    if "@" in parts.netloc or parts.fragment:
        raise _refused(f"{name} must have a url without a password and a fragment; name a credential")


def _refused(message: str) -> Invalid:
    return invalid("mcp_servers", message, error_code="bad_mcp_server")
