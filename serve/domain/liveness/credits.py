"""How many frames a phone may send, and when it may send more."""

from dataclasses import dataclass

from serve.errors import Code, ServeError

EXAMINED_MAX = 2  # of one stream at once
WAITING_MAX = 2  # behind them
CREDITS = EXAMINED_MAX + WAITING_MAX + 2
"""Frames that may be on their way: two more than have room here, so that a phone is never held up
by the way there and back, and what is looked at is the newest.
"""


@dataclass(slots=True)
class Credits:
    """The credits of one stream: given out at its pace, each good for one frame.

    `left` is what the phone holds, `owed` what it gets back in time, `frames` what has come of
    its clip.
    """

    per_s_max: float
    frames_max: int
    left: int = CREDITS
    owed: int = 0
    frames: int = 0
    _due_s: float = 0.0

    def spend(self) -> None:
        """One frame has come. Raises `too_many_frames` if there was no credit for it."""
        if not self.left:
            raise ServeError(Code.TOO_MANY_FRAMES, "a frame came without a credit")
        self.left -= 1
        self.frames += 1

    def owe(self, *, is_dropped: bool = False) -> None:
        """A frame is done with: its credit goes back, unless the clip has as many as it may. One
        that was dropped is none of the clip's.
        """
        self.frames -= is_dropped
        if self.frames + self.left + self.owed < self.frames_max:
            self.owed += 1

    def wait_s(self, now_s: float) -> float:
        """Seconds until the next credit may be granted."""
        return max(0.0, self._due_s - now_s)

    def grant(self, now_s: float) -> int:
        """Grant what is owed and due; how many that is."""
        granted = 0
        while self.owed and self._due_s <= now_s:
            self._due_s = max(self._due_s, now_s - 1 / self.per_s_max) + 1 / self.per_s_max
            self.owed -= 1
            granted += 1
        self.left += granted
        return granted

    def slow_down(self, until_s: float) -> None:
        """Grant nothing before `until_s`."""
        self._due_s = max(self._due_s, until_s)
