"""A sweep as one HTML file: no script, no network, nothing but itself.

Names of customers are whatever a tenant's own customers chose: all text is escaped, and the page's
policy admits its one style sheet by its digest, and pictures that are in the page.
"""

import base64
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from serve.api.sweeps.answers import RingResponse
from serve.pictures.sweeps.charts import curves, histogram
from serve.pictures.sweeps.content import (
    CHIPS_BYTES_MAX,
    MEMBERS_LISTED_MAX,
    PAIRS_LISTED_MAX,
    RINGS_DRAWN_MAX,
    RINGS_LISTED_MAX,
    Report,
)
from serve.pictures.sweeps.graph import Graph, drawn

_FOLDER = Path(__file__).parent
_PAGE, _STYLE = "report.html.j2", "report.css"


@dataclass(frozen=True, slots=True)
class _Bounds:
    """What the page says of what it leaves out."""

    pairs: int
    rings: int
    members: int


def render_report(report: Report) -> str:
    """The page, UTF-8 text. The same report gives the same page.

    Drawn are the largest 40 rings, listed 500, the best 200 pairs, 60 members of a ring; pictures
    of faces up to 8 MiB. What is left out is counted.
    """
    threshold = report.sweep.threshold or 0.0
    some = report.rings[:RINGS_DRAWN_MAX]
    chips = _chips(report, some)
    graphs: list[Graph] = [drawn(ring, report.links.get(ring.id, ()), chips) for ring in some]
    return _template().render(
        report=report,
        sweep=report.sweep,
        chance=report.chance,
        style=_style(),
        style_sha256=_digest(_style()),
        histogram=histogram(report.bars, threshold),
        curves=None if report.chance is None else curves(report.chance, threshold),
        graphs=graphs,
        listed=report.rings[RINGS_DRAWN_MAX:RINGS_LISTED_MAX],
        pairs=report.pairs[:PAIRS_LISTED_MAX],
        ring_of=_places(report.rings),
        has_chips=bool(chips),
        most=_Bounds(
            pairs=max(0, report.sweep.found - PAIRS_LISTED_MAX),
            rings=max(0, len(report.rings) - RINGS_LISTED_MAX),
            members=MEMBERS_LISTED_MAX,
        ),
    )


def _places(rings: tuple[RingResponse, ...]) -> dict[str, str]:
    """Of each member the ring: its number where it is drawn, else its id."""
    return {
        member: str(number) if number <= RINGS_DRAWN_MAX else ring.id
        for number, ring in enumerate(rings, start=1)
        for member in ring.members
    }


def _chips(report: Report, rings: tuple[RingResponse, ...]) -> dict[str, str]:
    """Pictures of those who are drawn, as data URLs, as many as there is room for."""
    found: dict[str, str] = {}
    room = CHIPS_BYTES_MAX
    for ring in rings:
        for customer_id in ring.members[:MEMBERS_LISTED_MAX]:
            chip = report.chips.get(customer_id, b"")
            if not chip or len(chip) > room:
                continue
            room -= len(chip)
            found[customer_id] = f"data:image/jpeg;base64,{base64.b64encode(chip).decode()}"
    return found


@cache
def _template() -> Template:
    pages = Environment(
        loader=FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    pages.filters["count"] = lambda number: f"{number:,}"
    pages.filters["percent"] = lambda share: f"{100 * share:.3g} %"
    pages.filters["few"] = lambda number: f"{number:.2g}"
    pages.filters["moment"] = lambda text: text[:19].replace("T", " ") + " UTC"
    return pages.get_template(_PAGE)


@cache
def _style() -> str:
    return (_FOLDER / _STYLE).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
