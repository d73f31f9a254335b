"""Breakers: what opens them, who may probe, what closes them, and which errors say nothing about a service or a broker."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

import pytest

from fillbook.mt5.breaker import Evidence, Kind, Leave, Row, Rules, claimed, kinds, learned, leave
from fillbook.mt5.breakers import Breakers
from fillbook.mt5.crew import Answer
from fillbook.mt5.model import StepFailure
from fillbook.mt5.words import BreakerState, Code
from tests.support.mt5_crew import BEGIN, BROKER_DOWN, REFUSED_LOGIN, SERVICE_DOWN, TIMEOUT, Member, failure

RULES = Rules()
CLOSED, OPEN, HALF_OPEN = BreakerState.CLOSED, BreakerState.OPEN, BreakerState.HALF_OPEN


def at(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


def told(text: str, *, began: float = 0) -> list[Evidence]:
    """``+`` a success, ``x`` an error of the key's own, a capital letter an error without a code from that server."""
    kinds_of = {"+": Kind.GOOD, "x": Kind.OWN_ERROR, "!": Kind.REFUSED, ".": Kind.NOTHING}
    return [
        Evidence(kind=kinds_of.get(one, Kind.UNNAMED_ERROR), started_at=at(began + n), server=one, code=Code.TIMEOUT)
        for n, one in enumerate(text)
    ]


def after(text: str, row: Row | None = None, *, has_one_server: bool = False) -> Row:
    return learned(row or Row(key="service:default"), told(text), at(100), RULES, has_one_server=has_one_server)


@pytest.mark.parametrize(
    ("text", "state"),
    [
        ("xxxx", CLOSED),
        ("xxxxx", OPEN),
        ("xxxx+x", CLOSED),
        ("xx+" * 4 + "x", CLOSED),  # nine of thirteen
        ("xx+" * 4 + "xx", OPEN),  # ten of fourteen
        ("x+" * 9 + "+x", OPEN),  # ten of twenty
        ("x+" * 9 + "+++x", CLOSED),  # the eleventh from the end has been forgotten
        ("....." * 3, CLOSED),
        ("!", OPEN),
    ],
)
def test_five_errors_in_a_row_or_ten_of_twenty_open(text: str, state: BreakerState) -> None:
    assert after(text).state is state


@pytest.mark.parametrize(
    ("text", "has_one_server", "state"),
    [
        ("AAAAAAAAAAAA", False, CLOSED),
        ("AAAAA", True, OPEN),
        ("AAAAB", False, OPEN),
        ("AAAAx", False, CLOSED),
        ("AxxxxA", False, CLOSED),
        ("AxxxxAx", False, OPEN),
    ],
)
def test_errors_without_a_code_open_a_service_only_from_two_servers_or_its_only_one(
    text: str, has_one_server: bool, state: BreakerState
) -> None:
    assert after(text, has_one_server=has_one_server).state is state


def test_an_account_says_nothing_once_one_that_started_with_it_or_later_has_succeeded() -> None:
    success = Evidence(kind=Kind.GOOD, started_at=at(5))
    before = Evidence(kind=Kind.OWN_ERROR, started_at=at(5), code=Code.TIMEOUT)
    later = Evidence(kind=Kind.OWN_ERROR, started_at=at(5.001), code=Code.TIMEOUT)
    row = Row(key="broker:A")
    assert learned(row, [success, *[before] * 50], at(9), RULES).consecutive == 0
    assert learned(row, [success, *[before] * 50], at(9), RULES).state is CLOSED
    assert learned(row, [success, *[later] * 5], at(9), RULES).state is OPEN


def test_an_open_breaker_lets_one_probe_pass_after_its_pause_and_a_success_closes_it() -> None:
    row = after("xxxxx")
    assert (row.opened_at, row.probe_at, row.last_error_code) == (at(100), at(160), "timeout")
    assert [leave(row, at(seconds), RULES) for seconds in (100, 159.9, 160)] == [Leave.SKIP, Leave.SKIP, Leave.PROBE]
    probing = claimed(row, at(160))
    assert leave(probing, at(161), RULES) is Leave.SKIP
    home = Evidence(kind=Kind.GOOD, started_at=at(160), probe_token=probing.probe_token)
    closed = learned(probing, [home], at(162), RULES)
    assert (closed.state, closed.consecutive, closed.opened_at, closed.probe_at) == (CLOSED, 0, None, None)
    assert leave(closed, at(162), RULES) is Leave.GO


def test_a_probe_that_fails_doubles_the_pause_up_to_a_quarter_of_an_hour() -> None:
    row, now, pauses = after("xxxxx"), 100.0, []
    for _ in range(6):
        assert row.probe_at is not None
        pauses.append((row.probe_at - at(now)).total_seconds())
        now = (row.probe_at - BEGIN).total_seconds()
        row = claimed(row, at(now))
        failed = Evidence(kind=Kind.OWN_ERROR, started_at=at(now), code=Code.CONNECTION, probe_token=row.probe_token)
        row = learned(row, [failed], at(now), RULES)
    assert pauses == [60, 120, 240, 480, 900, 900]
    assert row.opened_at == at(100)


def test_a_probe_that_proves_nothing_makes_room_for_the_next() -> None:
    row = claimed(after("xxxxx"), at(160))
    nothing = Evidence(kind=Kind.NOTHING, started_at=at(160), probe_token=row.probe_token)
    row = learned(row, [nothing], at(161), RULES)
    assert (row.state, row.cooldown_seconds) == (OPEN, 60)
    assert leave(row, at(161), RULES) is Leave.PROBE


def test_a_probe_that_never_comes_back_is_given_up_and_its_late_word_is_no_probes() -> None:
    first = claimed(after("xxxxx"), at(160))
    assert leave(first, at(160 + 149), RULES) is Leave.SKIP
    assert leave(first, at(160 + 150), RULES) is Leave.PROBE
    second = claimed(first, at(310))
    assert second.probe_token == first.probe_token + 1
    late = Evidence(kind=Kind.OWN_ERROR, started_at=at(160), code=Code.TIMEOUT, probe_token=first.probe_token)
    assert learned(second, [late], at(311), RULES).state is HALF_OPEN


def test_a_success_still_in_flight_closes_what_a_row_of_errors_opened_but_not_what_half_of_twenty_did() -> None:
    good = Evidence(kind=Kind.GOOD, started_at=at(50))
    assert learned(after("xxxxx"), [good], at(101), RULES).state is CLOSED
    assert learned(after("x+" * 9 + "+x"), [good], at(101), RULES).state is CLOSED  # nine of twenty by now
    assert learned(after("xxxxxxxxxxxx"), [good], at(101), RULES).state is OPEN


def test_a_row_written_before_the_desk_clock_was_set_back_holds_nobody_up() -> None:
    row = after("xxxxx")
    assert leave(row, at(100 - 86_400), RULES) is Leave.PROBE
    ahead = learned(Row(key="k"), [Evidence(kind=Kind.GOOD, started_at=at(86_400))], at(86_400), RULES)
    assert learned(ahead, told("xxxxx"), at(10), RULES).state is OPEN


@pytest.mark.parametrize(
    ("failed", "service", "broker"),
    [
        (TIMEOUT, Kind.UNNAMED_ERROR, Kind.OWN_ERROR),
        (failure(Code.CONNECTION), Kind.UNNAMED_ERROR, Kind.OWN_ERROR),
        (failure(Code.SERVICE_ERROR), Kind.UNNAMED_ERROR, Kind.OWN_ERROR),
        (failure(Code.SERVICE_UNAVAILABLE), Kind.UNNAMED_ERROR, Kind.OWN_ERROR),
        (SERVICE_DOWN, Kind.OWN_ERROR, Kind.NOTHING),
        (BROKER_DOWN, Kind.NOTHING, Kind.OWN_ERROR),
        (failure(Code.SERVICE_UNAUTHORIZED), Kind.REFUSED, Kind.NOTHING),
        (failure(Code.SERVICE_UNAUTHORIZED, has_code=True), Kind.NOTHING, Kind.NOTHING),
        *[
            (failure(code, has_code=has_code), Kind.NOTHING, Kind.NOTHING)
            for code in set(Code)
            - {Code.TIMEOUT, Code.CONNECTION, Code.SERVICE_ERROR, Code.SERVICE_UNAVAILABLE, Code.BROKER_UNAVAILABLE}
            - {Code.SERVICE_UNAUTHORIZED}
            for has_code in (True, False)
        ],
    ],
)
def test_a_failed_step_speaks_of_service_and_broker_as_the_table_says(failed: StepFailure, service: Kind, broker: Kind) -> None:
    found = kinds([failed], has_answered=False)
    assert (found[0][0], found[1][0]) == (service, broker)
    assert kinds([failed], has_answered=True) == ((Kind.GOOD, None), (Kind.GOOD, None))


def test_of_several_failed_steps_the_gravest_counts_and_only_once() -> None:
    service, broker = kinds([REFUSED_LOGIN, TIMEOUT, BROKER_DOWN], has_answered=False)
    assert service == (Kind.UNNAMED_ERROR, Code.TIMEOUT)
    assert broker == (Kind.OWN_ERROR, Code.TIMEOUT)
    assert kinds([TIMEOUT, failure(Code.SERVICE_UNAUTHORIZED)], has_answered=False)[0][0] is Kind.REFUSED


# --- those of one run -------------------------------------------------------------------------------------------------


def desk_of(rows: Iterable[Row] = (), *, claim: object = None, servers: int = 2) -> Breakers:
    def none(key: str, now: datetime) -> Row | None:
        raise AssertionError("nothing to claim")

    return Breakers(rows, rules=RULES, servers={"default": servers}, claim=claim or none)  # type: ignore[arg-type]


def test_an_account_counts_once_however_often_its_end_is_told() -> None:
    breakers, account = desk_of(), Member(account_id="a")
    assert breakers.ask(account, at(0), is_last=False) is Answer.GO
    for _ in range(10):
        breakers.ended(account, [BROKER_DOWN], has_answered=False, now=at(1))
    breakers.left(account, at(2))
    assert breakers.row("broker:Alpha-Live").consecutive == 1
    assert breakers.is_urgent


def open_row(key: str) -> Row:
    return Row(key=key, state=OPEN, opened_at=at(-60), probe_at=at(0))


def test_a_probe_of_two_open_keys_claims_both_or_none() -> None:
    taken = {"broker:Alpha-Live"}

    def claim(key: str, now: datetime) -> Row | None:
        return None if key in taken else claimed(open_row(key), now)

    breakers = desk_of([open_row("service:default"), open_row("broker:Alpha-Live")], claim=claim)
    account = Member(account_id="a")
    assert breakers.ask(account, at(1), is_last=False) is Answer.SKIP
    assert breakers.row("service:default").state is OPEN
    taken.clear()
    assert breakers.ask(account, at(1), is_last=False) is Answer.GO
    assert breakers.ask(Member(account_id="b"), at(1), is_last=False) is Answer.WAIT
    assert breakers.ask(Member(account_id="b"), at(1), is_last=True) is Answer.SKIP
    breakers.ended(account, (), has_answered=True, now=at(2))
    assert breakers.ask(Member(account_id="b"), at(2), is_last=False) is Answer.GO


def test_a_probe_that_leaves_without_a_word_is_given_back() -> None:
    breakers = desk_of([open_row("broker:Alpha-Live")], claim=lambda key, now: claimed(open_row(key), now))
    account = Member(account_id="a")
    assert breakers.ask(account, at(1), is_last=False) is Answer.GO
    breakers.left(account, at(2))
    assert breakers.row("broker:Alpha-Live").state is OPEN
    assert breakers.ask(account, at(2), is_last=False) is Answer.GO


def test_a_key_that_others_closed_meanwhile_needs_no_probe() -> None:
    breakers = desk_of([open_row("broker:Alpha-Live")], claim=lambda key, now: Row(key=key))
    first, second = Member(account_id="a"), Member(account_id="b")
    assert [breakers.ask(one, at(1), is_last=False) for one in (first, second)] == [Answer.GO, Answer.GO]


def test_what_the_store_was_told_is_told_again_until_it_is_known_to_be_stored() -> None:
    breakers, key = desk_of(), "broker:Alpha-Live"
    for name in "ab":
        breakers.ask(Member(account_id=name), at(0), is_last=False)
    breakers.ended(Member(account_id="a"), [BROKER_DOWN], has_answered=False, now=at(1))
    assert [len(breakers.take().evidence[key]) for _ in range(2)] == [1, 1]
    breakers.ended(Member(account_id="b"), [BROKER_DOWN], has_answered=False, now=at(1))
    news = breakers.take()
    assert len(news.evidence[key]) == 2
    assert news.one_server_keys == {key}
    assert not breakers.is_urgent
    breakers.stored([Row(key=key, consecutive=4, recent="! ! ! !")], at(2))  # others had two errors as well
    assert breakers.row(key).consecutive == 4
    assert not breakers.take().evidence


def test_evidence_since_the_flush_is_seen_on_top_of_what_the_store_answers() -> None:
    breakers, key = desk_of(), "broker:Alpha-Live"
    breakers.ask(Member(account_id="a"), at(0), is_last=False)
    breakers.take()
    breakers.ended(Member(account_id="a"), [BROKER_DOWN], has_answered=False, now=at(1))
    breakers.stored([Row(key=key, consecutive=4, recent="! ! ! !")], at(2))
    assert breakers.row(key).state is OPEN
