"""A search that is owed: written down with the face that calls for it, deleted when it is done.

So a crash between an enrolment and its duplicate check loses nothing: whoever claims the record
goes on from where it stands.
"""

from serve.domain.document import Document


class Screening(Document):
    """What is still to be done for `verification_id`.

    `face_id` is the enrolled face to search with, empty where the search is done; `flag_ids` are
    flags that the other customers have still to be told of.
    """

    id: str
    verification_id: str
    face_id: str = ""
    flag_ids: tuple[str, ...] = ()
    due_ms: int
