"""One stream of frames, from its start to what becomes of it; `serve.domain.liveness.wire` says
how both sides speak.

Until the first frame comes it holds next to nothing: thousands wait for a person to begin.
"""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from pipeline.face.steps import FRAME
from pipeline.liveness.challenge import NOTHING
from serve.deps import Deps
from serve.domain.handoff import Handoff
from serve.domain.ids import Subject
from serve.domain.liveness.credits import CREDITS
from serve.domain.liveness.frame import size_of
from serve.domain.liveness.sight import Sight
from serve.domain.liveness.wire import STREAM_ID_BYTES, Hello, Terms, light_level, read_frame
from serve.domain.progress import SubmitAnswer
from serve.errors import Code, ServeError
from serve.flows.liveness.challenge import ensure_challenge
from serve.flows.liveness.clip import StreamClip
from serve.flows.liveness.parking import Parked, name_of, park, unpark
from serve.flows.liveness.viewing import Client, Room, Viewing
from serve.flows.liveness.watch import Watch
from serve.flows.submit import submit

UNPARK_TRIES = 6  # the older door may only now learn that its connection is lost
UNPARK_PAUSE_S = 0.1
FRAME_WAIT_S_MAX = 0.5
"""Seconds that a frame may wait for the models when a clip begins: two of them at a time are then
four a second, and with three the judge has too few.
"""


@dataclass(frozen=True, slots=True)
class Streams:
    """What all streams of a door share."""

    deps: Deps
    watch: Watch
    terms: Terms


class Stream:
    """A stream that was started with a token that is known.

    `answer` is what it was answered, once it was submitted; `frames` counts those that came.
    """

    __slots__ = (
        "_asked", "_client", "_epoch_ms", "_gives_way", "_handoff", "_is_submitted", "_least",
        "_nonce", "_parting", "_room", "_shared", "_size_px", "_timers", "_token", "_viewing",
        "answer", "frames", "name", "stream_id",
    )  # fmt: skip

    def __init__(
        self, shared: Streams, token: str, handoff: Handoff, client: Client, room: Room
    ) -> None:
        self._shared = shared
        self._token = token
        self._handoff = handoff
        self._client = client
        self._room = room
        self.stream_id = shared.deps.random(STREAM_ID_BYTES).hex()
        self.name = name_of(token, self.stream_id)
        self._nonce = ""
        self._asked = NOTHING
        self._least = 0
        self._size_px: tuple[int, int] | None = None  # of all frames
        self._epoch_ms = 0.0  # of the records' clock, when the event loop's was 0
        self._viewing: Viewing | None = None
        self._timers: tuple[asyncio.TimerHandle, ...] = ()
        self._is_submitted = False
        self.frames = 0
        self.answer: SubmitAnswer | None = None
        self._gives_way = False
        self._parting: asyncio.Task[None] | None = None

    @property
    def session_id(self) -> str:
        """The session that it captures for."""
        return self._handoff.session_id

    @property
    def subject(self) -> Subject:
        """Whose session it is."""
        return self._handoff.subject

    @property
    def tenant_id(self) -> str:
        """Whose customer that is."""
        return self._handoff.tenant_id

    async def begin(self, resume: str | None) -> Mapping[str, object] | None:
        """The hello; None where the stream that it goes on with has its `answer` already.

        An older stream of the session gives way. Raises what `ensure_challenge` raises, and
        `state_unavailable`.
        """
        deps, watch, terms = self._shared.deps, self._shared.watch, self._shared.terms
        resumed = "" if resume is None else name_of(self._token, resume)
        await watch.join(self, resumed)
        parked = None if resume is None else await self._found(resumed)
        if parked is not None and parked.answer is not None:
            self.answer = parked.answer
            await park(deps, self._handoff, resumed, parked)  # this one may be lost as well
            return None
        session, challenge, now_ms = await ensure_challenge(deps, self._token, self._handoff)
        loop = asyncio.get_running_loop()
        self._epoch_ms = now_ms - 1_000 * loop.time()
        self._nonce, self._asked = challenge.nonce, challenge.asked
        left_s = (session.expires_at_ms - now_ms) / 1_000
        self._end_in(left_s, Code.TOKEN_EXPIRED, "the session has expired")
        if parked is not None and parked.nonce == challenge.nonce:
            self._go_on(parked)
        return self._hello(terms)

    def frame(self, data: bytes) -> None:
        """A binary message.

        Raises `message_invalid`, `frame_invalid`, `too_many_frames`, and `overloaded` for the first
        of a clip.
        """
        viewing = self._viewing or self._begun()
        viewing.credits.spend()
        if self._is_submitted:
            return
        frame = read_frame(data, bytes.fromhex(self._nonce), self._least)
        size_px = size_of(frame.image)
        self._size_px = self._size_px or size_px
        if size_px not in {None, self._size_px}:
            raise ServeError(Code.FRAME_INVALID, "all frames of a clip have one size, in pixels")
        self._least = frame.seq + 1
        self.frames += 1
        viewing.take(frame)

    def hand_in(self) -> None:
        """All that is to be judged has come. Raises `message_invalid` where that is nothing."""
        if self._viewing is None or self._is_submitted:
            raise ServeError(Code.MESSAGE_INVALID, "there is nothing to submit, or it was")
        self._is_submitted = True
        self._cancel_timers()

    async def submit(self) -> SubmitAnswer:
        """Have what was handed in judged.

        Raises what the flow of that name raises, and where nothing of it could be looked at
        `message_invalid`, or `overloaded` if that was for want of room.
        """
        viewing = self._viewing
        assert viewing is not None, "nothing was handed in"
        sight = await viewing.settled()
        if not sight.observations:
            code = Code.OVERLOADED if viewing.dropped else Code.MESSAGE_INVALID
            raise ServeError(code, "no frame could be looked at")
        clip = StreamClip(
            self._nonce,
            tuple(sight.observations),
            dict(sight.images),
            tuple(viewing.light),
            viewing.dropped,
        )
        self.answer = await submit(self._shared.deps, self._token, clip, self._handoff)
        if self._gives_way:
            self._part_soon(keeps=True)
        return self.answer

    def end(self, error: ServeError) -> None:
        """End it, unless it is being judged: then the judgement says what became of it."""
        if not self._is_submitted:
            self._client.end(error)

    def give_way(self, resumed: str) -> None:
        """The session went on in a newer stream, perhaps with what this one has come to: as soon as
        that is there it is put where the newer finds it, before anybody says goodbye.
        """
        self._gives_way |= resumed == self.name
        if self._gives_way and (self.answer is not None or not self._is_submitted):
            self._part_soon(keeps=True)
        self.end(ServeError(Code.STREAM_SUPERSEDED, "the session went on in a newer stream"))

    async def leave(self, *, keeps: bool) -> None:
        """It is over here. Where it `keeps`, what it has come to waits for a resume."""
        await self._part_soon(keeps=keeps or self._gives_way)

    def _part_soon(self, *, keeps: bool) -> "asyncio.Task[None]":
        """Part once, whoever says so first."""
        if self._parting is None:
            self._parting = asyncio.create_task(self._part(keeps=keeps))
        return self._parting

    async def _part(self, *, keeps: bool) -> None:
        self._cancel_timers()
        self._shared.watch.leave(self)
        viewing = self._viewing
        if viewing is not None:
            viewing.close()
        if keeps and (viewing is not None or self.answer is not None):
            parked = Parked(self._nonce, self._least, answer=self.answer)
            if viewing is not None and self.answer is None:
                parked = replace(
                    parked, sight=viewing.sight, light=viewing.light, dropped=viewing.dropped
                )
            await park(self._shared.deps, self._handoff, self.name, parked)

    async def _found(self, name: str) -> Parked | None:
        """The stream to go on with, once its door has let it go."""
        for _ in range(UNPARK_TRIES - 1):
            if (found := await unpark(self._shared.deps, self._handoff, name)) is not None:
                return found
            await asyncio.sleep(UNPARK_PAUSE_S)
        return await unpark(self._shared.deps, self._handoff, name)

    def _go_on(self, parked: Parked) -> None:
        self._least = parked.least
        sight = parked.sight
        if sight is None or not sight.observations:
            return
        last_ms = sight.observations[-1].received_ms
        gap_ms_max = 1_000 * self._shared.terms.gap_s_max
        if last_ms is not None and _clock_ms(self._epoch_ms) - last_ms <= gap_ms_max:
            viewing = self._view(sight)
            viewing.light.extend(parked.light)
            viewing.dropped = parked.dropped + 1  # what was on its way when the connection broke

    def _begun(self) -> Viewing:
        """A new clip, where its frames would be looked at often enough. Raises `overloaded`."""
        wait_s = self._shared.deps.faces.wait_s(self.tenant_id)
        if wait_s > FRAME_WAIT_S_MAX:
            detail = "frames would wait too long for the models; begin again in a moment"
            raise ServeError(Code.OVERLOADED, detail, retry_after_s=math.ceil(wait_s))
        return self._view(Sight.begun(self._asked))

    def _view(self, sight: Sight) -> Viewing:
        """The clip begins, or goes on; it is to be submitted in time."""
        terms = self._shared.terms
        first_ms = _clock_ms(self._epoch_ms)
        if sight.observations:
            first_ms = sight.observations[0].received_ms or first_ms
        left_s = terms.seconds_max - (_clock_ms(self._epoch_ms) - first_ms) / 1_000
        nonce = bytes.fromhex(self._nonce)
        # Neither knows this stream: a ring of references would keep its pictures for a while.
        look = partial(self._shared.deps.faces.examine, tenant_id=self.tenant_id, plan=FRAME)
        clock_ms = partial(_clock_ms, self._epoch_ms)
        self._viewing = Viewing(look, terms, sight, nonce, self._client, self._room, clock_ms)
        detail = f"submit within {terms.seconds_max:g} s of the first frame"
        self._end_in(left_s, Code.STREAM_TOO_SLOW, detail)
        return self._viewing

    def _hello(self, terms: Terms) -> dict[str, object]:
        viewing, levels = self._viewing, terms.light_levels
        light = light_level(bytes.fromhex(self._nonce), 0, levels) if levels else None
        return Hello(
            stream=self.stream_id,
            nonce=self._nonce,
            steps=self._asked.steps,
            done=0 if viewing is None else viewing.sight.progress.done,
            terms=terms,
            credits_left=CREDITS if viewing is None else viewing.credits.left,
            least=self._least,
            light=light,
        ).message

    def _end_in(self, seconds: float, code: Code, detail: str) -> None:
        loop = asyncio.get_running_loop()
        timer = loop.call_later(max(0.0, seconds), self.end, ServeError(code, detail))
        self._timers = (*self._timers, timer)

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            timer.cancel()
        self._timers = ()


def _clock_ms(epoch_ms: float) -> float:
    """The records' clock, which was at `epoch_ms` when the event loop's was at 0."""
    return epoch_ms + 1_000 * asyncio.get_running_loop().time()
