"""Where a request comes from, and how many wrong guesses it may come with.

The address is the last one that no trusted proxy vouches for: what lies left of it in
`X-Forwarded-For` is only what a client claimed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TypeVar

from aiohttp import web

from serve.domain.quota import ADDRESS, SECOND_US, Bucket, Standing
from serve.errors import Code, ServeError

UNKNOWN = "unknown"
HOPS_MAX = 32
WINDOW_S = 60.0
ADDRESSES_MAX = 65_536
IPV6_PREFIX = 64  # one household or one host, however many addresses it uses

Network = IPv4Network | IPv6Network
T = TypeVar("T")


def trusted_networks(texts: Sequence[str]) -> tuple[Network, ...]:
    """The networks of `server.trusted_proxies`. Raises `setting_invalid`."""
    try:
        return tuple(ip_network(text, strict=False) for text in texts)
    except ValueError as error:
        raise ServeError(Code.SETTING_INVALID, f"server.trusted_proxies: {error}") from error


def client_address(request: web.Request, trusted: Sequence[Network]) -> str:
    """The client's IPv4 address or IPv6 /64, or `unknown` on a socket without addresses."""
    headers = request.headers.getall("X-Forwarded-For", [])
    hops = [hop.strip() for header in headers for hop in header.split(",")][-HOPS_MAX:]
    return nearest_untrusted([*hops, request.remote or ""], trusted)


def nearest_untrusted(hops: Sequence[str], trusted: Sequence[Network]) -> str:
    """The rightmost of `hops` outside `trusted`; the leftmost readable one if there is none."""
    found = UNKNOWN
    for hop in reversed(hops):
        address = _read(hop)
        if address is None:
            break
        found = str(address)
        if isinstance(address, IPv6Address):
            found = str(ip_network((int(address), IPV6_PREFIX), strict=False))
        if not any(address in network for network in trusted):
            break
    return found


def is_trusted(hop: str, trusted: Sequence[Network]) -> bool:
    """Whether `hop` is the address of one of the `trusted` proxies."""
    address = _read(hop)
    return address is not None and any(address in network for network in trusted)


def _read(hop: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(hop)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@dataclass(slots=True)
class _Window:
    start_s: float
    guesses: int = 0


class GuessBudget:
    """Counts unknown keys and tokens by address, a minute at a time.

    At most 65,536 addresses are remembered; the one whose minute began first makes room.
    """

    def __init__(self, per_minute_max: int, now_s: Callable[[], float]) -> None:
        self._per_minute_max = per_minute_max
        self._now_s = now_s
        self._windows: dict[str, _Window] = {}  # in the order in which the minutes began

    def check(self, address: str) -> None:
        """Raises `too_many_requests` while the minute's guesses of `address` are used up."""
        window = self._windows.get(address)
        if window is None:
            return
        left_s = window.start_s + WINDOW_S - self._now_s()
        if left_s <= 0:
            del self._windows[address]
        elif window.guesses >= self._per_minute_max:
            raise ServeError(
                Code.TOO_MANY_REQUESTS,
                "too many unknown keys or tokens from this address",
                retry_after_s=int(left_s) + 1,
            )

    def count(self, address: str) -> None:
        """One more wrong guess."""
        now_s = self._now_s()
        window = self._windows.get(address)
        if window is None or now_s >= window.start_s + WINDOW_S:
            window = _Window(now_s)
            _remember(self._windows, address, window)
        window.guesses += 1

    def __len__(self) -> int:
        return len(self._windows)


class AddressQuota:
    """Counts requests of any kind by address, in this process alone, before anything is asked.

    At most 65,536 addresses are remembered; the one that was silent for longest makes room.
    """

    def __init__(self, bucket: Bucket, now_s: Callable[[], float]) -> None:
        self._bucket = bucket
        self._now_s = now_s
        self._empty_at_us: dict[str, int] = {}

    def take(self, address: str) -> tuple[Standing, bool]:
        """How `address` stands after one more request, and whether that is refused."""
        now_us = int(self._now_s() * SECOND_US)
        taken = self._bucket.taken(self._empty_at_us.get(address, 0), now_us)
        if taken.refused is None:
            _remember(self._empty_at_us, address, now_us + taken.ahead_us)
        return Standing(ADDRESS, self._bucket, taken.ahead_us), taken.refused is not None

    def __len__(self) -> int:
        return len(self._empty_at_us)


def _remember(table: dict[str, T], address: str, item: T) -> None:
    """Put an address behind all others; where there are too many the first makes room."""
    table.pop(address, None)
    if len(table) >= ADDRESSES_MAX:
        del table[next(iter(table))]
    table[address] = item
