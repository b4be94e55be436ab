"""Reusable identity tokens: with one and a selfie a person who was verified is verified again."""

import hmac
from dataclasses import dataclass, field

from serve.deps import Deps
from serve.domain.audit import Action, AuditEntry
from serve.domain.change import Change, Snapshot
from serve.domain.customer import Customer
from serve.domain.ids import TOKEN_RANDOM_BYTES, Subject, digest, make_identity_token
from serve.domain.operation import Operation
from serve.domain.tenancy.api_key import Principal
from serve.errors import Code, ServeError
from serve.flows.transact import transact


@dataclass(frozen=True, slots=True)
class IssuedIdentity:
    """A token, which is shown this once."""

    token: str = field(repr=False)
    customer_id: str = field(repr=False)


async def issue(
    deps: Deps, principal: Principal, customer_id: str, op: Operation
) -> IssuedIdentity:
    """A token for a customer with a verified face; one that was issued before is refused from now
    on. A repeat of `op` gets the same.

    Raises `not_found` for a customer who does not exist, `identity_refused` for one without a face
    to compare with, `storage_low`.
    """
    subject = deps.ledger.subject(principal.tenant_id, principal.mode, customer_id)
    token = make_identity_token(subject.partition, deps.random(TOKEN_RANDOM_BYTES))

    async def decide(snapshot: Snapshot) -> Change:
        customer = snapshot.customer
        if customer is None:
            raise ServeError(Code.NOT_FOUND, "no such customer")
        _check_usable(customer)
        await deps.headroom.check()
        token_sha256 = digest(token)
        revoked = {customer.identity_sha256: False} if customer.identity_sha256 else {}
        return Change(
            customer.model_copy(update={"identity_sha256": token_sha256}),
            identities={**revoked, token_sha256: True},
            audit=(AuditEntry(Action.IDENTITY_ISSUED, principal.actor),),
            answer=token.encode(),
        )

    done = await transact(deps, subject, op, decide)
    return IssuedIdentity(done.answer.decode(), customer_id)


async def subject_of_token(deps: Deps, principal: Principal, token: str) -> Subject:
    """Whose token this is. Raises `not_found`, for another tenant's or mode's as for nobody's."""
    subject = await deps.verifications.identified(token)
    if subject is None or (subject.tenant_id, subject.mode) != (
        principal.tenant_id,
        principal.mode,
    ):
        raise ServeError(Code.NOT_FOUND, "no such identity token")
    return subject


def holder(customer: Customer | None, token: str) -> Customer:
    """The customer, if the token is in force and there is a face to compare with.

    Raises `not_found` for one who is gone, else `identity_refused`.
    """
    if customer is None:
        raise ServeError(Code.NOT_FOUND, "no such identity token")
    if not hmac.compare_digest(customer.identity_sha256, digest(token)):
        raise ServeError(Code.IDENTITY_REFUSED, "a newer token took its place")
    _check_usable(customer)
    return customer


def _check_usable(customer: Customer) -> None:
    if not customer.has_prior_kyc:
        raise ServeError(Code.IDENTITY_REFUSED, "the customer has no verified face")
