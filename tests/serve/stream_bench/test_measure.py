"""The benchmark of streams in its shortest form, on services of its own with the real models."""

import pytest

from pipeline.evidence import Pixels
from pipeline.models.cache import ModelCache
from pipeline.models.load import LoadedPack
from serve.bench.streams.measure import Options, measure
from serve.pictures.stream_bench import draw_streams
from serve.settings import EngineKind, Models, Settings

pytestmark = pytest.mark.models
IDLE = 40


async def test_a_few_streams_are_measured_from_hello_to_verdict(
    model_cache: ModelCache, pack: LoadedPack, astronaut: Pixels
) -> None:
    """Streams are played to approval, alone and beside idle sockets; each process is accounted
    for, and so is every socket.
    """
    options = Options(
        seed=1, engines=(EngineKind.LOCAL,), sockets=(2,), paces=(5.0,), seconds=1.0, idle=IDLE,
        active=2,
    )  # fmt: skip
    steps: list[str] = []
    settings = Settings(models=Models(cache_dir=model_cache.root))
    points, idles = await measure(settings, pack.faces, astronaut, options, steps.append)
    assert [(point.place.sockets, point.place.idle) for point in points] == [(2, 0), (2, IDLE)]
    for point in points:
        assert point.approved == point.streams >= 2, point.errors
        assert point.made_per_s > 0
        assert point.played.hints > 0
        assert sum(point.spent.frames.values()) == point.played.all_sent
        assert set(point.spent.cpu_s) == {
            "supervisor", "front door", "redis", "worker", "sweeper",
        }  # fmt: skip
        assert point.share is not None
        assert 0 < point.share < 1
        assert point.played.without_token == 0
    before, after = idles
    assert (before.state, after.state) == ("before their start", "after their hello")
    for idle in idles:
        assert (idle.open, idle.refused) == (IDLE, {})
        assert idle.before_bytes > 2**26
    assert (before.beside_bytes, after.beside_bytes is None) == (None, False)
    assert draw_streams(points, idles).startswith(b"\x89PNG")
    assert steps[0] == "render clips of 5 frames a second"
