"""The sender as it is, against whatever leads inside: a canary on loopback hears nothing."""

from collections.abc import Sequence
from urllib.parse import urlsplit

import pytest

from serve.domain.callback import Delivery
from serve.domain.delivery.retry import after_attempt
from serve.domain.tenancy.tenant import SigningSecret
from serve.outbound.sender import SendError, open_sender
from serve.settings import Callbacks
from tests.helpers.receivers import answering, receiver
from tests.helpers.records import a_callback, a_session
from tests.serve.outbound.hostile import HOSTILE, PLAIN, Internet, Names, listening_canary

SECRETS = (SigningSecret(secret=f"whsec_{'A' * 32}", created_at_ms=0),)
NOW_MS = 1_763_700_000_000
PUBLIC, METADATA = "1.1.1.1", "169.254.169.254"
STRICT = Callbacks(timeout_s=10)
REACHING = 9  # of the plain URLs, with the guard off
REDIRECTS = (301, 302, 303, 307, 308)
NEVER = {SendError.ADDRESS_REFUSED, SendError.URL_INVALID, SendError.NAME_UNRESOLVED,
         SendError.ANSWER_INVALID}  # fmt: skip


async def delivered(
    urls: Sequence[str],
    settings: Callbacks = STRICT,
    names: Names | None = None,
    internet: Internet | None = None,
) -> list[Delivery]:
    """What an attempt at each of the URLs comes to, all through one sender."""
    elsewhere = () if internet is None else (internet.make_socket,)
    async with open_sender(settings, names, *elsewhere) as sender:
        return [
            await sender.send(a_callback(a_session(), url=url), SECRETS, NOW_MS) for url in urls
        ]


def port_of(url: str) -> int:
    return urlsplit(url).port or 0


async def test_no_spelling_of_this_machine_is_reached() -> None:
    """75 URLs of this machine, honest and disguised: no connection, and a word for each."""
    async with listening_canary() as canary:
        found = await delivered([url.format(canary.port) for url in HOSTILE])
        assert canary.hits == 0
    assert len(found) == len(HOSTILE) == 75
    assert {delivery.attempt.status for delivery in found} == {None}
    assert {delivery.attempt.error for delivery in found} <= NEVER
    plain = {delivery.attempt.error for delivery in found[: len(PLAIN)]}
    assert plain == {SendError.ADDRESS_REFUSED}


async def test_the_canary_can_hear() -> None:
    """With the setting for it the same sender does reach it, by the first of the same URLs."""
    async with listening_canary() as canary:
        urls = [url.format(canary.port) for url in PLAIN[:REACHING]]
        await delivered(urls, Callbacks(allow_private=True, timeout_s=10))
        assert canary.hits == REACHING


@pytest.mark.parametrize("inside", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.1", METADATA])
async def test_a_name_that_turns_inward_is_refused(inside: str) -> None:
    """Public for the first callback, inside for the second: that one goes nowhere."""
    async with receiver(answering(200, Connection="close")) as tenant, listening_canary() as canary:
        internet = Internet({PUBLIC: port_of(tenant.url), inside: canary.port})
        urls = [f"http://tenant.example:{canary.port}/"] * 2
        first, second = await delivered(urls, names=Names([PUBLIC], [inside]), internet=internet)
        assert (first.attempt.status, second.attempt.status) == (200, None)
        assert second.attempt.error == SendError.ADDRESS_REFUSED
        assert (len(tenant.posted), canary.hits, internet.asked) == (1, 0, {PUBLIC: 1})


@pytest.mark.parametrize("answer", [["127.0.0.1", PUBLIC], [PUBLIC, "127.0.0.1"], ["::1", PUBLIC]])
@pytest.mark.parametrize("is_up", [True, False])
async def test_of_two_addresses_only_the_public_one_is_tried(
    answer: list[str], is_up: bool
) -> None:
    """Whichever comes first, and whether or not the public one answers."""
    async with receiver() as tenant, listening_canary() as canary:
        internet = Internet({PUBLIC: port_of(tenant.url)} if is_up else {})
        url = f"http://tenant.example:{canary.port}/"
        (only,) = await delivered([url], names=Names(answer), internet=internet)
        assert only.attempt.status == (204 if is_up else None)
        assert (len(tenant.posted), canary.hits) == (int(is_up), 0)
        assert set(internet.asked) == {PUBLIC}


async def test_a_connection_that_is_used_again_leads_where_it_led() -> None:
    """While it lives, a connection to the public address serves; the new answer of the name
    server opens none.
    """
    async with receiver() as tenant, listening_canary() as canary:
        internet = Internet({PUBLIC: port_of(tenant.url)})
        urls = [f"http://tenant.example:{canary.port}/", f"http://127.0.0.1:{canary.port}/"]
        names = Names([PUBLIC], ["127.0.0.1"])
        _, again, inside = await delivered([urls[0], *urls], names=names, internet=internet)
        assert (again.attempt.status, inside.attempt.error) == (204, SendError.ADDRESS_REFUSED)
        assert (len(tenant.posted), canary.hits, internet.asked) == (2, 0, {PUBLIC: 1})


@pytest.mark.parametrize("status", REDIRECTS)
async def test_a_redirect_inside_is_a_failure(status: int) -> None:
    """Neither the metadata service nor the canary is asked, and the callback is tried again
    later at its own URL.
    """
    async with listening_canary() as canary:
        for place in (f"http://{METADATA}/latest/meta-data/", f"http://127.0.0.1:{canary.port}/"):
            async with receiver(answering(status, Location=place)) as tenant:
                internet = Internet({PUBLIC: port_of(tenant.url)})
                (only,) = await delivered([f"http://{PUBLIC}/hook"], internet=internet)
            assert internet.asked == {PUBLIC: 1}
            event = after_attempt(a_callback(a_session()), only, NOW_MS, 0.5)
            assert (event.failures, event.state) == (1, "pending")
        assert canary.hits == 0


@pytest.mark.parametrize("name", ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"])
async def test_no_proxy_carries_a_callback_past_the_guard(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy of the environment would connect for us to where we may not."""
    async with listening_canary() as canary:
        monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
        urls = (f"http://{METADATA}/", "https://10.0.0.1/", f"http://127.0.0.1:{canary.port}/")
        found = await delivered(urls)
        assert {delivery.attempt.error for delivery in found} == {SendError.ADDRESS_REFUSED}
        assert canary.hits == 0
