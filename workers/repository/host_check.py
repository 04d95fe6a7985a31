"""Resolve the host of a repository once and check its addresses.

A user who can choose a URL, or owns the name in it, must not make this machine connect to hosts that only it can reach.
"""

from __future__ import annotations

import socket
import ssl
import time
import urllib.request
from collections.abc import Sequence

from workers.egress.addresses import RESOLVE_SECONDS, allowed_addresses, resolver
from workers.egress.rules import canonical, is_address
from workers.errors import EngineError
from workers.job import Host

ANSWER_SECONDS = 15.0


def find_addresses(name: str, host: Host, seconds: float = RESOLVE_SECONDS) -> list[str]:
    """The addresses of the host `name` that `host` may connect to, if the resolver answers within `seconds`.

    Raises EngineError of the stage checkout: `repository_refused` if none of them is allowed, and
    `repository_unreachable` if the name does not resolve.
    """
    try:
        name = ascii_name(name)
        found = [name] if is_address(name) else resolver(dict(host.resolve), seconds)(name)
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


def answers(name: str, addresses: Sequence[str], port: int, is_encrypted: bool) -> bool:
    """Whether a server at one of the addresses takes a connection and, `is_encrypted`, answers a TLS greeting in time.

    True as well if it refuses the connection, or answers with anything else: that is not for this check to judge.
    """
    ends_at = time.monotonic() + ANSWER_SECONDS
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Nothing is sent, so the certificate does not matter here. Git checks it.
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for address in addresses:
        try:
            # `create_connection` leaves the socket open if a signal ends the process while it connects.
            with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as connection:
                connection.settimeout(max(0.1, ends_at - time.monotonic()))
                connection.connect((address, port))
                connection.settimeout(max(0.1, ends_at - time.monotonic()))
                if is_encrypted:
                    _greet(context, connection, name)
            return True
        except TimeoutError:
            continue
        except OSError:
            return True
    return False


def _greet(context: ssl.SSLContext, connection: socket.socket, name: str) -> None:
    server_name = None if is_address(name) else name
    # A handshake of `wrap_socket` itself leaves the connection open if a signal interrupts it.
    with context.wrap_socket(connection, server_hostname=server_name, do_handshake_on_connect=False) as encrypted:
        encrypted.do_handshake()


def ascii_name(name: str) -> str:
    """The canonical ASCII form of a host name or address. Raises ValueError for anything else."""
    return canonical(name if ":" in name else name.encode("idna").decode())


def proxy_for(scheme: str, name: str) -> str | None:
    """The proxy that the operator's environment names for that host, if any. The proxy resolves the name itself."""
    proxies = urllib.request.getproxies()
    return None if urllib.request.proxy_bypass(name) else proxies.get(scheme) or proxies.get("all")
