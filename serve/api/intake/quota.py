"""Quotas at the door: an address is counted before anything else, a tenant once it is known.

How its caller stands is told with every answer, as in draft-ietf-httpapi-ratelimit-headers-09.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from aiohttp import web

from serve.api.call import REQUEST_ID, Route, prefers_later
from serve.api.intake.address import AddressQuota
from serve.deps import Deps
from serve.domain.ids import Mode
from serve.domain.quota import ADDRESS, INFLIGHT_RETRY_S, Cause, Quota, Standing
from serve.errors import Code, ServeError
from serve.flows import quota
from serve.observe import metrics

GATHERING_S = 0.1
"""Seconds for which leases that have ended gather, to be given back together: a command for each
would cost the door as much as counting the request did.
"""
STANDING = web.RequestKey("standing", Standing)
_LEASED = web.RequestKey("leased", tuple[str, Mode])  # whose submission is under way

_SAID = {
    Cause.QUOTA: "the quota of this class of requests is used up",
    Cause.INFLIGHT: "too many submissions are under way",
    Cause.ADDRESS: "too many requests from this address",
}


def rate_limits(standing: Standing) -> Mapping[str, str]:
    """The headers that tell a policy and how the caller stands with it."""
    name, bucket = standing.name, standing.bucket
    return {
        "RateLimit-Policy": f'"{name}";q={bucket.quota};w={bucket.window_s}',
        "RateLimit": f'"{name}";r={standing.remaining};t={standing.reset_s}',
    }


class Meter:
    """Counts what comes through one door."""

    def __init__(self, deps: Deps, addresses: AddressQuota) -> None:
        self._deps = deps
        self._addresses = addresses
        self._ended: dict[tuple[str, Mode], list[str]] = {}  # leases, by whose they were
        self._giving_back: set[asyncio.Task[None]] = set()

    def count_address(self, request: web.Request, address: str) -> None:
        """One request of an address. Raises `too_many_requests`."""
        standing, is_refused = self._addresses.take(address)
        request[STANDING] = standing
        if is_refused:
            raise _refusal(ADDRESS, Cause.ADDRESS, standing.retry_after_s())

    def told(self, address: str) -> Mapping[str, str]:
        """Counts what does not even become a request; the headers that tell how it stands."""
        standing, _ = self._addresses.take(address)
        return rate_limits(standing)

    async def count_tenant(
        self, route: Route[Any, Any], request: web.Request, tenant_id: str, mode: Mode
    ) -> None:
        """One request of a tenant. A submission that is judged now is under way until `leave`.

        Raises `too_many_requests`.
        """
        is_leased = route.quota is Quota.SUBMIT and not prefers_later(request)
        await self.count(route.quota, request, tenant_id, mode, is_leased=is_leased)

    async def count(
        self, asked: Quota, request: web.Request, tenant_id: str, mode: Mode, *, is_leased: bool
    ) -> None:
        """The same of one of a class, under way until `leave` where `is_leased`."""
        lease = request[REQUEST_ID] if is_leased else ""
        standing, refused = await quota.take(self._deps, tenant_id, mode, asked, lease)
        request[STANDING] = standing
        if refused is not None:
            wait_s = standing.retry_after_s() if refused is Cause.QUOTA else INFLIGHT_RETRY_S
            raise _refusal(asked, refused, wait_s)
        if is_leased:
            request[_LEASED] = (tenant_id, mode)

    def check_wait(self, route: Route[Any, Any], tenant_id: str, mode: Mode) -> None:
        """Raises `overloaded` for what is refused while images wait as long as they do now."""
        try:
            quota.check_wait(self._deps, tenant_id, mode, route.quota)
        except ServeError:
            metrics.count_over_quota(route.quota, Cause.SHED)
            raise

    def leave(self, request: web.Request) -> None:
        """A request has its answer, or ends without one."""
        if leased := request.get(_LEASED):
            if not self._ended:
                self._giving_back.add(task := asyncio.create_task(self._give_back()))
                task.add_done_callback(self._giving_back.discard)
            self._ended.setdefault(leased, []).append(request[REQUEST_ID])

    async def close(self, _application: web.Application) -> None:
        """Wait for what is being given back."""
        if self._giving_back:
            await asyncio.wait(self._giving_back)

    async def _give_back(self) -> None:
        await asyncio.sleep(GATHERING_S)
        ended, self._ended = self._ended, {}
        give_back = self._deps.quotas.give_back
        with suppress(ServeError):  # they run out by themselves
            await asyncio.gather(*(give_back(*whose, leases) for whose, leases in ended.items()))


def _refusal(name: str, cause: Cause, wait_s: int) -> ServeError:
    metrics.count_over_quota(name, cause)
    return ServeError(Code.TOO_MANY_REQUESTS, _SAID[cause], retry_after_s=wait_s)
