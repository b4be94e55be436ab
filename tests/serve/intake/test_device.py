"""Who is sent to a phone, by what browsers say of themselves."""

import pytest
from aiohttp.test_utils import make_mocked_request

from serve.api.intake.device import USER_AGENT_LENGTH_MAX, check_mobile
from serve.errors import Code, ServeError

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0"


def refused(**headers: str) -> bool:
    request = make_mocked_request(
        "POST", "/", headers={name.replace("_", "-"): value for name, value in headers.items()}
    )
    try:
        check_mobile(request)
    except ServeError as error:
        return error.code is Code.MOBILE_REQUIRED
    return False


@pytest.mark.parametrize(
    "system",
    [
        "Windows NT 10.0; Win64; x64",
        "Macintosh; Intel Mac OS X 10_15_7",
        "X11; Linux x86_64",
        "X11; Ubuntu; Linux x86_64; rv:120.0",
        "X11; Fedora; Linux x86_64; rv:109.0",
        "X11; CrOS x86_64 14541.0.0",
        "X11; FreeBSD amd64; rv:1",
    ],
)
def test_a_desktop_is_refused(system: str) -> None:
    """Every desktop system is told to use a phone, unless the browser's hint says it is one."""
    agent = f"Mozilla/5.0 ({system}) {WEBKIT} Safari/537.36"
    assert refused(User_Agent=agent)
    assert refused(User_Agent=agent, Sec_CH_UA_Mobile="?0")
    assert not refused(User_Agent=agent, Sec_CH_UA_Mobile="?1")


@pytest.mark.parametrize(
    "agent",
    [
        "",
        "curl/8.5.0",
        "Python/3.11 aiohttp/3.14.5",
        f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) {WEBKIT} Mobile/15E148",
        f"Mozilla/5.0 (iPad; CPU OS 16_6 like Mac OS X) {WEBKIT} Mobile/15E148",
        f"Mozilla/5.0 (Linux; Android 14; Pixel 8) {WEBKIT} Mobile Safari/537.36",
        f"Mozilla/5.0 (Linux; Android 10; K) {WEBKIT} Mobile Safari/537.36",
        "okhttp/4.12.0",
        "MyBank/3.1 CFNetwork/1474 Darwin/23.0.0",
    ],
)
def test_a_phone_or_an_unknown_is_not(agent: str) -> None:
    """Phones, tablets, apps and whatever cannot be told are let through."""
    assert not refused(User_Agent=agent)


def test_no_user_agent_is_no_desktop() -> None:
    """A request without the header is let through."""
    assert not refused()


def test_only_the_head_of_a_long_one_is_read() -> None:
    """What lies beyond the bound does not count, so its length costs nothing."""
    assert not refused(User_Agent="x" * USER_AGENT_LENGTH_MAX + "(Windows NT 10.0; Win64; x64)")
