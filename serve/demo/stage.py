"""Sets the stage: faces, clients and receiver for the story, and the server waited for."""

import secrets
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from pipeline.face.steps import FacePipeline
from pipeline.models.cache import ModelCache
from pipeline.models.fetch import Progress
from serve.demo.caller import DESKTOP_AGENT, MOBILE_AGENT, Caller
from serve.demo.cast import Cast, Selfies
from serve.demo.credentials import read_credentials
from serve.demo.crowd import Crowd, Found, find_the_man
from serve.demo.notebook import Notebook
from serve.demo.performer import Performer, performer_of
from serve.demo.receiver import Receiver
from serve.demo.story import play
from serve.demo.tiles import (
    COLUMNS,
    ENROLLED,
    ROWS,
    SAME_MAN,
    STRANGER,
    cut_tile,
    make_blank,
    make_selfie,
    read_screenshot,
)


def take_selfies(cache: ModelCache, progress: Progress) -> Selfies:
    """Real faces, from the cache of the default pack's sources."""
    screenshot = read_screenshot(cache, progress)
    return Selfies(
        enrolled=tuple(make_selfie(cut_tile(screenshot, place)) for place in ENROLLED),
        same_man=make_selfie(cut_tile(screenshot, SAME_MAN)),
        stranger=tuple(make_selfie(cut_tile(screenshot, place)) for place in STRANGER),
        blank=make_blank(),
    )


def take_crowd(cache: ModelCache, progress: Progress) -> Crowd:
    """Every tile. The man of the first row is also at the start of the second."""
    screenshot = read_screenshot(cache, progress)
    places = [(row, column) for row in range(ROWS) for column in range(COLUMNS)]
    return Crowd(
        {_tile(place): make_selfie(cut_tile(screenshot, place)) for place in places},
        frozenset(_tile(place) for place in places if place[0] == 0 or place < (1, 4)),
    )


def _tile(place: tuple[int, int]) -> str:
    return f"{place[0]}-{place[1]:02d}"


@dataclass(frozen=True, slots=True)
class Troupe:
    """All faces of the story: selfies, the man who moves, and the crowd of the last scene."""

    selfies: Selfies
    man: Performer
    crowd: Crowd


def take_troupe(cache: ModelCache, faces: FacePipeline, progress: Progress) -> Troupe:
    """Real faces, and one of them as a head that moves, for which `faces` finds his mesh."""
    selfies = take_selfies(cache, progress)
    return Troupe(selfies, performer_of(faces, selfies.same_man), take_crowd(cache, progress))


async def demonstrate(
    url: str, credentials: Path, troupe: Troupe, notes: Notebook, *, wait_s: float
) -> Found | None:
    """Play the story against the server at `url`, once it is up; what its sweep found.

    A callback is waited for as long as the server, `wait_s` seconds. Raises `server_unreachable`
    when there is none by then, and `file_unreadable` where it has left no credentials.
    """
    async with aiohttp.ClientSession() as http:
        desktop = Caller(http, url.rstrip("/"), {"User-Agent": DESKTOP_AGENT})
        await desktop.wait_until_up(wait_s)
        found = read_credentials(credentials)  # a first start writes them before it listens
        key = {"Authorization": f"Bearer {found.test_api_key}"}
        async with Receiver(found.webhook_secret) as receiver:
            cast = Cast(
                tenant=Caller(http, desktop.base_url, key),
                desktop=desktop,
                phone=Caller(http, desktop.base_url, {"User-Agent": MOBILE_AGENT}),
                receiver=receiver,
                selfies=troupe.selfies,
                man=troupe.man,
                customer_id=f"demo-{secrets.token_hex(8)}",
                callback_s_max=wait_s,
            )
            await play(cast, notes)
            return await find_the_man(cast.tenant, troupe.crowd, f"{cast.customer_id}-", notes)
