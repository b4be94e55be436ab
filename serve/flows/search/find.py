"""Who has this face: a selfie, or a template that the tenant made itself, against all enrolled.

What is answered was true at some moment between request and answer: everybody whose enrolment was
acknowledged before is looked at, and nobody whose erasure was.
"""

import asyncio
from dataclasses import dataclass, field

import numpy as np

from index.errors import VectorError
from index.vector import checked
from pipeline.errors import Code as PipelineCode
from pipeline.evidence import Template
from pipeline.face.compare import SEARCH_FLOOR_SIMILARITY, VERIFY_THRESHOLD_SIMILARITY
from serve.deps import Deps
from serve.domain.audit import Action, AuditEntry, Concern
from serve.domain.ids import Prefix, renamed
from serve.domain.search.evidence import ExpectedFalseMatches
from serve.domain.search.gallery import GalleryKind
from serve.domain.sweeps.calibration import Calibration
from serve.domain.tenancy.api_key import Principal, Scope
from serve.domain.verifications.verification import VerificationStatus
from serve.errors import Code, ServeError
from serve.flows.access import require
from serve.flows.audit import noted
from serve.flows.customers import fit_evidence, made_template
from serve.flows.search.review import names_of
from serve.flows.sweeps.calibrate import expected_at
from serve.ports.search import Asked, FaceHit, Found

LIMIT_MAX = 50
LIMIT_DEFAULT = 10


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """One search, with the bytes of a `selfie` or with an `embedding`, and never both.

    `threshold` is the least similarity that is told, on the mapped scale. `model` names what made
    the embedding, where the tenant knows.
    """

    selfie: bytes | None = field(default=None, repr=False)
    embedding: tuple[float, ...] = field(default=(), repr=False)
    model: str | None = None
    threshold: float = SEARCH_FLOOR_SIMILARITY
    limit: int = LIMIT_DEFAULT


@dataclass(frozen=True, slots=True)
class Match:
    """A verification whose face is alike. `similarity` is exact; `is_match` says whether it would
    pass for the same person in a comparison of two. `name` is None without the scope for names.
    """

    verification_id: str
    name: str | None = field(repr=False)
    similarity: float
    is_match: bool
    reference: str | None = field(repr=False)
    status: VerificationStatus
    created_at_ms: int


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """What was found, the most alike first, and among how many faces.

    `missing` are partitions that nobody could answer for and `lost` the shards that should have.
    `expected` tells of false matches at this threshold, as far as anything is known of them; by
    `calibration`, or by the tenant's enrolments where that is None.
    """

    matches: tuple[Match, ...]
    threshold: float
    model: str
    gallery_size: int
    missing: tuple[int, ...]
    lost: tuple[str, ...]
    expected: ExpectedFalseMatches
    calibration: Calibration | None = None


async def search_face(deps: Deps, principal: Principal, request: SearchRequest) -> SearchAnswer:
    """The tenant's customers whose faces are most alike, in the key's world.

    Raises `threshold_too_low`, `scope_missing` for an embedding without its scope,
    `embedding_invalid`, `model_mismatch`, what `fit_evidence` raises, and `overloaded` or
    `service_unavailable` of the index.
    """
    if request.threshold < SEARCH_FLOOR_SIMILARITY:
        raise ServeError(
            Code.THRESHOLD_TOO_LOW, f"the model tells nobody apart below {SEARCH_FLOOR_SIMILARITY}"
        )
    template = await _template(deps, principal, request)
    asked = Asked(
        tenant_id=principal.tenant_id,
        mode=principal.mode,
        kind=GalleryKind.ENROLLED,
        template=template,
        floor=deps.scale.native(request.threshold),
        limit=request.limit,
        after=await deps.face_log.tails(),
    )
    found = await deps.index.search(asked)
    matches = await _matches(deps, principal, found)
    chance = await expected_at(
        deps, principal.tenant_id, principal.mode, asked.floor, found.gallery_size
    )
    entry = AuditEntry(Action.FACE_SEARCHED, principal.actor, count=len(matches))
    await noted(deps, Concern(principal.tenant_id, principal.mode), entry)
    return SearchAnswer(
        matches=matches,
        threshold=request.threshold,
        model=deps.model_id,
        gallery_size=found.gallery_size,
        missing=found.missing,
        lost=found.lost,
        expected=chance.matches,
        calibration=chance.calibration,
    )


async def _template(deps: Deps, principal: Principal, request: SearchRequest) -> Template:
    if request.selfie is not None:
        return made_template(await fit_evidence(deps, request.selfie, principal.tenant_id))
    require(principal, Scope.SEARCH_EMBEDDING)
    if request.model not in {None, deps.model_id}:
        raise ServeError(PipelineCode.MODEL_MISMATCH, f"the model here is {deps.model_id}")
    return embedded(deps, request.embedding)


def embedded(deps: Deps, numbers: tuple[float, ...]) -> Template:
    """The template of this install's model in `numbers`, of a norm closer to 1 than theirs.

    Raises `embedding_invalid`.
    """
    vector = np.array(numbers, np.float64)
    try:
        with np.errstate(over="ignore"):  # of a norm that is beyond numbers, and so not 1
            checked(vector, deps.scale.dimension)
    except VectorError as error:
        raise ServeError(Code.EMBEDDING_INVALID, error.detail) from error
    return Template(deps.model_id, (vector / np.linalg.norm(vector)).astype(np.float32))


async def _matches(deps: Deps, principal: Principal, found: Found) -> tuple[Match, ...]:
    """What the records say of those who were found; who has gone meanwhile is left out."""
    ids = {hit.face_id: renamed(Prefix.VERIFICATION, hit.face_id) for hit in found.hits}
    records = await deps.verifications.named(
        principal.tenant_id, principal.mode, tuple(ids.values())
    )
    shown = {hit.subject for hit in found.hits} if Scope.PII in principal.scopes else set()
    names = await names_of(deps, shown)
    match_min = deps.scale.native(VERIFY_THRESHOLD_SIMILARITY)

    async def told(hit: FaceHit) -> Match | None:
        record = records.get(ids[hit.face_id])
        created_at_ms = record.created_at_ms if record else await _enrolled_at_ms(deps, hit)
        if created_at_ms is None:
            return None
        return Match(
            verification_id=ids[hit.face_id],
            name=names.get(hit.subject),
            similarity=deps.scale.similarity(hit.native),
            is_match=hit.native >= match_min,
            reference=(record.reference or None) if record else None,
            status=record.status if record else VerificationStatus.APPROVED,
            created_at_ms=created_at_ms,
        )

    matches = await asyncio.gather(*map(told, found.hits))
    return tuple(match for match in matches if match is not None)


async def _enrolled_at_ms(deps: Deps, hit: FaceHit) -> int | None:
    """When a face was enrolled that no verification tells of, as before there were any: they were
    approved. None if it is there no more.
    """
    customer = (await deps.ledger.snapshot(hit.subject)).customer
    references = () if customer is None else customer.references
    return next((item.enrolled_at_ms for item in references if item.face_id == hit.face_id), None)
