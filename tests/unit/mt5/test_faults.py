"""Every way of saying that a call failed has its code, its sentence, and its right to another try."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from fillbook.mt5 import faults
from fillbook.mt5.faults import Fault, Retries
from fillbook.mt5.words import Code, Step

NOW = datetime(2026, 5, 6, 14, 30, tzinfo=UTC)


def of(status: int, document: Any = None, retry_after: str | None = None) -> Fault:
    return faults.of_answer(status, document, retry_after=retry_after, now=NOW)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "invalid_request"), (401, "service_unauthorized"), (403, "forbidden"), (404, "not_found"), (409, "invalid_request"),
        (422, "invalid_request"), (429, "rate_limited"), (500, "service_error"), (501, "service_error"),
        (502, "service_unavailable"), (503, "service_unavailable"), (504, "service_unavailable"), (204, "contract_error"),
        (302, "contract_error"),
    ],
)  # fmt: skip
def test_without_a_code_the_status_decides(status: int, code: str) -> None:
    unknown = ({"error": {"code": "WHO_KNOWS"}}, {"error": {"code": 401}})
    for document in (None, "busy", {"message": "Busy"}, {"detail": [{"msg": "no"}]}, *unknown):
        assert of(status, document) == Fault(code=Code(code))


@pytest.mark.parametrize(
    ("code", "ours", "is_broker"),
    [
        ("SERVICE_OVERLOADED", "service_unavailable", False), ("MT5_INIT_FAILED", "service_unavailable", False),
        (-10003, "service_unavailable", False), ("-10004", "service_unavailable", False), (-10005, "service_unavailable", False),
        ("BROKER_TIMEOUT", "broker_unavailable", True), ("BROKER_UNAVAILABLE", "broker_unavailable", True),
        ("MT5_DISCONNECTED", "broker_unavailable", True), ("BROKER_RATE_LIMIT", "rate_limited", True),
        ("AUTH_FAILED", "auth_failed", True), ("mt5_login_failed", "auth_failed", True), (-6, "auth_failed", True),
        ("INVALID_DATE", "invalid_request", False),
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [400, 401, 500, 503])
def test_a_code_that_we_know_decides_whatever_the_status(code: Any, ours: str, is_broker: bool, status: int) -> None:
    wanted = Fault(code=Code(ours), is_broker=is_broker, has_code=True)
    assert of(status, {"success": False, "error": {"code": code, "message": "x"}}) == wanted
    assert of(status, {"success": False, "error_code": code, "error_message": "x"}) == wanted
    assert faults.of_part({"code": code, "message": "x", "retry_after_seconds": None}) == wanted


@pytest.mark.parametrize("error", [None, "BROKER_TIMEOUT", {}, {"code": "WHO_KNOWS"}, {"code": True}, [1]])
def test_a_part_that_names_no_code_of_ours_is_incomplete(error: Any) -> None:
    assert faults.of_part(error) == Fault(code=Code.INCOMPLETE)


@pytest.mark.parametrize(
    ("document", "header", "seconds"),
    [
        (None, "7", 7), ({"error": "slow down", "retry_after": 2}, None, 2), ({"error": "slow down", "retry_after": 2}, "9", 9),
        ({"error": {"code": "X", "retry_after_seconds": Decimal("2.1")}}, "1", 3), (None, "Wed, 06 May 2026 14:30:20 GMT", 20),
        (None, "Wed, 06 May 2026 14:29:00 GMT", 0), (None, "99999999999", 86_400), (None, "soon", None), (None, "-5", None),
        ({"error": "x", "retry_after": -1}, None, None), ({"error": "x", "retry_after": True}, None, None),
        ({"error": "x", "retry_after": "2"}, None, None),
    ],
)  # fmt: skip
def test_the_longest_pause_that_was_asked_for_counts(document: Any, header: str | None, seconds: int | None) -> None:
    assert of(429, document, header).retry_after_seconds == seconds


def test_every_code_has_a_sentence_and_none_repeats_the_service() -> None:
    assert set(faults.TEXTS) == set(Code)
    told = faults.failure(Step.INFO, of(503, {"error": {"code": "BROKER_TIMEOUT", "message": "secret"}}), 2)
    assert (told.text, told.attempts, told.is_broker, told.has_code) == ("Broker unavailable", 2, True, True)
    assert faults.failure(Step.INFO, faults.ContractError("deals[3].type").fault).text == "Answer not understood (deals[3].type)"


def test_a_failure_becomes_the_fault_it_was_made_of() -> None:
    fault = of(503, {"error": {"code": "BROKER_TIMEOUT", "retry_after_seconds": 4}})
    assert faults.of_failure(faults.failure(Step.INFO, fault)) == fault


@pytest.mark.parametrize("code", list(Code))
def test_only_what_may_have_passed_is_tried_again(code: Code) -> None:
    named = "timeout connection service_unavailable broker_unavailable rate_limited".split()
    assert Retries().take((Step.INFO,), Fault(code=code)) is (code.value in named)


def test_each_step_is_tried_again_once() -> None:
    left, fault = Retries(), Fault(code=Code.CONNECTION)
    assert left.take((Step.INFO, Step.POSITIONS), fault)
    assert not left.take((Step.POSITIONS,), fault)
    assert left.take((Step.HISTORY,), fault)
    assert not left.take((Step.HISTORY,), fault)


def test_a_timeout_is_tried_again_once_in_all() -> None:
    left = Retries()
    assert left.take((Step.INFO,), Fault(code=Code.TIMEOUT))
    assert not left.take((Step.HISTORY,), Fault(code=Code.TIMEOUT))
    assert left.take((Step.HISTORY,), Fault(code=Code.CONNECTION))


def test_a_pause_of_more_than_half_a_minute_is_not_waited_for() -> None:
    assert Retries().take((Step.INFO,), Fault(code=Code.RATE_LIMITED, retry_after_seconds=30))
    assert not Retries().take((Step.INFO,), Fault(code=Code.RATE_LIMITED, retry_after_seconds=31))


def test_where_retries_are_switched_off_nothing_is_tried_again() -> None:
    assert not Retries(0).take((Step.INFO,), Fault(code=Code.CONNECTION))
