"""The router: to whom fewest are on their way, by turns among equals."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence

import pytest

from tests.helpers.tree import ROOT

ALL = ("a", "b", "c")
FORGOTTEN_AFTER_S = 60.0

Step = Sequence[object]
Chosen = Callable[..., list[str | None]]
"""The replica of each call that is sent."""


@pytest.fixture(scope="module")
def program() -> Iterator[subprocess.Popen[str]]:
    """The process that routes."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.serve.cluster.routing_program"],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
    ) as running:  # fmt: skip
        yield running


@pytest.fixture
def chosen(program: subprocess.Popen[str]) -> Chosen:
    """A new router that follows steps."""

    def follow(*steps: Step) -> list[str | None]:
        assert program.stdin is not None
        assert program.stdout is not None
        for step in (["begin"], *steps):
            program.stdin.write(json.dumps(step) + "\n")
        sent = [step for step in steps if step[0] == "send"]
        return [json.loads(program.stdout.readline()) for _ in sent]

    return follow


def send(name: str | None, replicas: Sequence[str] = ALL) -> Step:
    return "send", name, replicas


def test_a_burst_is_spread_by_turns(chosen: Chosen) -> None:
    """No replica has a second call before each has one."""
    assert chosen(*(send(str(number)) for number in range(6))) == [*ALL, *ALL]


def test_who_has_fewest_is_next(chosen: Chosen) -> None:
    """A call that ended makes its replica the next; one that nobody knows of changes nothing."""
    assert chosen(
        *(send(str(number)) for number in range(6)),
        *(["done", "4"], ["done", "unknown"]), send("6"), send("7"),
    )[6:] == ["b", "a"]  # fmt: skip


def test_turns_outlast_the_calls(chosen: Chosen) -> None:
    """Where calls come one at a time, each replica gets its part of them."""
    steps = [step for number in range(6) for step in (send(str(number)), ["done", str(number)])]
    assert chosen(*steps) == [*ALL, *ALL]


def test_what_serve_did_counts(chosen: Chosen) -> None:
    """A call that went elsewhere than was chosen for it is that one's, and ends there."""
    two = ["a", "b"]
    assert chosen(
        send("0", two), ["routed", "0", "b"], send("1", two), ["done", "0"], send("2", two)
    ) == ["a", "a", "b"]


def test_what_ended_is_no_load_whatever_is_told_of_it_later(chosen: Chosen) -> None:
    """Serve tells of short calls that they ended before it tells where they went."""
    two = ["a", "b"]
    assert chosen(send("0", two), ["done", "0"], ["routed", "0", "b"], send("1", two)) == ["a", "b"]


def test_a_replica_that_is_gone_is_forgotten(chosen: Chosen) -> None:
    """With what was on its way to it; another that takes its place begins with nothing."""
    assert chosen(
        *(send(str(number), ["a", "b"]) for number in range(4)),
        send("4", ["b"]), send("5", ["b", "a"]), send("6", ["b", "a"]), send("7", ["b", "a"]),
    )[4:] == ["b", "a", "a", "a"]  # fmt: skip


def test_a_call_whose_end_was_never_told_is_forgotten(chosen: Chosen) -> None:
    """Longer than any image may take, it is no load any more."""
    lost = [send("lost", ["a"]), send("also lost", ["a"])]
    after = [send("1", ["a", "b"]), send("2", ["a", "b"]), send("3", ["a", "b"])]
    assert chosen(*lost, ["wait", FORGOTTEN_AFTER_S - 1], *after)[2:] == ["b", "b", "a"]
    waited = ["wait", FORGOTTEN_AFTER_S + 1]
    assert chosen(*lost, waited, send("0", ["a"]), ["done", "0"], *after)[3:] == ["b", "a", "b"]


def test_without_replicas_there_is_no_choice(chosen: Chosen) -> None:
    """Serve asks again when there is one; a call without a name is no load."""
    assert chosen(send("0", []), send(None, ["a", "b"]), send(None), send("1", ["a"])) == [
        None, "a", "b", "a"
    ]  # fmt: skip
