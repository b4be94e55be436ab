"""The primitives of dlib's serialisation, read from bytes that nobody vouches for.

Every primitive states its own length, so every length is checked against a bound and against
what is left before anything is done with it. Tensors are views of the bytes given: a forged
size allocates nothing.
"""

import math

import numpy as np

from pipeline.errors import Code, PipelineError
from pipeline.models.convert.dlib_net import Weights

TENSOR_ELEMENTS_MAX = 1 << 22  # the largest tensor of the published file has 590,080
TEXT_BYTES_MAX = 64
INTEGER_BYTES_MAX = 8
INFINITY_EXPONENT = 32000  # from here on, an exponent is dlib's code for inf, -inf and NaN


def invalid(detail: str) -> PipelineError:
    """Bytes that dlib could not have written."""
    return PipelineError(Code.FORMAT_INVALID, detail)


def too_large(detail: str) -> PipelineError:
    """Bytes that ask for more than a bound of the reader allows."""
    return PipelineError(Code.FORMAT_TOO_LARGE, detail)


def unsupported(detail: str) -> PipelineError:
    """Bytes that dlib could have written, of a kind the reader does not know."""
    return PipelineError(Code.FORMAT_UNSUPPORTED, detail)


class Cursor:
    """Reads one primitive after the other.

    Every method may raise `format_invalid`, and `format_too_large` beyond a bound.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _advance(self, size_bytes: int) -> int:
        """Step over `size_bytes` that must be there; returns where they begin."""
        start = self._at
        if size_bytes > len(self._data) - start:
            raise invalid(f"cut short at byte {start}: {size_bytes} more expected")
        self._at += size_bytes
        return start

    def _take(self, size_bytes: int) -> bytes:
        start = self._advance(size_bytes)
        return self._data[start : self._at]

    def finish(self) -> None:
        """All bytes have been read."""
        if self._at != len(self._data):
            raise invalid(f"{len(self._data) - self._at} bytes after the network")

    def integer(self) -> int:
        """Sign in the control byte's high bit, length in its low nibble, then little-endian."""
        control = self._take(1)[0]
        size_bytes = control & 0x0F
        if control & 0x70 or not 1 <= size_bytes <= INTEGER_BYTES_MAX:
            raise invalid(f"control byte {control:#04x} of an integer at byte {self._at - 1}")
        magnitude = int.from_bytes(self._take(size_bytes), "little")
        return -magnitude if control & 0x80 else magnitude

    def expect(self, value: int, meaning: str) -> None:
        """The next integer is `value`."""
        found = self.integer()
        if found != value:
            raise unsupported(f"{meaning}: {found}, not {value}")

    def number(self) -> float:
        """A finite number, as mantissa and exponent of two."""
        mantissa, exponent = self.integer(), self.integer()
        if exponent >= INFINITY_EXPONENT:
            raise invalid("a number that is infinite or not a number")
        try:
            return math.ldexp(mantissa, exponent)
        except OverflowError:
            raise invalid(f"the number {mantissa} * 2^{exponent}") from None

    def flag(self) -> bool:
        """A truth value, written as the character 0 or 1."""
        character = self._take(1)
        if character not in {b"0", b"1"}:
            raise invalid(f"{character!r} for a truth value at byte {self._at - 1}")
        return character == b"1"

    def text(self) -> str:
        """A short ASCII name."""
        size_bytes = self.integer()
        if size_bytes > TEXT_BYTES_MAX:
            raise too_large(f"a name of {size_bytes} bytes")
        if size_bytes < 0:
            raise invalid(f"a name of {size_bytes} bytes")
        raw = self._take(size_bytes)
        if not raw.isascii() or not raw.decode("ascii").isprintable():
            raise invalid(f"a name that is not ASCII at byte {self._at - len(raw)}")
        return raw.decode("ascii")

    def square(self, least: int, most: int) -> int:
        """Rows and columns, equal and within `least` to `most`."""
        rows, columns = self.integer(), self.integer()
        if rows > most or columns > most:
            raise too_large(f"{rows} x {columns}, at most {most}")
        if rows < least or columns < least:
            raise invalid(f"{rows} x {columns}, at least {least}")
        if rows != columns:
            raise unsupported(f"{rows} x {columns} is not square")
        return rows

    def _shape(self) -> tuple[int, int, int, int]:
        """Samples, channels, rows, columns, with a bounded product."""
        shape = (self.integer(), self.integer(), self.integer(), self.integer())
        if min(shape) < 0:
            raise invalid(f"the shape {shape}")
        if max(shape) > TENSOR_ELEMENTS_MAX or math.prod(shape) > TENSOR_ELEMENTS_MAX:
            raise too_large(f"a tensor of shape {shape}")
        return shape

    def alias(self) -> tuple[int, int, int, int]:
        """The shape of a part of another tensor."""
        self.expect(1, "version of an alias")
        return self._shape()

    def tensor(self) -> Weights:
        """A float32 tensor as a flat view of the file."""
        self.expect(2, "version of a tensor")
        count = math.prod(self._shape())
        start = self._advance(4 * count)
        return np.frombuffer(self._data, "<f4", count, start).astype(np.float32, copy=False)

    def weights(self) -> Weights:
        """A tensor whose values are all finite."""
        values = self.tensor()
        if not np.isfinite(values).all():
            raise invalid("a weight that is not finite")
        return values

    def multipliers(self) -> None:
        """Four numbers that only matter to training: learning rates and weight decays."""
        for _ in range(4):
            self.number()
