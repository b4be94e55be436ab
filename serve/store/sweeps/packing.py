"""What sweeps come to, as bytes: JSON, made smaller. The format outlives the code."""

import zlib
from collections.abc import Sequence

from index.rings.edges import Ring
from serve.domain.sweeps.pages import Numbered, PairPage, RingPage
from serve.domain.sweeps.sweep import TileResult

LEVEL = 1  # subject keys and ids are chance: more work finds no more


def pack_pairs(pairs: Sequence[Numbered]) -> bytes:
    """A page of pairs, each with its running number."""
    return zlib.compress(PairPage.of(list(pairs)).dump(), LEVEL)


def unpack_pairs(packed: bytes) -> list[Numbered]:
    """What `pack_pairs` was given."""
    return PairPage.model_validate_json(zlib.decompress(packed)).pairs


def pack_rings(rings: Sequence[Ring]) -> bytes:
    """A page of rings."""
    return zlib.compress(RingPage(rings=tuple(rings)).dump(), LEVEL)


def unpack_rings(packed: bytes) -> list[Ring]:
    """What `pack_rings` was given."""
    return list(RingPage.model_validate_json(zlib.decompress(packed)).rings)


def head_of(result: TileResult) -> bytes:
    """All of a tile's result but its pairs."""
    return result.model_copy(update={"pairs": ()}).dump()


def result_of(head: bytes, parts: Sequence[bytes]) -> TileResult:
    """A tile's result, from what `head_of` and `pack_pairs` made of it."""
    pairs = tuple(pair for packed in parts for _, pair in unpack_pairs(packed))
    return TileResult.model_validate_json(head).model_copy(update={"pairs": pairs})
