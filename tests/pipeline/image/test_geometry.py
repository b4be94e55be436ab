"""Transforms, warps and points agree, in one convention, to a fraction of a pixel."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.errors import Code, PipelineError
from pipeline.evidence import Pixels, Points
from pipeline.image import geometry
from pipeline.image.geometry import Border

IDENTITY = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])


def spot(width_px: int, height_px: int, center: tuple[float, float], sigma_px: float) -> Pixels:
    """A white Gaussian spot on black, its centre given in the continuous convention."""
    y, x = np.mgrid[0:height_px, 0:width_px] + 0.5
    bell = np.exp(-((x - center[0]) ** 2 + (y - center[1]) ** 2) / (2 * sigma_px**2))
    return np.repeat(np.round(255 * bell).astype(np.uint8)[:, :, np.newaxis], 3, axis=2)


def centroid(pixels: Pixels) -> NDArray[np.float64]:
    y, x = np.mgrid[0 : pixels.shape[0], 0 : pixels.shape[1]] + 0.5
    weight = pixels[:, :, 0].astype(np.float64)
    return np.array([np.average(x, weights=weight), np.average(y, weights=weight)])


def points(*rows: tuple[float, ...]) -> Points:
    return np.array(rows, np.float32)


def noise(width_px: int, height_px: int) -> Pixels:
    rng = np.random.default_rng(7)
    return rng.integers(1, 255, (height_px, width_px, 3), dtype=np.uint8)


@settings(deadline=None)  # a busy machine is no failure
@given(
    scale=st.floats(0.01, 100),
    angle_rad=st.floats(-math.pi, math.pi),
    shift=st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)),
)
def test_similarity_recovers_what_moved_the_points(
    scale: float, angle_rad: float, shift: tuple[float, float]
) -> None:
    """Points moved by a similarity give that similarity back."""
    cosine, sine = scale * math.cos(angle_rad), scale * math.sin(angle_rad)
    truth = np.array([[cosine, -sine, shift[0]], [sine, cosine, shift[1]]])
    source = points((10, 20), (110, 25), (60, 90), (15, 140))
    target = source.astype(np.float64) @ truth[:, :2].T + truth[:, 2]
    assert np.allclose(geometry.similarity(source, target), truth, atol=1e-6 * max(1, scale))


def test_similarity_is_the_least_squares_one() -> None:
    """No nearby similarity fits noisy points better."""
    rng = np.random.default_rng(3)
    source = rng.uniform(0, 100, (5, 2)).astype(np.float32)
    target = (source * 1.5 + 10 + rng.normal(0, 4, (5, 2))).astype(np.float32)

    def error(transform: NDArray[np.float64]) -> float:
        moved = source.astype(np.float64) @ transform[:, :2].T + transform[:, 2]
        return float(((moved - target) ** 2).sum())

    best = geometry.similarity(source, target)
    for a, b, x, y in 1e-3 * np.vstack([np.eye(4), -np.eye(4)]):
        assert error(best + np.array([[a, -b, x], [b, a, y]])) > error(best)


def test_similarity_never_reflects() -> None:
    """Mirrored points get the best rotation, whose determinant stays positive."""
    source = points((0, 0), (10, 0), (10, 30), (3, 7))
    transform = geometry.similarity(source, source * np.array([-1, 1], np.float32))
    assert np.linalg.det(transform[:, :2]) > 0


@pytest.mark.parametrize(
    ("source", "target"),
    [
        (points((1, 1)), points((1, 1))),
        (points((5, 5), (5, 5), (5, 5)), points((0, 0), (1, 0), (0, 1))),
        (points((0, 0), (1, 0), (0, 1)), points((5, 5), (5, 5), (5, 5))),
        (points((0, 0), (1, math.nan)), points((0, 0), (1, 1))),
        (points((0, 0), (1, 1)), points((0, 0), (1, math.inf))),
        (points((0, 0), (1, 1)), points((0, 0), (1, 1), (2, 2))),
        (points((0, 0, 0), (1, 1, 1)), points((0, 0, 0), (1, 1, 1))),
    ],
)
def test_degenerate_points_define_no_similarity(source: Points, target: Points) -> None:
    """Coinciding, lone, infinite or mismatched points are refused with a code."""
    with pytest.raises(PipelineError) as caught:
        geometry.similarity(source, target)
    assert caught.value.code is Code.WRONG_SHAPE


def test_an_inverse_leads_back() -> None:
    """Points mapped there and back are where they were."""
    transform = np.array([[0.3, -1.2, 40.0], [1.2, 0.3, -7.0]])
    start = points((0, 0), (100, 50), (-3, 8))
    back = geometry.transform_points(
        geometry.transform_points(start, transform), geometry.invert(transform)
    )
    assert np.allclose(back, start, atol=1e-4)


@pytest.mark.parametrize(
    "transform",
    [np.zeros((2, 3)), np.full((2, 3), np.nan), IDENTITY * 1e12, np.eye(3), np.zeros(3)],
)
def test_a_transform_without_inverse_is_refused(transform: NDArray[np.float64]) -> None:
    """Flat, infinite and misshapen transforms have a code, in warps too."""
    for attempt in (geometry.invert, lambda t: geometry.warp(noise(20, 20), t, (5, 5))):
        with pytest.raises(PipelineError) as caught:
            attempt(transform)
        assert caught.value.code is Code.WRONG_SHAPE


def test_depth_follows_the_scale() -> None:
    """The third coordinate of a point grows with x and y, and is neither turned nor shifted."""
    quarter_turn_doubled = np.array([[0.0, -2.0, 5.0], [2.0, 0.0, 6.0]])
    moved = geometry.transform_points(points((1, 2, 3)), quarter_turn_doubled)
    assert moved.tolist() == [[1.0, 8.0, 6.0]]
    assert moved.dtype == np.float32


def test_whole_pixel_warps_copy_pixels() -> None:
    """The identity changes nothing; a shift by whole pixels only moves them."""
    source = noise(40, 30)
    assert np.array_equal(geometry.warp(source, IDENTITY, (40, 30)), source)
    shift = np.array([[1.0, 0.0, -7.0], [0.0, 1.0, -4.0]])
    assert np.array_equal(geometry.warp(source, shift, (10, 12)), source[4:16, 7:17])


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_shrinking_by_a_whole_factor_averages(factor: int) -> None:
    """Pixel edges, not pixel centres, are what scaling keeps in place: no half-pixel drift."""
    source = noise(60, 30)
    size_px = (60 // factor, 30 // factor)
    shrunk = geometry.warp(source, IDENTITY / factor, size_px)
    shape = (size_px[1], factor, size_px[0], factor, 3)
    assert np.abs(shrunk - source.reshape(shape).mean(axis=(1, 3))).max() <= 1.0


@settings(deadline=None)  # a busy machine is no failure
@given(
    scale=st.floats(0.08, 3.0),
    angle_rad=st.floats(-math.pi, math.pi),
    offset=st.tuples(st.floats(-8, 8), st.floats(-8, 8)),
)
def test_pixels_and_points_move_alike(
    scale: float, angle_rad: float, offset: tuple[float, float]
) -> None:
    """A spot in the crop lies where its transformed centre says, within a tenth of a pixel."""
    center = (151.3, 138.9)
    source = spot(310, 290, center, sigma_px=max(3.0, 2.0 / scale))
    around = (center[0] + offset[0], center[1] + offset[1])
    crop, transform = geometry.rotated_square_crop(source, around, 96 / scale, angle_rad, 96)
    expected = geometry.transform_points(points(center), transform)[0]
    assert np.abs(centroid(crop) - expected).max() < 0.1
    mapped_back = geometry.transform_points(expected[np.newaxis], geometry.invert(transform))
    assert np.abs(mapped_back - center).max() < 1e-3


def test_a_crop_by_a_lean_stands_upright() -> None:
    """A line that leans clockwise by the angle runs straight down in the crop."""
    angle_rad = 0.4
    along = (-math.sin(angle_rad), math.cos(angle_rad))  # "down" after a clockwise turn
    center = (100.0, 100.0)
    below = points((center[0] + 30 * along[0], center[1] + 30 * along[1]))
    _, transform = geometry.rotated_square_crop(noise(200, 200), center, 80.0, angle_rad, 160)
    assert np.allclose(geometry.transform_points(below, transform), [[80, 140]], atol=1e-3)


def test_borders_are_black_or_repeat_the_edge() -> None:
    """Outside the picture lies black, or the nearest edge pixel, however far away."""
    source = np.full((30, 40, 3), 200, np.uint8)
    for shift in (25.0, 1e4, -1e8):
        away = np.array([[1.0, 0.0, shift], [0.0, 1.0, 0.0]])
        outside = np.s_[:, :20] if shift > 0 else np.s_[:, 20:]
        assert geometry.warp(source, away, (40, 30))[outside].max() == 0
        assert geometry.warp(source, away, (40, 30), Border.REPLICATE).min() == 200


def test_a_mirrored_border_shows_the_picture_again() -> None:
    """A crop that lies half outside holds the pixels from as far inside."""
    source = noise(60, 40)
    shift = np.array([[1.0, 0.0, 20.0], [0.0, 1.0, 0.0]])
    crop = geometry.warp(source, shift, (25, 40), Border.MIRROR)
    assert np.array_equal(crop[:, 20:], source[:, :5])
    assert np.array_equal(crop[:, :20], source[:, 20:0:-1])


def test_only_the_needed_region_decides() -> None:
    """A small crop of a large picture equals the same crop of a small one around it."""
    source = noise(400, 400)
    small = source[100:300, 100:300]
    whole, _ = geometry.rotated_square_crop(source, (200, 200), 60, 0.7, 48)
    part, _ = geometry.rotated_square_crop(np.ascontiguousarray(small), (100, 100), 60, 0.7, 48)
    assert np.abs(whole.astype(int) - part).max() <= 1


def test_read_only_pixels_are_accepted() -> None:
    """Decoded pictures are read-only and are never written to."""
    source = noise(61, 47)
    source.setflags(write=False)
    assert geometry.warp(source, IDENTITY / 3, (20, 15)).shape == (15, 20, 3)


@pytest.mark.parametrize("size_px", [(0, 5), (5, 0), (5000, 5)])
def test_the_output_of_a_warp_is_bounded(size_px: tuple[int, int]) -> None:
    """No output and too much output are refused with a code."""
    with pytest.raises(PipelineError) as caught:
        geometry.warp(noise(20, 20), IDENTITY, size_px)
    assert caught.value.code is Code.WRONG_SHAPE


def test_an_extreme_shrink_stays_small() -> None:
    """A picture that shrinks to nothing is averaged over itself, not over a made-up border."""
    grey = np.full((50, 70, 3), 90, np.uint8)
    dot = geometry.warp(grey, IDENTITY * 1e-5, (3, 3), Border.REPLICATE)
    assert dot.tolist() == [[[90] * 3] * 3] * 3


@pytest.mark.parametrize(("width_px", "height_px"), [(504, 378), (378, 504), (60, 40), (33, 97)])
def test_a_fitted_square_holds_the_whole_picture(width_px: int, height_px: int) -> None:
    """The corners of the picture lie inside the margin, centred, with the aspect kept."""
    square, transform = geometry.fit_square(noise(width_px, height_px), 128, margin=0.1)
    assert square.shape == (128, 128, 3)
    corners = geometry.transform_points(points((0, 0), (width_px, height_px)), transform)
    assert corners.min() == pytest.approx(12.8, abs=1e-3)
    assert corners.sum(axis=0) == pytest.approx([128, 128], abs=1e-3)
    spans = corners[1] - corners[0]
    assert spans[0] / spans[1] == pytest.approx(width_px / height_px, rel=1e-4)


def test_a_fitted_square_has_an_empty_margin() -> None:
    """Black lies in the border, the picture fills the rest, and less than a pixel is between."""
    square, _ = geometry.fit_square(np.full((200, 200, 3), 255, np.uint8), 100, margin=0.2)
    inside = np.zeros((100, 100), bool)
    inside[19:81, 19:81] = True
    assert square[~inside].max() == 0
    assert square[21:79, 21:79].min() == 255


def test_points_found_in_a_fitted_square_lead_back() -> None:
    """What a detector sees in the square is found again in the picture, within half a pixel."""
    center = (311.0, 95.0)
    square, transform = geometry.fit_square(spot(504, 378, center, 12.0), 128, margin=0.1)
    seen = centroid(square)[np.newaxis].astype(np.float32)
    found = geometry.transform_points(seen, geometry.invert(transform))
    assert np.abs(found - center).max() < 0.5


@pytest.mark.parametrize("margin", [-0.1, 0.5, math.nan])
def test_a_margin_leaves_room_for_the_picture(margin: float) -> None:
    """Half the side or more, less than nothing, and no number at all are refused."""
    with pytest.raises(PipelineError) as caught:
        geometry.fit_square(noise(20, 20), 64, margin)
    assert caught.value.code is Code.WRONG_SHAPE


@pytest.mark.parametrize("size_px", [0.0, -4.0, math.inf, math.nan])
def test_a_crop_has_a_size(size_px: float) -> None:
    """Only positive, finite squares can be cropped."""
    with pytest.raises(PipelineError) as caught:
        geometry.rotated_square_crop(noise(20, 20), (10, 10), size_px, 0.0, 16)
    assert caught.value.code is Code.WRONG_SHAPE
