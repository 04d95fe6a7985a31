"""What an attempt may reach: host names and ports, with the addresses that the names first resolved to."""

from __future__ import annotations

import ipaddress
import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from .addresses import Resolve, allowed_addresses

_PORTS = (443, 80)
_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")
_RULE = re.compile(r"(?P<any>\*\.)?(?P<host>\[[^\]]+\]|[^:]+)(:(?P<port>\d{1,5}))?")
# A wildcard rule allows any number of names, so the cache has a limit.
_MAX_NAMES = 4096


class Refused(Exception):
    """The connection is not allowed; the message tells the user of the session why."""


@dataclass(frozen=True)
class Rule:
    """One allowed host, or all its subdomains. Without a port it allows 443 and 80."""

    host: str
    subdomains: bool = False
    port: int | None = None
    private: bool = False
    """Whether it may have a private address."""

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
        return ("*." if self.subdomains else "") + host + (f":{self.port}" if self.port is not None else "")

    def matches(self, host: str) -> bool:
        return host.endswith(f".{self.host}") if self.subdomains else host == self.host

    def allows_port(self, port: int) -> bool:
        return port in _PORTS if self.port is None else port == self.port


class Rules:
    """The rules of one stage, with the pinned names of the attempt. Safe to use from several threads."""

    def __init__(self, rules: Iterable[Rule], names: PinnedNames) -> None:
        self._rules = tuple(rules)
        self._names = names

    def find(self, host: str, port: int) -> tuple[list[str], bool]:
        """The addresses to connect to for `host`, a canonical name, and whether they may be private.

        Raises Refused, and OSError if the name does not resolve.
        """
        of_host = [rule for rule in self._rules if rule.matches(host)]
        if not of_host:
            raise Refused("It is not among the allowed hosts. Add it to the site's egress_hosts if it is needed.")
        matching = [rule for rule in of_host if rule.allows_port(port)]
        if not matching:
            raise Refused(
                f"Port {port} is not allowed on that host. Add host:port to the site's egress_hosts if it is needed."
            )
        private = any(rule.private for rule in matching)
        found = allowed_addresses(self._names.find(host), private=private)
        if not found:
            raise Refused("It resolves to a private address or a cloud metadata address.")
        return found, private


class PinnedNames:
    """Names with their addresses. Each is resolved once and pinned, so it cannot move to another address later."""

    def __init__(self, resolve: Resolve) -> None:
        self._resolve = resolve
        self._pinned: dict[str, list[str]] = {}
        self._lock = threading.Lock()

    def find(self, host: str) -> list[str]:
        """The addresses of a canonical name. Raises OSError if it has none, and Refused if there are too many names."""
        if is_address(host):
            return [host]
        if host not in self._pinned:
            found = self._resolve(host)
            with self._lock:
                if len(self._pinned) >= _MAX_NAMES:
                    raise Refused(f"More than {_MAX_NAMES} names were requested in one attempt.")
                self._pinned.setdefault(host, found)
        return self._pinned[host]


def canonical(host: str) -> str:
    """The canonical form of a host: lower case, no trailing dot, no brackets. Raises ValueError for anything else."""
    if host.startswith("[") and host.endswith("]"):
        return str(ipaddress.IPv6Address(host[1:-1]))
    if is_address(host):
        return str(ipaddress.ip_address(host))
    name = host.lower().removesuffix(".")
    if not _NAME.fullmatch(name):
        raise ValueError(f"{host!r} is not a host name")
    return name


def is_address(host: str) -> bool:
    """Whether `host` is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
