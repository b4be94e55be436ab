"""The HTTP benchmark in its shortest form, on a service of its own with the real models."""

import pytest

from pipeline.evidence import Pixels
from pipeline.models.cache import ModelCache
from serve.bench.front_door import EVENTS, Options, measure
from serve.domain.preferences import Event
from serve.pictures.front_door import draw_front_door
from serve.settings import Models, Settings

pytestmark = pytest.mark.models
IMAGES = 12


async def test_a_few_selfies_are_measured_from_socket_to_callback(
    model_cache: ModelCache, astronaut: Pixels
) -> None:
    """Both loops approve every selfie, call every verdict back, and account for each process."""
    settings = Settings(models=Models(cache_dir=model_cache.root))
    steps: list[str] = []
    options = Options(IMAGES, load=0.5, seed=1, with_callbacks=True, frames=("1280x720",))
    saturated, opened = await measure(settings, astronaut, options, steps.append)
    for point in (saturated, opened):
        assert point.outcome.answers == {"approved": IMAGES}
        assert point.outcome.callbacks == IMAGES
        assert set(point.spent.by_process) == {"supervisor", "front door", "redis", "worker"}
        assert point.share is not None
        assert 0 < point.share < 1
        assert point.spent.engine_s < point.spent.by_process["front door"]
    assert saturated.offered_per_s is None
    assert opened.offered_per_s == pytest.approx(0.5 * saturated.images_per_s)
    assert opened.latency_ms()["p50"] <= opened.latency_ms()["p99"]
    assert draw_front_door([saturated, opened]).startswith(b"\x89PNG")
    assert steps[0] == "start the service"


def test_only_plain_switches_open_sessions() -> None:
    """The events that the benchmark turns on are those that need no threshold."""
    assert Event.LOGIN in EVENTS
    assert Event.DEPOSIT not in EVENTS
    assert Event.HIGH_FREQUENCY_BETTING not in EVENTS
