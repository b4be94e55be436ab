"""When requests leave an open-loop generator: whatever the server does, they leave on time.

A closed loop sends the next request when the last one is answered, so a server that stalls is
asked less and its stall is measured once. Here arrivals are fixed beforehand and latency counts
from them.
"""

import math

import numpy as np

IMAGES_MAX = 10_000  # more would outlive the tokens of their sessions


def arrivals(rate_per_s: float, number: int, seed: int) -> list[float]:
    """Seconds from the start to each of `number` arrivals, independent of each other.

    A Poisson process of `rate_per_s`: people do not queue up in step.
    """
    assert 0 < number <= IMAGES_MAX
    assert rate_per_s > 0
    gaps = np.random.default_rng(seed).exponential(1.0 / rate_per_s, number)
    return [float(at) for at in np.cumsum(gaps)]


def at_once(number: int) -> list[float]:
    """`number` arrivals at the start: a bound on requests in flight then sets the pace."""
    assert 0 < number <= IMAGES_MAX
    return [0.0] * number


def images_at(load: float, images: int, queue_max: int) -> int:
    """How many arrivals a point at `load` of the peak needs for `images` in its steady state.

    More than the peak first fills the queue, which takes as many arrivals as bring it `queue_max`
    images too many; so is an overload measured, and not its onset.
    """
    filling = math.ceil(queue_max * load / (load - 1)) if load > 1 else 0
    return min(images + filling, IMAGES_MAX)
