"""URLs that lead inside, a listener that must hear nothing, and an internet on loopback."""

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp.abc import AbstractResolver, ResolveResult

# Ways to write this very machine. `{}` is the port of the listener.
PLAIN = (
    "http://127.0.0.1:{}/", "http://localhost:{}/", "http://0.0.0.0:{}/", "http://[::1]:{}/",
    "http://[::ffff:127.0.0.1]:{}/", "http://[::]:{}/", "https://127.0.0.1:{}/",
    "https://localhost:{}/", "https://[::1]:{}/", "http://127.255.255.254:{}/",
    "http://[0:0:0:0:0:0:0:1]:{}/", "http://[::ffff:7f00:1]:{}/", "http://[::127.0.0.1]:{}/",
    "http://[::7f00:1]:{}/", "http://[64:ff9b::7f00:1]:{}/", "http://[2002:7f00:1::]:{}/",
    "http://[::ffff:0:127.0.0.1]:{}/",
)  # fmt: skip
NUMBERS = (
    "http://2130706433:{}/", "http://017700000001:{}/", "http://0x7f000001:{}/",
    "http://0x7F.1:{}/", "http://127.1:{}/", "http://127.0.1:{}/", "http://0:{}/",
    "http://0177.0.0.1:{}/", "http://0x7f.0x0.0x0.0x1:{}/", "http://127.0.0.01:{}/",
    "http://127.0.0.257:{}/", "http://4294967296:{}/", "http://00000127.0.0.1:{}/",
)  # fmt: skip
DISGUISES = (
    "http://①②⑦.⓪.⓪.①:{}/", "http://127。0。0。1:{}/", "http://１２７.0.0.1:{}/",  # noqa: RUF001
    "http://ⓛocalhost:{}/", "http://loc%61lhost:{}/", "http://%31%32%37.0.0.1:{}/",
    "http://localhost%00:{}/", "http://127.0.0.1%00.tenant.example:{}/", "http://٢:{}/",
    "http://127.0.0.1.:{}/", "http://localhost.:{}/", "http://LOCALHOST.:{}/",
    "http://localhost..:{}/", "http://127.0.0.1\u2025:{}/", "http://local\u00adhost:{}/",
    "http://[fe80::1%25lo]:{}/", "http://[::1%25lo]:{}/", "http://[::1%lo]:{}/",
    "http://[::1]tenant.example:{}/", "http://[v1.127.0.0.1]:{}/", "http://[127.0.0.1]:{}/",
)  # fmt: skip
DECEPTIONS = (
    "http://user@127.0.0.1:{}/", "http://user:secret@127.0.0.1:{}/", "http://@127.0.0.1:{}/",
    "http://tenant.example@127.0.0.1:{}/", "http://tenant.example:443@127.0.0.1:{}/",
    "http://127.0.0.1:{}@tenant.example/", "http://tenant.example;@127.0.0.1:{}/",
    "http://tenant.example#@127.0.0.1:{}/", "http://127.0.0.1:{}#@tenant.example/",
    "http://tenant.example\\@127.0.0.1:{}/", "http://127.0.0.1:{}\\@tenant.example/",
    "http://1.1.1.1 &@127.0.0.1:{}/", "http://127.0.0.1:{}\t/", "http://127.0.0.1\r\n:{}/",
    "http:127.0.0.1:{}/", "http:/127.0.0.1:{}/", "http:///127.0.0.1:{}/", "//127.0.0.1:{}/",
    "http://127.0.0.1:{}:80/", "ftp://127.0.0.1:{}/", "gopher://127.0.0.1:{}/",
    "file://127.0.0.1:{}/etc/passwd", "unix://127.0.0.1:{}/", "ws://127.0.0.1:{}/",
)  # fmt: skip
HOSTILE = (*PLAIN, *NUMBERS, *DISGUISES, *DECEPTIONS)


@dataclass
class Canary:
    """A listener on every address of this machine that must hear nothing."""

    hits: int = 0
    port: int = 0

    async def hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.hits += 1
        writer.close()


@asynccontextmanager
async def listening_canary() -> AsyncIterator[Canary]:
    """A canary on a free port, over IPv4 and IPv6."""
    heard = Canary()
    with socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        heard.port = listener.getsockname()[1]
        server = await asyncio.start_server(heard.hear, sock=listener)
        yield heard
        server.close()


class Names(AbstractResolver):
    """A name server whose every answer is the next of a list; the last one stays."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(
                hostname=host, host=address, port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET, proto=0, flags=0,
            )
            for address in addresses
        ]  # fmt: skip

    async def close(self) -> None:
        pass


@dataclass
class Internet:
    """Public addresses whose hosts stand on loopback: what passed the guard arrives there.

    `hosts` maps an address to the port that answers for it; others refuse connections. `asked`
    counts the connections that were begun, by address.
    """

    hosts: Mapping[str, int]
    asked: Counter[str] = field(default_factory=Counter)

    def make_socket(self, family: int, kind: int, protocol: int) -> socket.socket:
        return _Routed(family, kind, protocol, self._route)

    def _route(self, address: str) -> int:
        self.asked[address] += 1
        if address not in self.hosts:
            raise ConnectionRefusedError(address)
        return self.hosts[address]


class _Routed(socket.socket):
    """A socket of that internet."""

    def __init__(self, family: int, kind: int, protocol: int, route: Callable[[str], int]) -> None:
        super().__init__(family, kind, protocol)
        self._port_of = route

    def connect(self, address: tuple[str, int], /) -> None:  # type: ignore[override]
        super().connect(("127.0.0.1", self._port_of(address[0])))
