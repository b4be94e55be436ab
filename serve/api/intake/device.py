"""Is this a phone? Routing by what a browser says of itself; nobody is kept out by it.

iPads that ask for desktop pages say they are Macs, and are taken for such.
"""

from functools import lru_cache

from aiohttp import web
from ua_parser import parse_os

from serve.errors import SENTENCES, Code, ServeError

USER_AGENT_LENGTH_MAX = 512
REMEMBERED = 1_024
DESKTOP_FAMILIES = frozenset(
    {
        "Windows", "Mac OS X", "Mac OS", "Linux", "Ubuntu", "Kubuntu", "Debian", "Fedora",
        "Red Hat", "CentOS", "SUSE", "Gentoo", "Mageia", "Mandriva", "PCLinuxOS", "Slackware",
        "Arch Linux", "Linux Mint", "Puppy", "VectorLinux", "Chrome OS", "FreeBSD", "OpenBSD",
        "NetBSD", "Solaris",
    }
)  # fmt: skip


def check_mobile(request: web.Request) -> None:
    """Raises `mobile_required` for a desktop browser.

    What is missing or unknown is no desktop, and `Sec-CH-UA-Mobile: ?1` is a phone whatever
    its User-Agent says.
    """
    if request.headers.get("Sec-CH-UA-Mobile", "").strip() == "?1":
        return
    if is_desktop(request.headers.get("User-Agent", "")[:USER_AGENT_LENGTH_MAX]):
        raise ServeError(Code.MOBILE_REQUIRED, SENTENCES[Code.MOBILE_REQUIRED])


@lru_cache(REMEMBERED)
def is_desktop(user_agent: str) -> bool:
    """Whether this User-Agent is that of a desktop operating system."""
    system = parse_os(user_agent)
    return system is not None and system.family in DESKTOP_FAMILIES


def warm() -> None:
    """Read the patterns now: the first look takes a tenth of a second, the others none."""
    is_desktop("")
