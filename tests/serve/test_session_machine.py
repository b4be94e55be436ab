"""Any order of requests, faults, lost replies, erasures and hours, compared with a small model.

On a real Redis: what the service answers and keeps is what the model says, states move only
along the published graph, attempts are counted once, and answers never change.
"""

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    precondition,
    rule,
    run_state_machine_as_test,
)

from pipeline.decision.verdict import Outcome
from serve.domain.progress import SubmitAnswer
from serve.domain.session import State
from serve.errors import Code, ServeError
from serve.flows import sessions
from serve.flows.customers import EnrolRequest, enrol, erase
from serve.flows.handoff import connect
from serve.flows.submit import accept, judge_job, submit
from serve.flows.transact import new_operation
from serve.flows.upkeep.deadlines import sweep_deadlines
from serve.settings import State as StateSettings
from tests.helpers.service import HOOK, Fault, refusal, repeatable
from tests.helpers.session_model import (
    IMAGES,
    JOB_MINUTES,
    LEASE_MINUTES,
    READABLE_MINUTES,
    STEP_MINUTES,
    ComparedService,
    ModelCustomer,
    ModelSession,
    Store,
    Who,
)

EXAMPLES, STEPS = 50, 30
WAITED_MINUTES_MAX = 14 * 24 * 60  # callbacks are listed for 30 days
NUMBER = st.sampled_from([0, 0, 0, 0, 1, 1, 2, 3, 5, 8])  # of sessions, mostly the newest
REFERENCE = st.sampled_from("aaabcde")
WHO = st.sampled_from([(False, "alice"), (False, "alice"), (False, "bob"), (True, "alice")])
IMAGE = st.sampled_from(IMAGES)
BREAK = st.sampled_from([Fault.BEFORE, Fault.AFTER])
YES_NO = st.booleans()


class SessionMachine(ComparedService):
    """Everything that can happen to sessions."""

    @rule(who=WHO)
    def enrol(self, who: Who) -> None:
        call = enrol(
            self.service.deps,
            self.principals[who[0]],
            EnrolRequest(who[1], b"face 0", None),
            new_operation(self.service.deps),
        )
        assert self.run(call).is_repeat == self.customers[who].is_enrolled
        self.customers[who].is_enrolled = True

    @rule(who=WHO, event=st.sampled_from(["login", "deposit"]), reference=REFERENCE)
    def open(self, who: Who, event: str, reference: str) -> None:
        request = sessions.OpenRequest(reference, who[1], event, callback_url=HOOK)
        op_id = f"open-{len(self.opened)}-{self.minutes}"

        def open_again() -> Coroutine[Any, Any, sessions.OpenAnswer]:
            principal = self.principals[who[0]]
            return sessions.open_session(self.service.deps, principal, request, repeatable(op_id))

        answer = self.run(open_again())
        customer = self.customers[who]
        assert answer.is_required == customer.is_enrolled
        if answer.is_required:
            session = customer.open(answer.token, event, reference, self.minutes)
            assert answer.attempts == session.failed
            assert self.run(open_again()) == answer
            session.name = self.run(self.service.named(answer.token))
            self.opened.append((who, session))
            self.check(len(self.opened) - 1)

    @precondition(lambda self: self.opened)
    @rule(number=NUMBER, image=IMAGE)
    def submit(self, number: int, image: str) -> None:
        who, session = self.chosen(number)
        done = self.tried(submit(self.service.deps, session.token, image.encode()))
        self.expect_submitted(who, session, image, done)

    def expect_submitted(self, who: Who, session: ModelSession, image: str, done: object) -> None:
        """`done` is what the model says of this submission, which is judged in it now."""
        customer = self.customers[who]
        if image in session.answers and not session.is_gone(self.minutes):
            assert done == session.answers[image]
            return
        refused = customer.refusal(session, self.minutes)
        if refused is not None:
            assert done == refused
            return
        customer.begin(session, image, self.minutes, LEASE_MINUTES)
        self.expect_judged(customer, session, image, done)
        self.check(self.number_of(session))

    def expect_judged(
        self, customer: ModelCustomer, session: ModelSession, image: str, done: object
    ) -> None:
        status = customer.judge(session, image, self.minutes)
        assert isinstance(done, SubmitAnswer)
        session.answers[image] = done
        assert done.http_status == status

    @precondition(lambda self: self.opened)
    @rule(number=NUMBER, image=IMAGE)
    def submit_twice_at_once(self, number: int, image: str) -> None:
        who, session = self.chosen(number)

        async def both() -> list[object]:
            calls = [submit(self.service.deps, session.token, image.encode()) for _ in range(2)]
            return await asyncio.gather(*calls, return_exceptions=True)

        done = [item.code.value if isinstance(item, ServeError) else item
                for item in self.run(both())]  # fmt: skip
        busy = Code.SUBMISSION_IN_PROGRESS.value
        told = [item for item in done if item != busy] or [busy]
        self.expect_submitted(who, session, image, told[0])
        assert all(item == told[0] for item in told)

    @precondition(lambda self: self.opened)
    @rule(number=NUMBER, image=IMAGE, fault=BREAK, is_finishing=YES_NO, is_troubled=YES_NO)
    def submit_on_a_bad_link(
        self, number: int, image: str, fault: Fault, *, is_finishing: bool, is_troubled: bool
    ) -> None:
        """The link breaks at the first or second commit; the engine may be in trouble as well."""
        who, session = self.chosen(number)
        customer = self.customers[who]
        if image in session.answers or customer.refusal(session, self.minutes) is not None:
            return
        self.service.clock.faults = [Fault.NONE, fault] if is_finishing else [fault]
        if is_troubled and is_finishing:
            self.service.faces.trouble = ServeError(Code.OVERLOADED, "busy")
        done = self.tried(submit(self.service.deps, session.token, image.encode()))
        self.service.clock.faults, self.service.faces.trouble = [], None
        is_overloaded = is_troubled and is_finishing
        assert done == (Code.OVERLOADED if is_overloaded else Code.STATE_UNAVAILABLE)
        if not is_finishing and fault is Fault.BEFORE:
            return
        customer.begin(session, image, self.minutes, LEASE_MINUTES)
        if is_overloaded and fault is Fault.BEFORE:
            pass  # nor could it be let go: its lease runs
        elif is_overloaded or not is_finishing or fault is Fault.BEFORE:
            customer.let_go(session, self.minutes)
        else:
            again = self.tried(submit(self.service.deps, session.token, image.encode()))
            self.expect_judged(customer, session, image, again)
        self.check(self.number_of(session))

    @precondition(lambda self: self.opened)
    @rule(number=NUMBER, image=IMAGE)
    def submit_too_slowly(self, number: int, image: str) -> None:
        """The models take longer than the lease: no verdict, no attempt."""
        who, session = self.chosen(number)
        customer = self.customers[who]
        if image in session.answers or customer.refusal(session, self.minutes) is not None:
            return

        async def slowly() -> object:
            async with self.service.faces.held() as arrived:
                call = submit(self.service.deps, session.token, image.encode())
                late = asyncio.create_task(refusal(call))
                await arrived.wait()
                await self.service.advance(STEP_MINUTES)
            return await late

        assert self.run(slowly()) == Code.SERVICE_UNAVAILABLE
        customer.begin(session, image, self.minutes, LEASE_MINUTES)
        self.minutes += STEP_MINUTES
        customer.let_go(session, self.minutes)
        self.check(self.number_of(session))

    @precondition(lambda self: self.opened)
    @rule(number=NUMBER, image=IMAGE, reference=REFERENCE)
    def supersede_while_judging(self, number: int, image: str, reference: str) -> None:
        """Another session is opened for the event while an accepted selfie waits."""
        who, session = self.chosen(number)
        self.accept(number, image)
        self.open(who, session.event, reference)

    @precondition(lambda self: self.opened)
    @rule(number=NUMBER, image=IMAGE)
    def accept(self, number: int, image: str) -> None:
        who, session = self.chosen(number)
        done = self.tried(accept(self.service.deps, session.token, image.encode()))
        customer = self.customers[who]
        if image in session.answers and not session.is_gone(self.minutes):
            assert done == session.answers[image]
            return
        is_waiting = session.view(self.minutes) is State.PROCESSING and session.image == image
        if is_waiting and not session.is_gone(self.minutes):
            assert not isinstance(done, str)
            assert done.http_status == 202
            return
        refused = customer.refusal(session, self.minutes)
        if refused is not None:
            assert done == refused
            return
        assert not isinstance(done, str)
        assert done.http_status == 202
        customer.begin(session, image, self.minutes, JOB_MINUTES)
        self.jobs.append((who, session, image))
        self.check(self.number_of(session))

    @precondition(lambda self: self.jobs)
    @rule(fault=st.sampled_from(Fault))
    def work(self, fault: Fault) -> None:
        """A worker claims every job that waits, and may die at its first commit."""
        waiting = [job for job in self.jobs if not job[1].is_erased]
        self.run(self.service.make_due("*:jobs"))
        claimed = self.run(self.service.deps.jobs.claim(64))
        assert len(claimed) == len(waiting)
        self.service.clock.faults = [fault]
        done = [self.tried(judge_job(self.service.deps, *item)) for item in claimed]
        assert [item for item in done if item is not None] == (
            [] if fault is Fault.NONE else [Code.STATE_UNAVAILABLE]
        )
        self.run(
            self.service.make_due("*:jobs")
        )  # the dead worker's comes back, if anything is left
        for item in self.run(self.service.deps.jobs.claim(64)):
            self.run(judge_job(self.service.deps, *item))
        self.jobs = []
        for who, session, image in waiting:
            if session.view(self.minutes) is State.PROCESSING and session.image == image:
                again = self.tried(submit(self.service.deps, session.token, image.encode()))
                self.expect_judged(self.customers[who], session, image, again)
            self.check(self.number_of(session))
        assert self.run(self.service.keys("*:job*")) == []

    @rule(who=WHO, reference=REFERENCE)
    def fail_often(self, who: Who, reference: str) -> None:
        """A stranger uses up the retries, if there are any."""
        if self.customers[who].is_enrolled:
            self.open(who, "login", reference)
            for image in ("face 61", "face 62", "face 63"):
                self.submit(0, image)

    @rule(who=WHO, reference=REFERENCE)
    def fail_and_match(self, who: Who, reference: str) -> None:
        """The right person needs two tries, and comes again."""
        if self.customers[who].is_enrolled:
            self.open(who, "login", reference)
            for image in ("face 61", "face 3"):
                self.submit(0, image)
            self.open(who, "login", reference)

    @rule(steps=st.sampled_from([1, 2]))
    def wait_and_sweep(self, steps: int) -> None:
        self.wait(steps)
        self.sweep()

    @rule()
    def sweep(self) -> None:
        self.run(self.service.make_due("*:deadlines"))
        self.run(sweep_deadlines(self.service.deps))
        for who, session in self.opened:
            if not session.is_erased:
                self.customers[who].run_out(session, self.minutes)

    @rule(steps=st.sampled_from([1, 1, 1, 2, 250]))
    def wait(self, steps: int) -> None:
        if self.minutes > WAITED_MINUTES_MAX:
            steps = 1
        self.minutes += steps * STEP_MINUTES
        self.run(self.service.advance(steps * STEP_MINUTES))

    @precondition(lambda self: self.opened)
    @rule(number=NUMBER, connected=st.booleans())
    def connect(self, number: int, *, connected: bool) -> None:
        _, session = self.chosen(number)
        done = self.tried(connect(self.service.deps, session.token, connected=connected))
        if session.is_gone(self.minutes):
            assert done == Code.NOT_FOUND
        elif self.minutes - session.opened >= READABLE_MINUTES:
            assert done == Code.TOKEN_EXPIRED
        else:
            is_new = connected and not session.is_connected
            session.is_connected = connected
            if is_new and session.view(self.minutes) is State.CREATED:
                session.move(State.CAPTURING, tells=False)
        self.check(self.number_of(session))

    @precondition(lambda self: self.opened)
    @rule(number=NUMBER, outcome=st.sampled_from([None, Outcome.APPROVED, Outcome.DECLINED]))
    def decide(self, number: int, outcome: Outcome | None) -> None:
        """The tenant cancels a session, or a reviewer decides it."""
        who, session = self.chosen(number)
        if session.is_erased:
            return
        session_id = self.record(session).id
        deps, principal = self.service.deps, self.principals[who[0]]
        if outcome is None:
            done = self.tried(
                sessions.cancel_session(deps, principal, session_id, new_operation(deps))
            )
        else:
            done = self.tried(
                sessions.review_session(deps, principal, session_id, outcome, new_operation(deps))
            )
        view = session.view(self.minutes)
        customer = self.customers[who]
        if outcome is not None and view is State.NEEDS_REVIEW:
            customer.end(session, State(outcome.value))
            customer.alerts += outcome is Outcome.DECLINED
            if outcome is Outcome.APPROVED:
                customer.carried.pop(session.reference, None)
        elif outcome is None and view is State.PROCESSING:
            assert done == Code.SUBMISSION_IN_PROGRESS
        elif outcome is None and view in {State.CREATED, State.CAPTURING, State.NEEDS_REVIEW}:
            customer.free(session, self.minutes)
            customer.end(session, State.CANCELED)
        else:
            assert done == Code.SESSION_CLOSED
        self.check(self.number_of(session))

    @rule(who=WHO)
    def erase(self, who: Who) -> None:
        done = self.tried(
            erase(
                self.service.deps, self.principals[who[0]], who[1], new_operation(self.service.deps)
            )
        )
        customer = self.customers[who]
        assert (done == Code.NOT_FOUND) != customer.is_enrolled
        customer.erase()
        self.jobs = [job for job in self.jobs if not job[1].is_erased]


def check_machine(machine: type[SessionMachine]) -> None:
    """Try many orders of its rules; its checks are what fails."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_sessions_do_what_the_model_says(redis_state: StateSettings, tmp_path: Path) -> None:
    """No order of requests, faults and waits makes service and model differ."""

    class Here(SessionMachine):
        store = Store(redis_state, tmp_path / "keys")

    check_machine(Here)
