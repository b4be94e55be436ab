"""What has been seen of a clip so far, and the few frames whose bytes are still wanted."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipeline.liveness.challenge import Asked
from pipeline.liveness.follow import Follower, Progress
from pipeline.liveness.keep import Keeper
from pipeline.liveness.observation import Observation

OBSERVATION_BYTES = 8 * 2**10
"""What one observation takes in memory, about: its mesh is most of it."""


@dataclass(slots=True)
class Sight:
    """A clip as it comes in: each frame in constant time. `images` are by number of observation."""

    asked: Asked
    progress: Progress
    observations: list[Observation] = field(default_factory=list, repr=False)
    images: dict[int, bytes] = field(default_factory=dict, repr=False)
    _wanted: frozenset[int] = frozenset()
    _follower: Follower = field(init=False, repr=False)
    _keeper: Keeper = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._follower = Follower(self.asked.steps)
        self._keeper = Keeper(self.asked)

    @classmethod
    def begun(cls, asked: Asked) -> "Sight":
        """Nothing seen yet."""
        return cls(asked, Progress(asked.steps[0], 0, is_complete=False))

    def recall(self, seen: Iterable[Observation], images: Mapping[int, bytes]) -> None:
        """See once more what had been seen, with the frames that were kept of it."""
        for observation in seen:
            self._take(observation)
        self.images = {number: images[number] for number in self._wanted & images.keys()}

    @property
    def size_bytes(self) -> int:
        """What it holds in memory, about."""
        return len(self.observations) * OBSERVATION_BYTES + sum(map(len, self.images.values()))

    def add(self, observation: Observation, image: bytes) -> bool:
        """Take in the next frame; whether the step asked for is another now."""
        before = self.progress
        self._take(observation)
        self.images[observation.number] = image
        for number in self.images.keys() - self._wanted:
            del self.images[number]
        return self.progress != before

    def _take(self, observation: Observation) -> None:
        self.observations.append(observation)
        self.progress = self._follower.add(observation)
        self._wanted = self._keeper.offer(observation, self.progress)
