"""A plane against a head: what each error is on made bodies, whatever way they are turned."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.liveness.signs.depth import (
    head_error,
    mean_shape,
    plane_error,
    rotation_of,
    sheet_error,
)
from tests.pipeline.liveness.heads import Held, body, head, picture

ANGLES = st.floats(-30.0, 30.0)
WIDE = st.floats(12.0, 30.0) | st.floats(-30.0, -12.0)


@given(yaw=ANGLES, pitch=ANGLES, roll=ANGLES)
def test_a_turned_head_fits_the_head(yaw: float, pitch: float, roll: float) -> None:
    """The rigid fit finds any turn of a body, from a first guess that is 10 degrees off."""
    start = rotation_of(yaw + 10.0, pitch - 10.0, roll)
    assert head_error(body(), head(Held(yaw, pitch, roll)), start) < 1e-6


@given(yaw=WIDE, pitch=st.floats(-5.0, 5.0), roll=ANGLES)
def test_a_turned_head_fits_no_plane_and_no_sheet(yaw: float, pitch: float, roll: float) -> None:
    """From 12 degrees on, what planes leave over is far beyond the noise of a mesh."""
    turned = head(Held(yaw, pitch, roll))
    assert plane_error(body(), turned) > 0.02
    assert sheet_error(body(), turned) > 0.01


@given(yaw=WIDE, pitch=WIDE, roll=ANGLES)
def test_a_tilted_picture_fits_the_plane_and_not_the_head(
    yaw: float, pitch: float, roll: float
) -> None:
    """Any tilt of a flat picture is a homography to the last digit, and no turn of a head."""
    held = Held(yaw / 2, pitch / 2, roll)
    tilted = picture(held)
    assert plane_error(body(), tilted) < 1e-6
    assert head_error(body(), tilted, rotation_of(yaw, pitch, roll)) > 0.01


@given(bend=st.floats(-0.5, 0.5), yaw=WIDE, pitch=ANGLES)
def test_a_bent_picture_fits_the_sheet(bend: float, yaw: float, pitch: float) -> None:
    """A picture on a parabolic sheet, turned about two axes, leaves the sheet nothing over."""
    flat = body()
    bent = np.column_stack([flat[:, :2], bend * flat[:, 0] ** 2])
    assert sheet_error(flat, bent @ rotation_of(yaw, pitch, 0.0).T) < 1e-9


@given(yaw=ANGLES, pitch=ANGLES, roll=ANGLES, scale=st.floats(0.5, 2.0))
def test_the_mean_of_turned_shapes_is_the_shape(
    yaw: float, pitch: float, roll: float, scale: float
) -> None:
    """Shapes are laid over the first before they are averaged."""
    first = body() - body().mean(axis=0)
    turned = scale * first @ rotation_of(yaw, pitch, roll).T
    assert mean_shape([first, turned]) == pytest.approx(first, abs=1e-9)
