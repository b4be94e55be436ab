"""Recordings that were cut, repeated, joined or timed anew before they were injected.

Whatever is "coded anew" is decoded, given the noise of a camera, and compressed again: no two of
its frames are equal byte for byte.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.render.camera import Camera
from pipeline.render.perform import Clip
from serve.bench.liveness.sheet import pictures


def picked(clip: Clip, numbers: Sequence[int]) -> Clip:
    """These frames in this order, under the clock of an ordinary recording."""
    step_ms = (clip.captured_ms[-1] - clip.captured_ms[0]) / (len(clip.frames) - 1)
    times = tuple(round(clip.captured_ms[0] + place * step_ms) for place in range(len(numbers)))
    return Clip(tuple(clip.frames[number] for number in numbers), times)


def coded_anew(clip: Clip, rng: np.random.Generator) -> Clip:
    """The same pictures, each with noise of its own."""
    camera = Camera.held(rng)
    return Clip(tuple(camera.shoot(each) for each in pictures(clip)), clip.captured_ms)


def frozen(clip: Clip, share: float) -> Clip:
    """It moves for this share of its frames, then shows the last of them to the end."""
    count = len(clip.frames)
    return picked(clip, [min(number, int(share * count)) for number in range(count)])


def looped(clip: Clip, rounds: int) -> Clip:
    """The whole clip several times, one after the other."""
    return picked(clip, list(range(len(clip.frames))) * rounds)


def joined(first: Clip, second: Clip, share: float) -> Clip:
    """The first clip up to this share of it, then the second from there on."""
    cut, resumed = int(share * len(first.frames)), int(share * len(second.frames))
    frames = first.frames[:cut] + second.frames[resumed:]
    step_ms = (first.captured_ms[-1] - first.captured_ms[0]) / (len(first.frames) - 1)
    return Clip(frames, tuple(round(step_ms * number) for number in range(len(frames))))


def appended(first: Clip, second: Clip) -> Clip:
    """The whole second clip after the whole first one, under one clock."""
    step_ms = (first.captured_ms[-1] - first.captured_ms[0]) // (len(first.frames) - 1)
    since_ms = first.captured_ms[-1] + step_ms - second.captured_ms[0]
    times = (*first.captured_ms, *(since_ms + each for each in second.captured_ms))
    return Clip(first.frames + second.frames, times)


def mirrored(clip: Clip, rng: np.random.Generator) -> Clip:
    """Left and right change places in each frame, which is coded anew."""
    camera = Camera.held(rng)
    return Clip(tuple(camera.shoot(each[:, ::-1]) for each in pictures(clip)), clip.captured_ms)


def inserted(clip: Clip, other: Clip, before: int, after: int) -> Clip:
    """The clip, its first `before` and last `after` frames replaced by those of another."""
    count = len(clip.frames)
    tail = other.frames[-after:] if after else ()
    frames = (*other.frames[:before], *clip.frames[before : count - after], *tail)
    return Clip(frames, clip.captured_ms)


def shuffled(clip: Clip, rng: np.random.Generator) -> Clip:
    """All its frames in an order of chance."""
    return picked(clip, [int(each) for each in rng.permutation(len(clip.frames))])


def swapped(clip: Clip, rng: np.random.Generator) -> Clip:
    """Five neighbours changed places, and took their times with them."""
    order = list(range(len(clip.frames)))
    for place in rng.choice(len(order) - 1, 5, replace=False):
        order[place], order[place + 1] = order[place + 1], order[place]
    return Clip(
        tuple(clip.frames[each] for each in order), tuple(clip.captured_ms[each] for each in order)
    )


def backwards(clip: Clip) -> Clip:
    """The last frame first: who did one thing and then another now does the other first."""
    return picked(clip, range(len(clip.frames))[::-1])


def halves_swapped(clip: Clip) -> Clip:
    """The second half before the first, joined where the person looks ahead in both."""
    middle, count = len(clip.frames) // 2, len(clip.frames)
    return picked(clip, [*range(middle, count), *range(middle)])


def timed(clip: Clip, factor: float) -> Clip:
    """The same frames, told to be this much further apart."""
    return Clip(clip.frames, tuple(round(factor * each) for each in clip.captured_ms))


def clock_set_back(clip: Clip) -> Clip:
    """Halfway through, the clock falls back by a second."""
    middle = len(clip.frames) // 2
    times = clip.captured_ms
    return Clip(clip.frames, times[:middle] + tuple(each - 1000 for each in times[middle:]))


def clock_stopped(clip: Clip) -> Clip:
    """All frames are told to be of one moment."""
    return Clip(clip.frames, (clip.captured_ms[0],) * len(clip.frames))
