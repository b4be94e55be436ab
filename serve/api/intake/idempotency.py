"""`Idempotency-Key`: the answer to a request that came before is sent again.

A handler that is canceled leaves its claim to run out: what it had begun may have happened, and
whoever asks again finds that by the operation's id.
"""

import asyncio
import json
from dataclasses import replace

from aiohttp import web

from serve.api.call import CODE, REQUEST_ID, BodyT, Call, ParametersT, Route
from serve.api.problem import CONTENT_TYPE, refusal_of, rendered
from serve.domain.idempotency import Answer, fingerprint_of, key_of
from serve.errors import Code, ServeError
from serve.flows import idempotency
from serve.observe import metrics

HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotency-Replayed"


async def answered_once(
    route: Route[BodyT, ParametersT], call: Call[BodyT, ParametersT]
) -> web.Response:
    """What the handler answers, or what it answered before under the same key.

    Raises `idempotency_key_invalid`, `idempotency_mismatch`, `idempotency_in_progress`,
    `answer_erased`, and what the handler raises.
    """
    given = call.request.headers.getall(HEADER, [])
    if not given or not route.takes_idempotency_key:
        return await route.answer(call)
    if len(given) > 1:
        raise ServeError(Code.IDEMPOTENCY_KEY_INVALID, "it is given twice")
    key, deps = key_of(given[0]), call.deps
    fingerprint = await _fingerprint(route, call)
    place = (route.method, route.path)
    claim = await idempotency.begin(deps, call.tenant, place, key, fingerprint)
    if isinstance(claim, Answer):
        return _replayed(claim, call.request)
    op = idempotency.operation(claim)
    try:
        response = await route.answer(replace(call, operation=op))
    except ServeError as error:
        await idempotency.settle(deps, claim, op, _told(rendered(refusal_of(error), "")))
        raise
    except Exception:
        await idempotency.settle(deps, claim, op, None)
        raise
    await idempotency.settle(deps, claim, op, _told(response))
    return response


async def _fingerprint(route: Route[BodyT, ParametersT], call: Call[BodyT, ParametersT]) -> str:
    """Of what was understood of the request; an image is digested off the event loop."""

    def made() -> str:
        parameters = call.parameters.model_dump_json(exclude_unset=True)
        body = call.body.model_dump_json(exclude_unset=True)
        return fingerprint_of(call.deps.pepper, parameters, body)

    return await asyncio.to_thread(made) if route.has_image else made()


def _told(response: web.Response) -> Answer:
    body = response.body or b""
    assert isinstance(body, bytes), "answers are rendered whole"
    return Answer(response.status, dict(response.headers), body)


def _replayed(answer: Answer, request: web.Request) -> web.Response:
    """The answer once more; a refusal names the request that gets it now."""
    headers, body = dict(answer.headers), answer.body
    if headers["Content-Type"].startswith(CONTENT_TYPE):
        document = {**json.loads(body), "request_id": request[REQUEST_ID]}
        body = json.dumps(document).encode()
        request[CODE] = document["code"]
        metrics.count_refusal(document["code"])
    headers[REPLAYED_HEADER] = "true"
    return web.Response(status=answer.status, body=body, headers=headers)
