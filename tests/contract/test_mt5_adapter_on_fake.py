"""The adapter against the fake service over HTTP, in both languages: each documented shape is one truth, each fault its code."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from itertools import product
from typing import Any

import pytest
from pydantic import SecretStr

from fillbook.mt5.faults import Retries
from fillbook.mt5.model import (
    Deal,
    DealPage,
    Info,
    Instance,
    OpenPosition,
    ServerRule,
    ServiceFailure,
    Snapshot,
    StepFailure,
    Target,
    Window,
)
from fillbook.mt5.mt5_calls import Hooks
from fillbook.mt5.mt5_service import Keys, Mt5Service
from fillbook.mt5.words import Code, ContractKind, EpochClock, HealthStatus
from fillbook.runtime import clock
from fillbook.runtime.clock import FixedClock
from infra.local.mt5 import Mt5Fake
from infra.local.mt5_faults import KNOBS
from infra.local.mt5_shapes import CHOICES, MUTATIONS
from tests.support.mt5_wire import NOW, furnished

V1, V0 = ContractKind.V1, ContractKind.V0
both = pytest.mark.parametrize("kind", [V1, V0])
RULE = ServerRule(server="One", zone_name="UTC", shift_minutes=180)
SERVER_NOW_MSC = int((NOW + timedelta(hours=3)).timestamp()) * 1000
WINDOW = Window(from_msc=SERVER_NOW_MSC - 2 * 86_400_000, to_msc=SERVER_NOW_MSC + 86_400_000)
DEALS, PAGE = 6, 4
PATIENCE_SECONDS = 0.5


@pytest.fixture(scope="module")
def running() -> Iterator[Mt5Fake]:
    with Mt5Fake(clock=FixedClock(NOW)) as fake:
        furnished(fake, NOW)
        yield fake


@pytest.fixture
def fake(running: Mt5Fake) -> Mt5Fake:
    running.clear_faults()
    running.forget_calls()
    for account in ("svc-1", "paired"):
        running.change_account(account, shape={} if account == "svc-1" else {"history": "trades"})
    return running


def target(fake: Mt5Fake, kind: ContractKind, account: str = "svc-1", epoch: EpochClock = EpochClock.SERVER) -> Target:
    instance = Instance(instance_key="default", base_url=fake.base_url, contract=kind, epoch_clock=epoch)
    login = 11 if account == "svc-1" else 13
    return Target(instance=instance, account_id="ours", service_account_id=account, login=login, server="One", rule=RULE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """What one run of an account asks, and what came of it."""

    service: Mt5Service
    target: Target

    def snapshot(self) -> Snapshot:
        return self.service.snapshot(self.target, deadline=clock.monotonic() + 5, retries=Retries())

    def pages(self) -> list[DealPage]:
        """All pages of the window."""
        found, cursor, retries = list[DealPage](), None, Retries()
        while True:
            page = self.service.deals(
                self.target, WINDOW, cursor=cursor, limit=PAGE, deadline=clock.monotonic() + 5, retries=retries
            )
            found.append(page)
            cursor = page.next_cursor
            if cursor is None:
                return found

    def outcome(self) -> tuple[str, str, str]:
        """Info, positions and history: a code, or what came of them (``ok``, or how many rows)."""
        try:
            snapshot = self.snapshot()
            info = snapshot.info.code.value if isinstance(snapshot.info, StepFailure) else "ok"
            positions = snapshot.positions
            listed = positions.code.value if isinstance(positions, StepFailure) else str(len(positions))
        except ServiceFailure as error:
            info = listed = error.failure.code.value
        try:
            history = str(sum(len(page.deals) for page in self.pages()))
        except ServiceFailure as error:
            history = error.failure.code.value
        return info, listed, history


def asking(fake: Mt5Fake, kind: ContractKind, *, seconds: float = 5.0, **options: Any) -> Asking:
    """An adapter without pauses."""
    hooks = Hooks(jitter=lambda: 0.0, sleep=lambda _: None)
    service = Mt5Service(Keys(api_key=SecretStr(fake.api_key)), now=fake.clock, hooks=hooks, request_seconds=seconds)
    return Asking(service=service, target=target(fake, kind, **options))


# --- every documented shape -------------------------------------------------------------------------------------------


def read(asked: Asking) -> tuple[Info, tuple[OpenPosition, ...], tuple[Deal, ...]]:
    """An account's answers as values, without what only one language tells."""
    snapshot = asked.snapshot()
    assert isinstance(snapshot.info, Info), snapshot.info
    assert isinstance(snapshot.positions, tuple), snapshot.positions
    deals = tuple(replace(one, extra={}) for page in asked.pages() for one in page.deals)
    info = replace(snapshot.info, currency_digits=None, margin_mode=None)
    positions = tuple(replace(one, extra={}, reason=None, magic=None) for one in snapshot.positions)
    return info, positions, deals


def test_every_documented_shape_in_both_languages_is_the_same_account(fake: Mt5Fake) -> None:
    expected = read(asking(fake, V1))
    assert (len(expected[1]), len(expected[2])) == (2, DEALS)
    for ids, numbers in product(CHOICES["ids"], CHOICES["numbers"]):
        fake.change_account("svc-1", shape={"ids": ids, "numbers": numbers})
        assert read(asking(fake, V1)) == expected, (ids, numbers)
    names = ("numbers", "info", "positions", "epoch")
    for choice in product(*(CHOICES[name] for name in names)):
        shape = dict(zip(names, choice, strict=True))
        fake.change_account("svc-1", shape=shape)
        assert read(asking(fake, V0, epoch=EpochClock(shape["epoch"]))) == expected, shape


@pytest.mark.parametrize("epoch", CHOICES["epoch"])
def test_paired_trades_are_the_closed_trades_of_the_same_account(fake: Mt5Fake, epoch: str) -> None:
    fake.change_account("paired", shape={"history": "trades", "epoch": epoch})
    (page,) = asking(fake, V0, account="paired", epoch=EpochClock(epoch)).pages()
    assert page.is_paired
    (one,) = page.paired
    (told,) = [trade for trade in fake.truth("paired")["trades"] if trade["status"] == "closed"]
    assert (one.ticket, one.side.value) == (told["position_id"], told["side"])
    for name in ("volume", "open_price", "close_price", "profit"):
        assert getattr(one, name) == Decimal(told[name]), name


@pytest.mark.parametrize("errors", CHOICES["errors"])
def test_an_error_in_every_documented_spelling_is_an_error_of_every_step(fake: Mt5Fake, errors: str) -> None:
    fake.change_account("svc-1", shape={"errors": errors})
    fake.fault("status", code=503, error_code="BROKER_TIMEOUT")
    named = errors in ("object", "flat")  # the others name no code, so the status decides
    code = "broker_unavailable" if named else "service_unavailable"
    assert asking(fake, V0).outcome() == (code,) * 3


def test_health_is_read_in_both_languages(fake: Mt5Fake) -> None:
    for kind, (status, expected) in product(
        (V1, V0), (("degraded", HealthStatus.DEGRADED), ("unhealthy", HealthStatus.UNHEALTHY), (None, HealthStatus.HEALTHY))
    ):
        fake.clear_faults()
        if status is not None:
            fake.fault("health", status=status)
        asked = asking(fake, kind)
        assert asked.service.health(asked.target.instance, deadline=clock.monotonic() + 5).status is expected, (kind, status)


# --- every fault ------------------------------------------------------------------------------------------------------

FINE = ("ok", "2", "6")


def everywhere(code: Code) -> tuple[str, str, str]:
    """All three steps fail alike."""
    return (code.value,) * 3


Expected = tuple[str, str, str]
FAULTS: list[tuple[str, Mapping[str, Any], Expected, Expected]] = [
    ("latency", {"ms": 5}, FINE, FINE),
    ("hang", {}, everywhere(Code.TIMEOUT), everywhere(Code.TIMEOUT)),
    ("drip", {}, everywhere(Code.TIMEOUT), everywhere(Code.TIMEOUT)),
    ("reset", {}, everywhere(Code.CONNECTION), everywhere(Code.CONNECTION)),
    ("rate_limit", {"per_minute": 0}, everywhere(Code.RATE_LIMITED), everywhere(Code.RATE_LIMITED)),
    ("auth_failed", {}, everywhere(Code.AUTH_FAILED), everywhere(Code.AUTH_FAILED)),
    ("auth_failed", {"inline": True}, everywhere(Code.AUTH_FAILED), everywhere(Code.AUTH_FAILED)),
    ("wrong_login", {}, everywhere(Code.IDENTITY_MISMATCH), everywhere(Code.IDENTITY_MISMATCH)),
    ("wrong_login", {"named_server": "Other"}, everywhere(Code.IDENTITY_MISMATCH), everywhere(Code.IDENTITY_MISMATCH)),
    ("page_fails", {"n": 2}, ("ok", "2", "service_unavailable"), ("ok", "2", "service_unavailable")),
    ("page_drift", {"how": "total"}, ("ok", "2", "7"), ("ok", "2", "page_drift")),  # v1: whoever reads pages sees totals differ
    ("page_drift", {"how": "order"}, FINE, FINE),
    ("duplicate_rows", {}, FINE, ("ok", "2", "page_drift")),
    ("duplicate_rows", {"counted": False}, FINE, ("ok", "2", "page_drift")),
    ("incomplete", {"part": "info"}, ("incomplete", "2", "6"), ("incomplete", "2", "6")),
    ("incomplete", {"part": "positions"}, ("ok", "incomplete", "6"), ("ok", "incomplete", "6")),
    ("incomplete", {"part": "history"}, ("ok", "2", "incomplete"), ("ok", "2", "incomplete")),
    ("incomplete", {"part": "all"}, everywhere(Code.INCOMPLETE), everywhere(Code.INCOMPLETE)),
    ("error_as_empty", {"what": "positions"}, ("ok", "incomplete", "6"), ("ok", "incomplete", "6")),
    ("error_as_empty", {"what": "history"}, ("ok", "2", "incomplete"), ("ok", "2", "incomplete")),
    # a lie throughout: only the sum of money can tell, unless another answer counts the same list
    ("error_as_empty", {"what": "positions", "lies": True}, ("ok", "0", "6"), ("ok", "incomplete", "6")),
    ("error_as_empty", {"what": "history", "lies": True}, ("ok", "2", "0"), ("ok", "2", "incomplete")),
    ("stale", {"age": 60, "declared": True}, FINE, FINE),
    ("stale", {"age": 60, "declared": False}, FINE, FINE),
    ("late_history", {"seconds": 7200}, ("ok", "2", "4"), ("ok", "2", "4")),
    ("clock_offset", {"minutes": 60}, FINE, FINE),
    ("health", {"status": "unhealthy"}, FINE, FINE),
    ("one_terminal", {"switch_ms": 5}, FINE, FINE),
    *(("garbage", {"kind": kind}, everywhere(Code.CONTRACT_ERROR), everywhere(Code.CONTRACT_ERROR))
      for kind in ("html", "truncated", "oversize", "nan", "empty")),
    *(("shape", {"variant": name}, ("contract_error", "2", "contract_error"), everywhere(Code.CONTRACT_ERROR))
      for name in ("unknown_root", "missing_list", "null_list", "wrong_type")),
    *(("shape", {"variant": name}, ("ok", "contract_error", "contract_error"), ("ok", "contract_error", "contract_error"))
      for name in ("unknown_enum", "naive_time")),
    ("shape", {"variant": "no_entry"}, ("ok", "2", "contract_error"), ("ok", "2", "contract_error")),
    ("shape", {"variant": "deep"}, everywhere(Code.CONTRACT_ERROR), everywhere(Code.CONTRACT_ERROR)),
    ("shape", {"variant": "extra_field"}, FINE, FINE),
    *(("status", {"code": status}, everywhere(code), everywhere(code)) for status, code in (
        (400, Code.INVALID_REQUEST), (401, Code.SERVICE_UNAUTHORIZED), (403, Code.FORBIDDEN), (404, Code.NOT_FOUND),
        (429, Code.RATE_LIMITED), (500, Code.SERVICE_ERROR), (502, Code.SERVICE_UNAVAILABLE), (503, Code.SERVICE_UNAVAILABLE),
        (504, Code.SERVICE_UNAVAILABLE))),
    *(("status", {"code": 503, "error_code": name}, everywhere(code), everywhere(code)) for name, code in (
        ("SERVICE_OVERLOADED", Code.SERVICE_UNAVAILABLE), ("BROKER_TIMEOUT", Code.BROKER_UNAVAILABLE),
        ("BROKER_UNAVAILABLE", Code.BROKER_UNAVAILABLE), ("MT5_DISCONNECTED", Code.BROKER_UNAVAILABLE),
        ("MT5_INIT_FAILED", Code.SERVICE_UNAVAILABLE), ("BROKER_RATE_LIMIT", Code.RATE_LIMITED),
        ("AUTH_FAILED", Code.AUTH_FAILED), ("MT5_LOGIN_FAILED", Code.AUTH_FAILED), ("INVALID_DATE", Code.INVALID_REQUEST))),
]  # fmt: skip
AGAIN = {Code.TIMEOUT, Code.CONNECTION, Code.SERVICE_UNAVAILABLE, Code.BROKER_UNAVAILABLE, Code.RATE_LIMITED}


@both
@pytest.mark.parametrize(
    ("knob", "options", "in_v1", "in_v0"), FAULTS, ids=[" ".join([knob, *map(str, given.values())]) for knob, given, *_ in FAULTS]
)
def test_every_fault_of_the_service_is_told_by_its_code(
    fake: Mt5Fake, kind: ContractKind, knob: str, options: Mapping[str, Any], in_v1: Expected, in_v0: Expected
) -> None:
    fake.fault(knob, **options)
    asked = asking(fake, kind, seconds=PATIENCE_SECONDS if knob in ("hang", "drip") else 5.0)
    expected = in_v1 if kind is V1 else in_v0
    assert asked.outcome() == expected
    if knob in ("hang", "drip", "reset", "auth_failed", "garbage", "status", "rate_limit"):  # tried as often as the code allows
        tries = [call.endpoint for call in fake.calls()].count("deals" if kind is V1 else "history")
        is_again = Code(expected[2]) in AGAIN and knob != "rate_limit"  # whose pause of a minute is another run's
        assert tries == (2 if is_again else 1)
    fake.clear_faults()
    assert asked.outcome() == FINE, "nothing of a fault stays"


def test_every_fault_and_every_undocumented_shape_is_in_the_table() -> None:
    assert {knob for knob, *_ in FAULTS} == set(KNOBS)
    assert {options["variant"] for knob, options, *_ in FAULTS if knob == "shape"} == set(MUTATIONS)


@both
def test_an_answer_that_admits_its_age_is_as_old_as_it_says(fake: Mt5Fake, kind: ContractKind) -> None:
    fake.fault("stale", age=60, declared=True)
    head = asking(fake, kind).snapshot().head
    assert head is not None
    assert head.cache_age_ms == 60_000
