"""One gallery, timed: the arena and its rivals by turns, then the arena while faces come and go."""

import threading
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import cycle
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from index import yardstick
from index.arena import Arena
from index.entry import Hit, Vectors
from index.yardstick import Rows
from serve.bench.measure import Timing, time_work
from serve.bench.search.rivals import Built, flat_rivals, graph_rivals
from serve.bench.search.templates import People, impostor_scores
from serve.domain.ids import PARTITIONS

LIMEN = "limen"
FLOOR = 0.914  # the default pack's score of a match
LIMIT = 10
BATCHES = (1, 16, 64)
TURN_S_MAX = 1.5  # a rival's turn with single probes
TURN_SEARCHES = 150
WRITES_PER_S = 100  # faces that come, and as many that go
POOL = 1_024
STAY = 32
FIRST_STRANGER = 10**9
ALL = frozenset(range(PARTITIONS))
Say = Callable[[str], None]
Search = Callable[[Vectors, int], object]


@dataclass(frozen=True, slots=True)
class Size:
    """A gallery to be made, and whether graphs are built over it: that takes minutes."""

    faces: int
    dimension: int
    has_graphs: bool


@dataclass(frozen=True, slots=True)
class Latency:
    """Of single probes, one after another."""

    p50_ms: float
    p99_ms: float
    searches: int

    @classmethod
    def of(cls, times_s: Sequence[float]) -> "Latency":
        """Of so many seconds each."""
        p50, p99 = np.percentile(times_s, [50, 99])
        return cls(round(1000 * float(p50), 4), round(1000 * float(p99), 4), len(times_s))


@dataclass(frozen=True, slots=True)
class Contender:
    """What one of them did with a gallery. `batches` maps the size of a batch to its timing, per
    probe; `missed` counts mates that float64 arithmetic finds among the ten best and it does not.
    """

    name: str
    single: Latency | None = None
    with_writes: Latency | None = None
    batches: Mapping[int, Timing] = field(default_factory=dict)
    missed: int | None = None
    build_s: float | None = None
    note: str = ""

    def encode(self) -> dict[str, Any]:
        """One entry of a JSON report."""
        batches = {size: timing.encode() for size, timing in self.batches.items()}
        return {
            "name": self.name,
            "single_ms": None if self.single is None else asdict(self.single),
            "with_writes_ms": None if self.with_writes is None else asdict(self.with_writes),
            "per_probe_ms_by_batch": batches,
            "missed_mates": self.missed,
            "build_s": None if self.build_s is None else round(self.build_s, 2),
            "note": self.note or None,
        }


@dataclass(frozen=True, slots=True)
class Gallery:
    """A gallery of `faces` x `dimension`, and what became of `mates` probes in it.

    `wrong` counts answers of the arena that are not, in set and order, what float64 arithmetic
    finds. Bytes are per face and all-in: as the arena counts itself, and as it allocated.
    """

    faces: int
    dimension: int
    mates: int
    found_by_oracle: int
    wrong: int
    impostor_mean: float
    impostor_deviation: float
    counted_bytes: float
    allocated_bytes: float
    contenders: Sequence[Contender]

    @property
    def name(self) -> str:
        """As in "100,000 x 128"."""
        return f"{self.faces:,} x {self.dimension}"

    def contender(self, name: str) -> Contender | None:
        """The one of this name."""
        return next((each for each in self.contenders if each.name == name), None)

    def encode(self) -> dict[str, Any]:
        """One entry of a JSON report."""
        return {
            "faces": self.faces,
            "dimension": self.dimension,
            "mates": self.mates,
            "found_by_oracle": self.found_by_oracle,
            "wrong_answers": self.wrong,
            "impostor_mean": round(self.impostor_mean, 4),
            "impostor_deviation": round(self.impostor_deviation, 4),
            "bytes_per_face_counted": round(self.counted_bytes, 1),
            "bytes_per_face_allocated": round(self.allocated_bytes, 1),
            "contenders": [each.encode() for each in self.contenders],
        }


def measure_gallery(size: Size, mates: int, seed: int, rounds: int, say: Say) -> Gallery:
    """Fill it, ask it, and look at what it says. Searches of all have one thread."""
    yardstick.use_threads(1)
    faces, dimension = size.faces, size.dimension
    people = People(dimension, seed)
    templates = people.templates(faces)
    known = np.random.default_rng(seed).choice(faces, min(mates, faces), replace=False)
    probes = people.mates(templates[known])
    place = f"{faces:,} x {dimension}"
    say(f"{place}: fill the arena")
    began_s = perf_counter()
    arena = filled(templates)
    rivals = {LIMEN: Built(partial(found_rows, arena), perf_counter() - began_s)}
    counted_bytes = arena.size_bytes / faces
    rivals |= flat_rivals(templates)
    if size.has_graphs:
        say(f"{place}: build the graphs")
        rivals |= graph_rivals(templates)
    say(f"{place}: search")
    contenders = _compare(arena, rivals, probes, rounds)
    say(f"{place}: search while faces come and go")
    contenders[0] = replace(contenders[0], with_writes=_with_writes(arena, people, probes, rounds))
    say(f"{place}: compare with float64")
    strangers = impostor_scores(templates, seed)
    return judged(
        Gallery(
            faces=faces,
            dimension=dimension,
            mates=len(known),
            found_by_oracle=0,
            wrong=0,
            impostor_mean=float(strangers.mean()),
            impostor_deviation=float(strangers.std()),
            counted_bytes=counted_bytes,
            allocated_bytes=_allocated_bytes(templates) / faces,
            contenders=contenders,
        ),
        (arena, rivals),
        (templates, probes, known),
    )


def filled(templates: Vectors) -> Arena:
    """An arena of these faces, row N that of the customer N, in all partitions."""
    arena = Arena(templates.shape[1])
    for row, template in enumerate(templates):
        arena.add(_face(row), _owner(row), row % PARTITIONS, template)
    return arena


def found_rows(arena: Arena, probes: Vectors, count: int, floor: float = -1.0) -> Rows:
    """What the arena finds, asked as the service asks it, as the rivals tell it."""
    rows = np.full((len(probes), count), -1, np.int64)
    for line, found in zip(rows, asked(arena, probes, count, floor), strict=True):
        line[: len(found)] = [int(hit.owner.rpartition(":")[2], 16) for hit in found]
    return rows


def asked(
    arena: Arena, probes: Vectors, count: int = LIMIT, floor: float = FLOOR
) -> list[list[Hit]]:
    """What the arena answers to probes, asked as the service asks it."""
    many = len(probes)
    return arena.search(probes, [floor] * many, [count] * many, [""] * many, ALL)


def _compare(
    arena: Arena, rivals: Mapping[str, Built], probes: Vectors, rounds: int
) -> list[Contender]:
    """All by turns, the arena as the service asks it: with a floor."""
    searches: dict[str, Search] = {
        name: built.search for name, built in rivals.items() if built.search is not None
    }
    searches[LIMEN] = partial(asked, arena)
    alone = {name: search for name, search in searches.items() if rivals[name].is_single}
    times_s: dict[str, list[float]] = {name: [] for name in alone}
    for _ in range(rounds):
        for name, search in alone.items():
            times_s[name] += _turn(search, probes)
    batches: dict[str, dict[int, Timing]] = {name: {} for name in searches}
    for size in BATCHES:
        timed = alone if size == 1 else searches
        works = {name: (_batches(search, probes, size), size) for name, search in timed.items()}
        for name, timing in time_work(works, rounds).items():
            batches[name][size] = timing
    return [
        Contender(
            name,
            single=Latency.of(times_s[name]) if name in times_s else None,
            batches=batches.get(name, {}),
            build_s=built.build_s,
            note=built.note,
        )
        for name, built in rivals.items()
    ]


def _turn(search: Search, probes: Vectors) -> list[float]:
    """Seconds of single probes, a bounded number and time of them."""
    times_s: list[float] = []
    until_s = perf_counter() + TURN_S_MAX
    while len(times_s) < TURN_SEARCHES and perf_counter() < until_s:
        at = len(times_s) % len(probes)
        began_s = perf_counter()
        search(probes[at : at + 1], LIMIT)
        times_s.append(perf_counter() - began_s)
    return times_s


def _batches(search: Search, probes: Vectors, size: int) -> Callable[[], object]:
    """A search for the next batch, again and again from the first."""
    starts = cycle(range(0, max(1, len(probes) - size + 1), size))
    return lambda: search(probes[(start := next(starts)) : start + size], LIMIT)


def _with_writes(arena: Arena, people: People, probes: Vectors, rounds: int) -> Latency:
    """Single probes while a thread adds and erases strangers, each so many times a second."""
    done = threading.Event()
    writer = threading.Thread(target=_write, args=(arena, people.templates(POOL), done))
    times_s: list[float] = []
    writer.start()
    try:
        for _ in range(rounds):
            times_s += _turn(partial(asked, arena), probes)
    finally:
        done.set()
        writer.join()
    return Latency.of(times_s)


def _write(arena: Arena, strangers: Vectors, done: threading.Event) -> None:
    """Somebody comes and the one who came 32 before goes, on time whatever that takes; all who
    came are gone at the end.
    """
    first, number = FIRST_STRANGER, 0
    next_s = perf_counter()
    while not done.wait(max(0.0, next_s - perf_counter())):
        row = first + number
        arena.add(_face(row), _owner(row), row % PARTITIONS, strangers[number % POOL])
        if number >= STAY:
            arena.erase(_owner(row - STAY))
        number += 1
        next_s += 1 / WRITES_PER_S
    for row in range(first + max(0, number - STAY), first + number):
        arena.erase(_owner(row))


def judged(
    gallery: Gallery,
    searched: tuple[Arena, Mapping[str, Built]],
    asked: tuple[Vectors, Vectors, NDArray[np.int64]],
) -> Gallery:
    """With what each of them missed that float64 arithmetic finds."""
    arena, rivals = searched
    templates, probes, known = asked
    best, scores = yardstick.exact(templates, probes, LIMIT)
    is_mate = best == known[:, None]
    found = is_mate.any(axis=1)
    contenders = []
    for each in gallery.contenders:
        search = rivals[each.name].search
        if search is None:
            contenders.append(each)
            continue
        answers = in_parts(search, probes)
        has = (answers == known[:, None]).any(axis=1)
        contenders.append(replace(each, missed=int((found & ~has).sum())))
    answers = in_parts(partial(found_rows, arena, floor=FLOOR), probes)
    wanted = np.where(scores >= FLOOR, best, -1)
    return replace(
        gallery,
        contenders=contenders,
        found_by_oracle=int(found.sum()),
        wrong=int((answers != wanted).any(axis=1).sum()),
    )


def in_parts(search: Callable[[Vectors, int], Rows], probes: Vectors) -> Rows:
    """What is found for all probes, asked in the largest batches."""
    size = BATCHES[-1]
    parts = [search(probes[at : at + size], LIMIT) for at in range(0, len(probes), size)]
    return np.concatenate(parts)


def _face(row: int) -> str:
    """As long as a real one."""
    return f"fac_{row % PARTITIONS:02d}{row:022d}"


def _owner(row: int) -> str:
    """As long as a real one."""
    return f"ten_benchbenchbenchbenchbe:live:{row:032x}"


def _allocated_bytes(templates: Vectors) -> int:
    """All that an arena of these allocates and keeps, empty rows and Python's objects included."""
    tracemalloc.start()
    try:
        arena = filled(templates)
        allocated, _ = tracemalloc.get_traced_memory()
        assert arena.live == len(templates)
    finally:
        tracemalloc.stop()
    return allocated
