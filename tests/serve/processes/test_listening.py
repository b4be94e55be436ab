"""Listening sockets: several on one port, and nobody else's."""

import socket
from contextlib import ExitStack

import pytest

from serve.errors import Code, ServeError
from serve.processes.listening import listen, shown_host, split_address


def test_all_sockets_share_a_free_port() -> None:
    """Port 0 becomes one port, and connections to it reach more than one socket."""
    with ExitStack() as opened:
        listeners = [opened.enter_context(each) for each in listen("127.0.0.1", 0, 4)]
        (address,) = {each.getsockname() for each in listeners}
        assert address[1] != 0
        for _ in range(64):
            opened.enter_context(socket.create_connection(address))
        accepted = [_accept_all(each, opened) for each in listeners]
        assert sum(accepted) == 64
        assert sum(count > 0 for count in accepted) > 1


def test_a_taken_address_is_refused() -> None:
    """Whether the other service shares its port with its own processes or not."""
    with ExitStack() as opened:
        ours = [opened.enter_context(each) for each in listen("127.0.0.1", 0, 2)]
        plain = opened.enter_context(socket.create_server(("127.0.0.1", 0)))
        for port in (ours[0].getsockname()[1], plain.getsockname()[1]):
            with pytest.raises(ServeError) as caught:
                listen("127.0.0.1", port, 1)
            assert caught.value.code is Code.ADDRESS_IN_USE
            assert str(port) in caught.value.detail


def test_a_port_is_free_again_at_once() -> None:
    """A restart finds the port that it left, closed connections or not."""
    first = listen("127.0.0.1", 0, 1)[0]
    address = first.getsockname()
    with socket.create_connection(address), first.accept()[0]:
        pass
    first.close()
    with listen("127.0.0.1", address[1], 1)[0] as again:
        assert again.getsockname() == address


def test_a_foreign_address_is_an_invalid_setting() -> None:
    """An address of the documentation range is not this machine's."""
    with pytest.raises(ServeError) as caught:
        listen("192.0.2.1", 0, 1)
    assert caught.value.code is Code.SETTING_INVALID


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:9091", "127.0.0.1", 9091), ("[::1]:0", "::1", 0), ("localhost:1", "localhost", 1)],
)
def test_an_address_is_split(text: str, host: str, port: int) -> None:
    """Host and port, brackets gone and shown again."""
    assert split_address(text) == (host, port)
    assert shown_host(host) == text.rpartition(":")[0]


@pytest.mark.parametrize("text", ["127.0.0.1", "9091", "host:", "host:-1", "host:65536", ":http"])
def test_what_is_no_address_is_refused(text: str) -> None:
    """A missing or impossible port is an invalid setting."""
    with pytest.raises(ServeError) as caught:
        split_address(text)
    assert caught.value.code is Code.SETTING_INVALID


def _accept_all(listener: socket.socket, opened: ExitStack) -> int:
    count = 0
    while True:
        try:
            opened.enter_context(listener.accept()[0])
        except BlockingIOError:
            return count
        count += 1
