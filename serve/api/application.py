"""The front door as an aiohttp application, and the runner that serves it."""

import asyncio
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, ValidationError

from serve.api.answers import HealthResponse, answered, answered_bytes
from serve.api.call import (
    ADDRESS,
    HANDOFF,
    PRINCIPAL,
    TOKEN,
    Call,
    Route,
    agreed_token,
    api_key,
    prefers_later,
    session_token,
)
from serve.api.intake import device
from serve.api.intake.address import (
    AddressQuota,
    GuessBudget,
    Network,
    client_address,
    trusted_networks,
)
from serve.api.intake.body import (
    IMAGE_BODY_BYTES_MAX,
    JSON_BYTES_MAX,
    BodyBudget,
    BodyLimits,
    check_head,
    parsed,
    received,
    wait_to_continue,
)
from serve.api.intake.connections import ConnectionLimits, DoorRunner
from serve.api.intake.idempotency import answered_once
from serve.api.intake.quota import Meter
from serve.api.liveness.streams import StreamDoor
from serve.api.middleware import DEPS, ORIGINS, PUBLIC_METHODS, observe, preflight, refuse, share
from serve.api.openapi import document
from serve.api.problem import Fault, InputInvalid, parameter_faults
from serve.api.routes import HEALTH_PATH, OPENAPI_PATH, ROUTES
from serve.api.wire import Parameters
from serve.deps import Deps
from serve.domain.handoff import Handoff, check_readable
from serve.domain.liveness.wire import STREAM_PATH
from serve.domain.quota import Bucket
from serve.domain.tenancy.api_key import Principal
from serve.errors import Code, ServeError
from serve.flows import access, handoff
from serve.flows.transact import new_operation
from serve.settings import Server, Settings

METER = web.AppKey("meter", Meter)


def build_application(deps: Deps, settings: Settings) -> web.Application:
    """The routes of the table over `deps`. Raises `setting_invalid`."""
    door = FrontDoor.opened(deps, settings)
    application = web.Application(middlewares=[observe, share, refuse, door.counted])
    application[METER] = door.meter
    application[IMAGE_BODY_BYTES_MAX] = door.image_limits.size_max
    application.on_cleanup.append(door.meter.close)
    application[DEPS] = deps
    application[ORIGINS] = origins = access.KnownOrigins()
    application[PUBLIC_METHODS] = public_methods()
    for route in ROUTES:
        _add(application, route.method, route.path, door.endpoint(route))
    for path in application[PUBLIC_METHODS]:
        application.router.add_route("OPTIONS", path, preflight)
    streams = StreamDoor(deps, settings.stream, door.meter, door.guesses, door.bodies, origins)
    application.router.add_route("GET", STREAM_PATH, streams.answer)
    application.on_shutdown.append(streams.part)
    application.on_cleanup.append(streams.close)
    described = document(ROUTES, has_streams=True)

    async def openapi(_request: web.Request) -> web.Response:
        return answered_bytes(described)

    _add(application, "GET", HEALTH_PATH, _health)
    _add(application, "GET", OPENAPI_PATH, openapi)
    device.warm()
    return application


def build_runner(application: web.Application, server: Server) -> DoorRunner:
    """Serves `application` within the limits of `server`. Raises `setting_invalid`."""
    limits = ConnectionLimits(
        server.connections_max,
        server.connections_per_address_max,
        server.head_seconds_max,
        server.body_seconds_max,
        trusted_networks(server.trusted_proxies),
    )
    return DoorRunner(application, limits, application[DEPS].random, application[METER].told)


def public_methods() -> dict[str, frozenset[str]]:
    """The methods of the public routes, by path."""
    public = [route for route in ROUTES if route.scope is None]
    return {
        route.path: frozenset(other.method for other in public if other.path == route.path)
        for route in public
    }


@dataclass(frozen=True, slots=True)
class FrontDoor:
    """What all requests of a process share: ports, limits and budgets."""

    deps: Deps
    trusted: tuple[Network, ...]
    meter: Meter
    guesses: GuessBudget
    bodies: BodyBudget
    image_limits: BodyLimits
    json_limits: BodyLimits

    @classmethod
    def opened(cls, deps: Deps, settings: Settings) -> "FrontDoor":
        """The door that `settings` describe. Raises `setting_invalid`."""
        server, quota = settings.server, settings.quota
        by_address = Bucket.of(quota.address_per_s, quota.address_burst_s)
        return cls(
            deps=deps,
            trusted=trusted_networks(server.trusted_proxies),
            meter=Meter(deps, AddressQuota(by_address, _now_s)),
            guesses=GuessBudget(server.refusals_per_minute_max, _now_s),
            bodies=BodyBudget(server.inflight_bytes_max),
            image_limits=BodyLimits(server.body_bytes_max, server.body_seconds_max, has_image=True),
            json_limits=BodyLimits(JSON_BYTES_MAX, server.body_seconds_max),
        )

    @web.middleware
    async def counted(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Counts a request of an address. Raises `too_many_requests`."""
        address = client_address(request, self.trusted)
        request[ADDRESS] = address
        self.meter.count_address(request, address)
        return await handler(request)

    def endpoint(self, route: Route[Any, Any]) -> Handler:
        """What the router calls for `route`: who asks, then what is asked, then the handler."""

        async def answer(request: web.Request) -> web.StreamResponse:
            address = request[ADDRESS]
            self.guesses.check(address)
            try:
                return await self._answer(route, request, address)
            except ServeError as error:
                is_guess = route.scope is None or route.is_guessed
                is_miss = is_guess and error.code is Code.NOT_FOUND
                if is_miss or error.code is Code.KEY_INVALID:
                    self.guesses.count(address)
                raise
            finally:
                self.meter.leave(request)

        return answer

    async def _answer(
        self, route: Route[Any, Any], request: web.Request, address: str
    ) -> web.StreamResponse:
        if route.is_mobile_only:
            device.check_mobile(request)
        principal = None
        if route.scope is not None:
            principal = await access.authenticate(self.deps, api_key(request))
            request[PRINCIPAL] = principal
            await self.meter.count_tenant(route, request, principal.tenant_id, principal.mode)
            access.require(principal, route.scope)
        parameters = _parameters(route, request)
        if route.scope is None and (token := session_token(request, parameters)):
            request[TOKEN] = token
            # Before megabytes are read for a token that finds nothing.
            check_readable(*await self._find(route, request, token))
        if not route.has_body or not (route.needs_body or request.can_read_body):
            return await self._call(route, request, parameters, route.body(), principal)
        limits = self.image_limits if route.has_image else self.json_limits
        check_head(request, limits.size_max)
        self._admit(route, request, self.bodies.images)
        async with received(request, limits, self.bodies, address) as raw:
            body = await parsed(raw, route.body)
            raw.clear()  # the model holds it all again
            return await self._call(route, request, parameters, body, principal)

    async def _call(
        self,
        route: Route[Any, Any],
        request: web.Request,
        parameters: Parameters,
        body: BaseModel,
        principal: Principal | None,
    ) -> web.StreamResponse:
        if route.scope is None:
            request[TOKEN] = agreed_token(request.get(TOKEN, ""), body)
            if HANDOFF not in request:
                found = await self._find(route, request, request[TOKEN])
                if route.has_image:
                    self._admit(route, request, self.bodies.images - 1)  # its own is one of them
                else:
                    check_readable(*found)
        token = request.get(TOKEN, "")
        known = request.get(HANDOFF)
        operation = new_operation(self.deps)
        call = Call(self.deps, request, body, parameters, operation, token, principal, known)
        return await answered_once(route, call)

    async def _find(
        self, route: Route[Any, Any], request: web.Request, token: str
    ) -> tuple[Handoff, int]:
        """What a session token finds, and the clock in ms; its tenant's request is counted.

        Raises `not_found` or `too_many_requests`.
        """
        found, now_ms = await handoff.find_handoff(self.deps, token)
        request[HANDOFF] = found
        subject = found.subject
        await self.meter.count_tenant(route, request, subject.tenant_id, subject.mode)
        return found, now_ms

    def _admit(self, route: Route[Any, Any], request: web.Request, let_in: int) -> None:
        """Ask the engine, for an image that it is to look at now or soon, once it is known whose
        it is. Raises `overloaded` or `service_unavailable`.
        """
        is_later = route.may_be_later and prefers_later(request)
        if is_later or not (route.has_image or route.opens_session):
            return
        found = request.get(HANDOFF)
        asker = request.get(PRINCIPAL) if found is None else found.subject
        if asker is None:
            return
        self.meter.check_wait(route, asker.tenant_id, asker.mode)
        if route.has_image:
            self.deps.faces.admit(asker.tenant_id, let_in)


def _parameters(route: Route[Any, Any], request: web.Request) -> Parameters:
    """What the path and the query say. Raises `field_invalid`."""
    given = dict(request.query)
    twice = sorted(name for name in given if len(request.query.getall(name)) > 1)
    twice += sorted(given.keys() & request.match_info.keys())
    if twice:
        raise InputInvalid((Fault(parameter=twice[0], detail="given twice"),))
    model: type[Parameters] = route.parameters
    try:
        return model.model_validate_strings({**given, **request.match_info})
    except ValidationError as error:
        raise InputInvalid(parameter_faults(error)) from error


def _add(application: web.Application, method: str, path: str, handler: Handler) -> None:
    """GET answers HEAD as well."""
    if method == "GET":
        application.router.add_get(path, handler, expect_handler=wait_to_continue)
    else:
        application.router.add_route(method, path, handler, expect_handler=wait_to_continue)


def _now_s() -> float:
    return asyncio.get_running_loop().time()


async def _health(_request: web.Request) -> web.Response:
    return answered(HealthResponse())
