"""What an attempt may reach: names of hosts with their ports, and the addresses that these names had at first."""

from __future__ import annotations

import ipaddress
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from .addresses import Resolve, permitted

_PORTS = (443, 80)
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
_RULE = re.compile(r"(?P<any>\*\.)?(?P<host>\[[^\]]+\]|[^:]+)(:(?P<port>\d{1,5}))?")
# A name that anybody may make up below an allowed one must not fill the memory.
_MOST_NAMES = 4096


class Refused(Exception):
    """It may not be reached; the message says why, in words for the user of the session."""


@dataclass(frozen=True)
class Rule:
    """One host that is allowed, or all below it. Without a port the usual ones are meant, 443 and 80."""

    host: str
    below: bool = False
    port: int | None = None
    private: bool = False
    """Whether it may be at a private address."""

    @classmethod
    def parse(cls, text: str, *, private: bool = False) -> Rule:
        """`host`, `*.host` or `host:port`. Raises ValueError for anything else."""
        match = _RULE.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"{text!r} is neither a host, *.host nor host:port")
        port = int(match["port"]) if match["port"] else None
        return cls(canonical(match["host"]), bool(match["any"]), port, private)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return ("*." if self.below else "") + host + (f":{self.port}" if self.port is not None else "")

    def names(self, host: str) -> bool:
        return host.endswith(f".{self.host}") if self.below else host == self.host

    def opens(self, port: int) -> bool:
        return port in _PORTS if self.port is None else port == self.port


class Rules:
    """The rules of one stage, and the names that were resolved in an attempt. Safe to use from several threads."""

    def __init__(self, rules: Iterable[Rule], names: Names) -> None:
        self._rules = tuple(rules)
        self._names = names

    def find(self, host: str, port: int) -> tuple[list[str], bool]:
        """Where to connect to for `host`, a canonical name, and whether that may be a private place.

        Raises Refused, and OSError where there is no such name.
        """
        named = [rule for rule in self._rules if rule.names(host)]
        if not named:
            raise Refused("It is not among the allowed hosts.")
        matching = [rule for rule in named if rule.opens(port)]
        if not matching:
            raise Refused(f"Port {port} is not allowed on that host.")
        private = any(rule.private for rule in matching)
        found = permitted(self._names.find(host), private=private)
        if not found:
            raise Refused("Its address is a private one, or one of a cloud's metadata.")
        return found, private


class Names:
    """Names with their addresses. Each is resolved once, so that no name can move to another place later on."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._pinned: dict[str, list[str]] = {}
        self._lock = threading.Lock()

    def find(self, host: str) -> list[str]:
        """The addresses of a canonical name. Raises OSError where it has none, and Refused for one name too many."""
        if is_address(host):
            return [host]
        if host not in self._pinned:
            found = self._resolve(host)
            with self._lock:
                if len(self._pinned) >= _MOST_NAMES:
                    raise Refused(f"More than {_MOST_NAMES} names were asked for.")
                self._pinned.setdefault(host, found)
        return self._pinned[host]


def canonical(host: str) -> str:
    """The one spelling of a host: lower case, no dot at its end, no brackets. Raises ValueError for what is no host."""
    if host.startswith("[") and host.endswith("]"):
        return str(ipaddress.IPv6Address(host[1:-1]))
    if is_address(host):
        return str(ipaddress.ip_address(host))
    name = host.lower().removesuffix(".")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{host!r} is no name of a host")
    return name


def is_address(host: str) -> bool:
    """Whether a host is written as an address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
