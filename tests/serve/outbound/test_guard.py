"""Where a callback may connect to: nowhere but the internet."""

import errno
import socket
from collections.abc import AsyncIterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network

import aiohttp
import pytest
import pytest_asyncio
from aiohttp.abc import AbstractResolver
from hypothesis import given
from hypothesis import strategies as st

from serve.outbound.guard import DENIED_V4, DENIED_V6, guarded_sockets, is_public
from tests.serve.outbound.hostile import Canary, Names, listening_canary

PUBLIC = (
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
    "126.255.255.255", "128.0.0.1", "168.63.129.15", "169.253.255.255", "172.15.255.255",
    "172.32.0.0", "192.0.1.0", "192.88.98.255", "192.167.255.255", "192.169.0.0", "198.17.255.255",
    "198.20.0.0", "223.255.255.255", "::ffff:8.8.8.8", "2001:4860:4860::8888", "2001:200::1",
    "2606:4700::1111", "2a00:1450:4001::1", "2003::1", "2400:cb00::1", "3ffe:ffff::1",
)  # fmt: skip

# The range it stands for is in the comment where the address does not say.
DENIED = (
    "0.0.0.0", "0.1.2.3",  # noqa: S104 (this network)
    "10.0.0.1", "10.254.0.0", "100.64.0.1", "100.100.100.200",
    "100.127.255.255", "127.0.0.1", "127.255.255.254", "168.63.129.16", "169.254.45.1",
    "169.254.169.254", "172.16.10.65", "172.31.255.255", "192.0.0.0", "192.0.0.192", "192.0.0.255",
    "192.0.2.255", "192.31.196.1", "192.52.193.1", "192.88.99.1", "192.168.10.65", "192.175.48.1",
    "198.18.0.0", "198.19.255.255", "198.51.100.65", "203.0.113.6",
    "224.0.0.1", "239.255.255.255",  # multicast
    "240.0.0.1", "250.10.20.30", "255.255.255.255",  # reserved
    "::", "::1", "::127.0.0.1", "::8.8.8.8",  # v4-compatible
    "::ffff:127.0.0.1", "::ffff:0.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
    "::ffff:0:7f00:1", "0:0:0:ffff::1",
    "64:ff9b::127.0.0.1", "64:ff9b::8.8.8.8", "64:ff9b:1::1",  # NAT64
    "100::1", "100:0:0:1::1",  # discard, dummy
    "2001::1", "2001:1::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:1ff:ffff::1",
    "2001:db8::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2",  # Teredo
    "2002::1", "2002:7f00:1::", "2002:a00:1::1",  # 6to4
    "2620:4f:8000::1", "3fff::1", "3fff:fff::1", "5f00::1",
    "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "ff0e::1",
    "4000::1", "e000::1",  # given to nobody
)  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_a_host_of_the_internet_is_public(address: str) -> None:
    """The neighbours of every denied range can be reached."""
    assert is_public(address)


@pytest.mark.parametrize("address", DENIED)
def test_everything_else_is_denied(address: str) -> None:
    """No special-purpose range, and no IPv4 address hidden in an IPv6 one, counts as public."""
    assert not is_public(address)


# The vectors of another webhook service's test of its own list (svix-server), as data. It allows
# the last of them, an IPv4-translated address; here that is denied like every such form.
SVIX_DENIED = (
    "10.254.0.0", "192.168.10.65", "172.16.10.65", "0.1.2.3", "0.0.0.0",  # noqa: S104
    "127.0.0.1", "169.254.45.1", "255.255.255.255", "192.0.2.255", "198.51.100.65", "203.0.113.6",
    "100.100.0.0", "192.0.0.0", "192.0.0.255", "250.10.20.30", "198.18.0.0", "::1",
    "::ffff:127.0.0.1", "::ffff:0.0.0.1", "0:0:0:ffff::1",
)  # fmt: skip
SVIX_ALLOWED = ("1.1.1.1", "2001:4860:4860::8888", "::ffff:8.8.8.8")


def test_another_service_s_vectors_hold() -> None:
    """23 addresses of another list's test come out as there, but for one that is stricter here."""
    assert [address for address in SVIX_DENIED if is_public(address)] == []
    assert [address for address in SVIX_ALLOWED if not is_public(address)] == []


@pytest.mark.parametrize("network", [*DENIED_V4, *DENIED_V6], ids=str)
def test_a_denied_range_is_denied_to_its_edges(network: IPv4Network | IPv6Network) -> None:
    """The first and the last address of each range, written plainly and, of IPv4, mapped."""
    for edge in (network[0], network[-1]):
        assert not is_public(str(edge))
        if isinstance(edge, IPv4Address):
            assert not is_public(f"::ffff:{edge}")


@pytest.mark.parametrize(
    "network",
    [
        "224.0.0.0/4", "192.88.99.0/24", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "3fff::/20",
        "5f00::/16", "fec0::/10", "::/96", "fc00::/7", "fe80::/10", "ff00::/8", "2001::/32",
        "100::/64", "2001:db8::/32", "4000::/3", "::ffff:0:0:0/96",
    ],
)  # fmt: skip
def test_what_python_calls_global_is_denied(network: str) -> None:
    """Ranges that one version or another of `ipaddress` takes for public, to their edges."""
    found = ip_network(network)
    for edge in (found[0], found[found.num_addresses // 2], found[-1]):
        assert not is_public(str(edge))


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)))
def test_the_list_is_nowhere_laxer_than_python_s(address: IPv4Address | IPv6Address) -> None:
    """What is public here is global to Python as well, of all addresses there are."""
    assert address.is_global or not is_public(str(address))


def test_a_denied_address_gets_no_socket() -> None:
    """The refusal comes before there is anything that could connect."""
    info = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 80))
    with pytest.raises(PermissionError) as refused:
        guarded_sockets(allow_private=False)(info)
    assert refused.value.errno == errno.EACCES
    guarded_sockets(allow_private=True)(info).close()


@pytest_asyncio.fixture
async def canary() -> AsyncIterator[Canary]:
    async with listening_canary() as heard:
        yield heard


async def post(url: str, *, allow_private: bool, resolver: AbstractResolver | None = None) -> None:
    connector = aiohttp.TCPConnector(
        socket_factory=guarded_sockets(allow_private=allow_private),
        resolver=resolver,
        use_dns_cache=False,
    )
    async with aiohttp.ClientSession(connector=connector) as session, session.post(url):
        pass


# Ways to write this very machine; the first six reach it when the guard is off.
REACHING = (
    "http://127.0.0.1:{}", "http://localhost:{}", "http://0.0.0.0:{}", "http://[::1]:{}",
    "http://[::ffff:127.0.0.1]:{}", "http://[::]:{}",
)  # fmt: skip
ODD = (
    "http://2130706433:{}", "http://127.1:{}", "http://0x7f000001:{}", "http://0177.0.0.1:{}",
    "http://[::ffff:7f00:1]:{}", "http://[::127.0.0.1]:{}", "http://[64:ff9b::7f00:1]:{}",
    "http://[2002:7f00:1::]:{}", "http://LOCALHOST.:{}", "http://127.0.0.1.:{}",
)  # fmt: skip


@pytest.mark.parametrize("url", [*REACHING, *ODD])
async def test_no_spelling_of_this_machine_is_reached(url: str, canary: Canary) -> None:
    """However the address is written, the canary hears nothing."""
    with pytest.raises((aiohttp.ClientConnectionError, aiohttp.InvalidURL)):
        await post(url.format(canary.port), allow_private=False)
    assert canary.hits == 0


@pytest.mark.parametrize("url", REACHING)
async def test_the_canary_can_hear(url: str, canary: Canary) -> None:
    """Where the setting allows private addresses, the same URLs do reach it."""
    with pytest.raises(aiohttp.ClientConnectionError):
        await post(url.format(canary.port), allow_private=True)
    assert canary.hits == 1


@pytest.mark.parametrize("second", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
async def test_a_name_that_changes_its_mind_is_refused(second: str, canary: Canary) -> None:
    """What a name resolved to before counts for nothing when the connection is made."""
    rebinding = Names(["1.1.1.1"], [second])
    (checked,) = await rebinding.resolve("tenant.example", canary.port)
    assert is_public(checked["host"])
    with pytest.raises(aiohttp.ClientConnectorError) as refused:
        await post(f"http://tenant.example:{canary.port}", allow_private=False, resolver=rebinding)
    assert refused.value.errno == errno.EACCES
    assert canary.hits == 0
