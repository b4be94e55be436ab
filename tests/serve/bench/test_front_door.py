"""The HTTP benchmark in its shortest form, on a service of its own with the real models."""

import pytest

from pipeline.evidence import Pixels
from pipeline.models.cache import ModelCache
from serve.bench.figures import pooled_by_place
from serve.bench.front_door import Options, measure
from serve.bench.goals import goals
from serve.bench.tenant import EVENTS
from serve.domain.tenancy.preferences import Event
from serve.pictures.front_door import draw_front_door
from serve.settings import EngineKind, EngineSection, Models, Settings

pytestmark = pytest.mark.models
IMAGES = 12
QUEUE_MAX = 8  # so that an overload is short


async def test_a_few_selfies_are_measured_from_socket_to_callback(
    model_cache: ModelCache, astronaut: Pixels
) -> None:
    """Every selfie is approved and called back unless it is refused for want of room, and each
    process is accounted for.
    """
    models = Models(cache_dir=model_cache.root)
    settings = Settings(models=models, engine=EngineSection(queue_max=QUEUE_MAX))
    steps: list[str] = []
    options = Options(
        IMAGES, seed=1, with_callbacks=True, engines=(EngineKind.LOCAL,), loads=(0.5, 1.5)
    )
    points = await measure(settings, astronaut, options, steps.append)
    assert [point.place.load for point in points] == [None, 0.5, 1.5]
    saturated, half, over = points
    for point in points:
        assert set(point.outcome.answers) <= {"approved", "overloaded"}
        assert point.outcome.callbacks == point.approved > 0
        assert set(point.spent.cpu_s) == {
            "supervisor", "front door", "redis", "worker", "sweeper",
        }  # fmt: skip
        assert min(point.rss_bytes) > 2**27
        assert point.lost == ()
        assert 0 <= point.others <= 1
        assert point.share is not None
        assert 0 < point.share < 1
        assert point.spent.engine_s < point.spent.cpu_s["front door"]
        assert point.spent.batches.total == point.approved
        assert point.spent.refusals.count == point.errors.get("overloaded", 0)
        assert point.spent.envelopes.count == 0
    assert saturated.outcome.answers == {"approved": IMAGES}
    assert saturated.offered_per_s is None
    assert half.offered_per_s == pytest.approx(0.5 * saturated.images_per_s)
    assert half.latency_ms()["p50"] <= half.latency_ms()["p99"]
    assert sum(over.outcome.answers.values()) == IMAGES + 3 * QUEUE_MAX
    assert {goal.engine for goal in goals(points)} == {"local"}
    assert draw_front_door(pooled_by_place(points)).startswith(b"\x89PNG")
    assert steps[0] == "round 1 of 1, local: start the service"


def test_only_plain_switches_open_sessions() -> None:
    """The events that the benchmark turns on are those that need no threshold."""
    assert Event.LOGIN in EVENTS
    assert Event.DEPOSIT not in EVENTS
    assert Event.HIGH_FREQUENCY_BETTING not in EVENTS
