"""Resolve the host of a repository once and check its addresses.

A user who can choose a URL, or owns the name in it, must not make this machine connect to hosts that only it can reach.
"""

from __future__ import annotations

import urllib.request

from workers.egress.addresses import allowed_addresses, resolver
from workers.egress.rules import canonical, is_address
from workers.errors import EngineError
from workers.job import Host


def find_addresses(name: str, host: Host) -> list[str]:
    """The addresses of the host `name` that `host` may connect to.

    Raises EngineError of the stage checkout: `repository_refused` if none of them is allowed, and
    `repository_unreachable` if the name does not resolve.
    """
    try:
        name = ascii_name(name)
        found = [name] if is_address(name) else resolver(dict(host.resolve))(name)
    except ValueError:
        raise EngineError(
            "repository_refused", "checkout", f"{name!r} is not a valid host name. Correct the site's repo_url."
        ) from None
    except OSError as error:
        message = f"The host name {name} could not be resolved: {error.strerror or error}."
        raise EngineError("repository_unreachable", "checkout", message, retryable=True) from None
    allowed = allowed_addresses(found, private=host.allow_private_addresses)
    if not allowed:
        message = f"{name} has a private address or a cloud metadata address, which this worker does not connect to."
        raise EngineError("repository_refused", "checkout", message)
    return allowed


def ascii_name(name: str) -> str:
    """The canonical ASCII form of a host name or address. Raises ValueError for anything else."""
    return canonical(name if ":" in name else name.encode("idna").decode())


def proxy_for(scheme: str, name: str) -> str | None:
    """The proxy that the operator's environment names for that host, if any. The proxy resolves the name itself."""
    proxies = urllib.request.getproxies()
    return None if urllib.request.proxy_bypass(name) else proxies.get(scheme) or proxies.get("all")
