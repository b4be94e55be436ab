"""Signs and size of the head pose: on turned points, mirrored photos and turned photos."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.evidence import FaceEvidence, Mesh, Pixels, Pose
from pipeline.face.pose import PITCH_NEUTRAL_DEG, pose_of
from pipeline.image.decode import decode, encode_png
from pipeline.image.header import read_header
from pipeline.models.load import LoadedPack
from tests.pipeline.image.degradations import turned

ROLL_ERROR_DEG = 3.0
FRONTAL_DEG = 10.0
RIGHT_EYE, LEFT_EYE, FOREHEAD, CHIN = 33, 263, 10, 152


def between(low_deg: float, high_deg: float) -> st.SearchStrategy[float]:
    """No subnormal numbers: models loaded in the same process may have switched them off."""
    return st.floats(low_deg, high_deg, allow_subnormal=False)


angles = between(-60.0, 60.0)


def head(yaw_deg: float = 0.0, pitch_deg: float = 0.0, roll_deg: float = 0.0) -> Mesh:
    """A face that reads zero, looked up, then turned to its left, then tipped clockwise."""
    points = np.zeros((468, 3))
    points[[RIGHT_EYE, LEFT_EYE]] = [[-50.0, -30.0, 0.0], [50.0, -30.0, 0.0]]
    points[[FOREHEAD, CHIN]] = [[0.0, -80.0, 0.0], [0.0, 90.0, 0.0]]
    neutral = about_x(-PITCH_NEUTRAL_DEG)
    turn = about_z(roll_deg) @ about_y(yaw_deg) @ about_x(pitch_deg) @ neutral
    return Mesh((points @ turn.T + [300.0, 200.0, 0.0]).astype(np.float32), 1.0)


def about_x(angle_deg: float) -> NDArray[np.float64]:
    """Looking up: the chin comes nearer, and nearer is smaller z."""
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    return np.array([[1, 0, 0], [0, c, s], [0, -s, c]])


def about_y(angle_deg: float) -> NDArray[np.float64]:
    """Turning to the subject's left: their left eye, on the right of the picture, recedes."""
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    return np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])


def about_z(angle_deg: float) -> NDArray[np.float64]:
    """Tipping clockwise as seen."""
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


@given(angles, angles, between(-170.0, 170.0))
def test_a_turned_head_reads_its_angles(yaw: float, pitch: float, roll: float) -> None:
    """All three angles of a rigid turn come back with their signs, together or alone."""
    found = pose_of(head(yaw, pitch, roll))
    expected = (yaw, pitch, roll)
    assert (found.yaw_deg, found.pitch_deg, found.roll_deg) == pytest.approx(expected, abs=0.01)


@given(angles, angles, between(-80.0, 80.0))
def test_a_mirrored_head_turns_the_other_way(yaw: float, pitch: float, roll: float) -> None:
    """A mirror flips yaw and roll and leaves pitch alone."""
    points = head(yaw, pitch, roll).points.copy()
    points[:, 0] = 600.0 - points[:, 0]
    points[[RIGHT_EYE, LEFT_EYE]] = points[[LEFT_EYE, RIGHT_EYE]]
    found = pose_of(Mesh(points, 1.0))
    expected = (-yaw, pitch, -roll)
    assert (found.yaw_deg, found.pitch_deg, found.roll_deg) == pytest.approx(expected, abs=0.01)


def test_points_that_coincide_are_survived() -> None:
    """A degenerate mesh yields finite angles, not an error."""
    found = pose_of(Mesh(np.zeros((468, 3), np.float32), 0.0))
    assert np.isfinite([found.yaw_deg, found.pitch_deg, found.roll_deg]).all()


def poses(pack: LoadedPack, pictures: list[Pixels]) -> NDArray[np.float64]:
    """`(N, 3)` yaw, pitch and roll of pictures that each show a face."""
    rows = []
    for found in pack.faces.run([encode_png(np.ascontiguousarray(each)) for each in pictures]):
        assert isinstance(found, FaceEvidence)
        assert isinstance(found.pose, Pose)
        rows.append((found.pose.yaw_deg, found.pose.pitch_deg, found.pose.roll_deg))
    return np.array(rows)


@pytest.fixture(scope="module")
def people(johns: list[tuple[str, bytes]]) -> list[Pixels]:
    """Every fourth of the labelled photos."""
    return [decode(data, read_header(data), 10_000).pixels for _, data in johns[::4]]


@pytest.mark.models
@pytest.mark.shared
def test_a_mirrored_photo_turns_the_other_way(pack: LoadedPack, people: list[Pixels]) -> None:
    """On real photos a mirror flips yaw and roll and leaves pitch alone, within a few degrees."""
    plain, mirrored = poses(pack, people), poses(pack, [each[:, ::-1] for each in people])
    apart = np.abs(mirrored - plain * [-1.0, 1.0, -1.0])
    assert np.median(apart, axis=0).max() < 2.0
    assert apart.max() < 8.0
    assert np.ptp(plain[:, 0]) > 15.0  # heads that all look ahead would prove no sign


@pytest.mark.models
@pytest.mark.shared
@pytest.mark.parametrize("angle_deg", [-30.0, -15.0, 15.0, 30.0])
def test_roll_follows_a_turned_photo(
    pack: LoadedPack, people: list[Pixels], astronaut: Pixels, angle_deg: float
) -> None:
    """A photo turned clockwise by an angle rolls by that angle, within 3 degrees."""
    pictures = [*people, astronaut]
    upright = poses(pack, [turned(each, 0.0) for each in pictures])
    tipped = poses(pack, [turned(each, angle_deg) for each in pictures])
    assert tipped[:, 2] - upright[:, 2] == pytest.approx(angle_deg, abs=ROLL_ERROR_DEG)


@pytest.mark.models
@pytest.mark.shared
def test_frontal_faces_read_about_zero(pack: LoadedPack, johns: list[tuple[str, bytes]]) -> None:
    """The median pitch of people who face the camera is within a degree of zero."""
    found = poses(pack, [decode(data, read_header(data), 10_000).pixels for _, data in johns])
    frontal = found[np.abs(found[:, 0]) < FRONTAL_DEG]
    assert len(frontal) >= 40
    assert abs(np.median(frontal[:, 1])) < 1.0


@pytest.mark.models
@pytest.mark.shared
def test_a_raised_and_a_bowed_head_differ(pack: LoadedPack, johns: list[tuple[str, bytes]]) -> None:
    """The photo of a man with his chin up reads higher than another with his head bowed."""
    photos = [decode(data, read_header(data), 10_000).pixels
              for person, data in johns if person == "John_Simm"]  # fmt: skip
    raised, bowed = poses(pack, [photos[0], photos[5]])
    assert raised[1] > FRONTAL_DEG / 2
    assert bowed[1] < -FRONTAL_DEG
