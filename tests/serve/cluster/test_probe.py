"""Whether a cluster lets strangers in is asked without being let in, and without Ray."""

import socket

import grpc
import pytest

from serve.errors import Code, ServeError
from serve.inference.cluster.probe import asks_for_token
from tests.serve.cluster.stub_head import stub_head

SOON_S = 0.2


@pytest.mark.parametrize(
    ("status", "is_asking"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, True),
        (grpc.StatusCode.OK, False),
        (grpc.StatusCode.UNIMPLEMENTED, False),  # it would have told a stranger as much
        (grpc.StatusCode.PERMISSION_DENIED, False),
        (grpc.StatusCode.INTERNAL, False),
    ],
    ids=lambda value: getattr(value, "name", None),
)
async def test_only_a_refusal_is_one(status: grpc.StatusCode, *, is_asking: bool) -> None:
    """A cluster that answers in any other way than asking who calls is not protected."""
    async with stub_head(status) as address:
        assert await asks_for_token(address) is is_asking


async def test_nobody_there_is_told() -> None:
    """Where nothing listens there is no cluster to judge."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and never listens
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ServeError) as refused:
            await asks_for_token(address)
    assert refused.value.code is Code.ENGINE_UNAVAILABLE
    assert address in refused.value.detail


async def test_who_never_answers_is_nobody() -> None:
    """A port that takes calls and says nothing holds nobody up."""
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        with pytest.raises(ServeError) as refused:
            await asks_for_token(f"127.0.0.1:{silent.getsockname()[1]}", SOON_S)
    assert refused.value.code is Code.ENGINE_UNAVAILABLE
