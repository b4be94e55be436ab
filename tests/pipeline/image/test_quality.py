"""Quality components: their formulas, their ranges, and what they make of nonsense."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.evidence import (
    Box,
    Detection,
    Image,
    ImageFormat,
    Measure,
    Mesh,
    Points,
    Pose,
    Quality,
)
from pipeline.face.align import CHIP_POINTS
from pipeline.image import features, light
from pipeline.image.framing import (
    Outline,
    crop_of_the_face_image,
    head_pose,
    head_size,
    inter_eye_distance,
    landmark_agreement,
    single_face_present,
)
from pipeline.image.quality import assess
from pipeline.image.rating import rated, sigmoid


def numbers(low: float, high: float) -> st.SearchStrategy[float]:
    """No subnormal ones: models loaded in the same process may have switched them off."""
    return st.floats(low, high, allow_subnormal=False)


finite, shares = numbers(-1e6, 1e6), numbers(0.0, 1.0)


def frame(width_px: int = 400, height_px: int = 500) -> Image:
    """A grey picture."""
    pixels = np.full((height_px, width_px, 3), 128, np.uint8)
    return Image(pixels, width_px, height_px, 1.0, ImageFormat.PNG)


def outline(size_px: float = 100.0, left_px: float = 150.0, top_px: float = 150.0) -> Outline:
    """A face of this eye-to-chin distance."""
    return Outline(0.6 * size_px, size_px, left_px, top_px,
                   left_px + 1.2 * size_px, top_px + 1.6 * size_px)  # fmt: skip


def value(part: Quality) -> int:
    assert part.value is not None
    return part.value


def face(side_px: float) -> Detection:
    """A square detection."""
    return Detection(Box(0.0, 0.0, side_px, side_px), 0.9, np.zeros((6, 2), np.float32))


def levels(**parts: float) -> NDArray[np.float64]:
    """A luma histogram: `dark=0.2` puts a fifth at 10, `bright` at 250, the rest at 120."""
    found = np.zeros(256)
    found[10], found[250] = parts.get("dark", 0.0), parts.get("bright", 0.0)
    found[120] = 1.0 - found.sum()
    return found


@given(finite, finite)
def test_a_rating_is_a_percentage(native: float, number: float) -> None:
    """Any finite number becomes a value of 0 to 100, with its native number kept."""
    part = rated(Measure.SHARPNESS, native, number)
    assert part.native == native
    assert 0 <= value(part) <= 100


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_a_number_is_a_failure_to_assess(odd: float) -> None:
    """A number that is not finite yields neither a value nor a native one."""
    failed = Quality(Measure.SHARPNESS, None, None)
    assert rated(Measure.SHARPNESS, odd, 50.0) == failed
    assert rated(Measure.SHARPNESS, 0.5, odd) == failed


@given(finite, finite, numbers(0.001, 100.0))
def test_a_sigmoid_rises(x: float, y: float, width: float) -> None:
    """A larger number never rates lower, and the centre is a half."""
    low, high = sorted((x, y))
    assert sigmoid(low, 0.0, width) <= sigmoid(high, 0.0, width)
    assert sigmoid(1.5, 1.5, width) == 0.5


@given(finite, finite)
def test_a_face_that_turns_away_rates_lower(first: float, second: float) -> None:
    """Pose values fall with the angle, in both directions, to 0 at a right angle."""
    small, large = sorted((abs(first) % 180.0, abs(second) % 180.0))
    nearer = [value(part) for part in head_pose(Pose(small, -small, small))]
    further = [value(part) for part in head_pose(Pose(-large, large, -large))]
    assert all(here >= there for here, there in zip(nearer, further, strict=True))
    assert [value(part) for part in head_pose(Pose(0.0, 45.0, 90.0))] == [100, 50, 0]


def test_eye_distance_counts_full_pixels_as_from_the_front() -> None:
    """The distance undoes the decoder's scale and the yaw; 70 px rate 50, as in the standard."""
    part = inter_eye_distance(outline(size_px=100.0), Pose(60.0, 0.0, 0.0), 0.25)
    assert part.native == pytest.approx(60.0 / 0.25 / 0.5)
    assert value(inter_eye_distance(outline(700.0 / 6.0), Pose(0.0, 0.0, 0.0), 1.0)) == 50
    assert inter_eye_distance(outline(), Pose(120.0, 0.0, 0.0), 1.0).value is None


@given(shares, shares)
def test_a_larger_second_face_rates_lower(first: float, second: float) -> None:
    """The value falls with the second face's share of the first one's area, from 100 to 0."""
    small, large = sorted((first, second))
    here, there = (
        value(single_face_present([face(100.0), face(100.0 * side)])) for side in (small, large)
    )
    assert here >= there
    assert value(single_face_present([face(80.0)])) == 100
    assert value(single_face_present([face(80.0), face(80.0)])) == 0
    assert single_face_present([]).value is None


def test_a_doubtful_second_face_is_none() -> None:
    """What the detector hardly believes in does not count as company."""
    doubtful = Detection(Box(0.0, 0.0, 90.0, 90.0), 0.55, np.zeros((6, 2), np.float32))
    assert value(single_face_present([face(100.0), doubtful])) == 100
    assert value(single_face_present([doubtful])) == 100


def test_head_size_knows_tall_frames() -> None:
    """A face is as large in a phone's tall frame as in the 4 to 5 frame it fills as well."""
    tall, passport = frame(400, 900), frame(400, 500)
    assert head_size(outline(), tall).native == head_size(outline(), passport).native
    sizes = [value(head_size(outline(size), passport)) for size in (20.0, 100.0, 200.0, 400.0)]
    assert max(sizes[0], sizes[3]) < 10
    assert min(sizes[1], sizes[2]) > 90


@given(numbers(-100.0, 250.0), numbers(-100.0, 250.0))
def test_a_face_nearer_the_border_rates_lower(first: float, second: float) -> None:
    """The value falls with the clearance and is a half where the outline touches the border."""
    near, far = sorted((first, second))
    here, there = (
        value(crop_of_the_face_image(outline(left_px=left), frame(2_000))) for left in (near, far)
    )
    assert here <= there
    assert value(crop_of_the_face_image(outline(left_px=0.0), frame())) == 50


@given(shares, shares)
def test_exposure_falls_with_the_share_of_lost_pixels(first: float, second: float) -> None:
    """More black or more burnt-out skin never rates higher."""
    few, many = sorted((first, second))
    for kind, measure in (("dark", light.under_exposure_prevention),
                          ("bright", light.over_exposure_prevention)):  # fmt: skip
        parts = [measure(levels(**{kind: part})) for part in (few, many)]
        assert parts[0].native == pytest.approx(few)
        assert value(parts[0]) >= value(parts[1])
        assert value(measure(levels())) == 100


def test_dynamic_range_is_an_entropy() -> None:
    """Even use of all levels is 8 bits and 100, one level is none."""
    even, one = light.dynamic_range(np.full(256, 1 / 256)), light.dynamic_range(levels())
    assert even.native == pytest.approx(8.0)
    assert one.native == 0.0
    assert (even.value, one.value) == (100, 0)


def texture(smoothing: int) -> light.Luma:
    """Noise averaged over squares of this side: the more, the softer."""
    noise = np.random.default_rng(7).normal(128.0, 40.0, (105, 100))
    sums = np.cumsum(np.cumsum(np.pad(noise, ((1, 0), (1, 0))), axis=0), axis=1)
    k = smoothing
    means = (sums[k:, k:] - sums[:-k, k:] - sums[k:, :-k] + sums[:-k, :-k]) / k**2
    return means[:85, :80].astype(np.float32)


def test_sharpness_falls_with_blur_alone() -> None:
    """Softer texture rates lower; contrast and brightness change nothing; no texture, no answer."""
    natives = [light.sharpness(texture(side)).native or 0.0 for side in (1, 3, 5, 7, 11)]
    assert natives == sorted(natives, reverse=True)
    faint = light.sharpness(texture(5) * np.float32(0.2) + np.float32(10.0))
    assert faint.native == pytest.approx(natives[2], rel=1e-3)
    assert light.sharpness(np.full((85, 80), 77.0, np.float32)).value is None


def test_the_windows_lie_on_the_chip_s_eyes() -> None:
    """The places where eyes are looked for are those where alignment puts them."""
    left, right = CHIP_POINTS[[0, 1]].mean(axis=0), CHIP_POINTS[[2, 3]].mean(axis=0)
    for windows in (features.LID_WINDOWS, features.EYE_WINDOWS):
        for (rows, columns), eye in zip(windows, (right, left), strict=True):
            assert (columns.start + columns.stop) / 2 == pytest.approx(eye[0], abs=1.0)
            assert (rows.start + rows.stop) / 2 == pytest.approx(eye[1], abs=1.0)


def test_a_grey_face_cannot_be_called_bare() -> None:
    """Without colours a cover cannot be told: a failure to assess, not a number."""
    grey = np.random.default_rng(1).integers(0, 255, (150, 150, 1), np.uint8).repeat(3, axis=2)
    assert features.face_occlusion_prevention(grey).value is None


def test_models_that_disagree_rate_low() -> None:
    """Key points away from the mesh, or a mesh in doubt, fall below 1; agreement is far above."""
    points = np.random.default_rng(2).uniform(100.0, 300.0, (468, 3)).astype(np.float32)
    shape = Outline.of(Mesh(points, 1.0))
    flat = points[:, :2]
    agreed = np.stack([flat[[33, 133]].mean(axis=0), flat[[362, 263]].mean(axis=0), flat[1],
                       flat[[13, 14]].mean(axis=0), flat[0], flat[0]])  # fmt: skip
    box = Box(100.0, 100.0, 300.0, 300.0)

    def native(keypoints: Points, presence: float) -> float:
        found = landmark_agreement(Detection(box, 0.9, keypoints), Mesh(points, presence), shape)
        assert found.native is not None
        return found.native

    apart = agreed + np.float32(0.3 * shape.eye_distance_px)
    assert native(agreed, 1.0) == 10.0
    assert native(apart, 1.0) == pytest.approx(0.15 / (0.3 * np.sqrt(2.0)), rel=1e-3)
    assert native(agreed, 0.9) == pytest.approx(0.05)


@given(st.sampled_from([0.0, 1.0, float("nan"), float("inf"), -1e9]), st.integers(0, 255))
def test_any_mesh_is_survived(coordinate: float, level: int) -> None:
    """A mesh of nonsense on a flat chip yields every component and raises nothing."""
    mesh = Mesh(np.full((468, 3), coordinate, np.float32), 1.0)
    chip = np.full((150, 150, 3), level, np.uint8)
    found = assess(frame(), [face(50.0)], mesh, Pose(coordinate, 0.0, 0.0), chip)
    assert [part.measure for part in found] == list(Measure)
    assert all(part.value is None or 0 <= part.value <= 100 for part in found)
