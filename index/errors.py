"""What cannot be indexed, searched for or swept, as one closed set of codes."""

from enum import StrEnum


class Code(StrEnum):
    """Stable codes; `serve` maps each to one HTTP status and one sentence in the README."""

    WRONG_DIMENSION = "wrong_dimension"
    NOT_FINITE = "not_finite"
    NOT_UNIT = "not_unit"
    DEVICE_UNAVAILABLE = "device_unavailable"


class CodedError(Exception):
    """`detail` says why, in a sentence."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(code, detail)  # both survive pickling across processes
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


class VectorError(CodedError):
    """A vector that is no template. The detail holds no part of the vector."""


class DeviceError(CodedError):
    """A device that was asked for and is not there."""
