"""Who is next: urgent first within a tenant, fair between tenants, nothing lost, all bounded."""

import math
import pickle
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.inference.batching import (
    RETRY_AFTER_S_MAX,
    FairQueue,
    Pace,
    Waiting,
    expected,
    retry_after_s,
    share,
)

NEVER_S = math.inf
TENANTS = ("a", "b", "c")


def item(number: int, tenant_id: str = "a", deadline_s: float = NEVER_S, size_bytes: int = 0,
) -> Waiting[str]:  # fmt: skip
    return Waiting(number, tenant_id, deadline_s, f"item {number}", size_bytes)


def numbers(items: Sequence[Waiting[str]]) -> list[int]:
    return [each.number for each in items]


@dataclass
class Plain:
    """What `FairQueue` promises, the slow way: one list, looked through from end to end."""

    items_max: int
    items: list[Waiting[str]] = field(default_factory=list)
    turns: dict[str, int] = field(default_factory=dict)
    round: int = 0

    def offer(self, new: Waiting[str]) -> Waiting[str] | None:
        counted = Counter(each.tenant_id for each in (*self.items, new))
        if not any(each.tenant_id == new.tenant_id for each in self.items):
            self.turns[new.tenant_id] = self.round + 1
        self.items.append(new)
        if len(self.items) <= self.items_max:
            return None
        most = max(counted.values())
        full = {tenant_id for tenant_id, number in counted.items() if number == most}
        if new.tenant_id in full:
            full = {new.tenant_id}
        out = max(
            (each for each in self.items if each.tenant_id in full),
            key=lambda each: (each.tenant_id == min(full), each.deadline_s, each.number),
        )
        self.items.remove(out)
        return out

    def take(self, wanted: int, now_s: float, bytes_max: int | None) -> tuple[list[int], list[int]]:
        batch, expired = list[Waiting[str]](), list[Waiting[str]]()
        while self.items and len(batch) < wanted:
            first = min(
                self.items,
                key=lambda each: (self.turns[each.tenant_id], each.deadline_s, each.number),
            )
            size = sum(each.size_bytes for each in (*batch, first))
            if first.deadline_s <= now_s:
                expired.append(first)
            elif batch and bytes_max is not None and size > bytes_max:
                break
            else:
                batch.append(first)
                self.round = self.turns[first.tenant_id]
                self.turns[first.tenant_id] += 1
            self.items.remove(first)
        return numbers(batch), numbers(expired)


OFFER = st.tuples(st.sampled_from(TENANTS), st.integers(0, 20), st.integers(0, 5))
TAKE = st.tuples(st.integers(0, 6), st.none() | st.integers(0, 9))
STEPS = st.lists(OFFER | TAKE | st.integers(0, 60), max_size=60)


@given(steps=STEPS, items_max=st.integers(1, 8))
def test_it_does_what_a_plain_list_would(
    steps: Sequence[tuple[str, int, int] | tuple[int, int | None] | int], items_max: int
) -> None:
    """Whatever is offered, taken and withdrawn: each item leaves once, as the promise says."""
    queue, plain = FairQueue[str](items_max), Plain(items_max)
    offered, gone = list[int](), list[int]()
    for now_s, step in enumerate(steps):
        if isinstance(step, int):
            withdrawn = queue.withdraw(step)
            found = [each for each in plain.items if each.number == step]
            assert ([withdrawn] if withdrawn else []) == found
            plain.items = [each for each in plain.items if each.number != step]
            gone += numbers(found)
        elif len(step) == 2:
            taken = queue.take(step[0], now_s, step[1])
            assert (numbers(taken.batch), numbers(taken.expired)) == plain.take(
                step[0], now_s, step[1]
            )
            gone += numbers((*taken.batch, *taken.expired))
        else:
            new = item(len(offered), step[0], now_s + step[1], step[2])
            offered.append(new.number)
            out = queue.offer(new)
            assert out == plain.offer(new)
            gone += [] if out is None else [out.number]
        assert len(queue) == len(plain.items) <= items_max
    left = queue.take(items_max, -NEVER_S)
    assert sorted([*gone, *numbers(left.batch)]) == offered
    assert len(queue) == 0


@given(deadlines=st.lists(st.integers(0, 100), min_size=1, max_size=40), now_s=st.integers(0, 100))
def test_a_tenant_s_most_urgent_goes_first(deadlines: list[int], now_s: int) -> None:
    """Items leave by deadline, then by number; those that are too late leave beside the batch."""
    queue = FairQueue[str](len(deadlines))
    for number, deadline_s in enumerate(deadlines):
        queue.offer(item(number, deadline_s=deadline_s))
    taken = queue.take(len(deadlines), now_s)
    order = sorted(range(len(deadlines)), key=lambda number: (deadlines[number], number))
    assert numbers(taken.expired) == [each for each in order if deadlines[each] <= now_s]
    assert numbers(taken.batch) == [each for each in order if deadlines[each] > now_s]


@given(
    steps=st.lists(st.sampled_from(["offer a 20 times", "offer b", "take"]), max_size=120),
    patience_s=st.integers(1, 500),
)
def test_who_offers_twenty_times_as_much_is_served_no_more(
    steps: list[str], patience_s: int
) -> None:
    """While two tenants wait, each is served as often as the other, give or take two."""
    queue, served, left = FairQueue[str](10_000), Counter[str](), Counter[str]()
    for number, step in enumerate(steps):
        if step == "take":
            for taken in queue.take(1, -NEVER_S).batch:
                served[taken.tenant_id] += 1
                left[taken.tenant_id] -= 1
        else:
            tenant_id, times = ("b", 1) if step == "offer b" else ("a", 20)
            for each in range(times):  # b may be in no hurry at all
                deadline_s = number + (patience_s if tenant_id == "b" else 1)
                queue.offer(item(100 * number + each, tenant_id, deadline_s))
            left[tenant_id] += times
        if not (left["a"] and left["b"]):
            served.clear()
        assert abs(served["a"] - served["b"]) <= 2


@pytest.mark.parametrize(
    ("coming", "items_max", "there"),
    [(-1, 256, 0), (0, 256, 0), (9, 256, 9), (16, 256, 16), (1_000, 256, 16), (1_000, 15, 0)],
)
def test_few_of_those_who_come_are_taken_to_be_there(
    coming: int, items_max: int, there: int
) -> None:
    """A sixteenth of the places at most, however many uploads are slow."""
    assert expected(coming, items_max) == there


def test_who_is_ahead_takes_the_last_places() -> None:
    """Only of the tenant that has most in the queue: another's image would stay."""
    queue = FairQueue[str](3)
    for number in range(2):
        queue.offer(item(number, "a"))
    assert [queue.has_room("a", ahead) for ahead in (0, 1)] == [True, False]
    assert queue.has_room("b", 1)


@given(offers=st.lists(st.sampled_from("ab" + "a" * 20), max_size=200), seed=st.integers(0, 9))
def test_who_holds_less_is_never_pushed_out(offers: list[str], seed: int) -> None:
    """In a full queue only a tenant with most in it gives way, and never below its share."""
    queue, held = FairQueue[str](10), Counter[str]()
    for number, tenant_id in enumerate(offers):
        could_stay = queue.has_room(tenant_id)
        out = queue.offer(item(number, tenant_id, deadline_s=number))
        held[tenant_id] += 1
        assert could_stay == (out is None or out.number != number)
        if out is not None:
            assert held[out.tenant_id] == max(held.values()) > 10 // 2
            held[out.tenant_id] -= 1
        if number % (seed + 2) == 0:
            for taken in queue.take(1, -NEVER_S).batch:
                held[taken.tenant_id] -= 1


def test_a_newcomer_is_served_within_a_round() -> None:
    """A tenant that begins to wait is served after two of each other tenant's items at most."""
    queue = FairQueue[str](100)
    for number in range(60):
        queue.offer(item(number, TENANTS[number % 2], deadline_s=number))
    assert len(queue.take(7, 0.5).batch) == 7
    queue.offer(item(99, "c", deadline_s=1_000))
    assert "c" in {taken.tenant_id for taken in queue.take(5, 0.5).batch}


@given(
    offers=st.lists(st.sampled_from("abcd" + "a" * 8), max_size=120),
    taken=st.integers(0, 60),
    tenant_id=st.sampled_from("abce"),
)
def test_who_comes_is_told_how_many_go_before(
    offers: list[str], taken: int, tenant_id: str
) -> None:
    """The number is right but for one of each other tenant's, whatever was served before."""
    queue = FairQueue[str](1_000)
    for number, name in enumerate(offers):
        queue.offer(item(number, name, deadline_s=number))
    queue.take(taken, -NEVER_S)
    told, others = queue.ahead(tenant_id), len({*offers} - {tenant_id})
    queue.offer(item(9_999, tenant_id, deadline_s=10_000))
    order = numbers(queue.take(1_000, -NEVER_S).batch)
    assert abs(order.index(9_999) - told) <= others


def test_newcomers_do_not_keep_others_waiting() -> None:
    """However many new tenants come, each in more of a hurry, whoever waited has its turn."""
    queue, served = FairQueue[str](100), list[int]()
    queue.offer(item(0, "patient"))
    while 0 not in served:
        for number in range(len(served) * 2 + 1, len(served) * 2 + 3):
            queue.offer(item(number, f"tenant {number}", deadline_s=5))
        served += numbers(queue.take(1, 0).batch)
        assert len(served) < 5


def test_a_full_queue_keeps_the_more_urgent_of_a_tenant() -> None:
    """An item that comes back with its old deadline takes the place of its tenant's latest."""
    queue = FairQueue[str](2)
    assert queue.offer(item(1, deadline_s=11)) is None
    assert queue.offer(item(2, deadline_s=12)) is None
    assert queue.offer(item(3, deadline_s=13)) == item(3, deadline_s=13)
    assert queue.offer(item(0, deadline_s=10)) == item(2, deadline_s=12)
    assert numbers(queue.take(2, 0).batch) == [0, 1]


@given(sizes=st.lists(st.integers(0, 30), min_size=1, max_size=20), bytes_max=st.integers(0, 40))
def test_a_batch_has_a_bound_in_bytes(sizes: list[int], bytes_max: int) -> None:
    """Several items stay within it; one alone may exceed it, so that none waits for ever."""
    queue = FairQueue[str](len(sizes))
    for number, size_bytes in enumerate(sizes):
        queue.offer(item(number, size_bytes=size_bytes))
    came = list[int]()
    while len(queue):
        taken = queue.take(len(sizes), 0, bytes_max).batch
        assert taken
        assert len(taken) == 1 or sum(each.size_bytes for each in taken) <= bytes_max
        came += numbers(taken)
    assert came == list(range(len(sizes)))


def test_nothing_is_kept_of_what_left() -> None:
    """Items and tenants that come and go without end leave nothing behind."""
    queue, sizes = FairQueue[str](8), list[int]()
    for number in range(5_000):
        tenant_id = "always there" if number % 2 else f"tenant {number % 700}"
        queue.offer(item(number, tenant_id, deadline_s=number))
        queue.withdraw(number - number % 3)
        if number % 5:
            queue.take(1, number - 20)
        sizes.append(len(pickle.dumps(queue)))
    assert max(sizes[100:]) <= 2 * max(sizes[:100])


@given(waiting=st.integers(1, 10_000), slots=st.integers(1, 128), batch_max=st.integers(1, 64))
def test_a_share_is_fair_and_never_empty(waiting: int, slots: int, batch_max: int) -> None:
    """A free slot takes at least one, at most the bound, and leaves the others their part."""
    taken = share(waiting, slots, batch_max)
    assert 1 <= taken <= batch_max
    assert taken == batch_max or 0 <= taken * slots - waiting < slots


@pytest.mark.parametrize(
    ("waiting", "slots", "image_s", "wanted"),
    [(10, 2, 0.0, 1), (0, 2, 9.0, 1), (10, 2, 0.01, 1), (256, 2, 0.05, 7), (10_000, 1, 1.0, 60)],
)
def test_retry_after_is_queue_over_rate(
    waiting: int, slots: int, image_s: float, wanted: int
) -> None:
    """The time to come back is what the queue takes at the measured rate, between 1 and 60 s."""
    assert retry_after_s(waiting, slots, image_s) == wanted <= RETRY_AFTER_S_MAX


def test_the_pace_follows_the_batches() -> None:
    """The first batch sets it, each later one moves it by a fifth of the way."""
    pace = Pace()
    assert pace.image_s == 0
    pace.observe(4, 2.0)
    assert pace.image_s == pytest.approx(0.5)
    pace.observe(10, 15.0)
    assert pace.image_s == pytest.approx(0.7)
