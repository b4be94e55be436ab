"""What goes wrong with a selfie, drawn onto a good one: the rows of the conformance table.

Every function takes a `Photo` and returns its picture spoilt in one way, `(H, W, 3)` uint8 RGB.
Lengths follow the face, so that a row means the same on every photo.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pipeline.evidence import FaceEvidence, Mesh, Pixels, Pose
from pipeline.face.align import CHIP_POINTS
from pipeline.image.decode import encode_png
from pipeline.image.geometry import Border, warp
from pipeline.models.load import LoadedPack

Colour = tuple[int, int, int]  # RGB

RIGHT_EYE, LEFT_EYE = (33, 133), (263, 362)  # outer and inner corner
LIDS = (
    ((33, 246, 161, 160, 159, 158, 157, 173, 133), (33, 7, 163, 144, 145, 153, 154, 155, 133)),
    ((263, 466, 388, 387, 386, 385, 384, 398, 362), (263, 249, 390, 373, 374, 380, 381, 382, 362)),
)
JAW = (234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 152, 377,
       400, 378, 379, 365, 397, 288, 361, 323, 454, 280, 6, 50)  # fmt: skip
EYE_DISTANCE_OF_CHIP_PX = float(
    np.linalg.norm(CHIP_POINTS[[0, 1]].mean(axis=0) - CHIP_POINTS[[2, 3]].mean(axis=0))
)
_CHEEK, _LIPS = 50, (13, 14)


@dataclass(frozen=True, slots=True)
class Photo:
    """A picture and the `(468, 2)` mesh points of the face in it, px."""

    pixels: Pixels
    points: NDArray[np.float32]
    pose: Pose

    @property
    def eye_distance_px(self) -> float:
        """Between the eye centres."""
        return float(np.linalg.norm(self.middle(*RIGHT_EYE) - self.middle(*LEFT_EYE)))

    @property
    def chip_px(self) -> float:
        """The side of one chip pixel in this picture: blurs are told in those."""
        return self.eye_distance_px / EYE_DISTANCE_OF_CHIP_PX

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the mesh."""
        left, top = self.points.min(axis=0).tolist()
        right, bottom = self.points.max(axis=0).tolist()
        return left, top, right, bottom

    @property
    def skin(self) -> Colour:
        """RGB a little darker than the subject's right cheek: the colour of their own hand."""
        x, y = self.points[_CHEEK].round().astype(int).tolist()
        around = self.pixels[y - 2 : y + 3, x - 2 : x + 3]
        red, green, blue = (around.mean(axis=(0, 1)) * 0.92).round().astype(int).tolist()
        return red, green, blue

    def middle(self, *indices: int) -> NDArray[np.float32]:
        """The mean of mesh points."""
        return np.asarray(self.points[list(indices)].mean(axis=0))


def look(pack: LoadedPack, pixels: Pixels) -> FaceEvidence:
    """What the chain finds in a picture."""
    (found,) = pack.faces.run([encode_png(pixels)])
    assert isinstance(found, FaceEvidence)
    return found


def photo(pack: LoadedPack, pixels: Pixels) -> Photo:
    """A picture with its mesh; it must show a face."""
    found = look(pack, pixels)
    assert isinstance(found.mesh, Mesh)
    assert isinstance(found.pose, Pose)
    return Photo(pixels, found.mesh.points[:, :2], found.pose)


def resized(pixels: Pixels, factor: float) -> Pixels:
    """Enlarged or shrunk."""
    height, width = pixels.shape[:2]
    transform = np.array([[factor, 0.0, 0.0], [0.0, factor, 0.0]])
    return warp(pixels, transform, (round(width * factor), round(height * factor)))


def turned(pixels: Pixels, angle_deg: float) -> Pixels:
    """Turned clockwise as seen, on a square that holds every corner; edges run on."""
    height, width = pixels.shape[:2]
    side = round(np.hypot(height, width))
    cosine, sine = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    turn = np.array([[cosine, -sine], [sine, cosine]])
    shift = np.array([side, side]) / 2 - turn @ (np.array([width, height]) / 2)
    return warp(pixels, np.column_stack([turn, shift]), (side, side), Border.REPLICATE)


def rolled(good: Photo, angle_deg: float) -> Pixels:
    """The picture turned until the head leans by this angle."""
    return turned(good.pixels, angle_deg - good.pose.roll_deg)


def shrunk_face(good: Photo, width_px: float) -> Pixels:
    """The face made `width_px` wide."""
    left, _, right, _ = good.box
    return resized(good.pixels, width_px / (right - left))


def defocused(good: Photo, sigma_chip_px: float) -> Pixels:
    """A Gaussian blur, in pixels of the chip."""
    sigma = sigma_chip_px * good.chip_px
    steps = np.arange(-round(3 * sigma), round(3 * sigma) + 1)
    weights = np.exp(-((steps / sigma) ** 2) / 2)
    across = _smeared(good.pixels.astype(np.float32), weights, axis=1)
    return _clipped(_smeared(across, weights, axis=0))


def moved(good: Photo, length_chip_px: float, axis: int) -> Pixels:
    """The streak of a moving hand, upright (0) or level (1), in pixels of the chip."""
    length = round(length_chip_px * good.chip_px) | 1
    return _clipped(_smeared(good.pixels.astype(np.float32), np.ones(length), axis))


def _smeared(values: NDArray[np.float32], weights: NDArray[np.float64], axis: int) -> (
    NDArray[np.float32]
):  # fmt: skip
    reach = len(weights) // 2
    sides = [(reach, reach) if i == axis else (0, 0) for i in range(3)]
    padded = np.pad(values, sides, mode="edge")
    size = values.shape[axis]
    total = np.zeros_like(values)
    for step, weight in enumerate(weights / weights.sum()):
        total += np.float32(weight) * padded.take(range(step, step + size), axis=axis)
    return total


def lit(good: Photo, gain: float) -> Pixels:
    """Every value multiplied, and clipped as a sensor clips."""
    return _clipped(good.pixels * np.float32(gain))


def kept(good: Photo, left: float, top: float, right: float, bottom: float) -> Pixels:
    """The part of the picture between these places, told in face boxes: 0 and 1 are its sides."""
    box_left, box_top, box_right, box_bottom = good.box
    width, height = box_right - box_left, box_bottom - box_top
    rows = slice(max(round(box_top + top * height), 0), max(round(box_top + bottom * height), 0))
    columns = slice(max(round(box_left + left * width), 0),
                    max(round(box_left + right * width), 0))  # fmt: skip
    return np.ascontiguousarray(good.pixels[rows, columns])


def covered_mouth(good: Photo, colour: Colour) -> Pixels:
    """A patch over the lips."""
    return _ellipse(good, good.middle(*_LIPS), (0.65, 0.38), colour)


def covered_eye(good: Photo, colour: Colour) -> Pixels:
    """A patch over the subject's right eye."""
    return _ellipse(good, good.middle(*RIGHT_EYE), (0.40, 0.30), colour)


def sunglasses(good: Photo) -> Pixels:
    """Two dark lenses."""
    for corners in (RIGHT_EYE, LEFT_EYE):
        pixels = _ellipse(good, good.middle(*corners), (0.42, 0.28), (18, 18, 20))
        good = replace(good, pixels=pixels)
    return good.pixels


def masked(good: Photo, colour: Colour) -> Pixels:
    """A surgical mask from the bridge of the nose to below the chin."""
    corners = good.points[list(JAW)]
    rows, columns = np.mgrid[: good.pixels.shape[0], : good.pixels.shape[1]].astype(np.float32)
    inside = np.zeros(rows.shape, bool)
    for (x, y), (next_x, next_y) in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        if y != next_y:
            crosses = (y > rows) != (next_y > rows)
            inside ^= crosses & (columns < (next_x - x) * (rows - y) / (next_y - y) + x)
    return _painted(good.pixels, inside, colour)


def shut_eyes(good: Photo) -> Pixels:
    """The skin above each eye drawn down over it, with a line of lashes at the lower lid."""
    pixels = good.pixels.astype(np.float32)
    height = len(pixels)
    for upper, lower in LIDS:
        above, below = (good.points[list(lid)] for lid in (upper, lower))
        above, below = above[above[:, 0].argsort()], below[below[:, 0].argsort()]
        start, end = above[0, 0], above[-1, 0]
        width = float(end - start)
        for x in range(round(start - 0.08 * width), round(end + 0.08 * width) + 1):
            top = np.interp(x, above[:, 0], above[:, 1]) - 0.07 * width
            bottom = np.interp(x, below[:, 0], below[:, 1]) + 0.06 * width
            first = top - 0.45 * width
            rows = np.arange(round(first), min(round(bottom) + 1, height))
            sources = first + (rows - first) * (top - first) / (bottom - first)
            column = good.pixels[:, x].astype(np.float32)
            for channel in range(3):
                pixels[rows, x, channel] = np.interp(sources, np.arange(height), column[:, channel])
            pixels[rows[-max(round(0.07 * width), 1) :], x] *= 0.35
    return _clipped(pixels)


def _ellipse(
    good: Photo, centre: NDArray[np.float32], radii: tuple[float, float], colour: Colour
) -> Pixels:
    """Painted over; radii across and down in eye distances."""
    rows, columns = np.mgrid[: good.pixels.shape[0], : good.pixels.shape[1]]
    across, down = (radius * good.eye_distance_px for radius in radii)
    where = ((columns - centre[0]) / across) ** 2 + ((rows - centre[1]) / down) ** 2 < 1.0
    return _painted(good.pixels, where, colour)


def _painted(pixels: Pixels, where: NDArray[np.bool_], colour: Colour) -> Pixels:
    """A cover with soft shades, as cloth and hands have."""
    rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]] / max(pixels.shape[:2])
    shade = 1.0 + 0.1 * np.sin(20.0 * columns + 10.0 * rows)
    painted = pixels.copy()
    painted[where] = _clipped(shade[..., None] * np.array(colour, np.float32))[where]
    return painted


def _clipped(values: NDArray[np.float32] | NDArray[np.float64]) -> Pixels:
    return np.asarray(np.clip(np.round(values), 0, 255), np.uint8)
