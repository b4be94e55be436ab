"""The random half: schemathesis' state machine over every route, each step by somebody else."""

from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.errors import FlakyStrategyDefinition
from hypothesis.stateful import Bundle, rule
from schemathesis import Response
from schemathesis.generation.stateful import run_state_machine_as_test
from schemathesis.generation.stateful.state_machine import APIStateMachine, StepInput, StepOutput

from tests.isolation.driver import AnyCase, Driver
from tests.isolation.story import Story

STEPS = 40
MINUTES = 11  # a token is good for ten


def machine_of(driver: Driver) -> type[APIStateMachine]:
    """Links lead from any answer to what it names; a root may be any route at all."""
    base: Any = driver.schema.as_state_machine()

    class Machine(base):  # type: ignore[misc]
        @rule(target=Bundle("catch_all"), case=driver.schema.as_strategy())
        def anything(self, case: AnyCase) -> StepOutput | None:
            given = StepInput.initial(case)
            self.recorder.record_case(case=case)
            self.control.record_step(given, self.recorder)
            found: StepOutput | None = self._step(given)
            return found

        def call(self, case: AnyCase, **kwargs: Any) -> Response:
            dice = driver.random.random()
            if dice < 0.02:
                driver.stage.work()
            elif dice < 0.025:
                driver.stage.let_pass(MINUTES)
            elif dice < 0.05:
                world = driver.random.choice(driver.stage.worlds)
                Story(driver, world).settings(driver.random.choice(["match_only", "required"]))
            response = driver.step(case)
            if driver.oracle.findings:
                raise FoundEnough
            return response

        def setup(self) -> None:
            super().setup()
            driver.oracle.counts["walks"] += 1

        def validate_response(self, *args: Any, **kwargs: Any) -> None:
            """The oracle has judged it, and a finding ends the run without being tried again."""

    return Machine


def wander(driver: Driver, walks: int, seed_: int) -> None:
    """At least that many walks of 40 steps each, until something is found; the oracle has it.

    What the door answers is no part of what Hypothesis draws, so it may find that the same draws
    lead elsewhere, and give up. It then begins anew with the next seed.
    """
    before = driver.oracle.counts["walks"]
    while (walked := driver.oracle.counts["walks"] - before) < walks:
        machine = seed(seed_)(machine_of(driver))
        seed_ += 1
        with suppress(FlakyStrategyDefinition, FoundEnough):
            run_state_machine_as_test(machine, settings=_settings(walks - walked))
        if driver.oracle.findings:
            return


class FoundEnough(Exception):  # noqa: N818 (a signal)
    """The oracle has something to say."""


def _settings(walks: int) -> settings:
    return settings(
        max_examples=walks,
        stateful_step_count=STEPS,
        phases=[Phase.generate],
        deadline=None,
        database=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
    )
