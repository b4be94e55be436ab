"""An encoded frame of a clip, by what its header says of it before any model looks."""

from pipeline.errors import Code as PipelineCode
from pipeline.errors import PipelineError
from pipeline.image.header import Limits, read_header
from serve.domain.liveness.limits import FRAME_BYTES_MAX, FRAME_PIXELS_MAX
from serve.errors import Code, ServeError

BLOCKS_MAX = 256  # of JPEG, PNG or WebP: cameras write some twenty, and each costs microseconds
LIMITS = Limits(FRAME_BYTES_MAX, FRAME_PIXELS_MAX, blocks_max=BLOCKS_MAX)
_REFUSED = frozenset({PipelineCode.IMAGE_TOO_LARGE, PipelineCode.IMAGE_UNSUPPORTED})


def size_of(image: bytes) -> tuple[int, int] | None:
    """Width and height in pixels, upright; None for what is no whole picture, of which the models
    say what is wrong. Raises `frame_invalid` for one with too many bytes, pixels or blocks, or of a
    format or variant that is not taken: what is not measured here would not be held to any size.
    """
    try:
        header = read_header(image, LIMITS)
    except PipelineError as error:
        if error.code in _REFUSED:
            raise ServeError(Code.FRAME_INVALID, error.detail) from error
        return None
    return header.upright_width_px, header.upright_height_px
