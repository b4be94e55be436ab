"""A search and its answer as bytes: between a door, the engine and the shards.

    search   floor f64 | limit u32 | sizes of tenant u8, mode u8, kind u8, model u16, exclude u16
             | number of tails u8 | dimension u16 | the texts | tails | vector float32
    tail     partition u8 | ms u64 | seq u64
    answer   0 u8 | faces looked at u64 | numbers of hits u32, missing u8, lost u8
             | missing u8 each | lost, hits
    lost     size u8 | name
    hit      score f64 | sizes of key u8, face u8 | key | face
    refusal  its place in REFUSALS, from 1, u8 | when to come back, s, 0 for never u16

Little-endian throughout. The tenant and the mode of an answer are those of its search.
"""

import struct
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from index.entry import LogId
from pipeline.evidence import Template
from serve.domain.ids import PARTITIONS, Mode, Subject
from serve.domain.search.gallery import GalleryKind
from serve.errors import Code, ServeError
from serve.ports.search import Asked, FaceHit, Found

REFUSALS: Mapping[Code, str] = {  # with what each says to whoever asked
    Code.OVERLOADED: "more searches are waiting than the index can take",
    Code.SERVICE_UNAVAILABLE: "the search was not carried out",
    Code.EMBEDDING_INVALID: "the probe is no template of this model",
}
SEARCH_BYTES_MAX = 2**17
"""Of one packed search; a template of 16,384 dimensions has 2**16."""

_ASKED = struct.Struct("<dIBBBHHBH")
_TAIL = struct.Struct("<BQQ")
_FOUND = struct.Struct("<BQIBB")
_HIT = struct.Struct("<dBB")
_REFUSED = struct.Struct("<BH")
_CODES = tuple(REFUSALS)

SearchAnswer = Found | ServeError


class PackingError(ValueError):
    """What came is no packed search, or no packed answer."""


def pack_asked(asked: Asked) -> bytes:
    """A search, for `unpack_asked`."""
    vector = np.ascontiguousarray(asked.template.vector, dtype="<f4")
    texts = [
        text.encode()
        for text in (asked.tenant_id, asked.mode, asked.kind, asked.template.model_id,
                     asked.exclude)
    ]  # fmt: skip
    head = _ASKED.pack(
        asked.floor, asked.limit, *map(len, texts), len(asked.after), vector.shape[0]
    )
    tails = (_TAIL.pack(place, *log_id) for place, log_id in asked.after.items())
    return b"".join((head, *texts, *tails, vector.tobytes()))


def unpack_asked(data: bytes) -> Asked:
    """What `pack_asked` was given. Raises PackingError."""
    reader = _Reader(data)
    floor, limit, *sizes, tails, dimension = reader.take(_ASKED)
    tenant_id, mode, kind, model_id, exclude = map(reader.text, sizes)
    after = {place: LogId(ms, seq) for place, ms, seq in reader.all(_TAIL, tails)}
    if after.keys() - range(PARTITIONS):
        raise PackingError("a partition that there is not")
    if reader.left != 4 * dimension:
        raise PackingError("the vector has another size")
    vector = np.frombuffer(reader.rest(), dtype="<f4")
    try:
        named = Mode(mode), GalleryKind(kind)
    except ValueError as error:
        raise PackingError("a mode or a list that there is not") from error
    template = Template(model_id, vector.astype(np.float32))
    return Asked(tenant_id, *named, template, floor, limit, after, exclude)


def pack_found(answer: SearchAnswer) -> bytes:
    """An answer, for `unpack_found`; of a refusal its code and when to come back."""
    if isinstance(answer, ServeError):
        code = answer.code if answer.code in REFUSALS else Code.SERVICE_UNAVAILABLE
        return _REFUSED.pack(1 + _CODES.index(code), min(answer.retry_after_s or 0, 2**16 - 1))
    head = _FOUND.pack(
        0, answer.gallery_size, len(answer.hits), len(answer.missing), len(answer.lost)
    )
    lost = (bytes([len(name)]) + name for name in (text.encode() for text in answer.lost))
    return b"".join((head, bytes(answer.missing), *lost, *map(_packed_hit, answer.hits)))


def unpack_found(data: bytes, tenant_id: str, mode: Mode) -> SearchAnswer:
    """What `pack_found` was given, of a search in this world. Raises PackingError."""
    reader = _Reader(data)
    if len(data) == _REFUSED.size:
        return _refusal(*reader.take(_REFUSED))
    zero, gallery_size, hits, missing, lost = reader.take(_FOUND)
    if zero:
        raise PackingError("no answer begins so")
    places = tuple(reader.cut(missing))
    names = tuple(reader.text(reader.cut(1)[0]) for _ in range(lost))
    found = tuple(_hits(reader, hits, tenant_id, mode))
    if reader.left:
        raise PackingError("more than an answer")
    return Found(found, gallery_size, places, names)


def pack_mask(partitions: Iterable[int]) -> int:
    """A set of partitions as a number of 64 bits."""
    return sum(1 << place for place in partitions)


def unpack_mask(mask: int) -> frozenset[int]:
    """What `pack_mask` was given."""
    return frozenset(place for place in range(PARTITIONS) if mask >> place & 1)


def _refusal(number: int, retry_after_s: int) -> ServeError:
    if not 0 < number <= len(_CODES):
        raise PackingError("a refusal that there is not")
    code = _CODES[number - 1]
    return ServeError(code, REFUSALS[code], retry_after_s=retry_after_s or None)


def _packed_hit(hit: FaceHit) -> bytes:
    key, face = hit.subject.key.encode(), hit.face_id.encode()
    return _HIT.pack(hit.native, len(key), len(face)) + key + face


def _hits(reader: "_Reader", number: int, tenant_id: str, mode: Mode) -> Iterator[FaceHit]:
    for _ in range(number):
        native, key_size, face_size = reader.take(_HIT)
        subject = Subject(tenant_id, mode, reader.text(key_size))
        yield FaceHit(subject, reader.text(face_size), native)


class _Reader:
    """Takes bytes from the front, and never more than there are."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._start = 0

    @property
    def left(self) -> int:
        """Bytes that were not taken yet."""
        return len(self._data) - self._start

    def cut(self, size: int) -> bytes:
        """So many bytes."""
        if size > self.left:
            raise PackingError("ends early")
        self._start += size
        return self._data[self._start - size : self._start]

    def rest(self) -> bytes:
        """All that is left."""
        return self.cut(self.left)

    def take(self, shape: struct.Struct) -> tuple[Any, ...]:
        """The values of one structure."""
        return shape.unpack(self.cut(shape.size))

    def all(self, shape: struct.Struct, number: int) -> Iterator[tuple[Any, ...]]:
        """So many structures."""
        return shape.iter_unpack(self.cut(number * shape.size))

    def text(self, size: int) -> str:
        """Text of so many bytes."""
        try:
            return str(self.cut(size), "utf-8")
        except UnicodeDecodeError as error:
            raise PackingError("a text is not UTF-8") from error
