"""What a person does when asked: each step, in its order, and nothing else."""

import numpy as np
import pytest

from pipeline.liveness.challenge import DRAWS, Step
from pipeline.render.draw import STILL, Attitude
from pipeline.render.script import Key, attitude_at, script

TIMES_PER_S = 60


def done(attitude: Attitude) -> set[Step]:
    """Which steps an attitude is the middle of."""
    return {
        step
        for step, is_done in (
            (Step.TURN_LEFT, attitude.yaw_deg > 20),
            (Step.TURN_RIGHT, attitude.yaw_deg < -20),
            (Step.NOD, attitude.pitch_deg < -10),
            (Step.BLINK, attitude.eyes_shut > 0.9),
            (Step.MOUTH_OPEN, attitude.mouth_open > 0.5),
        )
        if is_done
    }


@pytest.mark.parametrize("steps", DRAWS)
def test_a_performance_is_what_was_asked(steps: tuple[Step, Step]) -> None:
    """Every draw: its steps are done one after the other, from rest to rest."""
    keys = script(steps, np.random.default_rng(1))
    times = np.linspace(0.0, keys[-1].at_s, round(keys[-1].at_s * TIMES_PER_S))
    seen = [done(attitude_at(keys, float(each))) for each in times]
    assert max(map(len, seen)) == 1
    order = [step for each in seen for step in each]
    assert [step for place, step in enumerate(order) if order[:place][-1:] != [step]] == [*steps]
    assert attitude_at(keys, 0.0) == attitude_at(keys, keys[-1].at_s) == STILL


def test_motion_is_continuous() -> None:
    """Nothing jumps: within a 60th of a second a head turns by less than 2 degrees."""
    keys = script((Step.TURN_LEFT, Step.TURN_RIGHT), np.random.default_rng(2))
    yaw = [
        attitude_at(keys, number / TIMES_PER_S).yaw_deg
        for number in range(int(keys[-1].at_s * TIMES_PER_S))
    ]
    assert np.abs(np.diff(yaw)).max() < 2.0


def test_outside_its_keys_a_head_keeps_their_attitude() -> None:
    """Before the first key it is the first's, after the last the last's, halfway the mean."""
    aside = Attitude(yaw_deg=10.0)
    keys = (Key(1.0, STILL), Key(2.0, aside))
    assert attitude_at(keys, 0.0) == STILL
    assert attitude_at(keys, 3.0) == aside
    assert attitude_at(keys, 1.5).yaw_deg == pytest.approx(5.0)
