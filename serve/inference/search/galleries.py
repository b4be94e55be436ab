"""Between what a search is asked in and what the index is made of: worlds, owners and hits."""

from index.entry import Gallery, Hit
from serve.domain.ids import Subject
from serve.ports.search import Asked, FaceHit


def gallery_of(asked: Asked) -> Gallery:
    """The only faces that a search looks at: one tenant's, in one mode, on one list."""
    return Gallery(_world(asked), asked.kind.value, asked.template.model_id)


def excluded(asked: Asked) -> str:
    """The owner who is not to be found, as the log names them; empty for nobody."""
    return f"{_world(asked)}:{asked.exclude}" if asked.exclude else ""


def face_hit(asked: Asked, hit: Hit) -> FaceHit:
    """A hit as the port tells of it. Owners of another world cannot be in the gallery."""
    world, _, key = hit.owner.rpartition(":")
    assert world == _world(asked), "a gallery holds one world"
    return FaceHit(Subject(asked.tenant_id, asked.mode, key), hit.face, hit.score)


def _world(asked: Asked) -> str:
    return f"{asked.tenant_id}:{asked.mode}"
