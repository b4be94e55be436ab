"""Whom the presentations show: people of real photos, told apart by their faces."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from pipeline.errors import Failure
from pipeline.evidence import FaceEvidence, Mesh, Pose, Template
from pipeline.face.compare import VERIFY_THRESHOLD_SIMILARITY
from pipeline.face.steps import Plan
from pipeline.image.decode import decode
from pipeline.image.header import read_header
from pipeline.models.load import LoadedPack
from pipeline.render.head import Head, head_of

YAW_DEG_MAX, PITCH_DEG_MAX = 8.0, 14.0  # of a photo that a head can be made of
_WHOLE_PX = 10_000  # a shorter side no photo has: decode it whole
_BATCH = 32
_PLAN = Plan(age=False, passive_liveness=False)


@dataclass(frozen=True, slots=True)
class Actor:
    """A person by one photo: `name` says where it is from, `head` can be turned."""

    name: str
    head: Head = field(repr=False)
    template: Template = field(repr=False)


def cast_of(photos: Iterable[tuple[str, bytes]], pack: LoadedPack, people: int) -> list[Actor]:
    """At most `people` persons, the first fit photo of each that looks into the camera.

    Two photos are of different people where their templates do not match.
    """
    cast: list[Actor] = []
    batch: list[tuple[str, bytes]] = []
    for photo in photos:
        batch.append(photo)
        if len(batch) == _BATCH:
            _admit(batch, pack, cast, people)
            batch = []
        if len(cast) >= people:
            return cast
    _admit(batch, pack, cast, people)
    return cast


def same_person(pack: LoadedPack, one: Template, other: Template) -> bool:
    """Whether two templates match at the threshold of 1:1 comparison."""
    compared = pack.scale.compare(one, other)
    return compared.similarity >= VERIFY_THRESHOLD_SIMILARITY


def _admit(
    batch: list[tuple[str, bytes]], pack: LoadedPack, cast: list[Actor], people: int
) -> None:
    found = pack.faces.run([data for _, data in batch], _PLAN)
    for (name, data), evidence in zip(batch, found, strict=True):
        actor = _actor(name, data, evidence)
        if actor is None or len(cast) >= people:
            continue
        if not any(same_person(pack, actor.template, other.template) for other in cast):
            cast.append(actor)


def _actor(name: str, data: bytes, evidence: FaceEvidence | Failure) -> Actor | None:
    if isinstance(evidence, Failure) or not evidence.is_fit:
        return None
    mesh, pose, template = evidence.mesh, evidence.pose, evidence.template
    if not (isinstance(mesh, Mesh) and isinstance(pose, Pose) and isinstance(template, Template)):
        return None
    if abs(pose.yaw_deg) > YAW_DEG_MAX or abs(pose.pitch_deg) > PITCH_DEG_MAX:
        return None
    photo = decode(data, read_header(data), _WHOLE_PX).pixels
    return Actor(name, head_of(photo, mesh, pose), template)
