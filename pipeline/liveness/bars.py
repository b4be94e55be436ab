"""Where each rule of active liveness draws its line, each with its reason."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bars:
    """Lines in the unit that the name ends in; shares and ratios have none.

    What was measured is in `.github/decisions/008-liveness.md`.
    """

    # Rest: what all angles, eyes and mouth are measured from.
    rest_yaw_deg: float = 12.0  # who looks into a phone reads within 8; a half turn is no rest
    rest_pitch_deg: float = 25.0  # phones are held low; frontal faces read within 20 of zero
    rest_frames: int = 10  # a second of them outlasts a natural blink
    rest_step_seconds: float = 0.1  # so that it is a second at any rate of frames
    rest_seconds: float = 1.2  # longer than anybody holds a nod: the head is held anew
    rest_shut_max: float = 0.25  # a blink is no rest of the eyes
    rest_gape_max: float = 0.05  # nor a word one of the mouth
    quiet_yaw_deg: float = 5.0
    quiet_pitch_deg: float = 4.0

    # Actions: how far from rest they have to go, and how long to stay.
    turn_deg: float = 15.0
    turn_seconds: float = 0.15
    turn_absolute_deg: float = 10.0
    nod_deg: float = 9.0
    nod_seconds: float = 0.1
    nod_yaw_deg: float = 12.0
    shut: float = 0.25
    shut_seconds: float = 0.25
    gape: float = 0.06
    gape_seconds: float = 0.1
    back: float = 0.5

    # Unasked actions of full size.
    unasked_turn_deg: float = 20.0
    unasked_nod_deg: float = 14.0
    unasked_gape: float = 0.12


DEFAULT_BARS = Bars()
