"""From a selfie to a verdict, on a real store, with the troubles in between."""

import asyncio
import json

import pytest

from pipeline.decision.policy import LivenessPolicy
from serve.domain.session import CAPTURES_MAX, State
from serve.domain.tenancy.tenant import TenantPatch
from serve.errors import Code, ServeError
from serve.flows import alerts
from serve.flows.customers import erase
from serve.flows.jobs import run_jobs
from serve.flows.sessions import status
from serve.flows.submit import accept, judge_job, submit
from serve.flows.tenants import change_settings
from serve.flows.transact import new_operation
from tests.helpers.service import MINUTE_MS, WAIT_S, Service, refusal

A_TOKEN = f"st_07{'a' * 43}"


async def test_a_match_is_approved(service: Service) -> None:
    """The answer is the callback object, and the callback carries the very same bytes."""
    token = await service.ready()
    answer = await service.submitted(token, "face 5")
    said = json.loads(answer.body)
    assert answer.http_status == 200
    assert said["status"] == "approved"
    assert said["reasons"][0]["code"] == "liveness_not_checked"
    assert [event.body.encode() for event in await service.callbacks()] == [answer.body]


async def test_a_stranger_runs_out_of_retries(service: Service) -> None:
    """Three mismatches decline the session, raise one alert and leave nothing to submit."""
    token = await service.ready()
    left = []
    for number in range(3):
        answer = await service.submitted(token, f"face {60 + number}")
        left.append(json.loads(answer.body)["data"]["retries_remaining"])
    assert left == [2, 1, 0]
    said = json.loads(answer.body)["data"]
    assert said["retry_limit_exceeded"]
    assert said["block"]
    found = await alerts.page(service.deps, service.live, None, "", 10)
    assert [alert.id for alert in found.items] == [said["alert_id"]]
    assert await refusal(service.submitted(token, "face 0")) == Code.ATTEMPTS_EXHAUSTED
    assert await service.told() == ["declined"] * 3


async def test_the_same_bytes_are_one_submission(service: Service) -> None:
    """However often a selfie comes there is one attempt, one look at it and one answer."""
    token = await service.ready()
    first = await service.submitted(token, "face 60")
    assert await service.submitted(token, "face 60") == first
    session = await service.only_session()
    assert (session.tries, session.failed_attempts) == (1, 1)
    assert service.faces.asked.count("face 60") == 1
    assert len(await service.callbacks()) == 1


async def test_an_answer_outlives_its_session(service: Service) -> None:
    """The same bytes get the same answer when the session is over, and when it has expired."""
    service.clock.shift_ms = -20 * MINUTE_MS
    token = await service.ready()
    first = await service.submitted(token, "face 60")
    last = await service.submitted(token, "face 0")
    assert await service.submitted(token, "face 60") == first
    service.clock.shift_ms = 0
    assert await service.submitted(token, "face 0") == last
    assert await refusal(service.submitted(token, "face 1")) == Code.TOKEN_EXPIRED


async def test_a_token_that_finds_nothing(service: Service) -> None:
    """An unknown token is not found, and neither is what is none."""
    for token in (A_TOKEN, "st_", ""):
        assert await refusal(service.submitted(token, "face 0")) == Code.NOT_FOUND
    assert service.faces.asked == []


async def test_a_token_takes_submissions_for_ten_minutes(service: Service) -> None:
    """Then it has expired, though it may still be read."""
    service.clock.shift_ms = -10 * MINUTE_MS
    token = await service.ready()
    service.clock.shift_ms = 0
    assert await refusal(service.submitted(token, "face 0")) == Code.TOKEN_EXPIRED
    assert (await status(service.deps, token)).status == "expired"


async def test_two_submits_at_once_are_one_attempt(service: Service) -> None:
    """While one is being judged every other is refused, whatever its bytes."""
    token = await service.ready()
    async with asyncio.TaskGroup() as tasks, service.faces.held() as arrived:
        first = tasks.create_task(service.submitted(token, "face 0"))
        await arrived.wait()
        for image in ("face 0", "face 60"):
            refused = await refusal(service.submitted(token, image))
            assert refused == Code.SUBMISSION_IN_PROGRESS
        assert (await status(service.deps, token)).status == "processing"
    assert json.loads(first.result().body)["status"] == "approved"
    assert (await service.only_session()).tries == 1


async def test_a_crowd_of_submits_is_judged_one_by_one(service: Service) -> None:
    """Of many at once each is a verdict or a refusal, and attempts are exactly the verdicts."""
    token = await service.ready()
    calls = [service.submitted(token, f"face {60 + number % 4}") for number in range(24)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    verdicts = {result.body for result in results if not isinstance(result, BaseException)}
    codes = {result.code for result in results if isinstance(result, ServeError)}
    session = await service.only_session()
    assert 1 <= len(verdicts) == session.tries == session.failed_attempts <= 3
    assert codes <= {
        Code.SUBMISSION_IN_PROGRESS, Code.ATTEMPTS_EXHAUSTED, Code.VERSION_CONFLICT,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("image", "code", "feedback"),
    [
        ("nobody", "capture_unfit", ["face_not_found"]),
        ("crowd 0", "capture_unfit", ["multi_face", "blur_selfie"]),
        ("broken", "image_corrupt", ["other"]),
        ("text", "not_an_image", ["other"]),
    ],
)
async def test_an_unfit_capture_is_no_attempt(
    service: Service, image: str, code: str, feedback: list[str]
) -> None:
    """It is answered with hints, told to nobody else, and costs nothing."""
    token = await service.ready()
    answer = await service.submitted(token, image)
    said = json.loads(answer.body)
    assert answer.http_status == 422
    assert (said["code"], said["feedback"]) == (code, feedback)
    session = await service.only_session()
    assert (session.tries, session.captures, session.state) == (0, 1, State.CAPTURING)
    assert await service.callbacks() == []
    assert await service.submitted(token, image) == answer


async def test_the_twentieth_unfit_capture_ends_the_session(service: Service) -> None:
    """It is answered like the others, then the session is declined and the tenant told."""
    token = await service.ready()
    for number in range(CAPTURES_MAX):
        answer = await service.submitted(token, f"blurred {number}")
        assert answer.http_status == 422
    said = await status(service.deps, token)
    assert (said.status, said.reasons[0].code) == ("declined", "too_many_captures")
    assert await refusal(service.submitted(token, "face 0")) == Code.ATTEMPTS_EXHAUSTED
    assert await service.told() == ["declined"]


@pytest.mark.parametrize("trouble", [Code.OVERLOADED, Code.SERVICE_UNAVAILABLE])
async def test_trouble_of_the_engine_is_no_attempt(service: Service, trouble: Code) -> None:
    """The session is as if nothing had been sent, and the same bytes may come again."""
    token = await service.ready()
    service.faces.trouble = ServeError(trouble, "busy", retry_after_s=1)
    assert await refusal(service.submitted(token, "face 0")) == trouble
    session = await service.only_session()
    assert (session.state, session.tries, session.captures) == (State.CAPTURING, 0, 0)
    assert (await service.submitted(token, "face 0")).http_status == 200


async def test_a_failing_device_is_no_attempt(service: Service) -> None:
    """What is not the image's fault does not count against it."""
    token = await service.ready()
    assert await refusal(service.submitted(token, "device")) == Code.SERVICE_UNAVAILABLE
    assert (await service.only_session()).captures == 0
    assert (await service.submitted(token, "face 0")).http_status == 200


async def test_a_caller_who_leaves_frees_the_session(service: Service) -> None:
    """A canceled request gives the session back before its lease runs out."""
    token = await service.ready()
    async with service.faces.held() as arrived:
        call = asyncio.create_task(service.submitted(token, "face 0"))
        await arrived.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
    assert (await service.only_session()).state is State.CAPTURING


async def test_a_verdict_after_the_lease_is_discarded(service: Service) -> None:
    """Whoever judged too long decides nothing: no attempt, no callback, and another may submit."""
    token = await service.ready()
    async with asyncio.TaskGroup() as tasks, service.faces.held() as arrived:
        late = tasks.create_task(refusal(service.submitted(token, "face 60")))
        await arrived.wait()
        service.clock.shift_ms = 31_000
    assert late.result() == Code.SERVICE_UNAVAILABLE
    assert await service.callbacks() == []
    assert json.loads((await service.submitted(token, "face 0")).body)["status"] == "approved"
    assert (await service.only_session()).tries == 1


async def test_a_late_verdict_does_not_touch_its_successor(service: Service) -> None:
    """A submission that began after the lease ran out is judged as if it were the only one."""
    token = await service.ready()
    async with asyncio.TaskGroup() as tasks, service.faces.held() as arrived:
        late = tasks.create_task(refusal(service.submitted(token, "face 60")))
        await arrived.wait()
        arrived.clear()
        service.clock.shift_ms = 31_000
        second = tasks.create_task(service.submitted(token, "face 0"))
        await arrived.wait()
    assert late.result() == Code.SERVICE_UNAVAILABLE
    assert json.loads(second.result().body)["status"] == "approved"
    assert (await service.only_session()).failed_attempts == 0


async def test_without_liveness_a_match_is_reviewed(service: Service) -> None:
    """Under the strict policy it waits for a reviewer, its capture sealed beside it."""
    patch = TenantPatch(liveness_policy=LivenessPolicy.REQUIRED)
    await change_settings(service.deps, service.tenant.id, patch)
    token = await service.ready()
    said = json.loads((await service.submitted(token, "face 7")).body)
    assert (said["status"], said["data"]["block"]) == ("needs_review", False)
    (key,) = await service.keys("*:capture:*")
    assert b"face 7" not in await service.stored(key)
    assert await refusal(service.submitted(token, "face 0")) == Code.SESSION_CLOSED


async def test_the_best_reference_counts(service: Service) -> None:
    """A selfie that resembles any of the customer's references matches."""
    await service.enrolled(image="face 90")
    token = await service.ready()
    assert json.loads((await service.submitted(token, "face 85")).body)["status"] == "approved"


async def test_no_reference_of_the_model_is_no_verdict(service: Service) -> None:
    """A capture without a template to compare is for a reviewer, never approved or declined."""
    token = await service.ready()
    said = json.loads((await service.submitted(token, "modelless")).body)
    assert said["status"] == "needs_review"
    assert said["reasons"][0]["code"] == "service_unavailable"


async def test_an_erased_customer_gets_no_verdict(service: Service) -> None:
    """Erasure while a selfie is being judged leaves nothing to decide, and nothing behind."""
    token = await service.ready()
    async with asyncio.TaskGroup() as tasks, service.faces.held() as arrived:
        late = tasks.create_task(refusal(service.submitted(token, "face 0")))
        await arrived.wait()
        await erase(service.deps, service.live, "alice", new_operation(service.deps))
    assert late.result() == Code.NOT_FOUND
    assert await refusal(service.submitted(token, "face 0")) == Code.NOT_FOUND
    assert await service.keys("*:session:*") == []


async def test_a_session_that_was_superseded_ends_with_its_judgement(service: Service) -> None:
    """A failed try does not leave two sessions open for one event."""
    token = await service.ready()
    async with asyncio.TaskGroup() as tasks, service.faces.held() as arrived:
        late = tasks.create_task(service.submitted(token, "face 60"))
        await arrived.wait()
        newer = await service.opened(reference="order-2")
    assert json.loads(late.result().body)["status"] == "declined"
    assert (await status(service.deps, token)).status == "canceled"
    assert (await status(service.deps, newer.token)).status == "pending"
    assert await service.told() == ["declined", "canceled"]


async def test_an_answer_tells_no_secret(service: Service) -> None:
    """No body holds a score, a threshold, the customer's id or the token."""
    token = await service.ready()
    for image in ("blurred 0", "face 60", "face 0"):
        body = (await service.submitted(token, image)).body.decode()
        for secret in ("alice", token, "score", "similarity", "threshold", "0.3"):
            assert secret not in body


async def test_an_accepted_selfie_is_judged_later(service: Service) -> None:
    """It is answered 202 while it waits, judged by a worker, and deleted with the verdict."""
    token = await service.ready()
    answer = await accept(service.deps, token, b"face 5")
    assert answer.http_status == 202
    assert json.loads(answer.body)["status"] == "processing"
    assert service.faces.asked == ["face 0"]
    ((subject, job),) = await service.deps.jobs.claim(10)
    await judge_job(service.deps, subject, job)
    assert (await status(service.deps, token)).status == "approved"
    assert await service.told() == ["approved"]
    assert await service.keys("*:job*") == []
    again = await accept(service.deps, token, b"face 5")
    assert (again.http_status, json.loads(again.body)["status"]) == (200, "approved")


async def test_the_same_bytes_are_accepted_once(service: Service) -> None:
    """Accepted again they wait once; other bytes, or a wish for the answer now, are refused."""
    token = await service.ready()
    first = await accept(service.deps, token, b"face 5")
    assert await accept(service.deps, token, b"face 5") == first
    assert len(await service.deps.jobs.claim(10)) == 1
    other = refusal(accept(service.deps, token, b"face 6"))
    assert await other == Code.SUBMISSION_IN_PROGRESS
    now = refusal(submit(service.deps, token, b"face 5"))
    assert await now == Code.SUBMISSION_IN_PROGRESS


async def test_a_job_run_twice_counts_once(service: Service) -> None:
    """Two workers with the same job make one verdict, one attempt and one callback."""
    token = await service.ready()
    await accept(service.deps, token, b"face 60")
    ((subject, job),) = await service.deps.jobs.claim(10)
    await asyncio.gather(
        judge_job(service.deps, subject, job), judge_job(service.deps, subject, job)
    )
    await judge_job(service.deps, subject, job)
    assert (await service.only_session()).tries == 1
    assert await service.told() == ["declined"]


async def test_a_job_that_waited_too_long_is_dropped(service: Service) -> None:
    """After ten minutes it decides nothing, and nothing of it is left."""
    service.clock.shift_ms = -11 * MINUTE_MS
    token = await service.ready()
    await accept(service.deps, token, b"face 60")
    service.clock.shift_ms = 0
    ((subject, job),) = await service.deps.jobs.claim(10)
    await judge_job(service.deps, subject, job)
    assert service.faces.asked == ["face 0"]
    assert await service.keys("*:job*") == []
    assert (await status(service.deps, token)).status == "expired"


async def test_trouble_of_the_engine_leaves_the_job(service: Service) -> None:
    """A job that could not be judged stays, and the session waits for it."""
    token = await service.ready()
    await accept(service.deps, token, b"face 5")
    ((subject, job),) = await service.deps.jobs.claim(10)
    service.faces.trouble = ServeError(Code.OVERLOADED, "busy")
    assert await refusal(judge_job(service.deps, subject, job)) == Code.OVERLOADED
    assert (await status(service.deps, token)).status == "processing"
    await judge_job(service.deps, subject, job)
    assert (await status(service.deps, token)).status == "approved"


async def test_the_worker_judges_what_is_accepted(service: Service) -> None:
    """Woken by an accepted selfie it makes the verdict, survives a failure, and stops when told."""
    stop = asyncio.Event()
    worker = asyncio.create_task(run_jobs(service.deps, stop))
    await service.enrolled("bob")
    await service.enrolled("carol")
    failing = (await service.opened("carol")).token
    token = (await service.opened("bob")).token
    try:
        async with asyncio.timeout(WAIT_S):
            await accept(service.deps, failing, b"device")
            await accept(service.deps, token, b"face 5")
            async for _ in service.deps.outbox.wakeups():
                if await service.callbacks():
                    break
    finally:
        stop.set()
        await worker
    assert await service.told() == ["approved"]
    assert (await status(service.deps, failing)).status == "processing"
