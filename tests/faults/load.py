"""Clients that go on with their customers' stories whatever breaks, and remember what was said."""

import asyncio
import base64
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from serve.demo.caller import MOBILE_AGENT, Answer, Caller
from serve.errors import ServeError
from tests.faults.history import UNANSWERED, Found, History, Journey, Verb

PAUSE_S = 0.1
ASKED_MAX = 100
HELD_MAX = 1_200
ERASED_SHARE = 0.25
STRANGER_SHARE = 0.4
KEYED_SHARE = 0.3
READ_NO_MORE = 410  # a token tells of its session for 15 minutes, and is known for a day
FINISHED = frozenset({"approved", "declined", "needs_review", "expired", "canceled"})


@dataclass(frozen=True, slots=True)
class Photos:
    """Encoded selfies: those of the man who is enrolled, and those of a stranger."""

    enrolled: bytes = field(repr=False)
    same: tuple[bytes, ...] = field(repr=False)
    strangers: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Clients:
    """The tenant's backend and a phone, with where callbacks shall go."""

    tenant: Caller
    phone: Caller
    callback_url: str
    photos: Photos
    history: History
    rest: float = 0.0  # of each client after a story, in times of what that took
    keyed_share: float = KEYED_SHARE


async def live(clients: Clients, chance: random.Random, name: str, stop: asyncio.Event) -> None:
    """Stories of new customers, one after the other, until `stop`; a story begun is told out."""
    number = 0
    while not stop.is_set():
        journey = Journey(f"{name}-{number}", is_keyed=chance.random() < clients.keyed_share)
        clients.history.journeys.append(journey)
        clock_s = asyncio.get_running_loop().time
        began_s = clock_s()
        await _story(clients, chance, journey)
        await asyncio.sleep(clients.rest * (clock_s() - began_s))
        number += 1


async def _story(clients: Clients, chance: random.Random, journey: Journey) -> None:
    path = f"/api/v1/customers/{journey.customer_id}"
    photo = {"image": _text(clients.photos.enrolled)}
    enrols = partial(_tenant(clients, journey, Verb.ENROL).call, "POST", f"{path}/faces", photo)
    repeats = partial(clients.tenant.call, "POST", f"{path}/faces", photo)
    answer = await _until(clients.history, Verb.ENROL, enrols)
    for _ in range(HELD_MAX):
        if answer.at("status") != "needs_review":
            break
        clients.history.unknown[Verb.ENROL] += 1  # nobody could be searched: the same photo again
        await asyncio.sleep(PAUSE_S)
        answer = await _until(clients.history, Verb.ENROL, repeats)
    if answer.status not in {200, 201}:  # its face was gone before it had been screened
        journey.refused = f"enrolment {answer.status} {answer.at('code')}"
        return
    journey.face_id = str(answer.at("face_id"))
    await _verify(clients, chance, journey)
    if chance.random() < ERASED_SHARE:
        journey.is_erasing = True
        erases = partial(_tenant(clients, journey, Verb.ERASE).call, "DELETE", path)
        answer = await _until(clients.history, Verb.ERASE, erases)
        # 404 is what a repeat without a key finds after the first one's answer was lost.
        assert answer.status in {200, 404}, answer
        journey.erasure_id = str(answer.at("erasure_id") or UNANSWERED)


async def _verify(clients: Clients, chance: random.Random, journey: Journey) -> None:
    body = {
        "reference": f"ref-{journey.customer_id}",
        "customer_id": journey.customer_id,
        "event": "login",
        "callback_url": clients.callback_url,
    }
    caller = _tenant(clients, journey, Verb.OPEN)
    opens = partial(caller.call, "POST", "/api/v1/kyc/face/session", body)
    answer = await _until(clients.history, Verb.OPEN, opens)
    assert answer.status == 200, answer
    if answer.at("is_required") is not True:
        journey.refused = "no face wanted"
        return
    journey.token = str(answer.at("token"))
    captures = [chance.choice(clients.photos.same)]
    if chance.random() < STRANGER_SHARE:
        captures.insert(0, chance.choice(clients.photos.strangers))
    for capture in captures:
        proof = {"token": journey.token, "proof": _text(capture)}
        journey.submitted += 1
        submit = partial(clients.phone.call, "POST", "/api/v1/kyc/face/submit", proof)
        answer = await _until(clients.history, Verb.SUBMIT, submit)
        if answer.status != 200:
            journey.refused = f"{answer.status} {answer.at('code')}"
            return
        journey.verdicts.append(answer.document)
        journey.session_id = str(answer.at("resource_id"))


def _tenant(clients: Clients, journey: Journey, verb: Verb) -> Caller:
    """The tenant's backend, which names some customers' requests, however often it sends them."""
    if not journey.is_keyed:
        return clients.tenant
    key = {"Idempotency-Key": f"{journey.customer_id}-{verb}"}
    return replace(clients.tenant, headers={**clients.tenant.headers, **key})


async def _until(history: History, verb: Verb, call: Callable[[], Awaitable[Answer]]) -> Answer:
    """The first answer that says what happened; whatever says nothing is asked again."""
    while True:
        try:
            answer = await call()
        except ServeError:  # no answer came
            history.unknown[verb] += 1
        else:
            if answer.status < 500 and answer.at("code") not in {
                "submission_in_progress",  # our own, of a front door that was killed
                "idempotency_in_progress",  # the same
                "version_conflict",
                "too_many_requests",
            }:
                history.acknowledged[verb] += 1
                return answer
            history.unknown[verb] += 1
        await asyncio.sleep(PAUSE_S)


async def look(
    clients: Clients, journey: Journey, callbacks: Callable[[str], tuple[tuple[int, str, str], ...]]
) -> Found:
    """What is there of one customer now."""
    status = await _ask(clients, "GET", f"/api/v1/kyc/status?customer_id={journey.customer_id}")
    kyc_status = str(status.at("kyc_status") or "pending")
    again = Answer(404, {})
    if not journey.is_erasing:
        path = f"/api/v1/customers/{journey.customer_id}/faces"
        again = await _ask(clients, "POST", path, {"image": _text(clients.photos.enrolled)})
    told: Mapping[str, object] | None = None
    session: Mapping[str, object] | None = None
    if journey.token is not None:
        session = await _session(clients, journey)
        answer = await _ask(clients, "GET", f"/api/v1/kyc/face/verify/{journey.token}")
        told = answer.document if answer.status == 200 else None
        if answer.status == READ_NO_MORE and session is not None:
            told = {"resource_id": session["id"], "status": session["status"]}
    found = callbacks(str(told["resource_id"])) if told is not None else ()
    trail = await _trail(clients, journey)
    return Found(kyc_status, again.status, str(again.at("face_id")), told, session, found, trail)


async def _session(clients: Clients, journey: Journey) -> Mapping[str, object] | None:
    """The session that the token found: the newest under the reference, whose opening was asked
    for again when no answer came.
    """
    names = f"customer_id={journey.customer_id}&reference=ref-{journey.customer_id}"
    answer = await _ask(clients, "GET", f"/api/v1/kyc/face/sessions?{names}")
    sessions = answer.at("data") if answer.status == 200 else []
    wanted = [each for each in sessions if journey.session_id in {None, each["id"]}]
    return wanted[0] if wanted else None


async def _trail(clients: Clients, journey: Journey) -> tuple[tuple[str, str, str], ...]:
    """Action, target and outcome of all that the audit trail has of a customer."""
    entries: list[tuple[str, str, str]] = []
    cursor = ""
    while True:
        path = f"/api/v1/audit?customer_id={journey.customer_id}&limit=100&cursor={cursor}"
        page = await _ask(clients, "GET", path)
        assert page.status == 200, page
        entries += [
            (item["action"], item["target"] or "", item["outcome"] or "")
            for item in page.at("data")
        ]
        cursor = page.at("next_cursor")
        if not cursor:
            return tuple(entries)


async def _ask(
    clients: Clients, method: str, path: str, body: Mapping[str, str] | None = None
) -> Answer:
    """An answer of a service that nobody breaks any more, and that may be busy still."""
    for _ in range(ASKED_MAX):
        answer = await clients.tenant.call(method, path, body)
        if answer.status != 503:
            break
        await asyncio.sleep(PAUSE_S)
    return answer


def _text(image: bytes) -> str:
    return base64.b64encode(image).decode()


PHONE_HEADERS = {"User-Agent": MOBILE_AGENT}
