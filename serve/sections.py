"""What a table of the settings file is made of, and the tables that say what callers may use."""

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Section(BaseModel):
    """A table of the settings file: frozen, closed, described field by field."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


def _per_s(default: int) -> int:
    number: int = Field(default=default, ge=1, le=10**6)
    return number


class IndexSection(Section):
    """Where every enrolled face is searched."""

    shards: int = Field(default=1, ge=1, le=64)
    """Actors that a Ray engine cuts the index into; with `local` each front door holds it all."""

    wait_s: float = Field(default=2.0, gt=0, le=29)
    """Seconds that a search waits for a shard to follow the log; who is late then is missing."""

    queue_max: int = Field(default=1_024, ge=1, le=65_536)
    """Searches that wait in one shard; beyond it the answer is 503."""

    threads: int = Field(default=1, ge=1, le=64)
    """Threads that one shard searches with."""


class SweepDevice(StrEnum):
    """Where tiles of sweeps are multiplied."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class SweepsSection(Section):
    """How bulk sweeps are worked on, beside all else."""

    threads: int = Field(default=0, ge=0, le=1_024)
    """Threads that work on tiles, in the service or in `limen sweep`; 0 means half of the cores."""

    device: SweepDevice = SweepDevice.AUTO
    """What multiplies: `cpu`, `cuda`, or the fastest there is, `auto`; a GPU needs torch."""

    memory_mib: int = Field(default=1_024, ge=16, le=2**20)
    """MiB that a worker keeps of the faces it compares, about; more saves reading them again."""

    share: float = Field(default=0.5, ge=0, le=1)
    """Share of the time that each thread of the service works; 0 leaves all to `limen sweep`."""


class StreamSection(Section):
    """Streams of frames over a WebSocket."""

    sockets_max: int = Field(default=10_000, ge=1, le=10**6)
    """Streams of one front-door process; for one more the answer is 503."""

    start_seconds_max: float = Field(default=8.0, gt=0, le=60)
    """Seconds until the first message, which has the token, must have come."""

    heartbeat_s: float = Field(default=20.0, ge=0.5, le=60)
    """Seconds of silence until a client is pinged; after half as many again it counts as lost."""

    frame_bytes_max: int = Field(default=512 * 2**10, ge=2**14, le=512 * 2**10)
    """Bytes of one encoded frame."""

    frames_per_s_max: float = Field(default=10.0, ge=0.5, le=60)
    """Frames that one phone may send per second."""

    frames_max: int = Field(default=300, ge=8, le=1_000)
    """Frames of one clip that are looked at."""

    seconds_max: float = Field(default=60.0, ge=5, le=600)
    """Seconds from a clip's first frame until it must have been submitted."""

    gap_s_max: float = Field(default=0.7, ge=0, le=60)
    """Seconds without a frame after which the clip of a resumed stream begins anew."""

    light_levels: int = Field(default=0, ge=0, le=8)
    """Grades of brightness that the page is asked to show by turns; 0 asks for none."""

    @field_validator("light_levels")
    @classmethod
    def _none_or_several(cls, levels: int) -> int:
        if levels == 1:
            raise ValueError("one grade of brightness tells nothing: 0, or 2 to 8")
        return levels


class QuotaSection(Section):
    """How much one tenant, and one address, may ask for."""

    open_per_s: int = _per_s(100)
    """Sessions that one tenant may open per second, live mode and test mode apart."""

    submit_per_s: int = _per_s(100)
    """Captures that its customers may submit per second."""

    enrol_per_s: int = _per_s(50)
    """Faces that it may enrol per second."""

    search_per_s: int = _per_s(20)
    """Searches for a face, and re-verifications, per second."""

    liveness_per_s: int = _per_s(10)
    """Clips of active liveness, and faces whose age is estimated, per second."""

    read_per_s: int = _per_s(500)
    """Other readings with its keys per second."""

    write_per_s: int = _per_s(100)
    """Other changes with its keys per second."""

    phone_per_s: int = _per_s(500)
    """Requests by its session tokens per second, captures apart."""

    burst_s: int = Field(default=10, ge=1, le=3_600)
    """Seconds of each of these that may come at once."""

    test_share: float = Field(default=0.1, gt=0, le=1)
    """Share of each of these that test mode has."""

    inflight_submits_max: int = Field(default=1_000, ge=1, le=10**6)
    """Captures of one tenant under way at once, uploads among them; beyond it the answer is 429."""

    address_per_s: int = _per_s(2_000)
    """Requests of any kind that one front-door process takes from one address per second."""

    address_burst_s: int = Field(default=2, ge=1, le=3_600)
    """Seconds of them that may come at once."""
