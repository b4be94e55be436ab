"""1:N search over HTTP."""

from typing import Literal, Self

from aiohttp import web
from pydantic import ConfigDict, Field

from pipeline.face.compare import VERIFY_THRESHOLD_SIMILARITY
from serve.api.answers import Timestamp, answered, timestamp
from serve.api.call import Call
from serve.api.intake import proof
from serve.api.search.wire import FaceSearchBody
from serve.api.wire import Empty, VerificationId, Wire
from serve.domain.verifications.told import told_score
from serve.domain.verifications.verification import VerificationStatus
from serve.flows.search import find


class SearchMatchResponse(Wire):
    """A verification whose face is alike."""

    model_config = ConfigDict(serialize_by_alias=True)

    verification_id: VerificationId = Field(serialization_alias="verificationId")
    applicant_name: str | None = Field(serialization_alias="applicantName", repr=False)
    """Null unless it is known and the key has the scope `pii`."""
    similarity: float
    """0 to 1, rounded to 0.01 on its own side of a match: more digits would tell a stranger how to
    come nearer. Never less than the threshold of the search.
    """
    is_match: bool = Field(serialization_alias="isMatch")
    """Whether it is 0.36 or more, the bar of a 1:1 match."""
    reference: str | None
    status: VerificationStatus
    created_at: Timestamp = Field(serialization_alias="createdAt")

    @classmethod
    def of(cls, match: find.Match, threshold: float) -> Self:
        """`match` on the wire, of a search for all of `threshold` or more."""
        similarity = told_score(
            match.similarity, VERIFY_THRESHOLD_SIMILARITY, is_passed=match.is_match
        )
        return cls(
            verification_id=match.verification_id,
            applicant_name=match.name,
            similarity=max(similarity, threshold),
            is_match=match.is_match,
            reference=match.reference,
            status=match.status,
            created_at=timestamp(match.created_at_ms),
        )


class FaceSearchResponse(Wire):
    """Who was found, the most alike first, and what the search could see."""

    matches: tuple[SearchMatchResponse, ...]
    count: int
    threshold: float
    model: str
    gallery_size: int
    """Faces that were looked at."""
    is_complete: bool
    """Whether that were all; else there may be more matches."""
    missing_partitions: tuple[int, ...]
    lost_shards: tuple[str, ...]
    method: Literal["exact"] = "exact"
    expected_false_matches: float | None
    """How many such matches chance brings among so many faces, by what this tenant's own
    sweep, or else its enrolments, have shown; null where too little was seen.
    """
    expected_false_matches_max: float | None
    """The 95 % upper bound of it."""
    calibrated_from: str | None
    """The sweep that says so; null where it is the enrolments, which say nothing below the bar of
    a match.
    """
    calibration_expires_at_size: int | None
    """From so many faces on that sweep says nothing any more."""

    @classmethod
    def of(cls, answer: find.SearchAnswer) -> Self:
        """`answer` on the wire."""
        known = answer.calibration
        return cls(
            matches=tuple(
                SearchMatchResponse.of(match, answer.threshold) for match in answer.matches
            ),
            count=len(answer.matches),
            threshold=answer.threshold,
            model=answer.model,
            gallery_size=answer.gallery_size,
            is_complete=not answer.missing,
            missing_partitions=answer.missing,
            lost_shards=answer.lost,
            expected_false_matches=answer.expected.expected,
            expected_false_matches_max=answer.expected.upper_bound,
            calibrated_from=known.sweep_id if known else None,
            calibration_expires_at_size=known.expires_at_size if known else None,
        )


async def search_face(call: Call[FaceSearchBody, Empty]) -> web.Response:
    """Finds the customers whose faces are most alike."""
    body = call.body
    request = find.SearchRequest(
        selfie=None if body.selfie is None else await proof.decoded(body.selfie),
        embedding=body.embedding or (),
        model=body.model,
        threshold=body.threshold,
        limit=body.limit,
    )
    return answered(FaceSearchResponse.of(await find.search_face(call.deps, call.tenant, request)))
