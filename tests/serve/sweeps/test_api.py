"""Sweeps over HTTP: asked for, watched, canceled; pairs and rings; and what is refused."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from redis.asyncio import Redis

from serve.domain.ids import Mode, Prefix
from serve.domain.sweeps.sweep import ACTIVE_MAX, Sweep
from serve.domain.tenancy.api_key import DEFAULT_SCOPES, Scope
from serve.flows.tenants import create_key
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import Answer, Door, assert_documented, front_door
from tests.helpers.records import MODEL, an_id
from tests.serve.sweeps.planted import PROBES, SIGNAL, ended

SWEEPS, RINGS, CALIBRATION = "/api/v1/sweeps", "/api/v1/rings", "/api/v1/calibration"
PEOPLE = ("alice", "bob", "carol", "dave")
FRESH = {
    "status": "queued", "failure": None, "detail": None, "progress": 0.0, "pairs_per_s": None,
    "eta_s": None, "scope": "enrolled", "since": None, "target_fpir": None, "threshold": None,
    "threshold_source": None, "model": MODEL, "faces": 0, "customers": 0, "tiles": 0,
    "tiles_done": 0, "compared": 0, "found": 0, "rings": 0, "started_at": None, "ended_at": None,
}  # fmt: skip


@pytest_asyncio.fixture
async def door(link: Redis, keyring: Keyring) -> AsyncIterator[Door]:
    """A door behind which nobody is enrolled."""
    async with front_door(link, keyring) as opened:
        yield opened


async def ask(door: Door, **body: object) -> Answer:
    """A sweep, asked for; its refusals are those that the document has."""
    answer = await door.call("POST", SWEEPS, body)
    if answer.status != 202:
        assert_documented(answer, "POST", SWEEPS)
    return answer


async def record(door: Door, sweep_id: str, mode: Mode = Mode.TEST) -> Sweep:
    """A sweep as it is written down."""
    found = await door.deps.sweeps.one(door.tenant.tenant.id, mode, sweep_id)
    assert found is not None
    return found


async def swept(door: Door, *people: str) -> str:
    """The id of a done sweep of these people, who are all alike."""
    for number, name in enumerate(people):
        await door.enrol(b"%04d" % number, name)
    sweep_id = (await ask(door)).body["id"]
    await ended(door.deps, await record(door, sweep_id), people)
    return str(sweep_id)


async def every(door: Door, path: str, limit: int) -> list[dict[str, Any]]:
    """All of a list, page by page."""
    found: list[dict[str, Any]] = []
    cursor = ""
    while True:
        page = (await door.call("GET", f"{path}?limit={limit}&cursor={cursor}")).body
        assert set(page) == {"data", "has_more", "next_cursor"}
        assert page["has_more"] == bool(page["next_cursor"])
        assert len(page["data"]) <= limit
        found += page["data"]
        cursor = page["next_cursor"]
        if not cursor:
            return found


async def test_a_sweep_is_asked_for_and_watched(door: Door) -> None:
    """202 with the sweep, queued; it reads the same alone and in the list, the newest first."""
    first = await ask(door)
    assert first.status == 202
    assert {**FRESH, "id": first.body["id"], "created_at": first.body["created_at"]} == first.body
    assert first.body["id"].startswith("swp_")
    second = await ask(door, threshold=0.5, scope="blocked")
    assert (second.body["threshold"], second.body["scope"]) == (0.5, "blocked")
    third = await ask(door, target_fpir=0.01, since="2026-01-31T12:00:00+01:00")
    assert (third.body["target_fpir"], third.body["threshold"]) == (0.01, None)
    assert third.body["since"] == "2026-01-31T11:00:00.000Z"
    told = [answer.body for answer in (third, second, first)]
    listed = await every(door, SWEEPS, 2)
    assert sorted(listed, key=str) == sorted(told, key=str)
    made = [each["created_at"] for each in listed]
    assert made == sorted(made, reverse=True)
    for one in told:
        assert (await door.call("GET", f"{SWEEPS}/{one['id']}")).body == one


async def test_a_sweep_needs_no_body(door: Door) -> None:
    """Without one the usual is meant."""
    answer = await door.call("POST", SWEEPS)
    assert (answer.status, answer.body["status"]) == (202, "queued")


@pytest.mark.parametrize(
    ("body", "code", "pointer"),
    [
        ({"threshold": 0.29}, "threshold_too_low", ""),
        ({"threshold": 0}, "threshold_too_low", ""),
        ({"threshold": 1.5}, "field_invalid", "/threshold"),
        ({"threshold": "0.5"}, "field_invalid", "/threshold"),
        ({"target_fpir": 0}, "field_invalid", "/target_fpir"),
        ({"target_fpir": 0.9}, "field_invalid", "/target_fpir"),
        ({"threshold": 0.5, "target_fpir": 0.01}, "field_invalid", ""),
        ({"scope": "everybody"}, "field_invalid", "/scope"),
        ({"since": "yesterday"}, "field_invalid", "/since"),
        ({"since": 7}, "field_invalid", "/since"),
        ({"since": "9999-01-01T00:00:00Z"}, "field_invalid", "/since"),
        ({"since": an_id(Prefix.SWEEP, 7)}, "field_invalid", "/since"),
        ({"since": an_id(Prefix.FACE, 7)}, "field_invalid", "/since"),
        ({"tau": 0.5}, "field_invalid", "/tau"),
    ],
)
async def test_bad_input_starts_nothing(
    door: Door, body: dict[str, object], code: str, pointer: str
) -> None:
    """Each field by itself is 422 with its own code and place, and no sweep is made."""
    answer = await ask(door, **body)
    assert (answer.status, answer.code) == (422, code)
    if code == "field_invalid":
        assert answer.body["errors"][0]["pointer"] == pointer
    assert (await door.call("GET", SWEEPS)).body["data"] == []


async def test_a_sweep_may_go_on_from_a_done_one(door: Door) -> None:
    """By its id, once it is done; one of another scope, or that is not done, is refused."""
    waiting = (await ask(door)).body["id"]
    assert (await ask(door, since=waiting)).code == "field_invalid"
    done = await swept(door, *PEOPLE)
    assert (await ask(door, since=done, scope="blocked")).code == "field_invalid"
    later = await ask(door, since=done)
    assert (later.status, later.body["since"]) == (202, done)


async def test_so_many_sweeps_at_once_and_no_more(door: Door) -> None:
    """429 with `Retry-After`, until one of them is canceled; the other mode has its own."""
    ids = [(await ask(door)).body["id"] for _ in range(ACTIVE_MAX)]
    full = await ask(door)
    assert (full.status, full.code) == (429, "sweeps_too_many")
    assert int(full.headers["Retry-After"]) > 0
    assert (await door.call("POST", SWEEPS, {}, key=door.tenant.api_key)).status == 202
    await door.call("POST", f"{SWEEPS}/{ids[0]}/cancel")
    assert (await ask(door)).status == 202


async def test_a_sweep_is_canceled_once(door: Door) -> None:
    """It ends and shows nothing; again it answers the same; one that is done stays done."""
    sweep_id = (await ask(door)).body["id"]
    path = f"{SWEEPS}/{sweep_id}/cancel"
    stopped = await door.call("POST", path)
    assert (stopped.status, stopped.body["status"]) == (200, "canceled")
    assert stopped.body["ended_at"] is not None
    assert (await door.call("POST", path)).body == stopped.body
    assert (await door.call("GET", f"{SWEEPS}/{sweep_id}")).body == stopped.body
    done = await swept(door, *PEOPLE)
    closed = await door.call("POST", f"{SWEEPS}/{done}/cancel")
    assert (closed.status, closed.code) == (409, "sweep_closed")
    assert_documented(closed, "POST", f"{SWEEPS}/{{sweep_id}}/cancel")
    assert (await door.call("GET", f"{SWEEPS}/{done}")).body["status"] == "done"


async def test_what_is_not_done_shows_nothing(door: Door) -> None:
    """409 for pairs and rings of a sweep that waits or was canceled; the tenant has no rings."""
    sweep_id = (await ask(door)).body["id"]
    for _ in range(2):
        for part in ("pairs", "rings"):
            answer = await door.call("GET", f"{SWEEPS}/{sweep_id}/{part}")
            assert (answer.status, answer.code) == (409, "sweep_unfinished")
            assert_documented(answer, "GET", f"{SWEEPS}/{{sweep_id}}/{part}")
        await door.call("POST", f"{SWEEPS}/{sweep_id}/cancel")
    assert await every(door, RINGS, 1) == []


async def test_a_done_sweep_says_so(door: Door) -> None:
    """All of it is done, nothing is to come, and the threshold is on the mapped scale."""
    told = (await door.call("GET", f"{SWEEPS}/{await swept(door, *PEOPLE)}")).body
    assert (told["status"], told["progress"], told["eta_s"]) == ("done", 1.0, 0.0)
    assert (told["threshold"], told["threshold_source"]) == (0.36, "manifest")
    assert (told["customers"], told["rings"]) == (len(PEOPLE), 1)
    assert told["ended_at"] > told["started_at"]


async def test_pairs_are_paged_best_first(door: Door) -> None:
    """Each pair once, with its two customers and faces, the most alike first, and no more."""
    path = f"{SWEEPS}/{await swept(door, *PEOPLE)}/pairs"
    found = await every(door, path, 2)
    assert {frozenset((pair["customer_a"], pair["customer_b"])) for pair in found} == {
        frozenset((one, other)) for one in PEOPLE for other in PEOPLE if one < other
    }
    assert len(found) == 6
    for pair in found:
        assert set(pair) == {
            "customer_a", "customer_b", "face_a", "face_b", "score", "expected_false_matches",
            "expected_false_matches_max",
        }  # fmt: skip
        assert pair["score"] == round(pair["score"], 2)
    scores = [pair["score"] for pair in found]
    assert scores == sorted(scores, reverse=True)
    assert (await every(door, path, 100)) == found


async def test_a_ring_explains_itself(door: Door) -> None:
    """The same in the sweep, among the tenant's and by its id: who, how many ties, what holds it;
    of a signal that two share it says the kind, and nobody's digest.
    """
    sweep_id = await swept(door, *PEOPLE)
    (ring,) = await every(door, f"{SWEEPS}/{sweep_id}/rings", 1)
    assert set(ring) == {
        "id", "members", "strong_edges", "weak_edges", "weakest_link", "bridges", "tree",
        "expected_false_edges", "density", "medoid", "shared_signals", "cut_members",
        "held_together_by",
    }  # fmt: skip
    assert sorted(ring["members"]) == sorted(PEOPLE)
    assert (ring["strong_edges"], ring["weak_edges"]) == (6, 0)
    assert (ring["bridges"], ring["cut_members"], ring["density"]) == ([], [], 1.0)
    assert (ring["shared_signals"], ring["held_together_by"]) == (["phone"], "faces")
    assert ring["medoid"] in PEOPLE
    assert await every(door, RINGS, 1) == [ring]
    alone = await door.call("GET", f"{RINGS}/{ring['id']}")
    assert alone.body == ring
    assert SIGNAL.partition(":")[2] not in json.dumps(ring)


async def test_thresholds_come_with_their_evidence(door: Door) -> None:
    """For each target a threshold and its interval, or nothing at all where too little is known;
    until a sweep is done there are none. One asked for again is the bar of the next sweep.
    """
    before = await door.call("GET", CALIBRATION)
    assert (before.status, before.code) == (404, "not_found")
    assert_documented(before, "GET", CALIBRATION)
    sweep_id = await swept(door, *PEOPLE)
    told = (await door.call("GET", CALIBRATION)).body
    assert (told["sweep_id"], told["gallery_size"]) == (sweep_id, PROBES)
    assert told["expires_at_size"] > PROBES
    targets = [row["target_fpir"] for row in told["thresholds"]]
    assert targets == sorted(targets, reverse=True)
    by_target = {row["target_fpir"]: row for row in told["thresholds"]}
    found = by_target[1e-3]
    assert found["fpir_min"] <= found["fpir"] <= found["fpir_max"] <= 1e-3
    assert found["probes"] == PROBES
    assert by_target[1e-4] == {**dict.fromkeys(found), "target_fpir": 1e-4}
    again = await ask(door, threshold=found["threshold"])
    assert again.body["threshold"] == found["threshold"]


async def test_whoever_is_erased_is_told_of_no_more(door: Door) -> None:
    """At once: in no pair and in no ring, and a ring of one is none."""
    sweep_id = await swept(door, *PEOPLE)
    ring_id = (await every(door, RINGS, 9))[0]["id"]
    for number, gone in enumerate(PEOPLE[:3]):
        await door.call("DELETE", f"/api/v1/customers/{gone}")
        left = 3 - number
        pairs = await every(door, f"{SWEEPS}/{sweep_id}/pairs", 4)
        assert len(pairs) == left * (left - 1) // 2
        rings = await every(door, RINGS, 9)
        assert len(rings) == (left > 1)
        assert gone not in json.dumps([pairs, rings])
        answer = await door.call("GET", f"{RINGS}/{ring_id}")
        assert answer.status == (200 if left > 1 else 404)


async def test_what_is_another_s_is_nobody_s(door: Door) -> None:
    """Another tenant, and the other mode, get for a sweep and a ring what a made-up id gets."""
    sweep_id = await swept(door, *PEOPLE)
    ring_id = (await every(door, RINGS, 1))[0]["id"]
    unknown = sweep_id[:-1] + ("A" if sweep_id[-1] != "A" else "Q")
    nowhere = ring_id[:-1] + ("0" if ring_id[-1] != "0" else "1")
    for key in (door.tenant.api_key, door.stranger.test_api_key):
        for method, path, other in (
            ("GET", f"{SWEEPS}/{sweep_id}", f"{SWEEPS}/{unknown}"),
            ("POST", f"{SWEEPS}/{sweep_id}/cancel", f"{SWEEPS}/{unknown}/cancel"),
            ("GET", f"{SWEEPS}/{sweep_id}/pairs", f"{SWEEPS}/{unknown}/pairs"),
            ("GET", f"{SWEEPS}/{sweep_id}/rings", f"{SWEEPS}/{unknown}/rings"),
            ("GET", f"{RINGS}/{ring_id}", f"{RINGS}/{nowhere}"),
        ):
            answers = [await door.call(method, each, key=key) for each in (path, other)]
            assert {answer.status for answer in answers} == {404}
            for answer in answers:
                del answer.body["request_id"]
            assert answers[0].body == answers[1].body
        refused = await door.call("POST", SWEEPS, {"since": sweep_id}, key=key)
        made_up = await door.call("POST", SWEEPS, {"since": unknown}, key=key)
        assert refused.body["errors"] == made_up.body["errors"]
        for path in (SWEEPS, RINGS):
            assert (await door.call("GET", path, key=key)).body["data"] == []
        assert (await door.call("GET", CALIBRATION, key=key)).code == "not_found"


async def test_sweeps_have_a_scope_of_their_own(door: Door) -> None:
    """The usual keys have it; all the other scopes together do not do."""
    assert Scope.SWEEPS in DEFAULT_SCOPES
    others = [scope for scope in Scope if scope is not Scope.SWEEPS]
    _, key = await create_key(door.deps, door.tenant.tenant.id, Mode.TEST, others)
    for method, path in (
        ("POST", SWEEPS), ("GET", SWEEPS), ("GET", f"{SWEEPS}/x"), ("POST", f"{SWEEPS}/x/cancel"),
        ("GET", f"{SWEEPS}/x/pairs"), ("GET", f"{SWEEPS}/x/rings"), ("GET", RINGS),
        ("GET", f"{RINGS}/x"), ("GET", CALIBRATION),
    ):  # fmt: skip
        assert (await door.call(method, path, key=key)).code == "scope_missing"


@pytest.mark.parametrize("path", [SWEEPS, RINGS, "{sweep}/pairs", "{sweep}/rings"])
async def test_a_cursor_of_nobody_s_is_refused(door: Door, path: str) -> None:
    """422, also for one that another list gave out."""
    sweep_id = await swept(door, *PEOPLE)
    for _ in range(2):
        await ask(door)
    given = (await door.call("GET", f"{SWEEPS}?limit=1")).body["next_cursor"]
    named = path.format(sweep=f"{SWEEPS}/{sweep_id}")
    for cursor in ("x", "AAAA", *([] if path == SWEEPS else [given])):
        answer = await door.call("GET", f"{named}?cursor={cursor}")
        assert (answer.status, answer.code) == (422, "cursor_invalid"), cursor
