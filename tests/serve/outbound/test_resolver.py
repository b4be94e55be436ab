"""Names to addresses in threads of our own."""

import socket

import pytest

from serve.outbound.resolver import ThreadResolver


async def test_a_name_is_resolved_for_a_port() -> None:
    """Every address comes with the port that was asked for."""
    resolver = ThreadResolver()
    found = await resolver.resolve("localhost", 8443, socket.AF_UNSPEC)
    assert {row["host"] for row in found} <= {"127.0.0.1", "::1"}
    assert found
    assert {row["port"] for row in found} == {8443}
    await resolver.close()


async def test_an_unknown_name_is_an_oserror() -> None:
    """A name that cannot exist is refused as the system refuses it."""
    resolver = ThreadResolver()
    with pytest.raises(OSError, match=r"."):
        await resolver.resolve("no-such-name.invalid", 443)
    await resolver.close()
