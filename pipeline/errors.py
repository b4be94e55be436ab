"""What can go wrong between bytes and evidence, as one closed set of codes.

    bytes --read--> format     not_a_model, format_invalid, format_too_large, format_unsupported
    bytes --gate--> header     not_an_image, image_unsupported, image_animated, image_too_large, ...
    header --decode--> pixels  image_corrupt
    pixels --models--> faces   device_error

An image without a usable face is not an error: it is evidence, with feedback.
"""

from dataclasses import dataclass
from enum import StrEnum


class Code(StrEnum):
    """Stable codes; `serve` maps each to one HTTP status and one sentence in the README."""

    # The caller's image
    NOT_AN_IMAGE = "not_an_image"
    IMAGE_UNSUPPORTED = "image_unsupported"
    IMAGE_ANIMATED = "image_animated"
    IMAGE_TOO_LARGE = "image_too_large"
    IMAGE_TOO_SMALL = "image_too_small"
    IMAGE_CORRUPT = "image_corrupt"
    # The work on it
    WRONG_SHAPE = "wrong_shape"
    MODEL_MISMATCH = "model_mismatch"
    DEVICE_ERROR = "device_error"
    # Model files and where they come from
    FORMAT_INVALID = "format_invalid"
    FORMAT_TOO_LARGE = "format_too_large"
    FORMAT_UNSUPPORTED = "format_unsupported"
    SOURCE_UNAVAILABLE = "source_unavailable"
    SOURCE_HASH_MISMATCH = "source_hash_mismatch"
    PACK_UNKNOWN = "pack_unknown"
    PACK_MISSING = "pack_missing"
    PACK_CORRUPT = "pack_corrupt"
    RUNTIME_MISSING = "runtime_missing"
    DEVICE_UNAVAILABLE = "device_unavailable"


class CodedError(Exception):
    """A stable code and a detail that never holds pixels, vectors or secrets."""

    def __init__(self, code: StrEnum, detail: str) -> None:
        super().__init__(code, detail)  # both arguments survive pickling across processes
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.args[0]}: {self.detail}"


class PipelineError(CodedError):
    """What goes wrong below the service."""

    def __init__(self, code: Code, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code


@dataclass(frozen=True, slots=True)
class Failure:
    """The error of one item of a batch, as a value: its neighbours never see it."""

    code: Code
    detail: str

    @classmethod
    def of(cls, error: PipelineError) -> "Failure":
        """The value that stands for `error` in a batch."""
        return cls(error.code, error.detail)
