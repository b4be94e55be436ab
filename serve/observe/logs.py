"""The log: one JSON object per line, made of an event's name and of fields on an allow-list.

What is not on the list does not reach the log, whoever writes it: no path, no token, no
customer's id, no message of an exception, no argument of a library's log call.
"""

import json
import logging
import sys
import time
from collections.abc import Iterable
from pathlib import PurePath
from traceback import extract_tb
from types import MappingProxyType, TracebackType
from typing import Final, TextIO

ROOT_NAME = "serve"  # the loggers of this service; a library's messages are not repeated
TEXT_LENGTH_MAX = 200
FRAMES_MAX = 40

FIELDS: Final = frozenset(
    {
        "request_id", "method", "route", "status", "duration_ms", "bytes_in", "bytes_out", "code",
        "tenant_id", "mode", "key_id", "session_id", "event_id", "alert_id",
        "erasure_id", "face_id", "job_id", "sweep_id", "state", "outcome", "reason", "event_name",
        "step", "result", "attempt", "failures", "count", "partition", "epoch", "process", "worker",
        "signal", "exit_status", "seconds", "port", "scheme", "engine", "model_id", "version",
        "error_type",
    }
)  # fmt: skip
_FIELDS_KEY = "limen_fields"
_NONE: Final = MappingProxyType[str, object]({})

Field = str | int | float | bool | None


def write(event: str, *, level: int = logging.INFO, **fields: Field) -> None:
    """Log `event`, a fixed phrase, with fields of the allow-list; others are dropped."""
    logging.getLogger(ROOT_NAME).log(level, event, extra={_FIELDS_KEY: fields})


def write_error(event: str, error: BaseException, **fields: Field) -> None:
    """Log what must not happen: the error's type and where it was raised, never what it says."""
    logging.getLogger(ROOT_NAME).error(event, exc_info=error, extra={_FIELDS_KEY: fields})


def set_up(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Send every log of this process to `stream` (stderr) as JSON lines."""
    lines = logging.StreamHandler(stream or sys.stderr)
    lines.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [lines]
    root.setLevel(logging.WARNING)
    logging.getLogger(ROOT_NAME).setLevel(level)


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: time, level, logger, event, fields, and where it failed."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        is_ours = record.name == ROOT_NAME or record.name.startswith(f"{ROOT_NAME}.")
        line: dict[str, object] = {
            "time": _timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        if is_ours:
            line["event"] = str(record.msg)[:TEXT_LENGTH_MAX]  # the phrase, never its arguments
            fields = getattr(record, _FIELDS_KEY, _NONE)
            line |= {
                name: _bounded(value)
                for name, value in fields.items()
                if name in FIELDS and value is not None
            }
        if record.exc_info and record.exc_info[0] is not None:
            line["error_type"] = record.exc_info[0].__name__
            line["frames"] = list(_frames(record.exc_info[2]))
        return json.dumps(line, ensure_ascii=True)


def _bounded(value: object) -> object:
    if isinstance(value, bool | int | float):
        return value
    return str(value)[:TEXT_LENGTH_MAX]


def _frames(traceback: TracebackType | None) -> Iterable[str]:
    for frame in extract_tb(traceback)[-FRAMES_MAX:]:
        place = "/".join(PurePath(frame.filename).parts[-3:])
        yield f"{place}:{frame.lineno} {frame.name}"


def _timestamp(seconds: float) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{int(seconds % 1 * 1_000):03d}Z"
