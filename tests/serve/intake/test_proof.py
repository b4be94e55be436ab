"""Images inside JSON: strict base64, or a data URL of an image."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.api.intake.proof import decode, decoded
from serve.errors import Code, ServeError


@given(st.binary(min_size=1, max_size=2_000))
def test_bytes_come_back_as_they_were(image: bytes) -> None:
    """Plain base64 and a data URL give the same bytes."""
    text = base64.b64encode(image).decode()
    assert decode(text) == image
    for kind in ("jpeg", "png", "WEBP", "svg+xml"):
        assert decode(f"data:image/{kind};base64,{text}") == image


@pytest.mark.parametrize(
    "text",
    [
        "",
        "====",
        "Zm9v\n",
        "Zm 9v",
        "Zm9v=",
        "Zg",
        "Z",
        "Zm9-_w==",
        "é",
        "data:image/jpeg;base64,",
        "data:image/jpeg,Zm9v",
        "data:text/html;base64,Zm9v",
        "data:image/jpeg;charset=x;base64,Zm9v",
        " data:image/jpeg;base64,Zm9v",
        "https://photos.example/a.jpg",
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    """Line breaks, other alphabets, missing padding, other URLs, and nothing at all."""
    with pytest.raises(ServeError) as caught:
        decode(text)
    assert caught.value.code is Code.PROOF_INVALID


async def test_decoding_leaves_the_loop() -> None:
    """The awaited form gives the same."""
    assert await decoded("Zm9v") == b"foo"
