"""Arrivals are fixed before the first request leaves, and come at the rate that was asked for."""

import pytest

from serve.bench.schedule import IMAGES_MAX, arrivals, at_once, images_at


@pytest.mark.parametrize("rate_per_s", [0.5, 40.0, 2_000.0])
def test_arrivals_come_at_the_rate_in_order(rate_per_s: float) -> None:
    """A thousand arrivals take about a thousand mean gaps, and none comes before the last."""
    times = arrivals(rate_per_s, 1_000, seed=7)
    assert len(times) == 1_000
    assert times == sorted(times)
    assert times[0] > 0
    assert 0.85 <= times[-1] * rate_per_s / 1_000 <= 1.15


def test_a_seed_repeats_its_schedule() -> None:
    """The same seed gives the same arrivals, another seed others."""
    assert arrivals(10.0, 50, seed=1) == arrivals(10.0, 50, seed=1)
    assert arrivals(10.0, 50, seed=1) != arrivals(10.0, 50, seed=2)


def test_saturation_is_everything_at_once() -> None:
    """Nobody waits for a time when the bound on requests in flight sets the pace."""
    assert at_once(3) == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("load", "wanted"), [(0.5, 400), (1.0, 400), (1.5, 400 + 768), (2.0, 912), (1.01, IMAGES_MAX)]
)
def test_an_overload_fills_the_queue_first(load: float, wanted: int) -> None:
    """At half more than the peak every third arrival is too many: 768 leave 256 waiting."""
    assert images_at(load, 400, queue_max=256) == wanted
