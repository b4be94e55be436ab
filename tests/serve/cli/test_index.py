"""`limen index`, on a real store: who holds it, whether it is what the log says, and rebuilding."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest
from redis.asyncio import Redis

from index.entry import START
from serve.app import open_deps
from serve.deps import Deps
from serve.domain.change import Change, EnrolledFace
from serve.domain.customer import Customer, Reference
from serve.domain.ids import PARTITIONS, Mode, Prefix, Subject
from serve.flows.transact import new_id
from serve.inference.search.holder import Holder, Limits
from serve.ports.search import ShardStatus
from serve.settings import Settings, State
from serve.store import names
from tests.helpers.records import NOW_MS, TENANT, a_template
from tests.serve.cli.command_line import limen

LIMITS = Limits(wait_s=5.0, queue_max=64, threads=1)
KEPT_S = 60
NO_WAIT = ("--wait", "0")
T = TypeVar("T")


@pytest.fixture
def data_dir(redis_state: State, link: Redis) -> Path:
    """The data directory of a running, empty store."""
    return redis_state.data_dir


def with_store(data_dir: Path, use: Callable[[Deps], Awaitable[T]]) -> T:
    """What `use` makes of the store."""

    async def run() -> T:
        settings = Settings(state=State(data_dir=data_dir))
        async with open_deps(settings, with_models=False) as deps:
            return await use(deps)

    return asyncio.run(run())


def enrolled(data_dir: Path, customer_id: str = "alice") -> Subject:
    """A customer with one face."""

    async def enrol(deps: Deps) -> Subject:
        subject = deps.ledger.subject(TENANT, Mode.LIVE, customer_id)
        snapshot = await deps.ledger.snapshot(subject)
        face_id = new_id(deps, Prefix.FACE, subject)
        template = a_template()
        reference = Reference(
            face_id=face_id, model_id=template.model_id, enrolled_at_ms=NOW_MS, has_chip=False
        )
        customer = Customer(customer_id=customer_id, created_at_ms=NOW_MS, references=(reference,))
        change = Change(customer=customer, faces=(EnrolledFace(face_id, template),))
        await deps.ledger.commit(snapshot, change, f"enrol {customer_id}")
        return subject

    return with_store(data_dir, enrol)


def held(data_dir: Path, **changes: object) -> ShardStatus:
    """A holder of everything has told of itself on the board, in these words."""

    async def tell(deps: Deps) -> ShardStatus:
        async with Holder(deps.face_log, "door-1@here", range(PARTITIONS), LIMITS) as holder:
            await holder.until_ready()
            status = replace(holder.status(), **changes)  # type: ignore[arg-type]
        await deps.shard_board.put(status, KEPT_S)
        return status

    return with_store(data_dir, tell)


def test_without_a_service_nobody_holds_the_index(data_dir: Path) -> None:
    """Every command says so, and none fails: the log can be verified all the same."""
    enrolled(data_dir)
    assert limen("index", "status", "--json", data_dir=data_dir).document == {"holders": []}
    assert "nobody holds" in limen("index", "status", data_dir=data_dir).output
    assert "nobody holds" in limen("index", "rebuild", "--wait", data_dir=data_dir).output
    ran = limen("index", "verify", "--json", data_dir=data_dir)
    assert (ran.exit_code, ran.document) == (
        0, {"faces": 1, "customers": 1, "holders": [], "differences": []},
    )  # fmt: skip


def test_a_holder_is_shown_with_how_far_it_is_behind(data_dir: Path) -> None:
    """Its faces, its bytes and its partitions; then somebody enrols and it has not heard of it."""
    enrolled(data_dir)
    status = held(data_dir)
    (shown,) = limen("index", "status", "--json", data_dir=data_dir).document["holders"]
    assert (shown["name"], shown["faces"], shown["ready"]) == ("door-1@here", 1, True)
    assert (shown["partitions_behind"], shown["behind_ms"]) == (0, 0)
    assert shown["partitions"] == list(range(PARTITIONS))
    assert shown["bytes"] == status.size_bytes
    enrolled(data_dir, "bob")
    (shown,) = limen("index", "status", "--json", data_dir=data_dir).document["holders"]
    assert shown["partitions_behind"] == 1
    text = limen("index", "status", data_dir=data_dir).output
    assert "door-1@here" in text
    assert "1 partitions" in text


def test_what_agrees_verifies(data_dir: Path) -> None:
    """Exit code 0, in words and as JSON, with what was compared."""
    enrolled(data_dir)
    held(data_dir)
    ran = limen("index", "verify", *NO_WAIT, "--json", data_dir=data_dir)
    assert ran.exit_code == 0
    assert ran.document["holders"] == [{"name": "door-1@here", "compared": PARTITIONS}]
    text = limen("index", "verify", *NO_WAIT, data_dir=data_dir)
    assert text.exit_code == 0
    assert "no difference" in text.output


def test_a_planted_difference_ends_with_exit_code_1(data_dir: Path, redis_state: State) -> None:
    """An entry taken out of the log and a holder that stands still: each named with its
    partition.
    """
    subject = enrolled(data_dir)
    held(data_dir, applied=dict.fromkeys(range(PARTITIONS), START))

    async def take_out() -> None:
        link = Redis(unix_socket_path=str(data_dir / "redis" / "redis.sock"))
        assert await link.xtrim(names.faces(subject.partition), maxlen=0) == 1
        await link.aclose()

    asyncio.run(take_out())
    ran = limen("index", "verify", *NO_WAIT, "--json", data_dir=data_dir)
    assert ran.exit_code == 1
    assert ran.document["differences"] == [
        {"partition": subject.partition, "fault": "missing", "faces": 1, "holder": None},
        {"partition": subject.partition, "fault": "behind", "faces": None, "holder": "door-1@here"},
    ]
    text = limen("index", "verify", *NO_WAIT, data_dir=data_dir)
    assert text.exit_code == 1
    assert "not in the log" in " ".join(text.output.split())
    assert "alice" not in text.output


def test_every_holder_is_asked_to_rebuild(data_dir: Path) -> None:
    """The wish is numbered; who has fulfilled a later one is not waited for."""
    held(data_dir, wish=5)
    ran = limen("index", "rebuild", "--wait", "--json", data_dir=data_dir)
    assert (ran.exit_code, ran.document) == (0, {"holders": 1, "rebuilt": True})
    asked = limen("index", "rebuild", data_dir=data_dir)
    assert "asked to rebuild: 1" in asked.output
    assert with_store(data_dir, lambda deps: deps.shard_board.rebuild_wish()) == 2


def test_an_engine_is_asked_for_more_shards(data_dir: Path) -> None:
    """The number stands on the board until another is asked for; 0 takes the wish back."""
    for number in (3, 0):
        ran = limen("index", "scale", str(number), "--json", data_dir=data_dir)
        assert ran.document == {"shards": number}
        assert with_store(data_dir, lambda deps: deps.shard_board.shards_wish()) == number
    assert "asked for 5 shards" in limen("index", "scale", "5", data_dir=data_dir).output


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify", "--wait", "-1"),
        ("verify", "--wait", "601"),
        ("rebuild", "x"),
        ("scale", "65"),
        ("scale", "-1"),
    ],
)
def test_bad_options_are_refused(arguments: tuple[str, ...], data_dir: Path) -> None:
    """A usage error."""
    assert limen("index", *arguments, data_dir=data_dir).exit_code == 2
