"""What `inspect` draws: the photo with its boxes and points, its quality as bars beside it."""

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pipeline.evidence import Box, FaceEvidence, Mesh, Pixels, Quality
from pipeline.face.align import FIVE_POINTS

_SIZE_IN = (14.0, 5.0)
_DPI = 100
_CLOSE_UP = 1.5  # side of the close-up over the longer side of the face box
_GOOD, _FAIR, _POOR = "#2e9e6b", "#d9a514", "#c8443c"
_ALIGNED = "#39c2ff"


def draw_evidence(pixels: Pixels, found: FaceEvidence) -> bytes:
    """The whole photo, its main face close up, and its quality, as PNG bytes.

    `pixels` is `(H, W, 3)` uint8 RGB, upright, at any scale; evidence is in full-size pixels
    and is drawn where it belongs. Green is the main face's box, amber other boxes and the
    detector's points, white the mesh, blue the five points that alignment uses.
    """
    figure = Figure(figsize=_SIZE_IN, dpi=_DPI, layout="constrained")
    photo, close_up, bars = figure.subplots(1, 3, width_ratios=[5, 5, 4])
    _draw_photo(photo, pixels, found, point_size=2.0)
    photo.set_title(", ".join(found.feedback), color=_GOOD if found.is_fit else _POOR, loc="left")
    if found.detections:
        _draw_photo(close_up, pixels, found, point_size=10.0)
        _zoom(close_up, found.detections[0].box)
    else:
        close_up.set_axis_off()
    _draw_quality(bars, found.quality)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _draw_photo(axes: Axes, pixels: Pixels, found: FaceEvidence, point_size: float) -> None:
    axes.imshow(pixels, extent=(0, found.width_px, found.height_px, 0), interpolation="antialiased")
    for rank, face in enumerate(found.detections):
        box = face.box
        axes.add_patch(
            Rectangle(
                (box.left_px, box.top_px),
                box.width_px,
                box.height_px,
                fill=False,
                linewidth=1.8,
                edgecolor=_GOOD if rank == 0 else _FAIR,
            )
        )
        points = face.keypoints
        axes.scatter(points[:, 0], points[:, 1], s=4 * point_size, c=_FAIR, linewidths=0)
    if isinstance(found.mesh, Mesh):
        points = found.mesh.points
        axes.scatter(points[:, 0], points[:, 1], s=point_size / 2, c="white", linewidths=0)
        five = points[list(FIVE_POINTS)]
        axes.scatter(
            five[:, 0], five[:, 1], s=7 * point_size, facecolors="none", edgecolors=_ALIGNED
        )
    axes.set_xlim(0, found.width_px)
    axes.set_ylim(found.height_px, 0)
    axes.set_axis_off()


def _zoom(axes: Axes, box: Box) -> None:
    half = _CLOSE_UP * max(box.width_px, box.height_px) / 2
    x, y = (box.left_px + box.right_px) / 2, (box.top_px + box.bottom_px) / 2
    axes.set_xlim(x - half, x + half)
    axes.set_ylim(y + half, y - half)


def _draw_quality(axes: Axes, quality: tuple[Quality, ...]) -> None:
    places = np.arange(len(quality))
    values = [part.value or 0 for part in quality]
    colours = [_GOOD if v >= 66 else _FAIR if v >= 33 else _POOR for v in values]
    axes.barh(places, values, color=colours, height=0.7)
    for place, part in zip(places, quality, strict=True):
        label = "failure to assess" if part.value is None else str(part.value)
        axes.text(max(part.value or 0, 2) + 2, float(place), label, va="center", fontsize=8)
    axes.set_yticks(places, [part.measure.replace("_", " ") for part in quality], fontsize=8)
    axes.set_xlim(0, 118)
    axes.invert_yaxis()
    axes.set_xticks([0, 50, 100])
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title("quality, 0 to 100", fontsize=9, loc="left")
