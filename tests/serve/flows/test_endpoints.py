"""How much one receiver gets at once, tried on a clock that only the test moves."""

import pytest

from serve.flows.delivery.endpoints import (
    ENDPOINT_INFLIGHT_MAX,
    ENDPOINTS_KEPT,
    FAILURES_MAX,
    PROBE_S,
    TENANT_SHARE,
    WAIT_S_MAX,
    Endpoints,
    Key,
    endpoint_of,
)

SLOW = ("a", "https://slow.example")
OTHER = ("b", "https://other.example")


def fail(endpoints: Endpoints, key: Key, times: int, now_s: float = 0.0) -> None:
    for _ in range(times):
        assert endpoints.admit(key, now_s) == 0.0
        endpoints.release(key, now_s, seconds=15.0, is_delivered=False)


def test_one_endpoint_gets_eight_at_once() -> None:
    """The ninth attempt waits, and starts once one of the eight has ended."""
    endpoints = Endpoints(256)
    assert [endpoints.admit(SLOW, 0.0) for _ in range(ENDPOINT_INFLIGHT_MAX)] == [0.0] * 8
    assert endpoints.admit(SLOW, 0.0) > 0
    assert endpoints.admit(OTHER, 0.0) == 0.0
    endpoints.release(SLOW, 1.0, seconds=1.0, is_delivered=True)
    assert endpoints.admit(SLOW, 1.0) == 0.0


def test_the_whole_is_bounded() -> None:
    """No more than `inflight_max` are under way, whoever asks."""
    endpoints = Endpoints(4)
    keys = [(str(number), "https://a.example") for number in range(6)]
    assert [endpoints.admit(key, 0.0) == 0.0 for key in keys] == [True] * 4 + [False] * 2
    assert not endpoints.has_room
    endpoints.release(keys[0], 0.0, seconds=1.0, is_delivered=True)
    assert endpoints.has_room


def test_one_tenant_cannot_take_everything() -> None:
    """However many hosts a tenant has, the others keep their share."""
    endpoints = Endpoints(256)
    hosts = [("a", f"https://{number}.example") for number in range(64)]
    admitted = [endpoints.admit(key, 0.0) == 0.0 for key in hosts for _ in range(8)]
    assert sum(admitted) == 256 // TENANT_SHARE
    assert endpoints.admit(OTHER, 0.0) == 0.0


def test_those_put_off_get_turns_at_the_endpoint_s_pace() -> None:
    """Waiting callbacks are spread over the time that the ones before them need."""
    endpoints = Endpoints(256)
    for _ in range(40):  # it has learnt that an attempt takes 4 seconds
        endpoints.admit(SLOW, 0.0)
        endpoints.release(SLOW, 0.0, seconds=4.0, is_delivered=True)
    for _ in range(ENDPOINT_INFLIGHT_MAX):
        endpoints.admit(SLOW, 0.0)
    waits = [endpoints.admit(SLOW, 0.0) for _ in range(ENDPOINT_INFLIGHT_MAX)]
    assert waits == sorted(waits)
    assert waits[-1] - waits[0] == pytest.approx(7 / 8 * 4.0, rel=0.01)
    many = [endpoints.admit(SLOW, 0.0) for _ in range(10_000)]
    assert max(many) == WAIT_S_MAX


def test_a_dead_endpoint_is_probed_once_a_minute() -> None:
    """After 20 failures in a row one attempt a minute goes out, until one succeeds."""
    endpoints = Endpoints(256)
    fail(endpoints, SLOW, FAILURES_MAX)
    assert endpoints.admit(SLOW, 1.0) == pytest.approx(PROBE_S - 1.0)
    assert endpoints.admit(SLOW, PROBE_S) == 0.0
    assert endpoints.admit(SLOW, PROBE_S) > 0  # one probe, not eight
    endpoints.release(SLOW, PROBE_S, seconds=15.0, is_delivered=False)
    assert endpoints.admit(SLOW, PROBE_S + 1) == pytest.approx(PROBE_S - 1)
    assert endpoints.admit(SLOW, 2 * PROBE_S) == 0.0
    endpoints.release(SLOW, 2 * PROBE_S, seconds=0.1, is_delivered=True)
    assert [endpoints.admit(SLOW, 2 * PROBE_S) for _ in range(8)] == [0.0] * 8


def test_failures_that_are_not_in_a_row_close_nothing() -> None:
    """One delivery in between, and the count starts again."""
    endpoints = Endpoints(256)
    for _ in range(3):
        fail(endpoints, SLOW, FAILURES_MAX - 1)
        endpoints.admit(SLOW, 0.0)
        endpoints.release(SLOW, 0.0, seconds=0.1, is_delivered=True)
    assert endpoints.admit(SLOW, 0.0) == 0.0


@pytest.mark.parametrize(("asked_s", "kept_s"), [(7.0, 7.0), (86_400.0, PROBE_S)])
def test_a_receiver_gets_the_pause_it_asks_for(asked_s: float, kept_s: float) -> None:
    """A throttled endpoint rests, but not beyond a minute: each callback has its own schedule."""
    endpoints = Endpoints(256)
    endpoints.admit(SLOW, 0.0)
    endpoints.release(SLOW, 0.0, seconds=0.1, is_delivered=False, pause_s=asked_s)
    assert endpoints.admit(SLOW, 0.0) == kept_s
    assert endpoints.admit(SLOW, kept_s) == 0.0


def test_what_is_remembered_is_bounded() -> None:
    """Endpoints that were idle longest are forgotten; those in use never."""
    endpoints = Endpoints(2**20)
    endpoints.admit(SLOW, 0.0)
    for number in range(2 * ENDPOINTS_KEPT):
        key = (str(number), "https://a.example")
        assert endpoints.admit(key, 0.0) == 0.0
        endpoints.release(key, 0.0, seconds=0.1, is_delivered=True)
    assert len(endpoints) <= ENDPOINTS_KEPT
    endpoints.release(SLOW, 0.0, seconds=0.1, is_delivered=True)


def test_an_endpoint_is_a_tenant_s_host() -> None:
    """Path and query do not make another endpoint; scheme, port and tenant do."""
    key = endpoint_of("a", "https://tenant.example/hook?x=1")
    assert key == endpoint_of("a", "https://TENANT.example:443/other")
    others = {
        endpoint_of("a", "http://tenant.example/hook"),
        endpoint_of("a", "https://tenant.example:8443/hook"),
        endpoint_of("b", "https://tenant.example/hook"),
        endpoint_of("a", "nonsense"),
    }
    assert len(others | {key}) == 5
