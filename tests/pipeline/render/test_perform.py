"""The models read off a rendered head what was drawn: real photos, real models."""

import numpy as np
import pytest

from pipeline.decision.comparison import Comparison
from pipeline.evidence import FaceEvidence, Measure, Mesh, Pixels, Pose, Template
from pipeline.face.steps import FRAME, SELFIE
from pipeline.image.decode import decode, encode_jpeg, encode_png
from pipeline.image.header import read_header
from pipeline.liveness.challenge import Step
from pipeline.models.load import LoadedPack
from pipeline.render.camera import Camera
from pipeline.render.draw import STILL, Attitude, draw_head
from pipeline.render.head import SIDE_PX, Head, head_of
from pipeline.render.perform import perform
from serve.demo.tiles import ENLARGED, ENROLLED, STRANGER, make_selfie

pytestmark = pytest.mark.models

YAW_GAIN = (0.7, 1.6)  # read over drawn: the mesh reads more of some faces, less of others


def examined(pack: LoadedPack, data: bytes) -> FaceEvidence:
    (evidence,) = pack.faces.run([data], SELFIE)
    assert isinstance(evidence, FaceEvidence)
    return evidence


def body(pack: LoadedPack, data: bytes, photo: Pixels) -> Head:
    evidence = examined(pack, data)
    assert isinstance(evidence.mesh, Mesh)
    assert isinstance(evidence.pose, Pose)
    return head_of(photo, evidence.mesh, evidence.pose)


@pytest.fixture(scope="module")
def heads(pack: LoadedPack, tiles: list[list[Pixels]], astronaut: Pixels) -> list[Head]:
    """The portrait, and three tiles of 106 px as a phone would send them."""
    places = (*ENROLLED[1:], *STRANGER)
    enlarged = [
        np.ascontiguousarray(tiles[row][column].repeat(ENLARGED, 0).repeat(ENLARGED, 1))
        for row, column in places
    ]
    selfies = [make_selfie(tiles[row][column]) for row, column in places]
    return [
        body(pack, encode_png(astronaut), astronaut),
        *(body(pack, *pair) for pair in zip(selfies, enlarged, strict=True)),
    ]


def read(pack: LoadedPack, head: Head, *attitudes: Attitude) -> list[dict[str, float]]:
    """Yaw and pitch, deg, and the native numbers of eyes and mouth, of each attitude drawn."""
    frames = [encode_jpeg(draw_head(head, each), 90) for each in attitudes]
    found = []
    for evidence in pack.faces.run(frames, FRAME):
        assert isinstance(evidence, FaceEvidence)
        assert isinstance(evidence.pose, Pose)
        assert len(evidence.detections) == 1
        native = {each.measure: each.native or 0.0 for each in evidence.quality}
        found.append({
            "yaw": evidence.pose.yaw_deg,
            "pitch": evidence.pose.pitch_deg,
            "eyes": native[Measure.EYES_OPEN],
            "mouth": native[Measure.MOUTH_CLOSED],
        })  # fmt: skip
    return found


def test_the_pose_that_was_drawn_is_read(pack: LoadedPack, heads: list[Head]) -> None:
    """Turned by 12 and 24 degrees to either side, and bowed, the mesh sees so, once it is sure of
    neither more nor less than people differ by.
    """
    for head in heads:
        rest, *turned, bowed = read(
            pack, head, STILL, *(Attitude(yaw_deg=each) for each in (-24.0, -12.0, 12.0, 24.0)),
            Attitude(pitch_deg=-14.0),
        )  # fmt: skip
        assert abs(rest["yaw"]) < 4.0
        yaws = [each["yaw"] for each in turned]
        assert yaws == sorted(yaws)
        for drawn, seen in zip((-24.0, -12.0, 12.0, 24.0), yaws, strict=True):
            assert YAW_GAIN[0] < seen / drawn < YAW_GAIN[1]
        assert bowed["pitch"] < rest["pitch"] - 9.0


def test_eyes_and_mouth_that_were_drawn_are_read(pack: LoadedPack, heads: list[Head]) -> None:
    """Shut eyes read a tenth less open at least, narrow ones too; an open mouth wider by a
    twelfth of the face.
    """
    for head in heads:
        rest, shut, wide = read(
            pack, head, STILL, Attitude(eyes_shut=1.0), Attitude(mouth_open=0.6)
        )
        assert shut["eyes"] < 0.9 * rest["eyes"]
        assert wide["mouth"] > rest["mouth"] + 0.08


def test_a_head_at_rest_is_the_person_of_the_photo(pack: LoadedPack, astronaut: Pixels) -> None:
    """Looking ahead and turned by 12 degrees, the rendered face matches the photo it is from."""
    photo = examined(pack, encode_png(astronaut))
    head = body(pack, encode_png(astronaut), astronaut)
    assert isinstance(photo.template, Template)
    for attitude in (STILL, Attitude(yaw_deg=12.0)):
        drawn = examined(pack, encode_jpeg(draw_head(head, attitude), 90))
        assert isinstance(drawn.template, Template)
        compared: Comparison = pack.scale.compare(photo.template, drawn.template)
        assert compared.native >= pack.scale.verify_threshold


def test_a_clip_comes_of_its_chance_alone(heads: list[Head]) -> None:
    """The same seed gives the same bytes; another one, other bytes; times rise strictly."""
    steps = (Step.NOD, Step.BLINK)
    one, again, other = (
        perform(heads[0], steps, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert one == again
    assert set(one.frames).isdisjoint(other.frames)
    assert len(set(one.frames)) == len(one.frames) == len(one.captured_ms)
    assert (np.diff(one.captured_ms) > 0).all()


def test_the_light_of_the_screen_shows_on_the_face() -> None:
    """A white screen makes the middle of the frame brighter than a black one, its corners less."""
    scene = np.full((SIDE_PX, SIDE_PX, 3), 120, np.uint8)
    camera = Camera.held(np.random.default_rng(3))
    dark, bright = (
        decode(data, read_header(data), SIDE_PX).pixels.astype(float)
        for data in (camera.shoot(scene, light) for light in (0.0, 1.0))
    )
    gained, middle, corner = bright - dark, slice(150, 230), slice(0, 40)
    assert gained[middle, middle].mean() > 20.0
    assert gained[middle, middle].mean() > 5.0 * gained[corner, corner].mean()


def test_heads_and_clips_hide_what_they_show(heads: list[Head]) -> None:
    """No pixel, no point and no frame is in a repr."""
    clip = perform(heads[0], (Step.NOD, Step.BLINK), np.random.default_rng(4), frames_per_s=2.0)
    assert "array" not in repr(heads[0])
    assert "\\x" not in repr(clip)
