"""Free warps and painted triangles, the two things that a rendered frame is made by."""

import numpy as np

from pipeline.image.geometry import Border, painted, sampled

SQUARE = np.array([[[0, 0], [8, 0], [8, 8]], [[0, 0], [8, 8], [0, 8]]], np.float64)


def places(width: int, height: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.float32]]:
    """The centre of each pixel."""
    y, x = np.mgrid[0:height, 0:width] + 0.5
    return np.stack([x, y], axis=-1).astype(np.float32)


def test_every_pixel_from_its_own_place_is_the_picture() -> None:
    """Sampled at the centres of its pixels, a picture is itself; half a pixel on, a mean."""
    picture = np.random.default_rng(1).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    assert np.array_equal(sampled(picture, places(12, 9), Border.REPLICATE), picture)
    moved = places(11, 9) + np.array([0.5, 0.0], np.float32)
    wanted = (picture[:, :-1].astype(float) + picture[:, 1:]) / 2
    assert np.abs(sampled(picture, moved, Border.REPLICATE) - wanted).max() <= 1


def test_neighbouring_triangles_leave_no_gap() -> None:
    """Two triangles of a square take all its pixels between them, and the last one lies on top."""
    label = painted(SQUARE, (8, 8))
    assert label.min() == 0
    assert label.max() == 1
    assert (painted(np.concatenate([SQUARE, SQUARE[:1] - 20.0]), (8, 8)) == label).all()
    covered = painted(np.concatenate([SQUARE, SQUARE * 2.0 - 4.0]), (8, 8))
    assert covered.min() == 2


def test_what_nothing_covers_is_minus_one() -> None:
    """A pixel that no triangle touches has no number; corners far away do no harm."""
    assert (painted(np.empty((0, 3, 2)), (4, 3)) == -1).all()
    assert (painted(SQUARE + 1e12, (4, 3)) == -1).all()
