"""Benchmark rows as a picture: where an image's time goes, and what batches and threads bring."""

import io
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from serve.bench.stages import Row

_SIZE_IN = (11.0, 4.2)
_DPI = 130


def draw_bench(rows: Sequence[Row]) -> bytes:
    """Two panels as PNG bytes: CPU ms of each stage by frame, images/s by batch and threads."""
    figure = Figure(figsize=_SIZE_IN, layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_stages(left, [row for row in rows if row.group == "stage"])
    _draw_layouts(right, [row for row in rows if row.group == "whole"])
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=_DPI, metadata={"Software": None})
    return stream.getvalue()


def _draw_stages(axes: Axes, rows: Sequence[Row]) -> None:
    """One bar for each frame, stacked by stage, at the batch size that is cheapest overall."""
    frames = list(dict.fromkeys(row.frame for row in rows))
    stages = list(dict.fromkeys(row.name for row in rows))
    bottoms = [0.0] * len(frames)
    for stage in stages:
        heights = [
            min(row.timing.cpu_ms for row in rows if (row.frame, row.name) == (frame, stage))
            for frame in frames
        ]
        axes.bar(frames, heights, bottom=bottoms, label=stage.replace("_", " "), width=0.6)
        bottoms = [bottom + height for bottom, height in zip(bottoms, heights, strict=True)]
    axes.set_ylabel("CPU ms per image, one thread")
    axes.set_ylim(top=1.3 * max(bottoms, default=1.0))
    axes.legend(fontsize=8, loc="upper left", ncols=4)
    axes.spines[["top", "right"]].set_visible(False)


def _draw_layouts(axes: Axes, rows: Sequence[Row]) -> None:
    """Throughput of the whole path over the batch size, a line for each frame and thread count."""
    for frame, threads in dict.fromkeys((row.frame, row.threads) for row in rows):
        line = [row for row in rows if (row.frame, row.threads) == (frame, threads)]
        axes.plot(
            [row.batch for row in line],
            [row.timing.images_per_s for row in line],
            marker="o",
            linestyle="-" if threads > 1 else "--",
            label=f"{frame}, {threads} thread{'s' if threads > 1 else ''}",
        )
    axes.set_xscale("log", base=2)
    axes.set_xlabel("images in a batch")
    axes.set_ylabel("images/s, bytes to template")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
