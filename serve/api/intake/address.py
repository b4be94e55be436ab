"""Where a request comes from, and how many wrong guesses it may come with.

The address is the last one that no trusted proxy vouches for: what lies left of it in
`X-Forwarded-For` is only what a client claimed.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from aiohttp import web

from serve.errors import Code, ServeError

UNKNOWN = "unknown"
HOPS_MAX = 32
WINDOW_S = 60.0
ADDRESSES_MAX = 65_536
IPV6_PREFIX = 64  # one household or one host, however many addresses it uses

Network = IPv4Network | IPv6Network


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
        try:
            address = ip_address(hop)
        except ValueError:
            break
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        found = str(address)
        if isinstance(address, IPv6Address):
            found = str(ip_network((int(address), IPV6_PREFIX), strict=False))
        if not any(address in network for network in trusted):
            break
    return found


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
            self._windows.pop(address, None)
            if len(self._windows) >= ADDRESSES_MAX:
                del self._windows[next(iter(self._windows))]
            window = self._windows[address] = _Window(now_s)
        window.guesses += 1

    def __len__(self) -> int:
        return len(self._windows)
