"""What a person may be asked to do before the camera, and which two are asked for together."""

from dataclasses import dataclass, field
from enum import StrEnum
from itertools import permutations


class Step(StrEnum):
    """One thing to do. Left and right are the person's own; `HEAD_TURN` is to either side and is
    never drawn: only callers without a session ask for it.
    """

    TURN_LEFT = "turn_left"
    TURN_RIGHT = "turn_right"
    NOD = "nod"
    BLINK = "blink"
    MOUTH_OPEN = "mouth_open"
    HEAD_TURN = "head_turn"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a clip is held against: `steps` in their order. `lot`, at most 64 bytes that whoever
    made the clip does not know, draws some of the frames that are looked at closely.
    """

    steps: tuple[Step, ...]
    lot: bytes = field(repr=False)


NOTHING = Asked((), b"")
"""What is asked for before anything is."""

DRAWN = (Step.TURN_LEFT, Step.TURN_RIGHT, Step.NOD, Step.BLINK, Step.MOUTH_OPEN)
"""The five that sessions draw from."""

TURNS = frozenset({Step.TURN_LEFT, Step.TURN_RIGHT})
HEAD_STEPS = TURNS | {Step.HEAD_TURN, Step.NOD}
"""Those that move the head as a whole. Only a head that turns shows that it has depth, so each
challenge has one: eyes and a mouth that move behind a print with holes show none.
"""

DRAWS: tuple[tuple[Step, Step], ...] = tuple(
    pair for pair in permutations(DRAWN, 2) if HEAD_STEPS.intersection(pair)
)
"""The 18 ordered pairs that are drawn from. A recording of one passes for it; most of the time,
played backwards, for its reverse; and mirrored for both of them to the other side: for 4 challenges
in 18 at most. Who has a recording of each step joins them as they are drawn, for all 18.
"""


def drawn(random: bytes) -> tuple[Step, Step]:
    """The challenge that `random`, at least 8 unpredictable bytes, draws; all are as likely, to
    within one part in 10^18.
    """
    return DRAWS[int.from_bytes(random, "big") % len(DRAWS)]
