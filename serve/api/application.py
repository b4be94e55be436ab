"""The front door as an aiohttp application, and the runner that serves it."""

import asyncio
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, ValidationError

from serve.api.answers import HealthResponse, answered, answered_bytes
from serve.api.call import (
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
from serve.api.intake.address import GuessBudget, Network, client_address, trusted_networks
from serve.api.intake.body import (
    JSON_BYTES_MAX,
    BodyBudget,
    BodyLimits,
    check_head,
    parsed,
    received,
    wait_to_continue,
)
from serve.api.intake.connections import ConnectionLimits, DoorRunner
from serve.api.middleware import DEPS, ORIGINS, PUBLIC_METHODS, observe, preflight, refuse, share
from serve.api.openapi import document
from serve.api.problem import Fault, InputInvalid, parameter_faults
from serve.api.routes import HEALTH_PATH, OPENAPI_PATH, ROUTES
from serve.api.wire import Parameters
from serve.deps import Deps
from serve.api.intake.idempotency import answered_once
from serve.api.intake.quota import Meter
from serve.domain.tenancy.api_key import Principal
from serve.errors import Code, ServeError
from serve.flows import access, handoff
from serve.flows.transact import new_operation
from serve.settings import Server, Settings


def build_application(deps: Deps, settings: Settings) -> web.Application:
    """The routes of the table over `deps`. Raises `setting_invalid`."""
    door = FrontDoor.opened(deps, settings)
    application = web.Application(middlewares=[observe, share, refuse])
    application[DEPS] = deps
    application[ORIGINS] = access.KnownOrigins()
    application[PUBLIC_METHODS] = public_methods()
    for route in ROUTES:
        _add(application, route.method, route.path, door.endpoint(route))
    for path in application[PUBLIC_METHODS]:
        application.router.add_route("OPTIONS", path, preflight)
    described = document(ROUTES)

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
        trusted_networks(server.trusted_proxies),
    )
    return DoorRunner(application, limits, application[DEPS].random)


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
    guesses: GuessBudget
    bodies: BodyBudget
    image_limits: BodyLimits
    json_limits: BodyLimits

    @classmethod
    def opened(cls, deps: Deps, settings: Settings) -> "FrontDoor":
        """The door that `settings` describe. Raises `setting_invalid`."""
        server = settings.server
        return cls(
            deps=deps,
            trusted=trusted_networks(server.trusted_proxies),
            guesses=GuessBudget(
                server.refusals_per_minute_max, lambda: asyncio.get_running_loop().time()
            ),
            bodies=BodyBudget(server.inflight_bytes_max),
            image_limits=BodyLimits(server.body_bytes_max, server.body_seconds_max, has_image=True),
            json_limits=BodyLimits(JSON_BYTES_MAX, server.body_seconds_max),
        )

    def endpoint(self, route: Route[Any, Any]) -> Handler:
        """What the router calls for `route`: who asks, then what is asked, then the handler."""

        async def answer(request: web.Request) -> web.StreamResponse:
            address = client_address(request, self.trusted)
            self.guesses.check(address)
            try:
                return await self._answer(route, request, address)
            except ServeError as error:
                is_public_miss = route.scope is None and error.code is Code.NOT_FOUND
                if is_public_miss or error.code is Code.KEY_INVALID:
                    self.guesses.count(address)
                raise

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
            access.require(principal, route.scope)
        parameters = _parameters(route, request)
        if route.scope is None and (token := session_token(request, parameters)):
            request[TOKEN] = token
            if route.has_image:  # ask before megabytes are read for a token that finds nothing
                request[HANDOFF] = await handoff.read_handoff(self.deps, token)
        if not route.has_body:
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
            if route.has_image and HANDOFF not in request:
                request[HANDOFF], _ = await handoff.find_handoff(self.deps, request[TOKEN])
                self._admit(route, request, self.bodies.images - 1)  # its own is one of them
        token = request.get(TOKEN, "")
        known = request.get(HANDOFF)
        operation = new_operation(self.deps)
        call = Call(self.deps, request, body, parameters, operation, token, principal, known)
        return await answered_once(route, call)

    def _admit(self, route: Route[Any, Any], request: web.Request, let_in: int) -> None:
        """Ask the engine, for an image that it is to look at now, once it is known whose it is.

        Raises `overloaded` or `service_unavailable`.
        """
        if not route.has_image or (route.may_be_later and prefers_later(request)):
            return
        if principal := request.get(PRINCIPAL):
            self.deps.faces.admit(principal.tenant_id, let_in)
        elif found := request.get(HANDOFF):
            self.deps.faces.admit(found.subject.tenant_id, let_in)


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


async def _health(_request: web.Request) -> web.Response:
    return answered(HealthResponse())
