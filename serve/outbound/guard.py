"""Where a callback may connect to, decided on the address of the socket, not on the URL.

Whatever a URL says, and whatever a name resolved to a moment ago, the address that is about to
be connected to passes here. So IP literals, mapped addresses and names that change their mind
(DNS rebinding) are all the same case.

The list is our own: what Python calls global still holds multicast, 6to4, NAT64 and others,
each of which can lead inside.
"""

import errno
import os
import socket
from collections.abc import Callable
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address

AddressInfo = tuple[
    int | socket.AddressFamily, int | socket.SocketKind, int, str, tuple[object, ...]
]
SocketFactory = Callable[[AddressInfo], socket.socket]
MakeSocket = Callable[[int, int, int], socket.socket]

# IANA's special-purpose registry, globally reachable entries included: no tenant's server is
# there. Beside it multicast, and the address where Azure answers its virtual machines.
DENIED_V4 = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # shared by carriers
            "127.0.0.0/8",  # loopback
            "168.63.129.16/32",  # Azure's host
            "169.254.0.0/16",  # link-local, cloud metadata
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # multicast tunnels
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarking
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, broadcast
        ),
    )
)

# Only this block is given to hosts of the internet. Outside it lie loopback, unspecified,
# v4-compatible, NAT64, discard, SRv6, unique-local, link-local, site-local and multicast.
GIVEN_OUT_V6 = IPv6Network("2000::/3")
DENIED_V6 = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocol assignments: Teredo, benchmarking, ORCHID
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4: an IPv4 address inside
            "2620:4f:8000::/48",  # AS112
            "3fff::/20",  # documentation
        ),
    )
)


def is_public(address: str) -> bool:
    """Whether `address`, the text of an IP address, is of a host on the internet.

    Raises ValueError for what is no address.
    """
    found = ip_address(address.partition("%")[0])
    if not isinstance(found, IPv4Address):
        if found.ipv4_mapped is None:
            return found in GIVEN_OUT_V6 and not any(found in network for network in DENIED_V6)
        found = found.ipv4_mapped  # the kernel connects to it over IPv4
    return not any(found in network for network in DENIED_V4)


def guarded_sockets(
    *, allow_private: bool, make_socket: MakeSocket = socket.socket
) -> SocketFactory:
    """What makes the sockets of a connector; EACCES instead of a socket to a denied address."""

    def open_socket(info: AddressInfo) -> socket.socket:
        family, kind, protocol, _, sockaddr = info
        if not allow_private and not is_public(str(sockaddr[0])):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))
        return make_socket(family, kind, protocol)

    return open_socket
