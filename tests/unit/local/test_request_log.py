"""What a cloud bills for a log of requests: stretches of work in steps of 100 ms, and who bears which part of them."""

from __future__ import annotations

import pytest

from infra.local.meter import risen, together
from infra.local.requestlog import Request, billed_seconds, parsed, tallied

MS = 1_000_000


def at(begun_ms: int, ended_ms: int, caller: str = "push") -> Request:
    return Request(begun_ms * MS, ended_ms * MS, caller, 10, 20, 204)


@pytest.mark.parametrize(
    ("requests", "seconds"),
    [
        ([], 0.0),
        ([at(1_000, 1_001)], 0.1),
        ([at(1_000, 1_100)], 0.1),
        ([at(1_000, 1_101)], 0.2),
        ([at(1_000, 1_250), at(1_010, 1_020), at(1_100, 1_260)], 0.3),
        ([at(1_000, 1_010), at(1_050, 1_060)], 0.1),
        ([at(1_000, 1_010), at(1_100, 1_110)], 0.2),
        ([at(1_000, 1_010), at(1_090, 1_210)], 0.3),
        ([at(5_000, 5_100), at(1_000, 1_100)], 0.2),
    ],
)
def test_an_instance_is_billed_for_its_stretches_of_work_whatever_it_serves_in_them(
    requests: list[Request], seconds: float
) -> None:
    assert billed_seconds(requests) == pytest.approx(seconds)


def test_scheduled_calls_are_billed_alone_and_all_others_share_their_time() -> None:
    found = tallied(
        [at(1_000, 1_300), at(1_000, 1_100, "http"), at(1_000, 1_010, "schedule:tick"), at(1_020, 1_030, "schedule:tick")]
    )
    assert found["schedule:tick"]["billed_seconds"] == pytest.approx(0.2)
    assert found["push"]["billed_seconds"] == pytest.approx(0.225)
    assert found["http"]["billed_seconds"] == pytest.approx(0.075)
    assert (found["push"]["requests"], found["push"]["bytes_in"], found["push"]["bytes_out"]) == (1, 10, 20)


def test_a_line_that_is_torn_or_strange_is_left_out() -> None:
    lines = ["1 2 push 3 4 204", "1 2 push 3", "", "x 2 push 3 4 204", "5 6 http 0 9 503"]
    assert parsed(lines) == [Request(1, 2, "push", 3, 4, 204), Request(5, 6, "http", 0, 9, 503)]
    assert tallied(parsed(lines))["http"]["failed"] == 1


def test_a_day_is_what_two_readings_differ_by_also_when_a_process_began_anew() -> None:
    before = {"function x": {"starts": 1.0, "log_bytes": 900.0, "peak_bytes": 7.0}, "database": {"size_bytes": 50.0}}
    now = {"function x": {"starts": 2.0, "log_bytes": 100.0, "peak_bytes": 9.0}, "database": {"size_bytes": 40.0}}
    fresh = risen(now, before)
    assert fresh["function x"] == {"starts": 1.0, "log_bytes": 100.0, "peak_bytes": 9.0}
    assert fresh["database"] == {"size_bytes": 0.0}, "a database that shrank gives nothing back"
    assert together({"function x": {"starts": 1.0, "peak_bytes": 8.0}}, fresh)["function x"] == {
        "starts": 2.0,
        "log_bytes": 100.0,
        "peak_bytes": 9.0,
    }
