"""Which addresses a name may lead to. What is judged is always the address that is connected to."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

Kind = Literal["public", "private", "metadata"]
Resolve = Callable[[str], list[str]]
"""The addresses of a name; raises OSError where there are none."""

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Where clouds hand out credentials to whoever asks from inside: all of the link-local network, and what some chose
# instead, Amazon, Google, Oracle, Linode and Scaleway in IPv6, then Azure, Alibaba and Oracle.
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
# The same for a network's own use (RFC 8215). Where in it the IPv4 address stands depends on the prefix (RFC 6052).
_LOCAL_NAT64 = ipaddress.ip_network("64:ff9b:1::/48")
_IPV4_COMPATIBLE = ipaddress.ip_network("::/96")


def kind_of(text: str) -> Kind:
    """What kind of place an address is. Private is everything that is not plainly public: loopback, shared, reserved ..."""
    address = ipaddress.ip_address(text.partition("%")[0])
    inner = _embedded(address)
    if any(each in network for each in (address, *inner) for network in _METADATA):
        return "metadata"
    if isinstance(address, ipaddress.IPv4Address):
        return "public" if _is_public(address) else "private"
    if address in _NAT64 or address.ipv4_mapped:
        return "public" if _is_public(inner[0]) else "private"
    # What is tunnelled ends up somewhere that cannot be told from outside.
    return "public" if address in _GLOBAL_UNICAST and _is_public(address) and not inner else "private"


def permitted(addresses: Iterable[str], *, private: bool) -> list[str]:
    """Those of `addresses` that may be connected to, private ones only where that was allowed; metadata never."""
    kinds = ("public", "private") if private else ("public",)
    return [each for each in addresses if kind_of(each) in kinds]


def resolver(given: Mapping[str, str]) -> Resolve:
    """The system's resolver, with `given` names and addresses that outrank it."""

    def resolve(host: str) -> list[str]:
        if host in given:
            return [given[host]]
        try:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except UnicodeError:
            # A part of the name is empty or too long.
            raise OSError("there is no such name") from None
        return list(dict.fromkeys(str(each[4][0]) for each in found))

    return resolve


def _is_public(address: _Address) -> bool:
    return address.is_global and not address.is_multicast and not address.is_reserved


def _embedded(address: _Address) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses inside one of IPv6: mapped, translated (NAT64) and tunnelled ones (6to4, Teredo)."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    last = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _NAT64 or address in _LOCAL_NAT64 or address in _IPV4_COMPATIBLE:
        return [last]
    found = (address.ipv4_mapped, address.sixtofour, *(address.teredo or ()))
    return [each for each in found if each]
