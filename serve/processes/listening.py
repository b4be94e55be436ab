"""Listening sockets: one for each front-door process, all on one port.

The kernel spreads new connections evenly over the sockets (SO_REUSEPORT). The supervisor opens
them and keeps them open, so connections that arrive while a child restarts wait for it.
"""

import errno
import socket
from contextlib import ExitStack

from serve.errors import Code, ServeError

BACKLOG = 4096


def listen(host: str, port: int, count: int) -> list[socket.socket]:
    """`count` sockets that listen on `host` and `port`; port 0 takes one free port for all.

    Raises `address_in_use`, or `setting_invalid` for an address that is not this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with _bound(family, address, shared=False):
            pass  # another service of this user would otherwise share its port with us unasked
        with ExitStack() as opened:
            sockets = [opened.enter_context(_bound(family, address, shared=True))]
            taken = (address[0], sockets[0].getsockname()[1], *address[2:])
            sockets += [
                opened.enter_context(_bound(family, taken, shared=True)) for _ in range(count - 1)
            ]
            for each in sockets:
                each.listen(BACKLOG)
            opened.pop_all()
    except OSError as error:
        where = f"{host}:{port}"
        if error.errno == errno.EADDRINUSE:
            raise ServeError(Code.ADDRESS_IN_USE, where) from error
        raise ServeError(Code.SETTING_INVALID, f"{where}: {error.strerror}") from error
    return sockets


def split_address(text: str) -> tuple[str, int]:
    """`127.0.0.1:9091` or `[::1]:9091` as host and port. Raises `setting_invalid`."""
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdecimal() or int(port) > 65_535:
        raise ServeError(Code.SETTING_INVALID, f"{text!r} is not an address and a port")
    return host.removeprefix("[").removesuffix("]"), int(port)


def shown_host(host: str) -> str:
    """A host as it stands in a URL: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def _bound(
    family: socket.AddressFamily, address: tuple[object, ...], *, shared: bool
) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.settimeout(0)
        made.bind(address)
    except BaseException:
        made.close()
        raise
    return made
