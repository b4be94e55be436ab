"""A door's own models: asked when the engine is lost, and only then."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from pipeline.errors import Code as PipelineCode
from pipeline.errors import Failure
from pipeline.evidence import Template
from pipeline.face.steps import REFERENCE, SELFIE, Plan
from serve.domain.ids import Mode
from serve.domain.search.gallery import GalleryKind
from serve.errors import Code, ServeError
from serve.inference.fallback import FallbackFaces, FallbackIndex
from serve.inference.link.reach import EngineLostError
from serve.inference.parcels import Outcome
from serve.observe import metrics
from serve.ports.search import Asked, Found, ShardStatus

LOST = EngineLostError(Code.SERVICE_UNAVAILABLE, "no engine is connected", retry_after_s=5)
REFUSED = ServeError(Code.OVERLOADED, "a full queue", retry_after_s=3)
TEMPLATE = Template("toy", np.ones(1, np.float32))
ANY = Asked("ten_a", Mode.LIVE, GalleryKind.ENROLLED, TEMPLATE, 0.0, 1, {})
FALLBACKS = "limen_engine_fallbacks_total"


class Scripted:
    """Answers with its name, or raises its trouble."""

    def __init__(self, name: str, trouble: ServeError | None = None) -> None:
        self.answer = Failure(PipelineCode.IMAGE_CORRUPT, name)
        self.trouble = trouble
        self.asked: list[tuple[bytes, str, Plan]] = []
        self.waits_s = 0.0

    def wait_s(self, tenant_id: str) -> float:
        return self.waits_s

    def admit(self, tenant_id: str, let_in: int = 0) -> None:
        if self.trouble is not None:
            raise self.trouble

    async def examine(self, image: bytes, *, tenant_id: str, plan: Plan = SELFIE) -> Outcome:
        self.asked.append((image, tenant_id, plan))
        self.admit(tenant_id)
        return self.answer


@dataclass
class ScriptedFound:
    """An index that finds one thing whoever is looked for, or refuses."""

    name: str
    found: Found | ServeError
    asked: list[str]

    async def search(self, asked: Asked) -> Found:
        self.asked.append(self.name)
        if isinstance(self.found, ServeError):
            raise self.found
        return self.found

    async def statuses(self) -> Sequence[ShardStatus]:
        return ()


def fallbacks() -> float:
    return metrics.REGISTRY.get_sample_value(FALLBACKS) or 0.0


async def test_an_engine_that_is_there_is_asked_alone() -> None:
    """Its answers and its refusals are the caller's; the door's own models stay idle."""
    before = fallbacks()
    for trouble in (None, REFUSED):
        first, second = Scripted("first", trouble), Scripted("second")
        faces = FallbackFaces(first, second)
        if trouble is None:
            faces.admit("ten_a")
            assert await faces.examine(b"x", tenant_id="ten_a") == first.answer
        else:
            with pytest.raises(ServeError, match="a full queue"):
                faces.admit("ten_a")
            with pytest.raises(ServeError, match="a full queue"):
                await faces.examine(b"x", tenant_id="ten_a")
        assert second.asked == []
    assert fallbacks() == before


async def test_a_lost_engine_is_stood_in_for() -> None:
    """The image goes to the door's own models as it was given, and is counted."""
    before = fallbacks()
    second = Scripted("second")
    faces = FallbackFaces(Scripted("first", LOST), second)
    faces.admit("ten_a")
    assert await faces.examine(b"x", tenant_id="ten_a", plan=REFERENCE) == second.answer
    assert second.asked == [(b"x", "ten_a", REFERENCE)]
    assert fallbacks() == before + 1


async def test_the_second_may_refuse_as_well() -> None:
    """Where neither can take the image, the door's own models say why."""
    faces = FallbackFaces(Scripted("first", LOST), Scripted("second", REFUSED))
    with pytest.raises(ServeError, match="a full queue"):
        faces.admit("ten_a")
    with pytest.raises(ServeError, match="a full queue"):
        await faces.examine(b"x", tenant_id="ten_a")


def test_the_longer_wait_is_told() -> None:
    """Whichever engine is asked, its queue is the one that counts: the other's is empty."""
    first, second = Scripted("first"), Scripted("second")
    faces = FallbackFaces(first, second)
    assert faces.wait_s("ten_a") == 0.0
    first.waits_s = 3.0
    assert faces.wait_s("ten_a") == 3.0
    first.waits_s, second.waits_s = 0.0, 4.0
    assert faces.wait_s("ten_a") == 4.0


@pytest.mark.parametrize(
    ("first", "second", "is_seconds"),
    [
        (Found((), 7), Found((), 8), False),
        (Found((), 7, missing=(3,), lost=("shard-0",)), Found((), 8), True),
        (LOST, Found((), 8), True),
        (REFUSED, Found((), 8), False),
        (LOST, REFUSED, True),
    ],
)
async def test_an_index_that_does_not_see_everybody_is_stood_in_for(
    first: Found | ServeError, second: Found | ServeError, *, is_seconds: bool
) -> None:
    """The door's own index is asked when the engine's is lost or lacks a shard, and only then."""
    asked: list[str] = []
    index = FallbackIndex(ScriptedFound("a", first, asked), ScriptedFound("b", second, asked))
    expected = second if is_seconds else first
    if isinstance(expected, ServeError):
        with pytest.raises(ServeError, match=str(expected.detail)):
            await index.search(ANY)
    else:
        assert await index.search(ANY) is expected
    assert asked == (["a", "b"] if is_seconds else ["a"])
