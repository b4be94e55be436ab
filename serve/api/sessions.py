"""Sessions over HTTP: opened and watched by the tenant, carried out by whoever has the token."""

import json

from aiohttp import web

from pipeline.decision.verdict import Outcome
from serve.api.answers import OverviewResponse, answered, answered_bytes
from serve.api.call import Call, prefers_later
from serve.api.intake import proof
from serve.api.intake.frames import decoded_frames
from serve.api.problem import Fault, InputInvalid
from serve.api.session_answers import (
    ConnectResponse,
    HandoffResponse,
    OpenResponse,
    SessionResponse,
    SessionsResponse,
)
from serve.api.wire import (
    ConnectBody,
    Empty,
    OpenBody,
    ReviewBody,
    SessionParameters,
    SessionsParameters,
    SubmitBody,
    TokenParameters,
)
from serve.domain.callback import CallbackObject, callback_object
from serve.errors import STATUSES, CaptureUnfit, Code
from serve.flows import handoff, sessions, submit
from serve.flows.liveness.clip import ClipFrame, FrameBurst
from serve.observe import metrics

_CODES = {str(code): code for code in STATUSES}


async def open_session(call: Call[OpenBody, Empty]) -> web.Response:
    """Opens a session if the event calls for a face."""
    body = call.body
    request = sessions.OpenRequest(
        reference=body.reference,
        customer_id=body.customer_id,
        event=body.event or "",
        amount=body.amount,
        event_count=body.event_count,
        event_window_minutes=body.event_window_minutes,
        redirect_url=body.redirect_url,
        callback_url=body.callback_url,
    )
    answer = await sessions.open_session(call.deps, call.tenant, request, call.operation)
    return answered(
        OpenResponse(
            reference=answer.reference,
            token=answer.token,
            reason=answer.reason,
            is_required=answer.is_required,
            link=answer.link,
            attempts=answer.attempts,
            max_attempts=answer.max_attempts,
        )
    )


async def submit_capture(call: Call[SubmitBody, Empty]) -> web.Response:
    """Judges a capture, at once or later if the caller prefers."""
    image = await proof.decoded(call.body.proof)
    is_later = prefers_later(call.request)
    clip = await _clip(call.body, image, is_later=is_later)
    with metrics.submission():
        if is_later:
            answer = await submit.accept(call.deps, call.token, image, call.handoff)
        else:
            answer = await submit.submit(call.deps, call.token, clip or image, call.handoff)
    if answer.http_status == 422:
        raise _unfit(answer.body)
    response = answered_bytes(answer.body, answer.http_status)
    if is_later and answer.http_status == 202:
        response.headers["Preference-Applied"] = "respond-async"
    return response


async def verify(call: Call[Empty, TokenParameters]) -> web.Response:
    """Tells where the session of a token stands."""
    return _told(await sessions.status(call.deps, call.token, call.handoff))


async def read_handoff(call: Call[Empty, TokenParameters]) -> web.Response:
    """Tells whether a phone is attached."""
    found = call.handoff or await handoff.read_handoff(call.deps, call.token)
    return answered(HandoffResponse(mobile_connected=found.mobile_connected))


async def find_handoff(call: Call[Empty, TokenParameters]) -> web.Response:
    """The same by `?token=`."""
    return await read_handoff(call)


async def connect(call: Call[ConnectBody, Empty]) -> web.Response:
    """Attaches the phone, or lets it go."""
    wanted = not call.body.is_disconnect
    found = await handoff.connect(call.deps, call.token, connected=wanted, known=call.handoff)
    return answered(ConnectResponse(mobile_connected=found.mobile_connected))


async def list_sessions(call: Call[Empty, SessionsParameters]) -> web.Response:
    """Lists a customer's sessions."""
    asked = call.parameters
    found = await sessions.list_sessions(
        call.deps, call.tenant, asked.customer_id, asked.reference, asked.limit
    )
    return answered(SessionsResponse.of(found))


async def read_session(call: Call[Empty, SessionParameters]) -> web.Response:
    """Shows a session."""
    found = await sessions.session(call.deps, call.tenant, call.parameters.session_id)
    return answered(SessionResponse.of(found))


async def cancel_session(call: Call[Empty, SessionParameters]) -> web.Response:
    """Ends a session that is still open."""
    ended = await sessions.cancel_session(
        call.deps, call.tenant, call.parameters.session_id, call.operation
    )
    return _told(callback_object(ended))


async def review_session(call: Call[ReviewBody, SessionParameters]) -> web.Response:
    """Decides a session that needs a reviewer."""
    outcome = Outcome(call.body.decision)
    decided = await sessions.review_session(
        call.deps, call.tenant, call.parameters.session_id, outcome, call.operation
    )
    return _told(callback_object(decided))


async def overview(call: Call[Empty, Empty]) -> web.Response:
    """Counts the tenant's sessions and alerts."""
    return answered(OverviewResponse(await sessions.overview(call.deps, call.tenant)))


async def _clip(body: SubmitBody, image: bytes, *, is_later: bool) -> FrameBurst | None:
    """The clip in a request, if one is. Raises `proof_invalid` and `field_invalid`."""
    if not body.frames:
        return None
    if is_later:
        raise _fault("/frames", "a clip is judged at once: send it without `respond-async`")
    images = await decoded_frames([frame.image for frame in body.frames], "/frames/{}/image")
    if image not in images:
        raise _fault("/proof", "none of the frames, byte for byte")
    return FrameBurst(
        body.nonce,
        tuple(
            ClipFrame(decoded, frame.captured_ms)
            for decoded, frame in zip(images, body.frames, strict=True)
        ),
    )


def _fault(pointer: str, detail: str) -> InputInvalid:
    return InputInvalid((Fault(pointer=pointer, detail=detail),))


def _told(told: CallbackObject) -> web.Response:
    return answered_bytes(told.to_wire())


def _unfit(body: bytes) -> CaptureUnfit:
    """The stored answer to an unfit capture, as the error it was."""
    stored = json.loads(body)
    code = _CODES.get(stored["code"], Code.CAPTURE_UNFIT)
    return CaptureUnfit(code, stored["detail"], feedback=tuple(stored["feedback"]))
