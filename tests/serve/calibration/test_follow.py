"""Searches and the duplicate gate go by the tenant's own calibration while it holds, and no longer;
each world by its own.
"""

import asyncio
import math
from dataclasses import replace
from typing import Any

import pytest

from serve.domain.alert import AlertType
from serve.domain.audit import Action
from serve.domain.ids import Mode
from serve.domain.sweeps.calibration import Calibration, bin_of
from serve.domain.sweeps.lately import KEPT_S, WORLDS_MAX, Lately
from serve.domain.sweeps.sweep import SweepRequest
from serve.flows.audit import Query
from serve.flows.audit import page as audit_page
from serve.flows.search.find import SearchAnswer, SearchRequest, search_face
from serve.flows.sweeps.ask import create_sweep
from serve.flows.sweeps.calibrate import calibration_of, duplicate_threshold, set_target
from tests.helpers.service import Service, repeatable
from tests.helpers.toy_faces import MODEL, SCALE
from tests.serve.screening.gate import raised
from tests.serve.sweeps.planted import PROBES, ended

TARGET = 1e-3
HOUR_S = 3_600.0


def at(degrees: float) -> float:
    """The native score of two faces so far from each other."""
    return math.cos(math.radians(degrees))


def a_calibration(**changes: Any) -> Calibration:
    """Of 20,000 strangers, two of whom are 15 degrees from each other; pairs are known to 30."""
    fields: dict[str, Any] = {
        "tenant_id": "ten_a",
        "mode": Mode.LIVE,
        "model_id": MODEL,
        "sweep_id": "swp_1",
        "gallery_size": 20_000,
        "probes": 20_000,
        "pairs": 199_990_000,
        "complete_from": at(30),
        "impostors": {bin_of(at(15)): 1},
        "erring": {bin_of(at(15)): 2},
        "made_at_ms": 1,
    }
    return Calibration(**{**fields, **changes})


def know(service: Service, calibration: Calibration | None, mode: Mode = Mode.LIVE) -> None:
    """Have the flows know it for an hour, as if a sweep had just shown it."""
    later_s = asyncio.get_running_loop().time() + HOUR_S
    service.deps.calibrations.keep((service.live.tenant_id, mode), calibration, later_s)


async def follow(service: Service, target: float | None, mode: Mode = Mode.LIVE) -> None:
    await set_target(service.deps, service.live.tenant_id, mode, target)


async def searched(service: Service, threshold: float) -> SearchAnswer:
    request = SearchRequest(b"face 0", threshold=threshold)
    return await search_face(service.deps, service.live, request)


async def test_a_search_says_what_the_calibration_expects(service: Service) -> None:
    """At any threshold that it knows of, below the pack's as well, and names the sweep."""
    await service.enrolled()
    know(service, a_calibration(impostors={bin_of(at(15)): 20, bin_of(at(25)): 180}))
    for degrees, pairs in ((26, 200), (15.1, 20)):
        answer = await searched(service, SCALE.similarity(at(degrees)))
        assert answer.expected.expected == pytest.approx(pairs / 199_990_000)
        assert answer.calibration is not None
        assert answer.calibration.sweep_id == "swp_1"
    unknown = await searched(service, SCALE.similarity(at(31)))
    assert (unknown.expected, unknown.calibration) == ((None, None), None)


@pytest.mark.parametrize("change", [{"gallery_size": 0}, {"model_id": "other"}])
async def test_a_calibration_that_holds_no_more_says_nothing(
    service: Service, change: dict[str, Any]
) -> None:
    """The gallery has outgrown it, or another model compares: the enrolments are asked, as ever."""
    await service.enrolled()
    await service.enrolled("bob", "face 90")
    know(service, a_calibration(**change))
    answer = await searched(service, SCALE.similarity(at(20)))
    assert answer.calibration is None
    assert answer.expected.upper_bound is not None
    await follow(service, TARGET)
    assert (await service.enrolled("carol", "face 25")).duplicates == 0


async def test_the_duplicate_gate_follows_the_target(service: Service) -> None:
    """25 degrees are no match to the pack and a duplicate by the target, while it is set."""
    await service.enrolled()
    know(service, a_calibration())
    assert (await service.enrolled("bob", "face 25")).duplicates == 0
    await follow(service, TARGET)
    assert (await service.enrolled("carol", "face -25")).duplicates == 1
    await follow(service, None)
    assert (await service.enrolled("dave", "face 335")).duplicates == 1  # carol, at the same angle


async def test_a_stricter_target_finds_fewer(service: Service) -> None:
    """Where 16 degrees may be chance, 15 are a match to the pack and no duplicate; what the gate
    did not look at is no evidence for the pack's threshold.
    """
    await service.enrolled()
    world = service.live.tenant_id, service.live.mode
    know(service, a_calibration(erring={bin_of(at(12)): 2, bin_of(at(16)): 40}))
    await follow(service, TARGET)
    before = await service.deps.flags.evidence(*world)
    assert (await service.enrolled("bob", "face 16")).duplicates == 0
    assert await service.deps.flags.evidence(*world) == before
    assert (await service.enrolled("carol", "face 10")).duplicates == 2
    found = await duplicate_threshold(service.deps, *world)
    assert found is not None
    assert at(16) < found.threshold < at(15)


async def test_too_little_evidence_leaves_the_packs_threshold(service: Service) -> None:
    """A target that so few faces cannot show, and a tenant that never swept."""
    await service.enrolled()
    await follow(service, 1e-5)
    for calibration in (None, a_calibration()):
        know(service, calibration)
        answer = await service.enrolled("bob", "face 19")
        assert answer.duplicates == 1
        assert await duplicate_threshold(service.deps, service.live.tenant_id, Mode.LIVE) is None


async def test_a_likeness_beyond_chance_alerts(service: Service) -> None:
    """By the score of the best match: what strangers hardly reach alerts, and what they often do is
    a flag alone.
    """
    await service.enrolled()
    often = {bin_of(at(15)): 400_000_000}
    know(service, a_calibration(impostors=often))
    assert (await service.enrolled("bob", "face 19")).duplicates == 1
    assert await raised(service) == []
    assert (await service.enrolled("carol", "face -4")).duplicates == 1
    assert await raised(service) == [AlertType.DUPLICATE_FACE]


async def test_worlds_follow_each_their_own(service: Service) -> None:
    """A target, and a calibration, of test mode change nothing in live mode."""
    know(service, a_calibration(), Mode.TEST)
    await follow(service, TARGET, Mode.TEST)
    world = service.live.tenant_id
    assert await duplicate_threshold(service.deps, world, Mode.LIVE) is None
    assert await duplicate_threshold(service.deps, world, Mode.TEST) is not None
    tenant = await service.deps.directory.tenant(world)
    assert tenant is not None
    assert [tenant.seen_in(mode).duplicate_target_fpir for mode in Mode] == [None, TARGET]


async def test_a_target_is_in_the_trail(service: Service) -> None:
    """Who decides what a duplicate is leaves a word of it."""
    await follow(service, TARGET)
    found = await audit_page(service.deps, service.live, Query(action=Action.TENANT_CALIBRATED))
    assert [record.entry.action for record in found.items] == [Action.TENANT_CALIBRATED]


async def test_the_calibration_of_a_sweep_is_read_from_the_store(service: Service) -> None:
    """What a sweep wrote when it ended is what searches go by, a few seconds later at most."""
    world = service.live.tenant_id, service.live.mode
    await service.enrolled()
    assert await calibration_of(service.deps, *world) is None
    queued = await create_sweep(service.deps, service.live, SweepRequest(), repeatable())
    done = await ended(service.deps, queued, ["alice"])
    assert await calibration_of(service.deps, *world) is None  # read a moment ago
    found = await calibration_of(replace(service.deps, calibrations=Lately()), *world)
    assert found is not None
    assert (found.sweep_id, found.probes) == (done.id, PROBES)


def test_what_was_read_is_kept_for_seconds_and_of_so_many_worlds() -> None:
    """Five seconds, 256 worlds, the oldest going first; that there is none is kept as well."""
    lately, world = Lately(), ("ten_a", Mode.LIVE)
    assert not lately.knows(world, 0)
    lately.keep(world, None, 10.0)
    assert lately.knows(world, 10.0 + KEPT_S - 0.01)
    assert lately.calibration(world) is None
    assert not lately.knows(world, 10.0 + KEPT_S)
    for number in range(WORLDS_MAX):
        assert lately.knows(world, 10.0)
        lately.keep((f"ten_{number}", Mode.LIVE), a_calibration(), 10.0)
    assert not lately.knows(world, 10.0)
    assert lately.knows(("ten_0", Mode.LIVE), 10.0)
