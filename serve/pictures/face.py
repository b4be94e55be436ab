"""What `inspect` draws: the photo with its boxes and points, its quality as bars beside it."""

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from pipeline.evidence import FaceEvidence, Mesh, Pixels, Quality
from pipeline.face.align import FIVE_POINTS

PICTURE_SIDE_IN = 7.0
PANEL_WIDTH_IN = 4.2
DPI = 110
_GOOD, _FAIR, _POOR = "#2e9e6b", "#d9a514", "#c8443c"


def draw_evidence(pixels: Pixels, found: FaceEvidence) -> bytes:
    """The annotated photo as PNG bytes.

    `pixels` is `(H, W, 3)` uint8 RGB, upright, at any scale; evidence is in full-size pixels
    and is drawn where it belongs.
    """
    height_in = PICTURE_SIDE_IN * min(1.4, found.height_px / found.width_px)
    figure = Figure(figsize=(PICTURE_SIDE_IN + PANEL_WIDTH_IN, max(height_in, 4.0)), dpi=DPI)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(1, 2, width_ratios=[PICTURE_SIDE_IN, PANEL_WIDTH_IN], wspace=0.45)
    _draw_photo(figure.add_subplot(grid[0]), pixels, found)
    _draw_quality(figure.add_subplot(grid[1]), found.quality)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", bbox_inches="tight", facecolor="white")
    return stream.getvalue()


def _draw_photo(axes: Axes, pixels: Pixels, found: FaceEvidence) -> None:
    axes.imshow(pixels, extent=(0, found.width_px, found.height_px, 0), interpolation="antialiased")
    for rank, face in enumerate(found.detections):
        box = face.box
        axes.add_patch(
            Rectangle(
                (box.left_px, box.top_px),
                box.width_px,
                box.height_px,
                fill=False,
                linewidth=2.0 if rank == 0 else 1.0,
                edgecolor=_GOOD if rank == 0 else _FAIR,
            )
        )
        axes.scatter(face.keypoints[:, 0], face.keypoints[:, 1], s=18, c=_FAIR, linewidths=0)
    if isinstance(found.mesh, Mesh):
        points = found.mesh.points
        axes.scatter(points[:, 0], points[:, 1], s=1.2, c="white", alpha=0.55, linewidths=0)
        five = points[list(FIVE_POINTS)]
        axes.scatter(
            five[:, 0], five[:, 1], s=26, facecolors="none", edgecolors="#39c2ff", linewidths=1.4
        )
    axes.set_xlim(0, found.width_px)
    axes.set_ylim(found.height_px, 0)
    axes.set_axis_off()
    axes.set_title(", ".join(found.feedback), color=_GOOD if found.is_fit else _POOR, loc="left")


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
