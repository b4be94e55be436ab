"""The routes of 1:N search, the blocklist and duplicates."""

from typing import Any

from pipeline.errors import Code as PipelineCode
from serve.api import answers
from serve.api.call import IMAGE_CODES, Route
from serve.api.search import blocklist, duplicates, faces, wire
from serve.api.wire import Empty, PageParameters
from serve.domain.audit import Action
from serve.domain.quota import Quota
from serve.domain.tenancy.api_key import Scope
from serve.errors import Code

DUPLICATES = "/api/v1/verifications/{verification_id}/duplicates"

SEARCH_ROUTES: tuple[Route[Any, Any], ...] = (
    Route(
        method="POST",
        path="/api/v1/face-search",
        answer=faces.search_face,
        audits=(Action.FACE_SEARCHED,),
        scope=Scope.SEARCH,
        body=wire.FaceSearchBody,
        parameters=Empty,
        response=faces.FaceSearchResponse,
        refuses=(
            *IMAGE_CODES,
            Code.EMBEDDING_INVALID,
            Code.THRESHOLD_TOO_LOW,
            PipelineCode.MODEL_MISMATCH,
        ),
        has_image=True,
        quota_class=Quota.SEARCH,
        is_reading=True,
        summary="Search all enrolled faces for the most alike, by a selfie or an embedding.",
    ),
    Route(
        method="GET",
        path=DUPLICATES,
        answer=duplicates.list_duplicates,
        audits=(Action.FLAG_READ,),
        scope=Scope.SEARCH,
        body=Empty,
        parameters=wire.DuplicatesParameters,
        response=duplicates.DuplicatesResponse,
        refuses=(Code.CURSOR_INVALID,),
        summary="Other verifications with the same face, the newest flag first.",
    ),
    Route(
        method="PATCH",
        path=f"{DUPLICATES}/{{flag_id}}",
        answer=duplicates.change_duplicate,
        audits=(Action.FLAG_CHANGED,),
        scope=Scope.SEARCH,
        body=wire.FlagBody,
        parameters=wire.FlagParameters,
        response=duplicates.DuplicateFlagResponse,
        refuses=(Code.FLAG_CLOSED,),
        summary="Resolve a flag, or dismiss it: then they are different people for ever.",
    ),
    Route(
        method="POST",
        path="/api/v1/blocklist",
        answer=blocklist.block_face,
        audits=(Action.FACE_BLOCKED,),
        scope=Scope.BLOCKLIST,
        body=wire.BlockBody,
        parameters=Empty,
        response=blocklist.BlockResponse,
        statuses=(201,),
        refuses=(*IMAGE_CODES, Code.NOT_FOUND, Code.STORAGE_LOW),
        has_image=True,
        summary="Block a face: whoever has it is held for a reviewer.",
    ),
    Route(
        method="GET",
        path="/api/v1/blocklist",
        answer=blocklist.list_blocked,
        audits=(Action.BLOCKLIST_READ,),
        scope=Scope.BLOCKLIST,
        body=Empty,
        parameters=PageParameters,
        response=blocklist.BlocklistResponse,
        refuses=(Code.CURSOR_INVALID,),
        summary="Blocked faces, the newest first.",
    ),
    Route(
        method="GET",
        path="/api/v1/blocklist/{block_id}",
        answer=blocklist.read_blocked,
        audits=(Action.BLOCKLIST_READ,),
        scope=Scope.BLOCKLIST,
        body=Empty,
        parameters=wire.BlockParameters,
        response=blocklist.BlockResponse,
        summary="One blocked face.",
    ),
    Route(
        method="DELETE",
        path="/api/v1/blocklist/{block_id}",
        answer=blocklist.unblock_face,
        audits=(Action.FACE_UNBLOCKED,),
        scope=Scope.BLOCKLIST,
        body=Empty,
        parameters=wire.BlockParameters,
        response=answers.ErasureResponse,
        refuses=(Code.ERASURE_UNAVAILABLE,),
        summary="Unblock a face and erase it; the receipt says by when each copy is gone.",
    ),
)
