"""The routes of bulk sweeps, rings and calibration."""

from typing import Any

from pipeline.errors import Code as PipelineCode
from serve.api.call import Route
from serve.api.sweeps import answers, calibration, handlers, wire
from serve.api.wire import Empty, PageParameters
from serve.domain.audit import Action
from serve.domain.tenancy.api_key import Scope
from serve.errors import Code

SWEEPS = "/api/v1/sweeps"
SWEEP = f"{SWEEPS}/{{sweep_id}}"
RINGS = "/api/v1/rings"

SWEEP_ROUTES: tuple[Route[Any, Any], ...] = (
    Route(
        method="POST",
        path=SWEEPS,
        answer=handlers.create_sweep,
        audits=(Action.SWEEP_CREATED,),
        scope=Scope.SWEEPS,
        body=wire.CreateSweepBody,
        parameters=Empty,
        response=answers.SweepResponse,
        statuses=(202,),
        refuses=(Code.THRESHOLD_TOO_LOW, Code.SWEEPS_TOO_MANY, Code.STORAGE_LOW),
        needs_body=False,
        summary="Compare everybody with everybody; workers carry it out, and `GET` says how far.",
    ),
    Route(
        method="GET",
        path=SWEEPS,
        answer=handlers.list_sweeps,
        audits=(Action.SWEEP_READ,),
        scope=Scope.SWEEPS,
        body=Empty,
        parameters=PageParameters,
        response=answers.SweepsResponse,
        refuses=(Code.CURSOR_INVALID,),
        summary="Sweeps, the newest first.",
    ),
    Route(
        method="GET",
        path=SWEEP,
        answer=handlers.read_sweep,
        audits=(Action.SWEEP_READ,),
        scope=Scope.SWEEPS,
        body=Empty,
        parameters=wire.SweepParameters,
        response=answers.SweepResponse,
        summary="How a sweep stands: its progress, and when it will be done.",
    ),
    Route(
        method="POST",
        path=f"{SWEEP}/cancel",
        answer=handlers.cancel_sweep,
        audits=(Action.SWEEP_CANCELED,),
        scope=Scope.SWEEPS,
        body=Empty,
        parameters=wire.SweepParameters,
        response=answers.SweepResponse,
        refuses=(Code.SWEEP_CLOSED,),
        summary="Stop a sweep that is not over; what it found so far is not shown.",
    ),
    Route(
        method="GET",
        path=f"{SWEEP}/pairs",
        answer=handlers.list_pairs,
        audits=(Action.SWEEP_READ,),
        scope=Scope.SWEEPS,
        body=Empty,
        parameters=wire.SweepPageParameters,
        response=answers.PairsResponse,
        refuses=(Code.CURSOR_INVALID, Code.SWEEP_UNFINISHED, PipelineCode.MODEL_MISMATCH),
        summary="The pairs that a done sweep found, the most alike first.",
    ),
    Route(
        method="GET",
        path=f"{SWEEP}/rings",
        answer=handlers.list_sweep_rings,
        audits=(Action.RING_READ,),
        scope=Scope.SWEEPS,
        body=Empty,
        parameters=wire.SweepPageParameters,
        response=answers.RingsResponse,
        refuses=(Code.CURSOR_INVALID, Code.SWEEP_UNFINISHED, PipelineCode.MODEL_MISMATCH),
        summary="The rings of a done sweep, the largest first.",
    ),
    Route(
        method="GET",
        path=RINGS,
        answer=handlers.list_rings,
        audits=(Action.RING_READ,),
        scope=Scope.SWEEPS,
        body=Empty,
        parameters=PageParameters,
        response=answers.RingsResponse,
        refuses=(Code.CURSOR_INVALID,),
        summary="The tenant's rings, by its last done sweep of everybody, the largest first.",
    ),
    Route(
        method="GET",
        path=f"{RINGS}/{{ring_id}}",
        answer=handlers.read_ring,
        audits=(Action.RING_READ,),
        scope=Scope.SWEEPS,
        body=Empty,
        parameters=wire.RingParameters,
        response=answers.RingResponse,
        summary="One ring: who is in it, and what holds it together.",
    ),
    Route(
        method="GET",
        path="/api/v1/calibration",
        answer=calibration.read_calibration,
        audits=(Action.SWEEP_READ,),
        scope=Scope.SWEEPS,
        body=Empty,
        parameters=Empty,
        response=calibration.CalibrationResponse,
        refuses=(Code.NOT_FOUND,),
        summary="Thresholds by the tenant's own faces, with their evidence and when they expire.",
    ),
)
