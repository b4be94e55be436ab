"""The oracle itself: a planted leak is found by the story, by its repetition or by the walks."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from index.entry import Enrolled
from serve.deps import Deps
from serve.domain.alert import Alert
from serve.domain.callback import CallbackEvent
from serve.domain.ids import Mode, Subject
from serve.domain.sweeps.sweep import Sweep
from serve.domain.tenancy.api_key import Principal
from serve.errors import Code, ServeError
from serve.flows import alerts, sessions
from serve.ports import Page
from serve.ports.search import Asked, Found
from serve.settings import State
from serve.store.listings import RedisListings
from serve.store.sweeps.records import read_one
from serve.store.sweeps.sweeps import RedisSweeps
from tests.helpers.search.read_index import ReadIndex, everybody, gallery_of
from tests.isolation.driver import Driver
from tests.isolation.graph import Watch, may_follow
from tests.isolation.machine import wander
from tests.isolation.oracle import Caller, Exchange, Oracle
from tests.isolation.stage import isolation_stage
from tests.isolation.story import go_across, tell_all

SEED = 7
WALKS = 60  # as many as the machine has in every run


class OneWorld(RedisListings):
    """Callbacks of both modes are those of live mode."""

    async def events(
        self, tenant_id: str, mode: Mode, cursor: str, limit: int
    ) -> Page[CallbackEvent]:
        return await RedisListings.events(self, tenant_id, Mode.LIVE, cursor, limit)


class OneCount(RedisListings):
    """Counts of both modes are those of live mode."""

    async def counts(self, tenant_id: str, mode: Mode) -> dict[str, int]:
        return await RedisListings.counts(self, tenant_id, Mode.LIVE)


class OneMode(RedisSweeps):
    """Sweeps of both modes are those of live mode."""

    async def page(self, tenant_id: str, mode: Mode, cursor: str, limit: int) -> Page[Sweep]:
        return await RedisSweeps.page(self, tenant_id, Mode.LIVE, cursor, limit)


class Anybodys(RedisSweeps):
    """A sweep is found whoever asks for it."""

    async def one(self, tenant_id: str, mode: Mode, sweep_id: str) -> Sweep | None:
        found = await read_one(self.link, self.keyring, sweep_id)
        return None if found is None else found.sweep


class Worldless(ReadIndex):
    """An index that searches the faces of everybody."""

    def is_meant(self, asked: Asked, face: Enrolled) -> bool:
        return face.gallery.kind == asked.kind


class Modeless(ReadIndex):
    """An index that searches both modes of a tenant."""

    def is_meant(self, asked: Asked, face: Enrolled) -> bool:
        wanted, (tenant_id, _) = gallery_of(asked), face.gallery.world.split(":")
        return tenant_id == asked.tenant_id and face.gallery.kind == wanted.kind


class Counted(ReadIndex):
    """An index that finds whom it should, and tells how many faces everybody has."""

    async def search(self, asked: Asked) -> Found:
        found = await ReadIndex.search(self, asked)
        return replace(found, gallery_size=len(await everybody(self.log)))


def listing_by(kind: type[RedisListings]) -> Callable[[Deps], Deps]:
    """The same ports, with other lists."""

    def alter(deps: Deps) -> Deps:
        listings = deps.listings
        assert isinstance(listings, RedisListings)
        return replace(deps, listings=kind(listings.link, listings.keyring))

    return alter


def sweeps_by(kind: type[RedisSweeps]) -> Callable[[Deps], Deps]:
    """The same ports, with other sweeps."""

    def alter(deps: Deps) -> Deps:
        sweeps = deps.sweeps
        assert isinstance(sweeps, RedisSweeps)
        return replace(deps, sweeps=kind(sweeps.link, sweeps.keyring))

    return alter


async def anybodys(deps: Deps, _principal: Principal, session_id: str) -> Subject:
    """The owner of a session, whoever asks."""
    found = await deps.ledger.owner(session_id)
    if found is None:
        raise ServeError(Code.NOT_FOUND, "no such session")
    return found


async def gone(_deps: Deps, _principal: Principal, _alert_id: str) -> Alert:
    """A refusal that no alert knows."""
    raise ServeError(Code.TOKEN_EXPIRED, "planted")


async def broken(_deps: Deps, _principal: Principal, _alert_id: str) -> Alert:
    """A defect."""
    raise RuntimeError("planted")


@pytest.mark.parametrize(
    ("kind", "found"),
    [(OneWorld, "is told to a-test"), (OneCount, "has changed what a-test sees")],
)
def test_a_list_of_both_modes_is_found(
    redis_state: State, tmp_path: Path, kind: type[RedisListings], found: str
) -> None:
    """A list or a count that ignores the mode is found while the story is told."""
    with isolation_stage(redis_state, tmp_path / "keys", listing_by(kind)) as stage:
        driver = Driver.of(stage, SEED)
        tell_all(driver)
    assert any(found in finding for finding in driver.oracle.findings)


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (Worldless, "is told to"),
        (Modeless, "is told to a-test"),
        (Counted, "has changed what a-test sees"),
    ],
)
def test_an_index_of_other_worlds_is_found(
    redis_state: State, tmp_path: Path, kind: type[ReadIndex], found: str
) -> None:
    """A search that ignores tenant or mode, in what it finds or in what it counts."""

    def alter(deps: Deps) -> Deps:
        return replace(deps, index=kind(deps.face_log))

    with isolation_stage(redis_state, tmp_path / "keys", alter) as stage:
        driver = Driver.of(stage, SEED)
        tell_all(driver)
    assert any(found in finding for finding in driver.oracle.findings)


@pytest.mark.parametrize(
    ("kind", "found"),
    [(OneMode, "is told to a-test"), (Anybodys, "a success with a stranger's")],
)
def test_sweeps_of_other_worlds_are_found(
    redis_state: State, tmp_path: Path, kind: type[RedisSweeps], found: str
) -> None:
    """Sweeps that ignore the mode in a list, or whose they are when they are asked for."""
    with isolation_stage(redis_state, tmp_path / "keys", sweeps_by(kind)) as stage:
        driver = Driver.of(stage, SEED)
        tell_all(driver)
        go_across(driver)
    assert any(found in finding for finding in driver.oracle.findings)


def test_a_session_of_anybody_s_is_found(
    redis_state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flow that forgets whose session it is: a success across."""
    monkeypatch.setattr(sessions, "_owner", anybodys)
    with isolation_stage(redis_state, tmp_path / "keys") as stage:
        driver = Driver.of(stage, SEED)
        tell_all(driver)
        assert driver.oracle.findings == []
        go_across(driver)
    assert "a success with a stranger's" in driver.oracle.findings[0]
    assert driver.oracle.counts["across 2xx"] > 0


def test_walks_alone_find_it_too(
    redis_state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same defect, found by chance, within the walks of every run."""
    monkeypatch.setattr(sessions, "_owner", anybodys)
    with isolation_stage(redis_state, tmp_path / "keys") as stage:
        driver = Driver.of(stage, SEED)
        tell_all(driver)
        wander(driver, WALKS, SEED)
    assert "stranger's" in driver.oracle.findings[0]


@pytest.mark.parametrize(("planted", "count"), [(gone, "undocumented"), (broken, "5xx")])
def test_an_answer_that_the_document_has_not_is_found(
    redis_state: State,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    planted: Callable[..., object],
    count: str,
) -> None:
    """A refusal with an undocumented status, and a defect of the service."""
    monkeypatch.setattr(alerts, "alert", planted)
    with isolation_stage(redis_state, tmp_path / "keys") as stage:
        driver = Driver.of(stage, SEED)
        tell_all(driver)
    assert driver.oracle.counts[count] > 0
    assert driver.oracle.findings


def test_who_only_has_a_token_reads_no_customer_s_name() -> None:
    """What a token holder may read has no customer's id in it, not even that of its own world."""
    described: dict[str, Any] = {"paths": {"/p": {"get": {"responses": {"200": {}}}}}}
    oracle = Oracle(described, {})
    token = f"st_00{'A' * 43}"
    oracle.owners[token] = "a-live"
    headers = {"X-Request-Id": f"req_{'0' * 32}"}
    for text, leaks in (("canary-a-live-reference-1", 0), ("canary-a-live-customer-1", 1)):
        oracle.judge(Exchange(Caller("phone"), "GET /p", token, 200, headers, text))
        assert oracle.counts["leaks"] == len(oracle.findings) == leaks


def test_a_state_outside_the_graph_is_found() -> None:
    """A session that ended and goes on, or a state that nobody published, is a complaint."""
    ended = {"id": "ses_1", "status": "canceled", "reasons": [], "retries_remaining": 1}
    watch = Watch()
    assert list(watch.complaints({"data": [ended]})) == []
    (found,) = watch.complaints({**ended, "status": "approved"})
    assert found == "ses_1 went from canceled to approved"
    assert list(watch.complaints({**ended, "status": "paused"}))
    assert may_follow("pending", "needs_review")
    assert not may_follow("declined, with retries left", "pending")
