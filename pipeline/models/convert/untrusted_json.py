"""JSON from strangers: parsed within bounds, then read value by value, each of the type expected.

Every reader takes a value and what it is, and returns the value with its type settled. It raises
`format_too_large` beyond a bound and `format_invalid` for anything else it does not expect.
"""

import json
import math
import re
from typing import Any

from pipeline.errors import Code, PipelineError

DEPTH_MAX = 24
NAME_LENGTH_MAX = 256
INTEGER_MAX = 1 << 31

# Strings, so that brackets inside them are not counted, and brackets. An unterminated string
# swallows the rest: to look for its end again from every quote would take quadratic time.
_MARK = re.compile(rb'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_STEP = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}
_NAME = re.compile(r"[!-~]+")  # printable ASCII without spaces
_INTEGER = re.compile(r"-?[0-9]{1,20}")


def parse(data: bytes) -> object:
    """The JSON value in `data`, which the caller has bounded in size."""
    depth = 0
    for mark in _MARK.finditer(data):
        depth += _STEP.get(mark[0], 0)
        check_size(depth, DEPTH_MAX, "levels of JSON")
    try:
        return json.loads(
            data, object_pairs_hook=_object, parse_constant=_constant, parse_int=_parsed_integer
        )
    except ValueError as error:  # not UTF-8, or not JSON
        raise invalid(f"not JSON: {error}") from error


def fields(value: object, what: str) -> dict[str, Any]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise invalid(f"{what} is not a JSON object")
    return value


def items(value: object, what: str, length_max: int) -> list[Any]:
    """A JSON list of at most `length_max` values."""
    if not isinstance(value, list):
        raise invalid(f"{what} is not a JSON list")
    check_size(len(value), length_max, what)
    return value


def name(value: object, what: str) -> str:
    """A string of printable ASCII, not empty, without spaces."""
    if not isinstance(value, str):
        raise invalid(f"{what} is not a string")
    check_size(len(value), NAME_LENGTH_MAX, f"characters in {what}")
    if not _NAME.fullmatch(value):
        raise invalid(f"{what} is not printable ASCII")
    return value


def flag(value: object, what: str) -> bool:
    """A truth value."""
    if not isinstance(value, bool):
        raise invalid(f"{what} is not a truth value")
    return value


def integer(value: object, what: str) -> int:
    """An integer, or the string that protocol buffers write for one of 64 bits."""
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool):
        raise invalid(f"{what} is not an integer")
    if abs(value) > INTEGER_MAX:
        raise PipelineError(Code.FORMAT_TOO_LARGE, f"{what} is {value}")
    return value


def number(value: object, what: str) -> float:
    """A finite number."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise invalid(f"{what} is not a finite number")
    return float(value)


def check_size(size: int, size_max: int, what: str) -> None:
    """`size` is at most `size_max`."""
    if size > size_max:
        raise PipelineError(Code.FORMAT_TOO_LARGE, f"{size} {what}, at most {size_max}")


def invalid(detail: str) -> PipelineError:
    """To be raised for bytes that no writer of the format would write."""
    return PipelineError(Code.FORMAT_INVALID, detail)


def unsupported(detail: str) -> PipelineError:
    """To be raised for what the format allows and Limen does not know."""
    return PipelineError(Code.FORMAT_UNSUPPORTED, detail)


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):  # two readers could believe two different values
        raise invalid("a JSON object names a key twice")
    return found


def _constant(token: str) -> object:
    raise invalid(f"{token} is not JSON")


def _parsed_integer(token: str) -> int:
    return integer(token, "a JSON integer")
