"""Calls of any route by anybody: schemathesis makes the requests, the oracle judges the answers."""

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

import schemathesis
from schemathesis import Case, Response
from schemathesis.checks import not_a_server_error
from schemathesis.core import NOT_SET
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.core.result import Ok
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from serve.api.openapi import document
from serve.api.routes import ROUTES
from serve.domain.tenancy.preferences import Event
from tests.helpers.front_door import BROKEN, JOHN, MARY, NOBODY, PHONE
from tests.isolation.oracle import Caller, Exchange, Oracle
from tests.isolation.stage import Stage, World

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
NONE, BAD_KEY = Caller("nobody"), "sk_live_AAAAAAAAAAAAAAAA_" + "A" * 43
CUSTOMERS = 6
OF_AN_ID = re.compile(r"\^[a-z]{2,3}_")
PICKS_MAX = 40  # the newest records are the liveliest
AnyCase = Case[Any]
Operation = APIOperation[Any, Any, Any, Any]
AMOUNTS = ("deposit", "withdrawal", "large_bet_placement", "high_frequency_betting")
EVERY_TRIGGER: dict[str, Any] = {
    event.value: {"enabled": True} if event.value in AMOUNTS else True for event in Event
}
RARE = base64.b64encode(b"eve.").decode()  # a face that nobody enrols
IMAGES = [base64.b64encode(image).decode() for image in (JOHN, JOHN, JOHN, MARY, NOBODY, BROKEN)]


def callers(world: World) -> list[Caller]:
    """Who calls for a world: with its key of every scope, and with those of one."""
    scoped = [Caller(f"{world.name} {scope}", world, key, scope) for scope, key in
              world.scoped.items()]  # fmt: skip
    return [Caller(world.name, world, world.key), *scoped]


@dataclass
class Driver:
    """One client for everybody. `random` decides what Hypothesis does not."""

    stage: Stage
    random: Random
    schema: BaseSchema
    operations: dict[str, Operation]
    oracle: Oracle
    last: dict[str, AnyCase] = field(default_factory=dict)
    """The newest success of each route by its owner."""

    @classmethod
    def of(cls, stage: Stage, seed: int) -> "Driver":
        """A driver for the document that this stage serves."""
        described: dict[str, Any] = json.loads(document(ROUTES))
        schema = schemathesis.openapi.from_dict(described)
        schema.config.update(base_url=stage.url)
        schema.config.generation.update(database="none")
        worlds = {world.name: world for world in stage.worlds}
        chance = Random(seed)  # noqa: S311 (a seed replays it)
        found = [result.ok() for result in schema.get_all_operations() if isinstance(result, Ok)]
        operations = {item.definition.raw["operationId"]: item for item in found}
        return cls(stage, chance, schema, operations, Oracle(described, worlds))

    def call(self, case: AnyCase, caller: Caller) -> Response:
        """Send a case as `caller`, and let the oracle judge what comes back."""
        for name in ("Authorization", "X-API-Key", "User-Agent"):
            case.headers.pop(name, None)
        headers = {"User-Agent": PHONE}
        if caller.key:
            bearer = {"Authorization": f"Bearer {caller.key}"}
            headers |= self.random.choice([bearer, bearer, {"X-API-Key": caller.key}])
        response = case.call(headers=headers)
        sent = response.request
        body = sent.body.decode(errors="replace") if isinstance(sent.body, bytes) else sent.body
        exchange = Exchange(
            caller,
            case.operation.label,
            f"{sent.url} {body or ''}",
            response.status_code,
            {name.title(): ", ".join(values) for name, values in response.headers.items()},
            response.content.decode(),
        )
        self.oracle.judge(exchange)
        try:
            case.validate_response(response, checks=CHECKS)
        except (Failure, FailureGroup) as error:
            told = [
                f"{item.title}: {item.message}" for item in getattr(error, "exceptions", [error])
            ]
            self.oracle.report(exchange, told)
        if exchange.is_success and caller.scope is None:
            self.last[case.operation.label] = case
        return response

    def ask(
        self,
        operation: str,
        caller: Caller,
        body: Any = NOT_SET,
        *,
        headers: Mapping[str, str] | None = None,
        **parameters: Any,
    ) -> Any:
        """One call of an operation by its id, and the JSON of its answer."""
        target = self.operations[operation]
        places = {item.name: item.location for item in target.iter_parameters()}
        case = target.Case(
            path_parameters={k: v for k, v in parameters.items() if places[k] == "path"},
            query={k: v for k, v in parameters.items() if places[k] == "query"},
            headers=dict(headers or {}),
            body=body,
            media_type=None if body is NOT_SET else "application/json",
        )
        return self.call(case, caller).json()

    def step(self, case: AnyCase) -> Response:
        """A case of the machine's, by somebody, about something of somebody's."""
        dice = self.random.random()
        world = self.random.choice(self.stage.worlds)
        caller = callers(world)[0]
        if dice < 0.1:
            caller = self.random.choice(callers(world)[1:])
        elif dice < 0.15:
            caller = self.random.choice([NONE, Caller("a bad key", None, BAD_KEY)])
        if self.random.random() < 0.8:
            other = self.random.choice(self.stage.worlds) if dice > 0.9 else world
            self.fill(case, world, other, lambda pattern: self.pick(world, pattern))
        return self.call(case, caller)

    def pick(self, world: World, pattern: str) -> str | None:
        """An id that a world, or another, owns; None to leave what is there."""
        dice = self.random.random()
        other = self.random.choice(self.stage.worlds) if dice < 0.4 else world
        known = self.oracle.owned(other.name, pattern)[-PICKS_MAX:]
        return self.random.choice(known) if known and dice < 0.7 else None

    def newest(self, world: World, pattern: str) -> str | None:
        """The newest id of a world's that looks like that."""
        known = self.oracle.owned(world.name, pattern)
        return known[-1] if known else None

    def fill(
        self, case: AnyCase, speaker: World, owner: World, pick: Callable[[str], str | None]
    ) -> None:
        """Put ids of `pick`, and words of the speaker's, in the place of generated ones. Only the
        customer may be one whom the owner calls so.
        """
        for parameter in case.operation.iter_parameters():
            places = {"path": case.path_parameters, "query": case.query}
            place = places.get(str(parameter.location.value))
            if place is not None and (parameter.name in place or parameter.is_required):
                pattern = parameter.definition["schema"].get("pattern", "")
                named = pick(pattern) if OF_AN_ID.match(pattern) else None
                erases = case.operation.method == "delete"  # always the same, or few would be left
                found = named or self._word(parameter.name, speaker, owner, erases=erases)
                place[parameter.name] = place.get(parameter.name) if found is None else found
        if isinstance(case.body, dict):
            if "reference" in case.body:
                case.body |= {"event": "", "callback_url": ""}  # filled in below: sessions open
            if case.operation.path == "/api/v1/blocklist":  # else everybody would be held soon
                case.body = {"selfie": RARE, "reason": speaker.word("reason")}
                return
            if "proof" in case.body:  # a clip of nobody's challenge would be all that is submitted
                case.body = {
                    name: value
                    for name, value in case.body.items()
                    if name not in {"nonce", "frames"}
                }
            shapes = {"token": "^rid_" if "selfie" in case.body else "^st_", "since": "^swp_"}
            for name, value in case.body.items():
                shape = shapes.get(name)
                found = pick(shape) if shape else self._word(name, speaker, owner)
                case.body[name] = value if found is None else found

    def _word(self, name: str, speaker: World, owner: World, *, erases: bool = False) -> Any:
        number = CUSTOMERS - 1 if erases else self.random.randrange(CUSTOMERS)
        words: dict[str, Any] = {
            "customer_id": owner.word(f"customer-{number}"),
            "reference": speaker.word(f"reference-{number}"),
            "consent_id": speaker.word(f"consent-{number}"),
            "signals": {"phone": speaker.word(f"signal-{number}")},
            "callback_url": speaker.url("hook"),
            "redirect_url": speaker.url("back"),
            "proof": self.random.choice(IMAGES),
            "image": self.random.choice(IMAGES),
            "selfie": self.random.choice(IMAGES),
            "frames": [self.random.choice(IMAGES) for _ in range(4)],
            "challenge": "head_turn",
            "reviewer": speaker.word(f"reviewer-{number}"),
            "reason": speaker.word(f"reason-{number}"),
            "applicant": {"name": speaker.word(f"name-{number}")},
            "event": self.random.choice(list(Event)).value,
            "is_reuse_kyc_enabled": True,
            "reuse_kyc_triggers": EVERY_TRIGGER,
            "allowed_origins": [f"https://{speaker.tenant}.example"],
            "frontend_base_url": "",
        }
        return words.get(name)
