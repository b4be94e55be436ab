"""Sweeps over HTTP: created, watched, canceled, and read."""

from typing import Any

from aiohttp import web

from serve.api.answers import answered
from serve.api.call import Call
from serve.api.problem import Fault, InputInvalid
from serve.api.sweeps.answers import (
    PairsResponse,
    RingResponse,
    RingsResponse,
    SweepResponse,
    SweepsResponse,
)
from serve.api.sweeps.wire import (
    CreateSweepBody,
    RingParameters,
    SweepPageParameters,
    SweepParameters,
)
from serve.api.wire import Empty, PageParameters
from serve.domain.sweeps.sweep import Sweep
from serve.errors import Code, ServeError
from serve.flows.sweeps import ask, results


async def create_sweep(call: Call[CreateSweepBody, Empty]) -> web.Response:
    """Asks for a sweep, which workers carry out later."""
    try:
        made = await ask.create_sweep(call.deps, call.tenant, call.body.request, call.operation)
    except ServeError as error:
        raise _pointed(error) from error
    return answered(await _told(call, made), 202)


async def list_sweeps(call: Call[Empty, PageParameters]) -> web.Response:
    """Lists sweeps."""
    asked = call.parameters
    page = await ask.page(call.deps, call.tenant, asked.cursor, asked.limit)
    now_ms = await call.deps.directory.now_ms()
    return answered(SweepsResponse.of(page, lambda sweep: _rendered(call, sweep, now_ms)))


async def read_sweep(call: Call[Empty, SweepParameters]) -> web.Response:
    """Shows how a sweep stands."""
    found = await ask.sweep(call.deps, call.tenant, call.parameters.sweep_id)
    return answered(await _told(call, found))


async def cancel_sweep(call: Call[Empty, SweepParameters]) -> web.Response:
    """Stops a sweep."""
    sweep_id = call.parameters.sweep_id
    stopped = await ask.cancel(call.deps, call.tenant, sweep_id, call.operation)
    return answered(await _told(call, stopped))


async def list_pairs(call: Call[Empty, SweepPageParameters]) -> web.Response:
    """Lists the pairs that a sweep found."""
    asked = call.parameters
    page = await results.pairs(call.deps, call.tenant, asked.sweep_id, asked.cursor, asked.limit)
    return answered(PairsResponse.of(page))


async def list_sweep_rings(call: Call[Empty, SweepPageParameters]) -> web.Response:
    """Lists the rings that a sweep found."""
    asked = call.parameters
    page = await results.rings(call.deps, call.tenant, asked.sweep_id, asked.cursor, asked.limit)
    return answered(RingsResponse.of(page))


async def list_rings(call: Call[Empty, PageParameters]) -> web.Response:
    """Lists the tenant's rings, which are those of its last done sweep of everybody."""
    asked = call.parameters
    page = await results.rings(call.deps, call.tenant, "", asked.cursor, asked.limit)
    return answered(RingsResponse.of(page))


async def read_ring(call: Call[Empty, RingParameters]) -> web.Response:
    """Shows a ring."""
    return answered(
        RingResponse.of(await results.ring(call.deps, call.tenant, call.parameters.ring_id))
    )


def _pointed(error: ServeError) -> ServeError:
    """What the flow found wrong with a field, as it is told of what a model finds wrong."""
    name, _, detail = error.detail.partition(": ")
    if error.code is Code.FIELD_INVALID and name in CreateSweepBody.model_fields:
        return InputInvalid((Fault(pointer=f"/{name}", detail=detail),))
    return error


async def _told(call: Call[Any, Any], sweep: Sweep) -> SweepResponse:
    return _rendered(call, sweep, await call.deps.directory.now_ms())


def _rendered(call: Call[Any, Any], sweep: Sweep, now_ms: int) -> SweepResponse:
    deps = call.deps
    scale = deps.scale.similarity if sweep.model_id == deps.model_id else None
    return SweepResponse.of(sweep, scale, now_ms)
