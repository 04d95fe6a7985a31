"""Which addresses a connection may go to. The check is always on the address that is connected to, not on a name."""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

RESOLVE_SECONDS = 10.0
Kind = Literal["public", "private", "metadata"]
Resolve = Callable[[str], list[str]]
"""Returns the addresses of a name. Raises OSError if it has none."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Metadata services of clouds, which give credentials to any process on the machine: the link-local networks, the IPv6
# addresses of Amazon, Google, Oracle, Linode and Scaleway, and other addresses of Azure, Alibaba and Oracle.
# https://cloud.google.com/compute/docs/metadata https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
# https://learn.microsoft.com/azure/virtual-network/what-is-ip-address-168-63-129-16 https://www.alibabacloud.com/help/ecs
# https://docs.oracle.com/iaas/Content/Compute/Tasks/gettingmetadata.htm https://techdocs.akamai.com/cloud-computing/docs
# https://github.com/canonical/cloud-init/blob/main/cloudinit/sources/DataSourceScaleway.py
_METADATA = tuple(
    ipaddress.ip_network(each)
    for each in (
        *("169.254.0.0/16", "fe80::/10"),
        *("fd00:ec2::/32", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:a9fe:a9fe::1", "fd00:42::42"),
        *("168.63.129.16", "100.100.100.200", "192.0.0.192"),
    )
)
_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# NAT64 for local use (RFC 8215). The position of the IPv4 address depends on the prefix (RFC 6052).
_LOCAL_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")
_IPV4_COMPATIBLE = ipaddress.ip_network("::/96")


def kind_of(text: str) -> Kind:
    """The kind of an address. Everything that is not clearly public is private: loopback, shared, reserved etc."""
    address = ipaddress.ip_address(text.partition("%")[0])
    inner = _embedded(address)
    if any(each in network for each in (address, *inner) for network in _METADATA):
        return "metadata"
    if isinstance(address, ipaddress.IPv4Address):
        return "public" if _is_public(address) else "private"
    if address in _NAT64 or address.ipv4_mapped:
        return "public" if _is_public(inner[0]) else "private"
    # The destination of a tunnelled address is not known, so it does not count as public.
    return "public" if address in _GLOBAL_UNICAST and _is_public(address) and not inner else "private"


def allowed_addresses(addresses: Iterable[str], *, private: bool) -> list[str]:
    """The addresses that may be connected to: public ones, private ones if `private`, and never metadata services."""
    kinds = ("public", "private") if private else ("public",)
    return [each for each in addresses if kind_of(each) in kinds]


def resolver(given: Mapping[str, str], seconds: float = RESOLVE_SECONDS) -> Resolve:
    """The system's resolver, which has `seconds` to answer, except for the names in `given`, which have those addresses."""

    def resolve(host: str) -> list[str]:
        if host in given:
            return [given[host]]
        return list(dict.fromkeys(str(each[4][0]) for each in _resolved(host, seconds)))

    return resolve


def _resolved(host: str, seconds: float) -> list[Any]:
    """The answer of the system's resolver. It has no deadline of its own, so it is asked in a thread that may be left."""
    answers: queue.SimpleQueue[list[Any] | OSError] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM))
        except OSError as error:
            answers.put(error)
        except UnicodeError:
            # A label of the name is empty or too long.
            answers.put(OSError("there is no such name"))

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = answers.get(timeout=seconds)
    except queue.Empty:
        raise OSError(f"the resolver did not answer within {seconds:.2g} seconds") from None
    if isinstance(answer, OSError):
        raise answer
    return answer


def is_own_machine(connection: socket.socket) -> bool:
    """Whether a connection leads to this machine: then both ends have the same address, even if it is a public one."""
    return bool(connection.getsockname()[0] == connection.getpeername()[0])


def _is_public(address: _Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved


def _embedded(address: _Address) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses inside an IPv6 address: mapped, translated (NAT64) or tunnelled (6to4, Teredo)."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    last = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _NAT64 or address in _LOCAL_NAT64 or address in _IPV4_COMPATIBLE:
        return [last]
    found = (address.ipv4_mapped, address.sixtofour, *(address.teredo or ()))
    return [each for each in found if each]
