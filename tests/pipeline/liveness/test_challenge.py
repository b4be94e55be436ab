"""What is drawn: two steps of five in either order, one of the head among them, all as likely."""

from collections import Counter

from pipeline.liveness.challenge import DRAWN, DRAWS, HEAD_STEPS, drawn

ROUNDS = 50


def test_two_of_five_are_drawn_in_either_order() -> None:
    """Every ordered pair but blink with open mouth, which would show no depth."""
    assert len(set(DRAWS)) == len(DRAWS) == len(DRAWN) * (len(DRAWN) - 1) - 2
    assert all(one != other and {one, other} <= set(DRAWN) for one, other in DRAWS)
    assert all(HEAD_STEPS.intersection(draw) and draw[::-1] in DRAWS for draw in DRAWS)


def test_all_draws_are_as_likely() -> None:
    """Numbers that follow each other draw each of them as often."""
    numbers = range(2**127, 2**127 + ROUNDS * len(DRAWS))
    counts = Counter(drawn(number.to_bytes(16, "big")) for number in numbers)
    assert counts == dict.fromkeys(DRAWS, ROUNDS)
