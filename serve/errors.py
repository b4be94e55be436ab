"""What the service itself can refuse, and one sentence for every code of every package.

The sentence is what a person reads: on the command line, in the README, later in an HTTP
problem document. The `detail` beside it says which file, setting or value.
"""

from collections.abc import Mapping
from enum import StrEnum

from pipeline.errors import Code as PipelineCode
from pipeline.errors import CodedError


class Code(StrEnum):
    """Stable codes of the service's own refusals."""

    CONFIG_UNREADABLE = "config_unreadable"
    SETTING_UNKNOWN = "setting_unknown"
    SETTING_INVALID = "setting_invalid"
    NO_FACE = "no_face"
    PAIRS_INVALID = "pairs_invalid"
    FILE_UNREADABLE = "file_unreadable"
    FILE_UNWRITABLE = "file_unwritable"
    SERVER_UNREACHABLE = "server_unreachable"
    # Who asks
    KEY_INVALID = "key_invalid"
    SCOPE_MISSING = "scope_missing"
    TOO_MANY_REQUESTS = "too_many_requests"
    # What is asked
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    REQUEST_MALFORMED = "request_malformed"
    BODY_INVALID = "body_invalid"
    BODY_TOO_LARGE = "body_too_large"
    BODY_TOO_SLOW = "body_too_slow"
    CONTENT_TYPE_UNSUPPORTED = "content_type_unsupported"
    FIELD_INVALID = "field_invalid"
    PROOF_INVALID = "proof_invalid"
    CURSOR_INVALID = "cursor_invalid"
    URL_REFUSED = "url_refused"
    MOBILE_REQUIRED = "mobile_required"
    IDEMPOTENCY_KEY_INVALID = "idempotency_key_invalid"
    IDEMPOTENCY_MISMATCH = "idempotency_mismatch"
    CAPTURE_UNFIT = "capture_unfit"
    EMBEDDING_INVALID = "embedding_invalid"
    THRESHOLD_TOO_LOW = "threshold_too_low"
    IDENTITY_REFUSED = "identity_refused"
    # What is said on a stream
    UPGRADE_INVALID = "upgrade_invalid"
    ORIGIN_REFUSED = "origin_refused"
    MESSAGE_INVALID = "message_invalid"
    FRAME_INVALID = "frame_invalid"
    TOO_MANY_FRAMES = "too_many_frames"
    STREAM_TOO_SLOW = "stream_too_slow"
    STREAM_SUPERSEDED = "stream_superseded"
    # Where the record stands
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 (a code)
    SUBMISSION_IN_PROGRESS = "submission_in_progress"
    ATTEMPTS_EXHAUSTED = "attempts_exhausted"
    SESSION_CLOSED = "session_closed"
    CHALLENGE_MISMATCH = "challenge_mismatch"
    REFERENCES_FULL = "references_full"
    FLAG_CLOSED = "flag_closed"
    VERIFICATION_CLOSED = "verification_closed"
    VERSION_CONFLICT = "version_conflict"
    IDEMPOTENCY_IN_PROGRESS = "idempotency_in_progress"
    ANSWER_ERASED = "answer_erased"
    SWEEPS_TOO_MANY = "sweeps_too_many"
    SWEEP_CLOSED = "sweep_closed"
    SWEEP_UNFINISHED = "sweep_unfinished"
    # What the service cannot do now
    OVERLOADED = "overloaded"
    SERVICE_UNAVAILABLE = "service_unavailable"
    STATE_UNAVAILABLE = "state_unavailable"
    DURABILITY_UNAVAILABLE = "durability_unavailable"
    STORAGE_LOW = "storage_low"
    ERASURE_UNAVAILABLE = "erasure_unavailable"
    INTERNAL_ERROR = "internal_error"
    # What stops it from starting
    STORE_BUSY = "store_busy"
    STORE_UNSUPPORTED = "store_unsupported"
    STORE_DAMAGED = "store_damaged"
    KEYS_MISMATCH = "keys_mismatch"
    SCHEMA_UNSUPPORTED = "schema_unsupported"
    ADDRESS_IN_USE = "address_in_use"
    # Backups
    STORE_NOT_EMPTY = "store_not_empty"
    BACKUP_INVALID = "backup_invalid"
    BACKUP_EXPIRED = "backup_expired"
    BACKUP_UNSUPPORTED = "backup_unsupported"
    ENGINE_UNAVAILABLE = "engine_unavailable"
    CLUSTER_UNPROTECTED = "cluster_unprotected"


class ServeError(CodedError):
    """What the service itself refuses. `retry_after_s` says when asking again makes sense."""

    def __init__(
        self, code: PipelineCode | Code, detail: str, *, retry_after_s: int | None = None
    ) -> None:
        super().__init__(code, detail)
        self.code = code
        self.retry_after_s = retry_after_s


class CaptureUnfit(ServeError):  # noqa: N818 (the name of its code)
    """An image that cannot be judged: `capture_unfit`, or the code of an unreadable image.

    `feedback` are the hints to the person who took it, the most helpful first.
    """

    def __init__(
        self, code: PipelineCode | Code, detail: str, *, feedback: tuple[str, ...] = ()
    ) -> None:
        super().__init__(code, detail)
        self.feedback = feedback


SENTENCES: Mapping[PipelineCode | Code, str] = {
    PipelineCode.NOT_AN_IMAGE: "The bytes are not an image.",
    PipelineCode.IMAGE_UNSUPPORTED: "The image is in a format or variant that is not accepted.",
    PipelineCode.IMAGE_ANIMATED: "The image has several frames; send a still.",
    PipelineCode.IMAGE_TOO_LARGE: "The image exceeds the limit on bytes or pixels.",
    PipelineCode.IMAGE_TOO_SMALL: "The image has too few pixels to hold a usable face.",
    PipelineCode.IMAGE_CORRUPT: "The image is damaged or ends early.",
    PipelineCode.WRONG_SHAPE: "An array does not have the shape or type that its reader takes.",
    PipelineCode.MODEL_MISMATCH: "Templates of different models cannot be compared.",
    PipelineCode.DEVICE_ERROR: "The processor that runs the models failed.",
    PipelineCode.FORMAT_INVALID: "The model file breaks the rules of its format.",
    PipelineCode.FORMAT_TOO_LARGE: "The model file exceeds a limit of its reader.",
    PipelineCode.FORMAT_UNSUPPORTED: "The model file uses a feature that its reader does not know.",
    PipelineCode.SOURCE_UNAVAILABLE: "A source of model weights cannot be reached.",
    PipelineCode.SOURCE_HASH_MISMATCH: "A source of model weights is not the pinned file.",
    PipelineCode.PACK_UNKNOWN: "No model pack has this name.",
    PipelineCode.PACK_MISSING: "The model pack is not built; run `limen models build`.",
    PipelineCode.PACK_CORRUPT: "A file of the model pack differs from its manifest.",
    PipelineCode.RUNTIME_MISSING: "The runtime for the models is not installed.",
    PipelineCode.DEVICE_UNAVAILABLE: "The GPU that was asked for cannot be used.",
    Code.CONFIG_UNREADABLE: "The settings file cannot be read as TOML.",
    Code.SETTING_UNKNOWN: "No setting has this name.",
    Code.SETTING_INVALID: "A setting has a value that it does not take.",
    Code.PAIRS_INVALID: "The file of labelled pairs breaks the rules of its columns.",
    Code.NO_FACE: "The photo for a benchmark holds no face.",
    Code.FILE_UNREADABLE: "A file named on the command line cannot be read.",
    Code.FILE_UNWRITABLE: "A file named on the command line cannot be written.",
    Code.SERVER_UNREACHABLE: "No Limen answers at the URL.",
    Code.KEY_INVALID: "No valid API key came with the request.",
    Code.SCOPE_MISSING: "The API key does not have the scope that this needs.",
    Code.TOO_MANY_REQUESTS: "Too many requests; wait as `Retry-After` says.",
    Code.NOT_FOUND: "There is nothing here that this caller may see.",
    Code.METHOD_NOT_ALLOWED: "The path exists, but not with this method.",
    Code.REQUEST_MALFORMED: "The request breaks the rules of HTTP or exceeds its limits.",
    Code.BODY_INVALID: "The body is not a JSON object.",
    Code.BODY_TOO_LARGE: "The body exceeds the limit of this route.",
    Code.BODY_TOO_SLOW: "The body did not arrive in time.",
    Code.CONTENT_TYPE_UNSUPPORTED: "The body has a content type that this route does not take.",
    Code.FIELD_INVALID: "A field is missing, unknown or has a value that it does not take.",
    Code.PROOF_INVALID: "The image is not base64 or a data URL of an image.",
    Code.CURSOR_INVALID: "The cursor is not one that a list has given out.",
    Code.URL_REFUSED: "The URL is not one that this tenant may use.",
    Code.MOBILE_REQUIRED: "face capture must be completed on a mobile device",
    Code.IDEMPOTENCY_KEY_INVALID: "The `Idempotency-Key` is not one that is taken.",
    Code.IDEMPOTENCY_MISMATCH: "Another request came under this `Idempotency-Key` before.",
    Code.CAPTURE_UNFIT: "The capture cannot be judged; take it again as `feedback` says.",
    Code.EMBEDDING_INVALID: "The embedding is no template of this install's model.",
    Code.THRESHOLD_TOO_LOW: "The threshold lies below the least at which a search makes sense.",
    Code.IDENTITY_REFUSED: "The identity token is not one that a person can be verified by now.",
    Code.UPGRADE_INVALID: "The request is no WebSocket handshake for `limen.capture.v1`.",
    Code.ORIGIN_REFUSED: "Pages of this origin may not use the session.",
    Code.MESSAGE_INVALID: "A message of the stream breaks the rules of `limen.capture.v1`.",
    Code.FRAME_INVALID: "A frame of the stream has a wrong tag or size, or its sequence went by.",
    Code.TOO_MANY_FRAMES: "A frame of the stream came without a credit, or too many pings.",
    Code.STREAM_TOO_SLOW: "The stream was not started, or not submitted, in time.",
    Code.STREAM_SUPERSEDED: "The session went on in a newer stream.",
    Code.FLAG_CLOSED: "A dismissed flag stays dismissed: they are different people.",
    Code.VERIFICATION_CLOSED: "The verification awaits no decision.",
    Code.TOKEN_EXPIRED: "The session token has expired.",
    Code.SUBMISSION_IN_PROGRESS: "Another capture of this session is being judged.",
    Code.ATTEMPTS_EXHAUSTED: "The session has no submissions left.",
    Code.SESSION_CLOSED: "The session takes no submissions any more.",
    Code.CHALLENGE_MISMATCH: "The clip is not of the challenge that this attempt has.",
    Code.REFERENCES_FULL: "The customer has as many reference faces as are kept.",
    Code.VERSION_CONFLICT: "The record changed meanwhile; ask again.",
    Code.IDEMPOTENCY_IN_PROGRESS: "The first request under this `Idempotency-Key` still runs.",
    Code.ANSWER_ERASED: "What this request answered went with the customer it told of.",
    Code.SWEEPS_TOO_MANY: "As many sweeps as may be are under way; wait for one, or cancel it.",
    Code.SWEEP_CLOSED: "The sweep is over: there is nothing left to cancel.",
    Code.SWEEP_UNFINISHED: "The sweep has nothing to show: it is not done.",
    Code.OVERLOADED: "The service has more work than it can take; ask again later.",
    Code.SERVICE_UNAVAILABLE: "The verification could not be carried out; ask again later.",
    Code.STATE_UNAVAILABLE: "The store of records cannot be reached; ask again later.",
    Code.DURABILITY_UNAVAILABLE: "The change is not on enough replicas to be promised; repeat it.",
    Code.STORAGE_LOW: "Nothing new is begun while the store is short of room; ask again later.",
    Code.ERASURE_UNAVAILABLE: "The erasure could not be written down durably; ask again.",
    Code.INTERNAL_ERROR: "A defect of the service; the request id finds it in the log.",
    Code.STORE_BUSY: "Another process holds the store of records of this data directory.",
    Code.STORE_UNSUPPORTED: "The store of records is not one that this version can use.",
    Code.STORE_DAMAGED: "The file of records is damaged; nothing was changed. See the runbook.",
    Code.KEYS_MISMATCH: "The keys of this data directory are not those the records were made with.",
    Code.SCHEMA_UNSUPPORTED: "The records have a layout that this version cannot read.",
    Code.ADDRESS_IN_USE: "The address to listen on is taken.",
    Code.STORE_NOT_EMPTY: "There are records already; a backup is restored into an empty store.",
    Code.BACKUP_INVALID: "The file is not a whole backup of Limen.",
    Code.BACKUP_EXPIRED: "The keys that this backup needs are destroyed; nothing opens it.",
    Code.BACKUP_UNSUPPORTED: "Records in a Redis by URL are backed up by its own snapshots.",
    Code.ENGINE_UNAVAILABLE: "The engine that runs the models cannot be started or joined.",
    Code.CLUSTER_UNPROTECTED: "The Ray cluster asks for no token: whoever reaches it runs code.",
}

# What a refusal is over HTTP. A code that is not here never leaves through the front door: it
# belongs to the command line or to the start, and would be an internal error.
STATUSES: Mapping[PipelineCode | Code, int] = {
    PipelineCode.NOT_AN_IMAGE: 422,
    PipelineCode.IMAGE_UNSUPPORTED: 422,
    PipelineCode.IMAGE_ANIMATED: 422,
    PipelineCode.IMAGE_TOO_LARGE: 422,
    PipelineCode.IMAGE_TOO_SMALL: 422,
    PipelineCode.IMAGE_CORRUPT: 422,
    Code.KEY_INVALID: 401,
    Code.SCOPE_MISSING: 403,
    Code.TOO_MANY_REQUESTS: 429,
    Code.NOT_FOUND: 404,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.REQUEST_MALFORMED: 400,
    Code.BODY_INVALID: 400,
    Code.BODY_TOO_LARGE: 413,
    Code.BODY_TOO_SLOW: 408,
    Code.CONTENT_TYPE_UNSUPPORTED: 415,
    Code.FIELD_INVALID: 422,
    Code.PROOF_INVALID: 422,
    Code.CURSOR_INVALID: 422,
    Code.URL_REFUSED: 422,
    Code.MOBILE_REQUIRED: 400,
    Code.CAPTURE_UNFIT: 422,
    Code.EMBEDDING_INVALID: 422,
    Code.THRESHOLD_TOO_LOW: 422,
    PipelineCode.MODEL_MISMATCH: 422,
    Code.IDENTITY_REFUSED: 403,
    Code.UPGRADE_INVALID: 400,
    Code.ORIGIN_REFUSED: 403,
    Code.MESSAGE_INVALID: 400,
    Code.FRAME_INVALID: 422,
    Code.TOO_MANY_FRAMES: 429,
    Code.STREAM_TOO_SLOW: 408,
    Code.STREAM_SUPERSEDED: 409,
    Code.FLAG_CLOSED: 409,
    Code.VERIFICATION_CLOSED: 409,
    Code.TOKEN_EXPIRED: 410,
    Code.SUBMISSION_IN_PROGRESS: 409,
    Code.ATTEMPTS_EXHAUSTED: 409,
    Code.SESSION_CLOSED: 409,
    Code.CHALLENGE_MISMATCH: 409,
    Code.REFERENCES_FULL: 409,
    Code.VERSION_CONFLICT: 409,
    Code.IDEMPOTENCY_KEY_INVALID: 400,
    Code.IDEMPOTENCY_MISMATCH: 422,
    Code.IDEMPOTENCY_IN_PROGRESS: 409,
    Code.ANSWER_ERASED: 410,
    Code.SWEEPS_TOO_MANY: 429,
    Code.SWEEP_CLOSED: 409,
    Code.SWEEP_UNFINISHED: 409,
    Code.OVERLOADED: 503,
    Code.SERVICE_UNAVAILABLE: 503,
    Code.STATE_UNAVAILABLE: 503,
    Code.DURABILITY_UNAVAILABLE: 503,
    Code.STORAGE_LOW: 503,
    Code.ERASURE_UNAVAILABLE: 503,
    Code.INTERNAL_ERROR: 500,
}
