"""Where a callback may connect to: nowhere but the internet."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from aiohttp.abc import AbstractResolver, ResolveResult

from serve.outbound.guard import guarded_sockets, is_public

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


def test_a_denied_address_gets_no_socket() -> None:
    """The refusal comes before there is anything that could connect."""
    info = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 80))
    with pytest.raises(PermissionError) as refused:
        guarded_sockets(allow_private=False)(info)
    assert refused.value.errno == errno.EACCES
    guarded_sockets(allow_private=True)(info).close()


class Canary:
    """A listener on every address of this machine that must hear nothing."""

    def __init__(self) -> None:
        self.hits = 0
        self.port = 0

    async def hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.hits += 1
        writer.close()


@pytest_asyncio.fixture
async def canary() -> AsyncIterator[Canary]:
    heard = Canary()
    with socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        heard.port = listener.getsockname()[1]
        server = await asyncio.start_server(heard.hear, sock=listener)
        yield heard
        server.close()


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


class Rebinding(AbstractResolver):
    """A name that is public when it is checked, and this machine when it is used."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        address = self.answers.pop(0)
        return [
            ResolveResult(
                hostname=host, host=address, port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET, proto=0, flags=0,
            )
        ]  # fmt: skip

    async def close(self) -> None:
        pass


@pytest.mark.parametrize("second", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
async def test_a_name_that_changes_its_mind_is_refused(second: str, canary: Canary) -> None:
    """What a name resolved to before counts for nothing when the connection is made."""
    rebinding = Rebinding("1.1.1.1", second)
    (checked,) = await rebinding.resolve("tenant.example", canary.port)
    assert is_public(checked["host"])
    with pytest.raises(aiohttp.ClientConnectorError) as refused:
        await post(f"http://tenant.example:{canary.port}", allow_private=False, resolver=rebinding)
    assert refused.value.errno == errno.EACCES
    assert rebinding.answers == []
    assert canary.hits == 0
