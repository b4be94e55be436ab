"""Searches and answers as bytes: the same after the way, and never a surprise."""

import math
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.entry import LogId
from pipeline.evidence import Template
from serve.domain.ids import PARTITIONS, Mode, Subject
from serve.domain.search.gallery import GalleryKind
from serve.errors import Code, ServeError
from serve.inference.search.packing import (
    REFUSALS,
    SEARCH_BYTES_MAX,
    PackingError,
    pack_asked,
    pack_found,
    pack_mask,
    unpack_asked,
    unpack_found,
    unpack_mask,
)
from serve.ports.search import Asked, FaceHit, Found

NAMES = st.text(max_size=20)
NUMBERS = st.integers(0, 2**64 - 1)
PLACES = st.integers(0, PARTITIONS - 1)
TAILS = st.dictionaries(PLACES, st.builds(LogId, NUMBERS, NUMBERS))
FLOATS = st.floats(allow_nan=False)
VECTORS = st.lists(st.floats(width=32, allow_nan=False), max_size=40)
TEMPLATES = st.builds(
    lambda model_id, values: Template(model_id, np.array(values, np.float32)), NAMES, VECTORS
)
SEARCHES = st.builds(
    Asked,
    tenant_id=NAMES,
    mode=st.sampled_from(Mode),
    kind=st.sampled_from(GalleryKind),
    template=TEMPLATES,
    floor=FLOATS,
    limit=st.integers(0, 2**32 - 1),
    after=TAILS,
    exclude=NAMES,
)
HITS = st.builds(
    FaceHit,
    subject=st.builds(Subject, st.just("ten_a"), st.just(Mode.TEST), NAMES),
    face_id=NAMES,
    native=FLOATS,
)
ANSWERS = st.builds(
    Found,
    hits=st.lists(HITS, max_size=5).map(tuple),
    gallery_size=NUMBERS,
    missing=st.lists(PLACES, unique=True).map(tuple),
    lost=st.lists(NAMES, max_size=5).map(tuple),
)


@given(asked=SEARCHES)
def test_a_search_comes_as_it_was_sent(asked: Asked) -> None:
    """Every field, every tail and every number of the template."""
    come = unpack_asked(pack_asked(asked))
    assert come.template.model_id == asked.template.model_id
    assert come.template.vector.dtype == np.float32
    assert come.template.vector.tobytes() == asked.template.vector.tobytes()
    for name in ("tenant_id", "mode", "kind", "floor", "limit", "after", "exclude"):
        assert getattr(come, name) == getattr(asked, name)


@given(found=ANSWERS)
def test_an_answer_comes_as_it_was_sent(found: Found) -> None:
    """Its hits are in the world that was asked about."""
    assert unpack_found(pack_found(found), "ten_a", Mode.TEST) == found


@pytest.mark.parametrize("code", [*REFUSALS, Code.INTERNAL_ERROR, Code.KEYS_MISMATCH])
@pytest.mark.parametrize("retry_after_s", [None, 7])
def test_a_refusal_keeps_its_code(code: Code, retry_after_s: int | None) -> None:
    """And when to come back, but not its detail; what is no refusal of a search is one that was
    not carried out.
    """
    refused = ServeError(code, "a detail", retry_after_s=retry_after_s)
    come = unpack_found(pack_found(refused), "ten_a", Mode.LIVE)
    assert isinstance(come, ServeError)
    expected = code if code in REFUSALS else Code.SERVICE_UNAVAILABLE
    assert (come.code, come.retry_after_s) == (expected, retry_after_s)
    assert come.detail == REFUSALS[expected]


@given(data=st.binary(max_size=200))
def test_noise_is_understood_or_refused(data: bytes) -> None:
    """Nothing but PackingError is ever raised."""
    for unpack in (unpack_asked, lambda data: unpack_found(data, "ten_a", Mode.LIVE)):
        with suppress(PackingError):
            unpack(data)


@given(asked=SEARCHES, cut=st.integers(1, 60))
def test_a_search_that_is_cut_off_is_none(asked: Asked, cut: int) -> None:
    """Nor is one with more behind it."""
    packed = pack_asked(asked)
    for data in (packed[:-cut], packed + bytes(cut)):
        with pytest.raises(PackingError):
            unpack_asked(data)


@given(found=ANSWERS, cut=st.integers(1, 60))
def test_an_answer_that_is_cut_off_is_none(found: Found, cut: int) -> None:
    """Nor is one with more behind it."""
    packed = pack_found(found)
    for data in (packed[:-cut], packed + bytes(cut)):
        if len(data) != len(pack_found(ServeError(Code.OVERLOADED, ""))):
            with pytest.raises(PackingError):
                unpack_found(data, "ten_a", Mode.LIVE)


def test_the_largest_search_that_a_door_may_send_has_room() -> None:
    """Every tail, long names and 16,384 dimensions stay below the bound of a frame."""
    template = Template("m" * 256, np.ones(2**14, np.float32))
    after = dict.fromkeys(range(PARTITIONS), LogId(2**63, 2**63))
    asked = Asked(
        "t" * 64, Mode.LIVE, GalleryKind.ENROLLED, template, -math.inf, 1, after, "k" * 32
    )
    assert len(pack_asked(asked)) < SEARCH_BYTES_MAX


@given(places=st.frozensets(PLACES))
def test_partitions_come_as_they_were_sent(places: frozenset[int]) -> None:
    """As a number of 64 bits."""
    assert 0 <= pack_mask(places) < 2**64
    assert unpack_mask(pack_mask(places)) == places
