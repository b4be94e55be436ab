"""What a sweep came to, as files of one folder that only their owner may read."""

import asyncio
import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from pipeline.face.compare import SEARCH_FLOOR_SIMILARITY
from pipeline.models.cache import write_atomically
from serve.api.answers import timestamp
from serve.api.sweeps.answers import EdgeResponse, PairResponse, RingResponse, SweepResponse
from serve.deps import Deps
from serve.domain.sweeps.sweep import Sweep, SweepStatus
from serve.domain.tenancy.api_key import Principal
from serve.domain.tenancy.tenant import Tenant
from serve.errors import Code, ServeError
from serve.flows.sweeps.export import Exported, chips_of, exported
from serve.pictures.sweeps.chance import chance_of
from serve.pictures.sweeps.content import (
    MEMBERS_LISTED_MAX,
    PAIRS_LISTED_MAX,
    RINGS_DRAWN_MAX,
    Report,
    bars_of,
    loose_of,
)
from serve.pictures.sweeps.report import render_report

NDJSON, CSV, RINGS, REPORT, SUMMARY = (
    "pairs.ndjson", "pairs.csv", "rings.json", "report.html", "summary.json",
)  # fmt: skip
FILES = (NDJSON, CSV, RINGS, REPORT, SUMMARY)
CHIPS_MAX = RINGS_DRAWN_MAX * MEMBERS_LISTED_MAX
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet would reckon with


def check_folder(folder: Path) -> None:
    """Raises `file_unwritable` for a folder in which anything else lies than what a sweep left."""
    try:
        there = [path.name for path in folder.iterdir()] if folder.exists() else []
    except OSError as error:
        raise ServeError(Code.FILE_UNWRITABLE, f"{folder}: {error.strerror}") from error
    foreign = [name for name in there if not _is_ours(name)]
    if foreign:
        detail = f"{folder}: {foreign[0]} is in it; name a new folder"
        raise ServeError(Code.FILE_UNWRITABLE, detail)


def _is_ours(name: str) -> bool:
    return name in FILES or any(name.startswith(f".{each}.") for each in FILES)


async def described(deps: Deps, tenant: Tenant, sweep: Sweep) -> dict[str, Any]:
    """The summary of a sweep that is over."""
    is_ours = sweep.model_id == deps.model_id
    now_ms = await deps.directory.now_ms()
    told = SweepResponse.of(sweep, deps.scale.similarity if is_ours else None, now_ms)
    return {
        "tenant_id": tenant.id,
        "mode": sweep.mode.value,
        "made_at": timestamp(now_ms),
        "sweep": told.model_dump(mode="json"),
        "largest_ring": 0,
        "files": [],
    }


async def write_results(  # noqa: PLR0913 (whose, of which sweep, and where)
    deps: Deps, principal: Principal, tenant: Tenant, sweep_id: str, folder: Path, *, chips: bool
) -> dict[str, Any]:
    """Write all files of a done sweep, each whole or not at all, the summary last; the summary.

    Raises `not_found`, `sweep_unfinished` and `file_unwritable`.
    """
    found = await exported(deps, principal, sweep_id)
    rings = tuple(map(RingResponse.of, found.rings))
    summary = await described(deps, tenant, found.sweep)
    summary["largest_ring"] = max((len(ring.members) for ring in rings), default=0)
    summary["files"] = list(FILES)
    faces: dict[str, bytes] = {}
    if chips:
        drawn = [name for ring in rings[:RINGS_DRAWN_MAX] for name in ring.members]
        faces = await chips_of(deps, principal, drawn[:CHIPS_MAX], sweep_id)
    page = render_report(_report(deps, tenant, found, summary, faces))
    pairs = list(map(PairResponse.of, found.pairs))
    listed = {"sweep_id": sweep_id, "data": [ring.model_dump(mode="json") for ring in rings]}
    files = {
        NDJSON: "".join(f"{pair.model_dump_json()}\n" for pair in pairs),
        CSV: "".join(_rows(pairs)),
        RINGS: json.dumps(listed, indent=2, ensure_ascii=False),
        REPORT: page,
        SUMMARY: json.dumps(summary, indent=2, ensure_ascii=False),
    }
    await asyncio.to_thread(_write, folder, files)
    return summary


def _write(folder: Path, files: Mapping[str, str]) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        for name, text in files.items():
            write_atomically(folder / name, text.encode())
    except OSError as error:
        raise ServeError(Code.FILE_UNWRITABLE, f"{folder}: {error.strerror}") from error


def _report(
    deps: Deps, tenant: Tenant, found: Exported, summary: dict[str, Any], chips: dict[str, bytes]
) -> Report:
    sweep, scale = found.sweep, deps.scale
    assert sweep.status is SweepStatus.DONE
    assert sweep.threshold is not None
    chance = None
    if found.calibration is not None:
        floor = scale.native(SEARCH_FLOOR_SIMILARITY)
        chance = chance_of(found.calibration, sweep.threshold, floor, scale.similarity)
    rings = tuple(map(RingResponse.of, found.rings))
    return Report(
        tenant=tenant.name,
        mode=sweep.mode,
        made_at=summary["made_at"],
        sweep=SweepResponse.model_validate(summary["sweep"]),
        pairs=tuple(map(PairResponse.of, found.pairs[:PAIRS_LISTED_MAX])),
        rings=rings,
        loose=loose_of(((pair.customer_a, pair.customer_b) for pair in found.pairs), rings),
        links={
            ring_id: tuple(map(EdgeResponse.of, links)) for ring_id, links in found.links.items()
        },
        bars=bars_of((pair.score for pair in found.pairs), found.below, scale.similarity),
        tail_from=scale.similarity(sweep.complete_from) if len(found.below) else None,
        chance=chance,
        chips=chips,
    )


def _rows(pairs: Iterable[PairResponse]) -> Iterator[str]:
    """CSV, its header first. A cell that a spreadsheet would take for a formula gets an apostrophe
    in front: NDJSON has it as it is.
    """
    names = list(PairResponse.model_fields)
    stream = io.StringIO()
    writer = csv.writer(stream)
    for row in chain([names], (pair.model_dump(mode="json").values() for pair in pairs)):
        writer.writerow(map(_cell, row))
        yield stream.getvalue()
        stream.seek(0)
        stream.truncate()


def _cell(value: object) -> str:
    text = "" if value is None else str(value)
    is_text = isinstance(value, str)
    return f"'{text}" if is_text and text.startswith(FORMULA) else text
