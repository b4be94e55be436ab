"""The numbers a judgement stands on: name, unit and source of each."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class Signal(StrEnum):
    """Names of `Judgement.signals`; a signal that was not measured is absent from it."""

    FRAMES = "frames"
    FACE_SHARE = "face_share"
    FACE_GAP_S = "face_gap_s"
    STEPS_DONE = "steps_done"
    STEPS_NOT_ASKED = "steps_not_asked"
    YAW_LEFT_DEG = "yaw_left_deg"
    YAW_RIGHT_DEG = "yaw_right_deg"
    PITCH_DEG = "pitch_deg"
    ROLL_DEG = "roll_deg"
    EYES_SHUT = "eyes_shut"
    MOUTH_GAPE = "mouth_gape"
    DEPTH_TO_PLANE = "depth_to_plane"
    DEPTH_TO_SHEET = "depth_to_sheet"
    PLANE_ERROR = "plane_error"
    IDENTITY_SHARE = "identity_share"
    JUMP = "jump"
    ZIGZAG = "zigzag"
    ON_THE_WAY = "on_the_way"
    SCENE_JUMP = "scene_jump"
    COPIES = "copies"
    FROZEN_S = "frozen_s"
    LOOPED_FRAMES = "looped_frames"
    FRAMES_PER_S = "frames_per_s"
    CLOCK_BACKWARDS = "clock_backwards"
    CLOCK_GAP_S = "clock_gap_s"
    CLOCK_LEAD_S = "clock_lead_s"
    LIGHT_CORRELATION = "light_correlation"
    LIGHT_GAIN = "light_gain"
    LIGHT_SCENE_GAIN = "light_scene_gain"
    PASSIVE_WORST = "passive_worst"
    PASSIVE_MEAN = "passive_mean"

    @property
    def text(self) -> str:
        """What it is, its unit and its source."""
        return TEXTS[self]


TEXTS: Mapping[Signal, str] = MappingProxyType(
    {
        Signal.FRAMES: "frames that show one face alone, count; detector",
        Signal.FACE_SHARE: "their share of all frames since the first of them; detector",
        Signal.FACE_GAP_S: "longest time between two of them, seconds; detector, capture clock",
        Signal.STEPS_DONE: "share of the steps that were seen, in their order; follower",
        Signal.STEPS_NOT_ASKED: "actions that were not asked for, count; follower",
        Signal.YAW_LEFT_DEG: "furthest turn to the person's left of rest, degrees; mesh",
        Signal.YAW_RIGHT_DEG: "furthest turn to the person's right of rest, degrees; mesh",
        Signal.PITCH_DEG: "furthest nod up or down from rest, degrees; mesh",
        Signal.ROLL_DEG: "furthest tilt from rest to either side, degrees; mesh",
        Signal.EYES_SHUT: "greatest share by which the eyes were less open than at rest; "
        "native eyes_open of quality",
        Signal.MOUTH_GAPE: "greatest opening of the mouth beyond that at rest, of the distance "
        "from eyes to chin; native mouth_closed of quality",
        Signal.DEPTH_TO_PLANE: "natural logarithm of the error of the best homography over that "
        "of the best rigid head, median of a swing's frames, weakest swing; mesh",
        Signal.DEPTH_TO_SHEET: "the same with the best bent sheet for the homography; mesh",
        Signal.PLANE_ERROR: "root mean square error of the best homography over the distance "
        "between the eyes, median of a swing's frames, weakest swing; mesh",
        Signal.IDENTITY_SHARE: "share of key frames whose template matches that of the best shot "
        "and of the key frame before; embedding",
        Signal.JUMP: "greatest change between neighbouring frames over what a head can do in that "
        "time; mesh, capture clock",
        Signal.ZIGZAG: "way from frame to frame over the way in two, times 2: 1 for a motion that "
        "leads somewhere, 2 for frames in an order of chance; mesh",
        Signal.ON_THE_WAY: "frames between a fifth and four fifths of the height of a swing of the "
        "head, count, fewest of all swings; follower",
        Signal.SCENE_JUMP: "greatest change of the whole picture between neighbouring frames, root "
        "mean square, grey levels; thumbnail",
        Signal.COPIES: "frames whose bytes came before, count; SHA-256",
        Signal.FROZEN_S: "longest time in which nothing moved, seconds; mesh, thumbnail",
        Signal.LOOPED_FRAMES: "longest run of frames that another run follows picture by picture, "
        "count; mesh, thumbnail",
        Signal.FRAMES_PER_S: "mean rate of the frames, 1/s; capture clock",
        Signal.CLOCK_BACKWARDS: "frames not later than the one before, count; both clocks",
        Signal.CLOCK_GAP_S: "longest time between two frames, seconds; capture clock",
        Signal.CLOCK_LEAD_S: "by how much longer the capture took than the arrival, seconds; "
        "both clocks",
        Signal.LIGHT_CORRELATION: "of the cheeks' luma with the level asked for, -1 to 1; pixels",
        Signal.LIGHT_GAIN: "of the cheeks' luma from the darkest to the brightest level, share of "
        "its mean; pixels",
        Signal.LIGHT_SCENE_GAIN: "the same of the whole picture; pixels",
        Signal.PASSIVE_WORST: "lowest passive score of a key frame, 0 to 1; passive model",
        Signal.PASSIVE_MEAN: "mean passive score of the key frames, 0 to 1; passive model",
    }
)
