"""The log: JSON lines, an allow-list, and nothing of what an exception says."""

import json
import logging
from collections.abc import Iterator
from datetime import datetime
from io import StringIO

import pytest

from serve.observe import logs


@pytest.fixture
def stream() -> Iterator[StringIO]:
    """Where this process logs during a test."""
    root, ours = logging.getLogger(), logging.getLogger(logs.ROOT_NAME)
    before = (root.handlers[:], root.level, ours.level)
    written = StringIO()
    logs.set_up(written)
    yield written
    root.handlers[:], root.level, ours.level = before


def line(stream: StringIO) -> dict[str, object]:
    """The only line there is."""
    (text,) = stream.getvalue().splitlines()
    found: dict[str, object] = json.loads(text)
    return found


def test_an_event_is_one_line_of_json(stream: StringIO) -> None:
    """Time, level, logger, the event and its fields; a field without a value is left out."""
    logs.write("request", status=200, duration_ms=1.5, route="/a\n{b}", code=None)
    found = line(stream)
    assert datetime.fromisoformat(str(found.pop("time"))).tzinfo is not None
    assert found == {
        "level": "info",
        "logger": "serve",
        "event": "request",
        "status": 200,
        "duration_ms": 1.5,
        "route": "/a\n{b}",
    }


def test_a_field_that_is_not_allowed_is_dropped(stream: StringIO) -> None:
    """A name outside the list does not reach the log, nor does a bare `extra`."""
    logs.write("request", token="st_1", customer_id="alice", status=200)  # noqa: S106
    assert "st_1" not in stream.getvalue()
    assert "alice" not in stream.getvalue()
    logging.getLogger("serve.api").warning("plain", extra={"token": "st_2", "status": 1})
    assert "st_2" not in stream.getvalue()


@pytest.mark.parametrize("word", ["token", "customer_id", "reference", "path", "url", "email",
                                  "address", "message", "detail", "body", "headers"])  # fmt: skip
def test_nothing_personal_is_on_the_list(word: str) -> None:
    """Nobody can log these by name."""
    assert word not in logs.FIELDS


def test_arguments_and_long_text_are_cut_off(stream: StringIO) -> None:
    """A message's arguments are never filled in, and no field is longer than its bound."""
    logging.getLogger("serve.flows").warning("took %s", "a secret")
    logs.write("x" * 1_000, code="y" * 1_000)
    texts = [json.loads(text) for text in stream.getvalue().splitlines()]
    assert texts[0]["event"] == "took %s"
    assert len(texts[1]["event"]) == len(texts[1]["code"]) == logs.TEXT_LENGTH_MAX


def test_a_library_s_message_is_not_repeated(stream: StringIO) -> None:
    """Of other loggers only name and level are written."""
    logging.getLogger("aiohttp.server").error("GET /session/%s", "st_secret")
    found = line(stream)
    assert set(found) == {"time", "level", "logger"}
    assert found["logger"] == "aiohttp.server"


def test_an_error_is_a_type_and_places(stream: StringIO) -> None:
    """Where it was raised, by file, line and function; never what it says."""

    def deep(left: int) -> None:
        if left:
            deep(left - 1)
        raise ValueError("a secret")

    try:
        deep(100)
    except ValueError as error:
        logs.write_error("defect", error, request_id="req_1")
    found = line(stream)
    assert (found["error_type"], found["request_id"]) == ("ValueError", "req_1")
    frames = found["frames"]
    assert isinstance(frames, list)
    assert len(frames) == logs.FRAMES_MAX
    assert frames[-1].startswith("serve/observe/test_logs.py:")
    assert frames[-1].endswith(" deep")
    assert "secret" not in stream.getvalue()
