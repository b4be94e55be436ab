"""A calibration as a picture."""

from pipeline.face.compare import ScoreScale
from pipeline.image.decode import decode
from pipeline.image.header import read_header
from serve.domain.sweeps.calibration import threshold_for
from serve.pictures.calibration import draw_calibration
from tests.serve.calibration.galleries import MATCH_MIN, MODEL, strangers, swept, told

SCALE = ScoreScale(MODEL, 0.9, MATCH_MIN, 128)
TARGETS = (0.1, 0.05)


def test_a_picture_shows_errors_and_thresholds() -> None:
    """It is the same for the same calibration, another for another, and has ink in both panels."""
    pictures = []
    for seed in (1, 1, 2):
        _, templates = strangers(500, seed)
        calibration = swept(templates).calibrated()
        found = [threshold_for(calibration, target, 0.9) for target in TARGETS]
        known = [each for each in found if each is not None]
        assert len(known) == len(TARGETS)
        pictures.append(draw_calibration(calibration, known, TARGETS, SCALE.similarity))
    assert pictures[0] == pictures[1] != pictures[2]
    pixels = decode(pictures[0], read_header(pictures[0]), 10_000).pixels
    half = pixels.shape[1] // 2
    assert all(
        (part < 128).any(axis=2).mean() > 0.005 for part in (pixels[:, :half], pixels[:, half:])
    )


def test_nothing_to_show_is_drawn_too() -> None:
    """A gallery without an error, and one without a face."""
    for faces in (0, 500):
        calibration = told(faces, ()).calibrated()
        assert draw_calibration(calibration, [], TARGETS, SCALE.similarity).startswith(b"\x89PNG")
