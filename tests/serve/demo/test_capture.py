"""The scenes before the camera do what a phone does: where it is told to, it takes a clip again."""

import base64

import pytest
from aiohttp import web

from pipeline.render.perform import Clip
from serve.demo import capture
from serve.demo.caller import Caller
from serve.demo.capture import TAKES_MAX, hold_up_a_photo
from serve.demo.cast import Cast, Selfies
from serve.demo.notebook import Kind, Line, Notebook
from serve.demo.performer import Performer
from serve.demo.receiver import Receiver
from tests.serve.outbound.capture_server import RETAKE, Script, serving

SECRET = "whsec_" + base64.b64encode(bytes(24)).decode()
SELFIES = Selfies((), b"", (), b"")
BUSY = {"type": "problem", "problem": {"status": 503, "code": "overloaded"}}
DECLINED = {
    "type": "done", "status": 200,
    "result": {"status": "declined", "reasons": [{"code": "liveness_failed"}],
               "data": {"retries_remaining": 1}},
}  # fmt: skip


class Photo(Performer):
    """A picture that needs no face."""

    def hold_up(self) -> Clip:
        """Three frames of it."""
        return Clip((b"frame",) * 3, (0, 100, 200))


class Busy(Script):
    """A server that looks at a clip only when it has turned so many away."""

    def __init__(self, turned_away: int) -> None:
        super().__init__()
        self.turned_away = turned_away

    async def serve(self, request: web.Request) -> web.WebSocketResponse:
        """No room for the first, no time for those after it."""
        taken = len(self.asked_for)
        self.first = BUSY if self.turned_away and not taken else None
        self.last = RETAKE if taken < self.turned_away else DECLINED
        return await super().serve(request)


async def played(script: Script) -> list[Line]:
    """What the scene of the photo says of a server."""
    lines: list[Line] = []
    async with serving(script) as (http, url), Receiver(SECRET) as receiver:
        caller = Caller(http, url.rstrip("/"), {})
        man = Photo(b"", None)  # type: ignore[arg-type]  # it does not move
        cast = Cast(caller, caller, caller, receiver, SELFIES, man, "somebody", 0.01)
        await hold_up_a_photo(cast, Notebook(lines.append), "st_07", 1)
    return lines


@pytest.mark.parametrize("turned_away", [0, 1, 3])
async def test_a_clip_is_taken_again_where_nobody_looked(
    turned_away: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """503, or 422 for frames that were dropped: it is no answer, and the next take is."""
    monkeypatch.setattr(capture, "PAUSE_S", 0.0)
    script = Busy(turned_away)
    lines = await played(script)
    assert not [line for line in lines if line.kind is Kind.FAILED]
    assert len([line for line in lines if line.kind is Kind.NOTE]) == turned_away
    assert len(script.asked_for) == turned_away + 1


async def test_a_server_that_never_looks_fails_the_scene(monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many takes what it says last is what it answered."""
    monkeypatch.setattr(capture, "PAUSE_S", 0.0)
    script = Busy(1_000)
    lines = await played(script)
    assert [line for line in lines if line.kind is Kind.FAILED]
    assert len(script.asked_for) == TAKES_MAX
