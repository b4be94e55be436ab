"""Who plays, and the few things that more than one scene does."""

import base64
from dataclasses import dataclass, field
from typing import Any

from serve.demo.caller import Answer, Caller
from serve.demo.performer import Performer
from serve.demo.receiver import Receiver


@dataclass(frozen=True, slots=True)
class Selfies:
    """Encoded images: of the customer when enrolled and later, of somebody else, of nobody."""

    enrolled: tuple[bytes, ...] = field(repr=False)
    same_man: bytes = field(repr=False)
    stranger: tuple[bytes, ...] = field(repr=False)
    blank: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays, with what. `customer_id` is one that nobody else uses; a callback is waited for
    `callback_s_max` seconds.
    """

    tenant: Caller
    desktop: Caller
    phone: Caller
    receiver: Receiver
    selfies: Selfies
    man: Performer
    customer_id: str = field(repr=False)
    callback_s_max: float


async def open_session(cast: Cast, event: str, *, amount: float | None = None) -> Answer:
    """The tenant tells of an event."""
    body: dict[str, Any] = {
        "reference": f"{cast.customer_id}-{event}",
        "customer_id": cast.customer_id,
        "event": event,
        "callback_url": cast.receiver.url,
    }
    if amount is not None:
        body["amount"] = amount
    return await cast.tenant.call("POST", "/api/v1/kyc/face/session", body)


async def submit_selfie(caller: Caller, token: str, selfie: bytes) -> Answer:
    """One picture, without a challenge."""
    body = {"token": token, "proof": data_url(selfie)}
    return await caller.call("POST", "/api/v1/kyc/face/submit", body)


def data_url(selfie: bytes) -> str:
    """A JPEG as text."""
    return "data:image/jpeg;base64," + base64.b64encode(selfie).decode()
