"""Who owns what, and what an answer may therefore never say. It knows the API only by its document.

Whatever has an id's shape and is told to somebody is theirs; words with a canary are whose name is
in them. A tenant's own free text is not an id: two tenants may say the same, so a word that a
world has said itself is no leak there.
"""

import base64
import binascii
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.isolation.graph import Watch
from tests.isolation.stage import World

ID = re.compile(
    r"(?<![\w-])"
    r"(?:(?:ses|fac|alr|msg|era|job|ver|flg|blk|swp)_\d\d[\w-]{22}|(?:st|rid)_\d\d[\w-]{43}"
    r"|ten_[\w-]{22}|rng_[0-9a-f]{28})"
    r"(?![\w-])",
    re.ASCII,
)
# What a caller calls a customer is a word of its own, even one that somebody has an id by.
CALLED = re.compile(r"""(?<=customer_id)(?:=|"\s*:\s*")[\w-]+|(?<=/customers/)[\w-]+""", re.ASCII)
CANARY = re.compile(r"canary-([ab])-(live|test|both)-[\w-]*", re.ASCII)
SECRET = re.compile(r"sk_(?:live|test)_|whsec_")
REQUEST_ID = re.compile(r"req_[0-9a-f]{32}")
# What may be said of a request before anybody looks whose record it names.
OF_THE_REQUEST = {
    "not_found", "field_invalid", "body_invalid", "body_too_large", "content_type_unsupported",
    "proof_invalid", "too_many_requests", "mobile_required", "cursor_invalid", "url_refused",
    "idempotency_key_invalid", "idempotency_in_progress", "idempotency_mismatch",
    "threshold_too_low",
}  # fmt: skip
FINDINGS_MAX = 20


@dataclass(frozen=True)
class Caller:
    """Who calls: with a key of a world, of one scope or of all, with a bad key, or with none."""

    name: str
    world: World | None = None
    key: str = ""
    scope: str | None = None


@dataclass(frozen=True)
class Exchange:
    """One request as it was sent, and its answer. `label` is method and path template."""

    caller: Caller
    label: str
    sent: str
    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def is_success(self) -> bool:
        """2xx."""
        return 200 <= self.status < 300

    @property
    def body(self) -> Any:
        """The JSON of the answer, or None."""
        try:
            return json.loads(self.text)
        except ValueError:
            return None


@dataclass
class Oracle:
    """Judges exchanges as they come; `findings` are what should never be.

    `cells` counts, by label: `own` successes with a full key or a token, `across` refusals of a
    stranger's id, `apart` successes that said nothing of others while others had something to
    hide, `scope` refusals of a key without the scope, `nobody` refusals without a key.
    """

    document: Mapping[str, Any]
    worlds: Mapping[str, World]
    owners: dict[str, str] = field(default_factory=dict)
    said: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    findings: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    cells: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    watch: Watch = field(default_factory=Watch)
    given: set[str] = field(default_factory=set)

    def operation(self, label: str) -> Mapping[str, Any]:
        """What the document says of a route."""
        method, _, path = label.partition(" ")
        found: Mapping[str, Any] = self.document["paths"][path][method.lower()]
        return found

    def judge(self, exchange: Exchange) -> None:
        """Write down everything that is wrong with an exchange, and what it shows."""
        self.counts["calls"] += 1
        self.counts[f"status {exchange.status // 100}xx"] += 1
        operation = self.operation(exchange.label)
        sent = CALLED.sub("", exchange.sent)
        named = {name for name in ID.findall(sent) if name in self.owners}
        reader = self._reader(exchange, operation, named)
        if reader is not None:
            self.said[reader].update(found[0] for found in CANARY.finditer(exchange.sent))
        complaints = [
            *self._form(exchange, operation),
            *self._access(exchange, operation, named),
            *self._content(exchange, reader),
            *self._states(exchange),
        ]
        self.report(exchange, complaints)

    def report(self, exchange: Exchange, complaints: list[str]) -> None:
        """Keep the first complaints with what they are about."""
        for complaint in complaints:
            self.counts["findings"] += 1
            if len(self.findings) < FINDINGS_MAX:
                self.findings.append(
                    f"{complaint}: {exchange.caller.name}: {exchange.label} {exchange.sent[:300]}"
                    f" -> {exchange.status} {exchange.text[:300]}"
                )

    def owned(self, world: str, pattern: str) -> list[str]:
        """What a world owns and looks like that, in the order of its making."""
        shape = re.compile(pattern)
        tenant = world[0]
        return [
            name for name, owner in self.owners.items()
            if owner in {world, tenant} and shape.search(name)
        ]  # fmt: skip

    def _reader(
        self, exchange: Exchange, operation: Mapping[str, Any], named: set[str]
    ) -> str | None:
        """The world whose data the answer may tell: that of the key, or on a public route that of
        the token.
        """
        if "x-scope" in operation:
            return None if exchange.caller.world is None else exchange.caller.world.name
        tokens = {self.owners[name] for name in named if name.startswith("st_")}
        return tokens.pop() if len(tokens) == 1 else None

    def _form(self, exchange: Exchange, operation: Mapping[str, Any]) -> Iterator[str]:
        """5xx, statuses that the document does not name, and refusals without their form."""
        if exchange.status >= 500:
            self.counts["5xx"] += 1
            yield "a server error"
        told = operation["responses"].get(str(exchange.status))
        if told is None:
            self.counts["undocumented"] += 1
            yield "an undocumented status"
        request_id = exchange.headers.get("X-Request-Id", "")
        if not REQUEST_ID.fullmatch(request_id):
            yield "no request id"
        if SECRET.search(exchange.text):
            yield "a secret in an answer"
        if exchange.is_success or told is None:
            return
        body = exchange.body
        if exchange.headers.get("Content-Type", "").partition(";")[0] != "application/problem+json":
            yield "a refusal that is no problem document"
        elif not isinstance(body, dict) or body.get("request_id") != request_id:
            yield "a refusal without its request id"
        elif not body.get("error", {}).get("message") or body.get("status") != exchange.status:
            yield "a refusal without error.message or with another status"
        elif body.get("code") not in _codes(told):
            self.counts["undocumented"] += 1
            yield f"the undocumented code {body.get('code')}"

    def _states(self, exchange: Exchange) -> Iterator[str]:
        """Moves of sessions that the graph does not have. An answer given before may come again
        to the same capture or idempotency key: it tells of then, not of now.
        """
        if not exchange.is_success:
            return
        if not exchange.label.startswith("GET "):
            if exchange.text in self.given:
                self.counts["answers given again"] += 1
                return
            self.given.add(exchange.text)
        yield from self.watch.complaints(exchange.body)

    def _access(
        self, exchange: Exchange, operation: Mapping[str, Any], named: set[str]
    ) -> Iterator[str]:
        """A success for who may not, or a refusal that tells what is there."""
        caller, cells = exchange.caller, self.cells[exchange.label]
        scope = operation.get("x-scope")
        if scope is None:
            cells["nobody"] += exchange.status == 404
            cells["own"] += exchange.is_success and any(name.startswith("st_") for name in named)
            if exchange.is_success and not named:
                yield "a success without a token that was given out"
            return
        if caller.world is None:
            cells["nobody"] += exchange.status == 401
            if exchange.status not in {401, 429}:
                yield "no key, and not refused as such"
            return
        if caller.scope not in {None, scope}:
            cells["scope"] += exchange.status == 403
            if exchange.status not in {403, 429}:
                yield "a key without the scope, and not refused as such"
            return
        mine = {caller.world.name, caller.world.tenant}
        strangers = {name for name in named if self.owners[name] not in mine}
        if not strangers:
            cells["own"] += exchange.is_success
            return
        self.counts["across"] += 1
        if exchange.is_success:
            self.counts["across 2xx"] += 1
            yield f"a success with a stranger's {strangers}"
            return
        cells["across"] += 1
        code = exchange.body.get("code") if isinstance(exchange.body, dict) else None
        if code not in OF_THE_REQUEST:
            yield f"a refusal that tells of a stranger's record: {code}"

    def _content(self, exchange: Exchange, reader: str | None) -> Iterator[str]:
        """Ids and words of others in an answer; on success, ids that are new are the reader's."""
        text = "\n".join([exchange.text, *exchange.headers.values(), *_unpacked(exchange.body)])
        mine = {reader, reader[0]} if reader else set()
        for name in set(ID.findall(text)):
            owner = self.owners.get(name)
            if owner is None and reader is not None and exchange.is_success:
                self.owners[name] = reader[0] if name.startswith("ten_") else reader
            elif owner is not None and owner not in mine and name not in exchange.sent:
                self.counts["leaks"] += 1
                yield f"{name} of {owner} is told to {reader}"
        is_public = "x-scope" not in self.operation(exchange.label)
        for found in CANARY.finditer(text):
            if is_public and "-customer-" in found[0] and found[0] not in exchange.sent:
                self.counts["leaks"] += 1
                yield f"{found[0]} is told to who only has a token"
            is_mine = reader is not None and found[1] == reader[0] and found[2] in {
                reader[2:], "both",
            }  # fmt: skip
            has_said = found[0] in exchange.sent or found[0] in self.said[reader or ""]
            if not is_mine and not has_said:
                self.counts["leaks"] += 1
                yield f"{found[0]} is told to {reader}"
        if exchange.is_success and reader is not None:
            others = {owner for owner in self.owners.values() if owner not in mine}
            self.cells[exchange.label]["apart"] += len(others) > 1


def _codes(told: Mapping[str, Any]) -> list[str]:
    schema = told["content"]["application/problem+json"]["schema"]
    codes: list[str] = schema["allOf"][1]["properties"]["code"]["enum"]
    return codes


def _unpacked(body: Any) -> list[str]:
    """What a cursor says inside."""
    cursor = body.get("next_cursor") if isinstance(body, dict) else None
    if not isinstance(cursor, str) or not cursor:
        return []
    try:
        return [base64.urlsafe_b64decode(cursor).decode(errors="replace")]
    except binascii.Error:
        return []
