"""What cannot be indexed or searched for, as one closed set of codes."""

from enum import StrEnum


class Code(StrEnum):
    """Stable codes; `serve` maps each to one HTTP status and one sentence in the README."""

    WRONG_DIMENSION = "wrong_dimension"
    NOT_FINITE = "not_finite"
    NOT_UNIT = "not_unit"


class VectorError(Exception):
    """A vector that is no template. `detail` says why and holds no part of the vector."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(code, detail)  # both survive pickling across processes
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"
