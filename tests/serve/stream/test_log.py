"""What the store says of sessions that end: written with the change, short, and not for ever."""

from typing import Any

from redis.asyncio import Redis

from serve.domain.ids import Mode, Prefix, Subject, make_id
from serve.domain.session import KycStatus
from serve.errors import Code
from serve.flows.liveness.watch import over
from serve.ports.liveness import Ending
from serve.store import names
from serve.store.liveness.endings import RedisEndings
from serve.store.vault.keyring import Keyring
from tests.helpers.front_door import JOHN
from tests.serve.stream.stage import stream_door, talking


async def entries(link: Redis) -> list[dict[bytes, bytes]]:
    """All that was told in all partitions."""
    found: list[Any] = [
        await link.xrange(names.ended(partition)) for partition in names.EVERY_PARTITION
    ]
    return [fields for rows in found for _, fields in rows]


async def test_only_what_ends_a_session_is_told(link: Redis, keyring: Keyring) -> None:
    """Opening, capturing and a failed attempt with retries left write nothing there."""
    async with stream_door(link, keyring) as door:
        token = await door.ready_token()
        assert (await door.submit(token, b"mary")).body["status"] == "declined"
        assert await entries(link) == []
        assert (await door.submit(token)).body["status"] == "approved"
        (told,) = await entries(link)
        assert told[b"w"] == b"approved"
        assert {b"u", b"s", b"w"} == set(told)


async def test_what_is_told_goes_after_ten_minutes(link: Redis, keyring: Keyring) -> None:
    """Whether a session's end or a stream's beginning; and it names no secret."""
    async with stream_door(link, keyring) as door:
        token = await door.ready_token()
        async with talking(door) as talk:
            hello = await talk.start(token)
            await talk.frame(JOHN)
            await talk.hear_until("hint")
        (told,) = await entries(link)
        assert hello["stream"].encode() not in told.values()
        for key in [key async for key in link.scan_iter(match="{p*}:ended")]:
            assert 0 < await link.pttl(key) <= names.ENDED_KEPT_MS


async def test_endings_are_read_in_order_and_once(link: Redis, keyring: Keyring) -> None:
    """What was told before is not read, what is told after is, from every partition."""
    endings = RedisEndings(link)
    subjects = [Subject("ten_a", Mode.TEST, f"{number:032x}") for number in (1, 2)]
    told = [
        Ending(subject.locator, make_id(Prefix.SESSION, subject.partition, bytes(16)), "", "n", "r")
        for subject in subjects
    ]
    await endings.supersede(subjects[0], told[0])
    places = await endings.places()
    places, _ = await endings.read({**places, 1: "0-0"})
    for subject, each in zip(subjects, told, strict=True):
        await endings.supersede(subject, each)
        places, found = await endings.read(places)
        assert list(found) == [each]
    assert await endings.read(places) == (places, [])


async def test_the_log_of_a_partition_is_bounded(link: Redis) -> None:
    """Of many endings only the newest thousand or so stay."""
    endings = RedisEndings(link)
    subject = Subject("ten_a", Mode.TEST, f"{7:032x}")
    for number in range(names.ENDED_MAX + 400):
        await endings.supersede(subject, Ending(subject.locator, f"s{number}"))
    assert await link.xlen(names.ended(subject.partition)) < names.ENDED_MAX + 200


def test_every_status_has_its_code() -> None:
    """What a client hears is what a submission would be refused with."""
    assert over(KycStatus.EXPIRED).code is Code.TOKEN_EXPIRED
    assert over(KycStatus.DECLINED).code is Code.ATTEMPTS_EXHAUSTED
    for status in (KycStatus.APPROVED, KycStatus.NEEDS_REVIEW, KycStatus.CANCELED):
        assert over(status).code is Code.SESSION_CLOSED


async def test_light_is_asked_where_it_is_set(link: Redis, keyring: Keyring) -> None:
    """The hello and each hint say how bright the page is to be."""
    async with stream_door(link, keyring, light_levels=3) as door:
        token = await door.ready_token()
        async with talking(door) as talk:
            hello = await talk.start(token)
            assert hello["light"] in {0.0, 0.5, 1.0}
            await talk.frame(JOHN)
            assert (await talk.hear_until("hint"))["light"] == hello["light"]
