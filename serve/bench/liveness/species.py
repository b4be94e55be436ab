"""Every species of presentation attack instrument of the suite.

ISO/IEC 30107-3 calls a kind of attack a presentation attack instrument species. Each here is made
of photos alone: of a head that a photo is laid over, or of a flat sheet with the photo on it.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from pipeline.liveness.challenge import DRAWS, TURNS, Step

Steps = tuple[Step, Step]


class Class(StrEnum):
    """What a presentation counts as."""

    BONA_FIDE = "bona_fide"  # rendered: no person was before a camera
    ATTACK = "attack"
    RECORDING = "recording"  # of the right challenge: expected to pass without passive detection


class Species(StrEnum):
    """The closed set; `text` says what each is."""

    PERFORMANCE = "performance"
    STILL = "still"
    STILL_IN_HAND = "still_in_hand"
    STILL_REPEATED = "still_repeated"
    PRINT_ROTATED = "print_rotated"
    PRINT_SCALED = "print_scaled"
    PRINT_TILTED = "print_tilted"
    PRINT_BENT = "print_bent"
    CUT_OUT_EYES = "cut_out_eyes"
    CUT_OUT_MOUTH = "cut_out_mouth"
    PUPPET = "puppet"
    FROZEN = "frozen"
    FROZEN_ANEW = "frozen_anew"
    LOOP = "loop"
    LOOP_ANEW = "loop_anew"
    SPLICE = "splice"
    SPLICE_BEST_SHOT = "splice_best_shot"
    REORDERED = "reordered"
    SWAPPED = "swapped"
    TOO_FAST = "too_fast"
    TOO_SLOW = "too_slow"
    CLOCK_SET_BACK = "clock_set_back"
    CLOCK_STOPPED = "clock_stopped"
    WRONG_CHALLENGE = "wrong_challenge"
    RIGHT_CHALLENGE = "right_challenge"
    BACKWARDS = "backwards"
    HALVES_SWAPPED = "halves_swapped"
    MIRRORED = "mirrored"
    STEPS_JOINED = "steps_joined"
    SLIDES = "slides"

    @property
    def text(self) -> str:
        """A few words for a table."""
        return TEXTS[self]

    @property
    def kind(self) -> Class:
        """What presentations of it count as."""
        if self is Species.PERFORMANCE:
            return Class.BONA_FIDE
        return Class.RECORDING if self in RECORDINGS else Class.ATTACK


RENDERED = frozenset(
    {
        Species.STILL,
        Species.STILL_IN_HAND,
        Species.PRINT_ROTATED,
        Species.PRINT_SCALED,
        Species.PRINT_TILTED,
        Species.PRINT_BENT,
        Species.CUT_OUT_EYES,
        Species.CUT_OUT_MOUTH,
        Species.PUPPET,
        Species.FROZEN_ANEW,
        Species.LOOP_ANEW,
        Species.RIGHT_CHALLENGE,
        Species.STEPS_JOINED,
        Species.SLIDES,
    }
)
"""Those whose frames are made for them alone; all others show frames of performances."""
WITH_DEPTH = frozenset({Species.PRINT_BENT})
"""Attacks that have depth of their own: reported, but not among those that none may pass of."""
RECORDINGS = frozenset(
    {
        Species.RIGHT_CHALLENGE,
        Species.BACKWARDS,
        Species.HALVES_SWAPPED,
        Species.MIRRORED,
        Species.STEPS_JOINED,
    }
)
TEXTS: Mapping[Species, str] = MappingProxyType(
    {
        Species.PERFORMANCE: "rendered performance of what was asked",
        Species.STILL: "still before a camera on a stand",
        Species.STILL_IN_HAND: "still, hand-held motion",
        Species.STILL_REPEATED: "still, one frame again and again",
        Species.PRINT_ROTATED: "print turned in its plane",
        Species.PRINT_SCALED: "print moved to and fro",
        Species.PRINT_TILTED: "print tilted as the challenge asks",
        Species.PRINT_BENT: "print bent over a cylinder, turned as asked",
        Species.CUT_OUT_EYES: "tilted print, live eyes in holes",
        Species.CUT_OUT_MOUTH: "tilted print, live mouth in a hole",
        Species.PUPPET: "tilted screen, the photo animated",
        Species.FROZEN: "right recording that freezes",
        Species.FROZEN_ANEW: "freezes, each frame coded anew",
        Species.LOOP: "the steps in the wrong order, looped",
        Species.LOOP_ANEW: "looped, each frame coded anew",
        Species.SPLICE: "one person, then another",
        Species.SPLICE_BEST_SHOT: "another person, the victim's stills at both ends",
        Species.REORDERED: "right recording, frames shuffled",
        Species.SWAPPED: "right recording, neighbours swapped",
        Species.TOO_FAST: "right recording, times a sixth",
        Species.TOO_SLOW: "right recording, times tenfold",
        Species.CLOCK_SET_BACK: "right recording, clock set back",
        Species.CLOCK_STOPPED: "right recording, clock stopped",
        Species.WRONG_CHALLENGE: "recording of each other challenge",
        Species.RIGHT_CHALLENGE: "recording of the right challenge, from a screen",
        Species.BACKWARDS: "recording of the reverse, played backwards",
        Species.HALVES_SWAPPED: "recording of the reverse, halves swapped",
        Species.MIRRORED: "recording of the other side, mirrored",
        Species.STEPS_JOINED: "recordings of single steps, joined as asked",
        Species.SLIDES: "photos of each posture by turns, on a screen",
    }
)


def draws_for(species: Species) -> tuple[Steps, ...]:
    """The challenges that a species is tried on: those it is made for, all for most."""
    if species is Species.CUT_OUT_EYES:
        return tuple(draw for draw in DRAWS if Step.BLINK in draw)
    if species is Species.CUT_OUT_MOUTH:
        return tuple(draw for draw in DRAWS if Step.MOUTH_OPEN in draw)
    if species is Species.MIRRORED:
        return tuple(draw for draw in DRAWS if TURNS.intersection(draw))
    if species in {Species.LOOP, Species.LOOP_ANEW, *RECORDINGS}:
        return tuple(draw for draw in DRAWS if draw[::-1] in DRAWS)
    return DRAWS
