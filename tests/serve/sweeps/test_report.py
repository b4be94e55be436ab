"""The report of a sweep: one file that tells everything in words, and runs nothing of anybody's."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np

from serve.api.sweeps.answers import (
    CutResponse,
    EdgeResponse,
    PairResponse,
    RingResponse,
    SweepResponse,
)
from serve.domain.ids import Mode
from serve.domain.sweeps.calibration import Calibration, bin_of
from serve.domain.sweeps.sweep import (
    Sweep,
    SweepRequest,
    SweepScope,
    SweepStatus,
    ThresholdSource,
)
from serve.pictures.sweeps.chance import chance_of
from serve.pictures.sweeps.content import (
    CHIPS_BYTES_MAX,
    LOOSE_LISTED_MAX,
    PAIRS_LISTED_MAX,
    RINGS_DRAWN_MAX,
    RINGS_LISTED_MAX,
    Report,
    bars_of,
    loose_of,
)
from serve.pictures.sweeps.report import render_report

EVIL = '<script>alert("x")</script>\'"><img src=x onerror=alert(1)>'
VOID = {"meta"}


def same(native: float) -> float:
    return (native + 1) / 2


def a_sweep(found: int = 3) -> SweepResponse:
    sweep = Sweep(
        id="swp_07" + "A" * 22, tenant_id="ten_1", mode=Mode.TEST, request=SweepRequest(),
        model_id="a-model", status=SweepStatus.DONE, threshold=0.4,
        threshold_source=ThresholdSource.CALIBRATION, faces=2_000, customers=1_990, tiles=1,
        tiles_done=1, compared=1_998_000, to_compare=1_998_000, found=found, rings=1,
        created_at_ms=1_790_000_000_000, started_at_ms=1_790_000_001_000,
        ended_at_ms=1_790_000_009_000,
    )  # fmt: skip
    return SweepResponse.of(sweep, same, 1_790_000_010_000)


def a_ring(number: int = 0, members: int = 4, prefix: str = "customer") -> RingResponse:
    names = tuple(f"{prefix} {number}-{each}" for each in range(members))
    chain = tuple(
        EdgeResponse(customer_a=one, customer_b=other, score=0.8) for one, other in pairwise(names)
    )
    return RingResponse(
        id=f"rng_{number:032x}", members=names, strong_edges=members - 1, weak_edges=1,
        weakest_link=0.7, bridges=chain[-1:], expected_false_edges=0.01, tree=chain, density=0.6,
        medoid=names[0], shared_signals=(),
        cut_members=(CutResponse(customer_id=names[-2], parts=2),), held_together_by="faces",
    )  # fmt: skip


def a_pair(one: str, other: str) -> PairResponse:
    return PairResponse(
        customer_a=one, customer_b=other, face_a="fac_00" + "A" * 22, face_b="fac_00" + "B" * 22,
        score=0.81, expected_false_matches=None, expected_false_matches_max=0.02,
    )  # fmt: skip


def a_calibration() -> Calibration:
    scores = np.random.default_rng(7).normal(0.0, 0.12, 20_000)
    counts: dict[int, int] = {}
    for score in scores[scores > 0.1]:
        counts[bin_of(score)] = counts.get(bin_of(score), 0) + 1
    erring = {place: count // 4 for place, count in counts.items() if count >= 4}
    return Calibration(
        tenant_id="ten_1", mode=Mode.TEST, model_id="a-model", sweep_id="swp_07" + "A" * 22,
        gallery_size=2_000, probes=2_000, pairs=1_998_000, complete_from=0.1, impostors=counts,
        erring=erring, confirmed=1, presumed=2, unreviewed=3, made_at_ms=1,
    )  # fmt: skip


def a_report(**changes: object) -> Report:
    given = {
        "tenant": "Acme", "mode": Mode.TEST, "made_at": "2026-11-22T05:00:00.000Z",
        "sweep": a_sweep(), "pairs": (a_pair("customer 0-0", "customer 0-1"),),
        "rings": (a_ring(),), "links": {}, "tail_from": 0.55,
        "bars": bars_of([0.7, 0.71, 0.9], np.array([0.2, 0.3]), same),
        "chance": chance_of(a_calibration(), 0.4, 0.2, same),
    }  # fmt: skip
    return Report(**{**given, **changes})  # type: ignore[arg-type]


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the text outside of its style."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += "" if "style" in self.open else data


def test_it_says_what_a_compliance_officer_asks() -> None:
    """Faces, pairs, the threshold and its origin, intervals, expiry and limits are in words."""
    text = " ".join(Elements(render_report(a_report())).text.split())
    for said in (
        "2,000 faces of 1,990 customers", "1,998,000 pairs", "3 pairs have a similarity of 0.7",
        "comes from this tenant's own scores", "95 % interval", "the gallery has 2,223 faces",
        "1 pair confirmed", "3 pairs count as possible errors", "What this does not prove",
        "Ring 1: 4 customers", "without them it falls apart", "threshold 0.7",
    ):  # fmt: skip
        assert said in text, said


def test_names_of_customers_are_text_and_nothing_else() -> None:
    """A name that is a script stays text wherever it stands: no element comes of it."""
    ring = a_ring(prefix=EVIL)
    page = render_report(
        a_report(tenant=EVIL, rings=(ring,), pairs=(a_pair(EVIL, ring.members[0]),))
    )
    elements = Elements(page)
    assert EVIL in elements.text
    tags = {tag for tag, _ in elements.found}
    assert tags.isdisjoint({"script", "img", "iframe", "object", "link", "form"})
    assert not [name for _, names in elements.found for name in names if name.startswith("on")]
    plain = Elements(render_report(a_report()))
    assert len(elements.found) == len(plain.found)


def test_it_asks_nobody_for_anything() -> None:
    """No address stands in it, and its policy admits its own style by its digest, and no more."""
    page = render_report(a_report(chips={"customer 0-0": b"\xff\xd8chip"}))
    elements = Elements(page)
    assert not elements.open
    assert "http" not in page.replace("http-equiv", "")
    policy = next(
        names["content"] for tag, names in elements.found
        if tag == "meta" and names.get("http-equiv") == "Content-Security-Policy"
    )  # fmt: skip
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy is not None
    assert policy.split("; ")[:3] == [
        "default-src 'none'", f"style-src 'sha256-{digest}'", "img-src data:",
    ]  # fmt: skip
    assert not [names for _, names in elements.found if "style" in names]
    (image,) = [names for tag, names in elements.found if tag == "image"]
    assert image["href"] == "data:image/jpeg;base64," + base64.b64encode(b"\xff\xd8chip").decode()


def test_every_picture_has_words_and_a_table() -> None:
    """Each drawing names itself, and what it shows stands in a table as well."""
    page = render_report(a_report())
    drawings = re.findall(r'<svg class="(?:chart|graph)".*?</svg>', page, re.DOTALL)
    assert len(drawings) == 3
    for drawing in drawings:
        assert 'role="img" aria-labelledby=' in drawing
        assert "<title id=" in drawing
    assert page.count("The same as a table") == 2


def test_the_same_report_gives_the_same_page() -> None:
    """Nothing of it is left to chance: neither where members stand nor what things are called."""
    assert render_report(a_report()) == render_report(a_report())


def test_it_is_bounded() -> None:
    """However many rings, members, pairs and faces there are, it draws and lists so many."""
    rings = tuple(a_ring(number, 90 if number < 2 else 2) for number in range(700))
    pairs = tuple(a_pair(f"one {number}", f"other {number}") for number in range(1_000))
    chips = {name: bytes(2**20) for ring in rings for name in ring.members}
    report = a_report(sweep=a_sweep(1_000), rings=rings, pairs=pairs, chips=chips)
    page = render_report(report)
    elements = Elements(page)
    assert sum(tag == "article" for tag, _ in elements.found) == RINGS_DRAWN_MAX
    assert sum(tag == "image" for tag, _ in elements.found) == CHIPS_BYTES_MAX // 2**20
    text = " ".join(elements.text.split())
    assert f"and {700 - RINGS_LISTED_MAX} more rings" in text
    assert f"and {1_000 - PAIRS_LISTED_MAX} more" in text
    assert "and 30 more, in rings.json" in text
    assert len(page) < 16 * 2**20


def test_a_sweep_that_found_nothing_has_a_report() -> None:
    """Without pairs, rings or a calibration the page says so."""
    page = render_report(
        a_report(sweep=a_sweep(0), pairs=(), rings=(), bars=(), chance=None, tail_from=None)
    )
    text = " ".join(Elements(page).text.split())
    assert "No two customers are so alike." in text
    assert "No error rates are told here" in text
    assert "No ring of customers came of them" in text


def test_bars_count_each_pair_once() -> None:
    """Bars are a hundredth wide, begin at the least score and leave no gap."""
    bars = bars_of([0.7, 0.709, 0.72], np.array([0.3, 0.301, -1.0]), same)
    assert sum(bar.found for bar in bars) == 3
    assert sum(bar.below for bar in bars) == 3
    assert [bar.place for bar in bars] == list(range(73))
    assert (bars[70].found, bars[72].found, bars[65].below) == (2, 1, 2)


def test_a_pair_says_which_ring_it_is_in() -> None:
    """By the number of the ring that is drawn, or that there is none; a sweep against the blocklist
    has no rings to be in.
    """
    pairs = a_pair("customer 0-1", "customer 0-3"), a_pair("customer 0-2", "passer-by")
    page = render_report(a_report(pairs=pairs))
    rows = [row for row in re.findall(r"<tr>.*?</tr>", page) if 'class="id">customer 0-' in row]
    assert [re.findall(r'<td class="id">(\w+)</td>', row) for row in rows[-2:]] == [["1"], ["none"]]
    blocked = a_sweep().model_copy(update={"scope": SweepScope.BLOCKED})
    assert ">none<" not in render_report(a_report(sweep=blocked, pairs=pairs))


def test_who_is_like_everybody_stands_out() -> None:
    """Pairs of customers in no ring together are counted once, and whoever is in most is named."""
    hub = [("hub", f"customer 0-{each}") for each in range(4)]
    pairs = [*hub, hub[0], ("customer 0-0", "hub"), ("customer 0-0", "customer 0-1"), ("a", "b")]
    loose = loose_of(pairs, (a_ring(),))
    assert loose == (5, (("hub", 4),))
    page = render_report(a_report(loose=loose))
    assert "5 pairs of customers are in no ring together" in page
    assert '<td class="id">hub</td><td class="n">4</td>' in page
    many = [(f"{one:03}", f"{other:03}") for one in range(40) for other in range(one)]
    assert len(loose_of(many, ()).most) == LOOSE_LISTED_MAX
