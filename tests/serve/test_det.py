"""The DET picture: readable files, whatever the curves and their names."""

import html
import io
import re
import subprocess
import sys
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from pipeline.decision.error_rates import ErrorRates, measure
from serve.pictures.det import CURVES_MAX, PictureFormat, draw_det

THRESHOLD = 0.36
NOTHING = np.empty(0)


def rates_of(seed: int = 0, distance: float = 0.3, pairs: int = 200) -> ErrorRates:
    rng = np.random.default_rng(seed)
    genuine = np.clip(rng.normal(0.6, 0.1, pairs), 0.0, 1.0)
    impostor = np.clip(rng.normal(0.6 - distance, 0.1, 2 * pairs), 0.0, 1.0)
    return measure(genuine, impostor, THRESHOLD)


def svg_texts(curves: dict[str, ErrorRates]) -> list[str]:
    """What the picture says: its letters are outlines, each text a comment beside them."""
    svg = draw_det(curves, THRESHOLD, "svg").decode()
    assert ET.fromstring(svg).tag.endswith("svg")  # noqa: S314 (our own text)
    return [html.unescape(text) for text in re.findall("<!-- (.*?) -->", svg, re.DOTALL)]


def test_png_is_a_square_picture_with_the_curve_in_it() -> None:
    """The PNG opens, is square, and holds pixels of the first curve's and second curve's colour."""
    curves = {"all": rates_of(), "night": rates_of(seed=1, distance=0.2)}
    picture = Image.open(io.BytesIO(draw_det(curves, THRESHOLD, "png")))
    assert (picture.format, picture.size) == ("PNG", (1050, 1050))
    colours = {colour for _, colour in picture.convert("RGB").getcolors(2**20) or []}
    assert {(0, 0, 0), (0x00, 0x72, 0xB2)} <= colours
    assert (0xD5, 0x5E, 0x00) not in colours


def test_every_curve_is_named_with_its_equal_error_rate() -> None:
    """The legend gives each drawn curve's EER and name, the title the threshold."""
    curves = {"all": rates_of(), "night": rates_of(seed=1, distance=0.2)}
    texts = svg_texts(curves)
    for name, rates in curves.items():
        assert rates.eer is not None
        assert f"EER {100 * rates.eer:.3g} %   {name}" in texts
    assert any("similarity 0.36" in text for text in texts)


@pytest.mark.parametrize("name", ["_hidden", r"$\frac{", "$a$", "a<b&c", "x--y", "%s {0}"])
def test_a_users_name_is_only_text(name: str) -> None:
    """Names that mean something to matplotlib or to XML are shown as they are."""
    (label,) = [text for text in svg_texts({name: rates_of()}) if text.startswith("EER")]
    assert label.replace("- -", "--").endswith(name)


@pytest.mark.parametrize(
    ("genuine", "impostor"),
    [
        ([0.9, 0.8], [0.1, 0.2]),  # no errors at any threshold between
        ([0.1], [0.9]),  # nothing but errors
        ([0.5, 0.5], [0.5]),  # one score for all
        ([1.0], [0.0] * 5000),
    ],
)
@pytest.mark.parametrize("picture_format", ["png", "svg"])
def test_extreme_curves_are_drawn(
    genuine: list[float], impostor: list[float], picture_format: PictureFormat
) -> None:
    """Rates of exactly 0 and 1, which the axes cannot show, end on the edge and not in an error."""
    rates = measure(np.array(genuine), np.array(impostor), THRESHOLD)
    picture = draw_det({"all": rates}, THRESHOLD, picture_format)
    assert picture != draw_det({}, THRESHOLD, picture_format)


def test_what_is_not_drawn_is_counted() -> None:
    """Sets without a curve and those beyond the maximum are left out, and the title says so."""
    curves = {f"g{number:02}": rates_of(pairs=20) for number in range(CURVES_MAX + 2)}
    curves["empty"] = measure(np.array([0.5]), NOTHING, THRESHOLD)
    texts = svg_texts(curves)
    assert sum(text.startswith("EER") for text in texts) == CURVES_MAX
    assert any("3 not drawn" in text for text in texts)
    assert not any("not drawn" in text for text in svg_texts({"all": rates_of()}))


def test_nothing_measured_is_an_empty_frame() -> None:
    """Without any curve there is still a picture, with axes and no legend."""
    texts = svg_texts({"all": measure(NOTHING, NOTHING, THRESHOLD)})
    assert any("1 not drawn" in text for text in texts)
    assert not any(text.startswith("EER") for text in texts)


@pytest.mark.parametrize("picture_format", ["png", "svg"])
def test_the_same_rates_give_the_same_bytes(picture_format: PictureFormat) -> None:
    """No date, version or random id is in the file, so pictures can be compared and cached."""
    first, second = (draw_det({"all": rates_of()}, THRESHOLD, picture_format) for _ in range(2))
    assert first == second


def test_drawing_leaves_no_global_state() -> None:
    """pyplot, which keeps every figure it makes, is never loaded."""
    code = "import sys, serve.pictures.det; sys.exit('matplotlib.pyplot' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], timeout=60, check=False)
    assert result.returncode == 0
