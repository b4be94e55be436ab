"""A small model of customers and their sessions, to compare the service with.

Time is counted in steps of 7 minutes: none of the limits is a whole number of them, so the
milliseconds that a test takes decide nothing.
"""

from dataclasses import dataclass, field

from serve.domain.ids import Subject
from serve.domain.session import MOVES, State
from serve.errors import Code
from serve.flows.submit import SubmitAnswer

STEP_MINUTES = 7
TOKEN_MINUTES, READABLE_MINUTES, DAY_MINUTES = 10, 15, 24 * 60
LEASE_MINUTES, JOB_MINUTES = 0.5, 10
SUBMISSIONS, LOCKOUT = 3, 10
WORDS = {State.CREATED: "pending"}


@dataclass(slots=True)
class ModelSession:
    """One session; `state` is as written down, `view` as time has left it."""

    token: str
    event: str
    reference: str
    opened: int
    state: State
    failed: int
    name: tuple[Subject, str] | None = None  # whose it is, and its id
    tries: int = 0
    captures: int = 0
    image: str = ""
    lease_until: float = 0
    is_connected: bool = False
    is_erased: bool = False
    answers: dict[str, SubmitAnswer] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)

    def is_gone(self, now: int) -> bool:
        """Whether its token finds nothing any more."""
        return self.is_erased or now - self.opened >= DAY_MINUTES

    def view(self, now: int) -> State:
        state = self.state
        if state is State.PROCESSING and now >= self.lease_until:
            state = State.CAPTURING
        is_late = now >= self.opened + TOKEN_MINUTES
        return State.EXPIRED if is_late and state in {State.CREATED, State.CAPTURING} else state

    def status(self, state: State) -> str:
        if state is State.CAPTURING:
            return "declined" if self.tries else "pending"
        return WORDS.get(state, state.value)

    def move(self, state: State, *, tells: bool) -> None:
        assert state is self.state or state in MOVES[self.state]
        self.state = state
        if tells:
            self.told.append(self.status(state))


@dataclass(slots=True)
class ModelCustomer:
    """One customer of one tenant; `is_strict` tenants send every match to a reviewer."""

    is_strict: bool
    is_enrolled: bool = False
    listed: dict[str, ModelSession] = field(default_factory=dict)
    carried: dict[str, tuple[int, int]] = field(default_factory=dict)
    failures: list[int] = field(default_factory=list)
    sessions: list[ModelSession] = field(default_factory=list)
    alerts: int = 0
    is_lockout_told: bool = False

    def carried_failures(self, reference: str, now: int) -> int:
        count, since = self.carried.get(reference, (0, now))
        return count if now - since < DAY_MINUTES else 0

    def is_locked(self, now: int) -> bool:
        return sum(now - at < DAY_MINUTES for at in self.failures) >= LOCKOUT

    def open(self, token: str, event: str, reference: str, now: int) -> ModelSession:
        older = self.listed.get(event)
        if older is not None:
            self.supersede(older, now)
        failed = self.carried_failures(reference, now)
        is_shut = self.is_locked(now) or failed >= SUBMISSIONS
        state = State.DECLINED if is_shut else State.CREATED
        session = ModelSession(token, event, reference, now, state, failed)
        self.sessions.append(session)
        if not is_shut:
            self.listed[event] = session
            self.is_lockout_told = False
        elif self.is_locked(now) and not self.is_lockout_told:
            self.is_lockout_told = True
            self.alerts += 1
        return session

    def supersede(self, older: ModelSession, now: int) -> None:
        view = older.view(now)
        if view is State.EXPIRED:
            self.run_out(older, now)
        elif view in {State.CREATED, State.CAPTURING}:
            self.free(older, now)
            self.end(older, State.CANCELED)

    def free(self, session: ModelSession, now: int) -> None:
        """Write down that a lease ran out, if it did."""
        if session.state is State.PROCESSING and now >= session.lease_until:
            session.move(State.CAPTURING, tells=False)

    def run_out(self, session: ModelSession, now: int) -> None:
        """Write down what time has done."""
        self.free(session, now)
        if session.view(now) is State.EXPIRED:
            if session.state is not State.EXPIRED:
                self.end(session, State.EXPIRED)
        else:
            self.close_superseded(session, now)

    def close_superseded(self, session: ModelSession, now: int) -> None:
        if session.state is State.CAPTURING and self.listed.get(session.event) is not session:
            self.supersede(session, now)

    def end(self, session: ModelSession, state: State) -> None:
        session.move(state, tells=True)
        if self.listed.get(session.event) is session:
            del self.listed[session.event]

    def refusal(self, session: ModelSession, now: int) -> Code | None:
        """Why a submission is refused."""
        if session.is_gone(now):
            return Code.NOT_FOUND
        if now - session.opened >= TOKEN_MINUTES:
            return Code.TOKEN_EXPIRED
        match session.view(now):
            case State.CREATED | State.CAPTURING:
                return None
            case State.PROCESSING:
                return Code.SUBMISSION_IN_PROGRESS
            case State.DECLINED:
                return Code.ATTEMPTS_EXHAUSTED
            case _:
                return Code.SESSION_CLOSED

    def begin(self, session: ModelSession, image: str, now: int, minutes: float) -> None:
        self.free(session, now)
        if session.state is State.CREATED:
            session.move(State.CAPTURING, tells=False)
        session.move(State.PROCESSING, tells=False)
        session.image, session.lease_until = image, now + minutes

    def judge(self, session: ModelSession, image: str, now: int) -> int:
        """Move the session as the image deserves; the HTTP status that it is answered with."""
        if image.startswith("blurred"):
            session.captures += 1
            session.move(State.CAPTURING, tells=False)
            self.close_superseded(session, now)
            return 422
        session.tries += 1
        if image in MATCHES:
            if self.is_strict:
                session.move(State.NEEDS_REVIEW, tells=True)
                return 200
            self.carried.pop(session.reference, None)
            self.end(session, State.APPROVED)
            return 200
        session.failed += 1
        carried = self.carried_failures(session.reference, now)
        since = self.carried[session.reference][1] if carried else now
        self.carried[session.reference] = (carried + 1, since)
        self.failures.append(now)
        if session.failed >= SUBMISSIONS:
            self.end(session, State.DECLINED)
            self.alerts += 1
        else:
            session.move(State.CAPTURING, tells=True)
            self.close_superseded(session, now)
        return 200

    def erase(self) -> None:
        for session in self.sessions:
            session.is_erased = True
        self.is_enrolled = self.is_lockout_told = False
        self.listed, self.carried, self.failures, self.alerts = {}, {}, [], 0


MATCHES = ("face 3", "face 5")
IMAGES = (*MATCHES, "face 60", "face 61", "face 62", "face 63", "blurred 0", "blurred 1")
