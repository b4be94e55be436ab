"""What sweeps come to, as bytes: JSON, made smaller.

A page of pairs says the running number of each, so that places in a list stay what they are when
somebody is taken out. The format outlives the code.
"""

import json
import zlib
from collections.abc import Sequence

from pydantic import TypeAdapter

from index.rings.edges import Ring
from serve.domain.sweeps.sweep import FacePair, TileResult

LEVEL = 1  # subject keys and ids are chance: more work finds no more

Numbered = tuple[int, FacePair]
_Row = tuple[int, str, str, str, str, float]
_rings: TypeAdapter[tuple[Ring, ...]] = TypeAdapter(tuple[Ring, ...])
_rows: TypeAdapter[tuple[_Row, ...]] = TypeAdapter(tuple[_Row, ...])


def pack_pairs(pairs: Sequence[Numbered]) -> bytes:
    """A page of pairs, each with its running number."""
    rows = [
        (number, pair.subject_a, pair.face_a, pair.subject_b, pair.face_b, pair.score)
        for number, pair in pairs
    ]
    return zlib.compress(json.dumps(rows, separators=(",", ":")).encode(), LEVEL)


def unpack_pairs(packed: bytes) -> list[Numbered]:
    """What `pack_pairs` was given."""
    return [
        (number, FacePair(subject_a=a, face_a=x, subject_b=b, face_b=y, score=score))
        for number, a, x, b, y, score in _rows.validate_json(zlib.decompress(packed))
    ]


def pack_rings(rings: Sequence[Ring]) -> bytes:
    """A page of rings."""
    return zlib.compress(_rings.dump_json(tuple(rings)), LEVEL)


def unpack_rings(packed: bytes) -> list[Ring]:
    """What `pack_rings` was given."""
    return list(_rings.validate_json(zlib.decompress(packed)))


def head_of(result: TileResult) -> bytes:
    """All of a tile's result but its pairs."""
    return result.model_copy(update={"pairs": ()}).dump()


def result_of(head: bytes, parts: Sequence[bytes]) -> TileResult:
    """A tile's result, from what `head_of` and `pack_pairs` made of it."""
    pairs = tuple(pair for packed in parts for _, pair in unpack_pairs(packed))
    return TileResult.model_validate_json(head).model_copy(update={"pairs": pairs})
