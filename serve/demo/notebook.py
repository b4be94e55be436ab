"""What the demonstration says and expects, told line by line as it happens."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What a line is."""

    STEP = "step"
    NOTE = "note"
    MET = "ok"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `detail` of a failed expectation says what came instead."""

    kind: Kind
    text: str
    detail: str = ""


class Notebook:
    """Keeps count of the expectations, and passes every line on."""

    def __init__(self, tell: Callable[[Line], None]) -> None:
        self._tell = tell
        self.met = 0
        self.failed = 0

    def step(self, text: str) -> None:
        """The next scene."""
        self._tell(Line(Kind.STEP, text))

    def note(self, text: str) -> None:
        """Something worth saying aloud."""
        self._tell(Line(Kind.NOTE, text))

    def expect(self, text: str, found: object, wanted: object) -> bool:
        """Whether `found` equals `wanted`; counted and told either way."""
        is_met = found == wanted
        self.met += is_met
        self.failed += not is_met
        detail = "" if is_met else f"{found!r}, not {wanted!r}"
        self._tell(Line(Kind.MET if is_met else Kind.FAILED, text, detail))
        return is_met
