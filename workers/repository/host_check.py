"""Where a host that somebody named really is: looked up once, judged, and held on to.

Whoever can choose an address, or owns the name in it, must not lead this machine to places that only it can reach.
"""

from __future__ import annotations

import urllib.request

from workers.egress.addresses import permitted, resolver
from workers.egress.rules import canonical, is_address
from workers.errors import EngineError
from workers.job import Host


def find_addresses(name: str, host: Host) -> list[str]:
    """The addresses of the host `name` that `host` may connect to.

    Raises EngineError of the stage checkout: `repository_refused` where it may connect to none of them, and
    `repository_unreachable` where there are none.
    """
    try:
        name = ascii_name(name)
        found = [name] if is_address(name) else resolver(dict(host.resolve))(name)
    except ValueError:
        raise EngineError("repository_refused", "checkout", f"{name} is no name of a host.") from None
    except OSError as error:
        message = f"The address of {name} could not be found: {error.strerror or error}."
        raise EngineError("repository_unreachable", "checkout", message, retryable=True) from None
    allowed = permitted(found, private=host.allow_private_addresses)
    if not allowed:
        message = f"{name} is at a private address, or one of a cloud's metadata, which this worker does not reach."
        raise EngineError("repository_refused", "checkout", message)
    return allowed


def ascii_name(name: str) -> str:
    """The one spelling of a host, as it travels. Raises ValueError for what is no host."""
    return canonical(name if ":" in name else name.encode("idna").decode())


def proxy_for(scheme: str, name: str) -> str | None:
    """The proxy that the operator's environment names for that host, if one; it looks the name up by itself."""
    proxies = urllib.request.getproxies()
    return None if urllib.request.proxy_bypass(name) else proxies.get(scheme) or proxies.get("all")
