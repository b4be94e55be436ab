"""The arena against brute force in exact arithmetic, on galleries of every shape."""

import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest

from index.arena import Arena
from index.entry import Vectors
from index.scan import BATCH_MIN
from tests.index.oracle import Face, Question, brute_force, true_score
from tests.index.templates import People

DIMENSION = 24


def filled(faces: Sequence[Face], dimension: int = DIMENSION) -> Arena:
    arena = Arena(dimension)
    for face in faces:
        assert arena.add(face.face, face.owner, face.partition, face.vector)
    return arena


def gallery(people: People, count: int, owners: int, partitions: int = 4) -> list[Face]:
    """Faces of `owners` people in mixed order, some of them another's very template."""
    chance = np.random.default_rng(count)
    rows = people.strangers(count)
    twins = chance.integers(0, count, count // 10)
    rows[chance.integers(0, count, count // 10)] = rows[twins]
    whose = chance.integers(0, owners, count).tolist()
    return [
        Face(f"fac_{number:05d}", f"o{owner}", owner % partitions, row)
        for number, (owner, row) in enumerate(zip(whose, rows, strict=True))
    ]


def check(arena: Arena, faces: Sequence[Face], probes: Vectors, asked: list[Question]) -> None:
    """One batch for each set of partitions, since they are of a batch."""
    for partitions in {question.partitions for question in asked}:
        batch = [
            (probe, question)
            for probe, question in zip(probes, asked, strict=True)
            if question.partitions == partitions
        ]
        found = arena.search(
            np.array([probe for probe, _ in batch]),
            [question.floor for _, question in batch],
            [question.limit for _, question in batch],
            [question.exclude for _, question in batch],
            partitions,
        )
        for hits, (probe, question) in zip(found, batch, strict=True):
            assert hits == brute_force(faces, probe, question)


@pytest.mark.parametrize("count", [1, 7, 1_024, 1_025, 2_500])
@pytest.mark.parametrize("batch", [1, 5, 20])
def test_a_search_finds_what_brute_force_finds(count: int, batch: int) -> None:
    """The same owners, faces, scores and order: for every floor, limit, exclusion and partition,
    with templates that several owners share.
    """
    people, chance = People(DIMENSION, count), np.random.default_rng(batch)
    faces = gallery(people, count, owners=max(1, count // 3))
    sources = np.array([faces[row].vector for row in chance.integers(0, count, batch)])
    probes = np.where(chance.random((batch, 1)) < 0.5, sources, people.photos(sources))
    asked = [
        Question(
            floor=float(chance.choice([-1, 0.5, 0.8, 0.9, 0.97])),
            limit=int(chance.choice([-1, 0, 1, 2, 10, 300, 5_000])),
            exclude=f"o{chance.integers(0, count)}",
            partitions=[None, frozenset({1}), frozenset({0, 2, 9}), frozenset[int]()][row % 4],
        )
        for row in range(batch)
    ]
    check(filled(faces), faces, probes, asked)


@pytest.mark.parametrize("batch", [1, BATCH_MIN])
def test_a_floor_is_exact_to_the_last_digit(batch: int) -> None:
    """At a face's very score it is found, one step of float64 above it is not; so it is within
    a millionth, where float32 could not tell.
    """
    people = People()
    faces = gallery(people, 300, owners=300)
    arena = filled(faces, 128)
    probes = people.photos(np.array([face.vector for face in faces[:batch]]))
    for face in faces[: 40 // batch]:
        scores = [true_score(face.vector, probe) for probe in probes]
        for step in (-1e-6, -1e-15, 0.0, 1e-15, 1e-6):
            asked = [Question(score + step, 300) for score in scores]
            check(arena, faces, probes, asked)
        asked = [Question(float(np.nextafter(score, 2)), 300) for score in scores]
        check(arena, faces, probes, asked)


@pytest.mark.parametrize("batch", [1, BATCH_MIN])
def test_scores_that_float32_cannot_order_are_ordered(batch: int) -> None:
    """A thousand templates within a millionth of each other come in their true order, cut off at
    the true place, ties by owner.
    """
    people, chance = People(), np.random.default_rng(5)
    one = people.strangers(1)[0]
    rows = one + 3e-7 * chance.standard_normal((1_000, 128)).astype(np.float32)
    rows[500:] = rows[:500]
    faces = [Face(f"f{n}", f"o{chance.integers(10**9)}", 0, row) for n, row in enumerate(rows)]
    probes = np.repeat(people.photos(one[np.newaxis]), batch, axis=0)
    arena = filled(faces, 128)
    for limit in (1, 10, 333):
        check(arena, faces, probes, [Question(-1, limit)] * batch)


@pytest.mark.parametrize("batch", [1, BATCH_MIN])
def test_one_owner_with_all_the_best_faces_hides_nobody(batch: int) -> None:
    """Owners behind a crowd of one owner's faces, or of an excluded one's, are still found."""
    people = People(DIMENSION)
    one = people.strangers(1)
    crowd = people.photos(np.repeat(one, 400, axis=0), 0.05)
    others = people.strangers(30)
    faces = [Face(f"c{n}", "crowd", 0, row) for n, row in enumerate(crowd)]
    faces += [Face(f"f{n}", f"o{n}", 1, row) for n, row in enumerate(others)]
    probes = np.repeat(one, batch, axis=0)
    asked = [Question(limit=limit, exclude=who) for limit in (1, 3, 50) for who in ("", "crowd")]
    arena = filled(faces)
    for question in asked:
        check(arena, faces, probes, [question] * batch)


@pytest.mark.parametrize("batch", [1, BATCH_MIN])
def test_who_went_hides_nobody(batch: int) -> None:
    """The places of erased faces go to those behind them, before and after a compaction."""
    people = People(DIMENSION)
    one = people.strangers(1)
    rows = people.photos(np.repeat(one, 3_000, axis=0), 0.2)
    faces = [Face(f"f{n}", f"o{n}", n % 3, row) for n, row in enumerate(rows)]
    arena = filled(faces)
    probes = np.repeat(one, batch, axis=0)
    compacted = False
    for start in range(0, 2_500, 250):
        for hit in arena.search(one, [-1.0], [250], [""])[0]:
            assert arena.erase(hit.owner) == 1
            faces = [face for face in faces if face.owner != hit.owner]
        check(
            arena,
            faces,
            probes,
            ([Question(limit=5), Question(0.9, 3_000)] * batch)[:batch],
        )
        compacted |= arena.rows < 3_000 - start
    assert compacted
    assert arena.live == len(faces)


def test_a_face_is_added_once_and_may_come_back() -> None:
    """A second add of the same face is told apart; after an erasure the face may be added."""
    [vector] = People(DIMENSION).strangers(1)
    arena = Arena(DIMENSION)
    assert arena.add("f1", "ann", 0, vector)
    assert not arena.add("f1", "ann", 0, vector)
    assert arena.add("f2", "ann", 0, vector)
    assert arena.add("f1", "bob", 1, vector)
    assert (arena.live, arena.erase("ann"), arena.erase("ann"), arena.live) == (3, 2, 0, 1)
    assert arena.add("f1", "ann", 0, vector)
    assert arena.size_of(frozenset({0})) == arena.size_of(frozenset({1, 7})) == 1
    assert (arena.drop(1), arena.drop(1), arena.size_of()) == (1, 0, 1)


def test_the_digest_is_of_who_is_there_in_whatever_order() -> None:
    """Two arenas with the same faces agree on it, and only then; it is 0 for none."""
    faces = gallery(People(DIMENSION), 60, owners=20)
    one, other = filled(faces), filled(faces[::-1])
    for partition in range(4):
        assert one.digest(partition) == other.digest(partition) != 0
    one.erase("o1")
    assert one.digest(1) != other.digest(1)
    other.erase("o1")
    assert [one.digest(partition) for partition in range(4)] == [
        other.digest(partition) for partition in range(4)
    ]
    assert one.drop(2)
    assert (one.digest(2), one.digest(9)) == (0, 0)


def test_a_vector_is_wiped_when_its_owner_goes() -> None:
    """Nothing of it is left in the arena's buffers, erased or dropped."""
    rows = People(DIMENSION).strangers(100)
    faces = [Face(f"f{n}", f"o{n // 2}", n % 4, row) for n, row in enumerate(rows)]
    arena = filled(faces)
    arena.erase(faces[0].owner)
    arena.drop(faces[1].partition)
    held = b"".join(chunk.vectors.tobytes() for chunk in arena._chunks)  # noqa: SLF001
    gone = [face for face in faces if face.owner == faces[0].owner]
    gone += [face for face in faces if face.partition == faces[1].partition]
    assert not any(face.vector.tobytes() in held for face in gone)
    assert faces[2].vector.tobytes() in held


def test_a_code_is_wiped_with_its_vector(monkeypatch: pytest.MonkeyPatch) -> None:
    """A byte for each number of a face is a template too: those of full chunks go as well."""
    for name in ("ROWS_MIN", "ROWS_MAX"):
        monkeypatch.setattr(f"index.chunks.{name}", 16)
    rows = People(DIMENSION).strangers(40)
    arena = filled([Face(f"f{n}", f"o{n}", n % 4, row) for n, row in enumerate(rows)])
    sealed = [chunk.codes for chunk in arena._chunks if chunk.codes is not None]  # noqa: SLF001
    codes = [each._bytes for each in sealed]  # noqa: SLF001
    assert [len(each) for each in codes] == [16, 16]
    arena.erase("o3")
    arena.drop(1)
    gone = {3, *range(1, 40, 4)}
    for row, code in enumerate(np.concatenate(codes)):
        assert (len(set(code.tolist())) == 1) == (row in gone)


def test_the_size_is_what_memory_it_takes() -> None:
    """`size_bytes` is within a tenth of what the allocator gave, through growth and erasures."""
    faces = gallery(People(128), 5_000, owners=4_000)
    tracemalloc.start()
    arena = filled(faces, 128)
    taken, _ = tracemalloc.get_traced_memory()
    assert taken / arena.size_bytes == pytest.approx(1, abs=0.1)
    for number in range(3_000):
        arena.erase(f"o{number}")
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert arena.rows < 3_000
    assert taken / arena.size_bytes == pytest.approx(1, abs=0.1)


def test_a_batch_of_uneven_columns_is_refused() -> None:
    """Every probe has a floor, a limit and an exclusion."""
    arena = Arena(DIMENSION)
    probes = People(DIMENSION).strangers(2)
    with pytest.raises(ValueError, match="for each probe"):
        arena.search(probes, [0.0], [1, 1], ["", ""])
    assert arena.search(probes, [0.0, 0.0], [1, 1], ["", ""]) == [[], []]
    assert arena.search(probes[:0], [], [], []) == []
