"""How often keys may ask and addresses may guess, on a clock that is moved by hand."""

from __future__ import annotations

import pytest

from fillbook.runtime.errors import Rejected
from fillbook.tracker.limits import PER_MINUTE, FailedKeys, Limits, network
from fillbook.tracker.route import Weight


class Time:
    """Milliseconds that stand still until they are moved."""

    def __init__(self) -> None:
        self.ms = 1_000

    def __call__(self) -> int:
        return self.ms


def waits(failed: FailedKeys, address: str) -> int | None:
    """Seconds an address has to wait; None: it is listened to."""
    try:
        failed.check(address)
    except Rejected as refusal:
        return refusal.retry_after_seconds if refusal.status == 429 else -1
    return None


def test_ten_wrong_keys_within_a_minute_close_an_address_for_five_minutes() -> None:
    time = Time()
    failed = FailedKeys(now_ms=time)
    for _ in range(9):
        failed.count("a")
    assert waits(failed, "a") is None
    failed.count("a")
    assert (waits(failed, "a"), waits(failed, "b")) == (300, None)
    time.ms += 299_001
    assert waits(failed, "a") == 1
    time.ms += 999
    assert waits(failed, "a") is None
    failed.count("a")
    assert waits(failed, "a") is None, "it begins anew"


def test_wrong_keys_that_are_older_than_a_minute_are_forgotten() -> None:
    time = Time()
    failed = FailedKeys(now_ms=time)
    for _ in range(40):
        failed.count("a")
        time.ms += 6_667  # nine a minute
    assert waits(failed, "a") is None


def test_the_tables_of_addresses_do_not_grow_for_ever() -> None:
    failed = FailedKeys(2, now_ms=Time())
    for number in range(10_000):
        failed.count(str(number))
        failed.count(str(number))
        failed.count(f"once {number}")
    assert waits(failed, "9999") == 300
    assert waits(failed, "0") is None


def test_each_weight_of_each_key_has_a_bucket_of_its_own() -> None:
    limits = Limits()
    for _ in range(PER_MINUTE[Weight.EXPORT]):
        limits.take("a", Weight.EXPORT)
    with pytest.raises(Rejected, match="too_many_requests"):
        limits.take("a", Weight.EXPORT)
    limits.take("b", Weight.EXPORT)
    limits.take("a", Weight.LIST)


@pytest.mark.parametrize(
    ("address", "counted_as"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::ffff", "2001:db8:1:2::"),
        ("unknown", "unknown"),
        ("<script>", "unknown"),
    ],
)
def test_an_address_of_the_newer_kind_is_counted_as_its_network(address: str, counted_as: str) -> None:
    assert network(address) == counted_as
