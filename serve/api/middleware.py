"""What every request goes through, outermost first: observed, shared with pages, refused.

`observe` gives it an id, its headers, one log line and its metrics; `share` answers browsers of
other origins; `refuse` turns whatever was raised into a problem document.
"""

import re
from time import monotonic, perf_counter

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from serve.api.call import CODE, PRINCIPAL, REQUEST_ID, TOKEN
from serve.api.intake.body import waits_for_word
from serve.api.intake.quota import STANDING, rate_limits
from serve.api.problem import Refusal, refusal_of, rendered
from serve.deps import Deps
from serve.domain.tenancy.api_key import Principal
from serve.errors import Code, ServeError
from serve.flows import access
from serve.observe import logs, metrics

DEPS = web.AppKey("deps", Deps)
ORIGINS = web.AppKey("origins", access.KnownOrigins)
PUBLIC_METHODS = web.AppKey("public_methods", dict[str, frozenset[str]])
"""The methods that pages may use, by route template."""

UNMATCHED = "unmatched"
REQUEST_ID_BYTES = 16
REQUESTED_HEADERS_MAX = 64
PREFLIGHT_MAX_AGE_S = 600
SAFE_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Server": "limen",
}
EXPOSED_HEADERS = "X-Request-Id, Retry-After, RateLimit, RateLimit-Policy, Preference-Applied"
_SHARED_HEADER = re.compile(r"x-[a-z0-9-]{1,64}|content-type|authorization|prefer", re.ASCII)
_HTTP_CODES = {
    404: Code.NOT_FOUND,
    405: Code.METHOD_NOT_ALLOWED,
    413: Code.BODY_TOO_LARGE,
}


def template_of(request: web.Request) -> str:
    """The route's template: what logs and metrics say in place of the path."""
    resource = request.match_info.route.resource
    return UNMATCHED if resource is None else resource.canonical


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """An id, safe headers, one log line and the metrics of a request."""
    start = perf_counter()
    request_id = f"req_{request.app[DEPS].random(REQUEST_ID_BYTES).hex()}"
    request[REQUEST_ID] = request_id
    response = await handler(request)
    if response.prepared:
        return response  # a stream, which has told of itself
    response.headers["X-Request-Id"] = request_id
    response.headers.update(SAFE_HEADERS)
    if standing := request.get(STANDING):
        response.headers.update(rate_limits(standing))
    seconds = perf_counter() - start
    route = template_of(request)
    metrics.count_request(route, request.method, response.status, seconds)
    if CODE in request:
        metrics.observe_refusal(request[CODE], seconds)
    principal: Principal | None = request.get(PRINCIPAL)
    method = request.method if request.method in metrics.METHODS else metrics.OTHER
    logs.write(
        "request",
        request_id=request_id,
        method=method,
        route=route,
        status=response.status,
        code=request.get(CODE),
        duration_ms=round(seconds * 1_000, 1),
        bytes_in=request.content_length,
        tenant_id=None if principal is None else principal.tenant_id,
        mode=None if principal is None else principal.mode,
        key_id=None if principal is None else principal.key_id,
    )
    return response


@web.middleware
async def share(request: web.Request, handler: Handler) -> web.StreamResponse:
    """CORS of the public routes: a page reads an answer if its origin is the token's tenant's."""
    response = await handler(request)
    if template_of(request) not in request.app[PUBLIC_METHODS]:
        return response
    response.headers.add("Vary", "Origin")
    origin, token = request.headers.get("Origin"), request.get(TOKEN)
    if origin is None or token is None or request.method == hdrs.METH_OPTIONS:
        return response
    try:
        is_shared = origin in await access.token_origins(request.app[DEPS], token)
    except ServeError:
        is_shared = False  # the answer stands, but only its own origin may read it
    if is_shared:
        response.headers["Access-Control-Allow-Origin"] = origin
        response.headers["Access-Control-Expose-Headers"] = EXPOSED_HEADERS
    return response


async def preflight(request: web.Request) -> web.Response:
    """Tells a browser what pages of its origin may send; an unknown origin is told nothing."""
    methods = ", ".join(sorted(request.app[PUBLIC_METHODS][template_of(request)]))
    response = web.Response(status=204, headers={"Allow": methods})
    origin = request.headers.get("Origin")
    known = request.app[ORIGINS]
    if origin is None or not await known.has(request.app[DEPS], origin, monotonic()):
        return response
    asked = request.headers.get("Access-Control-Request-Headers", "").lower().split(",")
    names = [name.strip() for name in asked[:REQUESTED_HEADERS_MAX]]
    response.headers.update(
        {
            "Access-Control-Allow-Origin": origin,
            "Access-Control-Allow-Methods": methods,
            "Access-Control-Allow-Headers": ", ".join(filter(_SHARED_HEADER.fullmatch, names)),
            "Access-Control-Max-Age": str(PREFLIGHT_MAX_AGE_S),
        }
    )
    return response


@web.middleware
async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
    """A problem document for whatever was raised; a defect is logged, and says nothing."""
    try:
        return await handler(request)
    except ServeError as error:
        refusal = refusal_of(error)
        if refusal.code is Code.INTERNAL_ERROR:
            _report(request, error)
    except web.HTTPException as error:
        refusal = _refusal_of_http(error)
    except Exception as error:  # noqa: BLE001 (the last line of defence)
        _report(request, error)
        refusal = Refusal(Code.INTERNAL_ERROR)
    request[CODE] = str(refusal.code)
    metrics.count_refusal(refusal.code)
    response = rendered(refusal, request[REQUEST_ID])
    if waits_for_word(request) and not request.content.is_eof():
        response.force_close()  # a client that never sends its body has to begin anew
    return response


def _report(request: web.Request, error: Exception) -> None:
    logs.write_error("defect", error, request_id=request[REQUEST_ID], route=template_of(request))


def _refusal_of_http(error: web.HTTPException) -> Refusal:
    if error.status >= 500:
        return Refusal(Code.INTERNAL_ERROR)
    headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
    return Refusal(_HTTP_CODES.get(error.status, Code.BODY_INVALID), headers=headers)
