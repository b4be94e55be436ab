"""Where requests come from, and how often one may guess; the clock is the test's."""

import pytest

from serve.api.intake import address
from serve.api.intake.address import AddressQuota, GuessBudget, nearest_untrusted, trusted_networks
from serve.domain.quota import Bucket
from serve.errors import Code, ServeError

TRUSTED = trusted_networks(["10.0.0.0/8", "2001:db8::/32", "127.0.0.1"])


@pytest.mark.parametrize(
    ("hops", "found"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        (["1.2.3.4", "203.0.113.9"], "203.0.113.9"),  # nobody vouches for 1.2.3.4
        (["1.2.3.4", "10.0.0.1"], "1.2.3.4"),
        (["6.6.6.6", "1.2.3.4", "10.0.0.2", "127.0.0.1"], "1.2.3.4"),
        (["10.0.0.3", "10.0.0.2"], "10.0.0.3"),
        (["nonsense", "10.0.0.2"], "10.0.0.2"),
        (["1.2.3.4", "", "10.0.0.2"], "10.0.0.2"),
        (["::ffff:1.2.3.4", "::ffff:10.0.0.2"], "1.2.3.4"),
        (["2001:4860:1:2:3:4:5:6", "2001:db8::1"], "2001:4860:1:2::/64"),
        ([""], "unknown"),
    ],
)
def test_the_last_address_that_nobody_vouches_for(hops: list[str], found: str) -> None:
    """Trusted proxies are walked through from the right; what lies further left is a claim."""
    assert nearest_untrusted(hops, TRUSTED) == found


def test_a_proxy_that_is_no_network_is_refused() -> None:
    """The setting is named."""
    with pytest.raises(ServeError) as caught:
        trusted_networks(["10.0.0.0/99"])
    assert caught.value.code is Code.SETTING_INVALID
    assert "server.trusted_proxies" in caught.value.detail


class Clock:
    """Seconds, set by hand."""

    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def test_a_minute_s_budget_comes_back() -> None:
    """The guess after the last is refused until the minute is over; others are not affected."""
    clock = Clock()
    budget = GuessBudget(2, clock)
    for _ in range(2):
        budget.check("a")
        budget.count("a")
    clock.now_s += 59.5
    with pytest.raises(ServeError) as caught:
        budget.check("a")
    assert (caught.value.code, caught.value.retry_after_s) == (Code.TOO_MANY_REQUESTS, 1)
    budget.check("b")
    clock.now_s += 0.5
    budget.check("a")
    budget.count("a")
    budget.check("a")


def test_the_table_of_addresses_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The address whose minute began first makes room for a new one."""
    monkeypatch.setattr(address, "ADDRESSES_MAX", 3)
    budget = GuessBudget(1, Clock())
    for name in "abcd":
        budget.count(name)
    assert len(budget) == 3
    budget.check("a")
    with pytest.raises(ServeError):
        budget.check("d")


def test_an_address_has_its_burst_and_then_its_pace() -> None:
    """Two at once and one a second after that; another address is not affected."""
    clock = Clock()
    requests = AddressQuota(Bucket.of(per_s=1, burst_s=2), clock)
    assert [requests.take("a")[1] for _ in range(3)] == [False, False, True]
    standing, is_refused = requests.take("b")
    assert (is_refused, standing.name, standing.remaining) == (False, "address", 1)
    for _ in range(3):
        clock.now_s += 1.0
        assert [requests.take("a")[1] for _ in range(2)] == [False, True]
    assert requests.take("a")[0].retry_after_s() == 1


def test_the_address_that_was_silent_for_longest_is_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever keeps asking stays counted, however many others come and go."""
    monkeypatch.setattr(address, "ADDRESSES_MAX", 3)
    requests = AddressQuota(Bucket.of(per_s=1, burst_s=100), Clock())
    for name in "abcd":
        requests.take(name)
        left = requests.take("a")[0].remaining
    assert (len(requests), left) == (3, 100 - 5)
    assert requests.take("b")[0].remaining == 100 - 1
