"""Published days on the read API: what their readers see, how they were published, and who does not see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

from tests.support.tracker_desk import BROKER_KEY, get, published

Query = Callable[..., list[dict[str, Any]]]
PATHS = ("", "/dates", "/series?kpi=Equity", "/extremes", "/restatements")


@pytest.mark.usefixtures("booked")
def test_before_anything_is_published_there_is_no_snapshot(client: FlaskClient) -> None:
    status, answer = get(client, "/timed/snapshot")
    assert (status, answer["snapshot"], answer["data_as_of_at"]) == (200, None, None)
    assert get(client, "/timed/snapshot/dates")[1]["items"] == get(client, "/timed/snapshot/restatements")[1]["items"] == []
    for path in ("/timed/snapshot/series?kpi=Equity", "/timed/snapshot/extremes", "/timed/snapshot?date=2026-02-03"):
        status, answer = get(client, path)
        assert (status, answer["error"]["code"]) == (404, "no_snapshot")


@pytest.mark.usefixtures("booked")
def test_the_newest_day_is_shown_as_it_was_published(client: FlaskClient, query: Query) -> None:
    published(query, "2026-02-02", version=1)
    published(query, "2026-02-03", version=3, status="published_fallback")
    query(
        "insert into metrics.metrics_portfolio_assets (date, trade_id, symbol, contract_name)"
        " values ('2026-02-03', 101, 'ZZTA', 'ZZTA') returning id"
    )
    status, answer = get(client, "/timed/snapshot")
    shown = answer["snapshot"]
    assert status == 200
    assert (shown["date"], shown["stage"], shown["version"], shown["content_sha256"]) == ("2026-02-03", "final", 3, "ab" * 32)
    assert (shown["publication"]["status"], shown["publication"]["target"], shown["publication"]["verified"]) == (
        "published_fallback",
        "api",
        True,
    )
    assert [(one["kpi"], one["value"], one["value_num"], one["unit"], one["missing_reason"]) for one in shown["kpis"]] == [
        ("Equity", "$100,200.50", "100200.5", "USD", None),
        ("Win rate", "—", None, "%", "none_closed"),
    ]
    assert shown["assets"] == [{"trade_id": 101, "symbol": "ZZTA", "contract_name": "ZZTA"}]
    assert answer["data_as_of_at"] == "2026-02-03T21:00:00.000Z"
    assert get(client, "/timed/snapshot?date=2026-02-02")[1]["snapshot"]["version"] == 1


@pytest.mark.usefixtures("booked")
def test_days_are_listed_in_pages_with_how_often_they_were_restated(client: FlaskClient, query: Query) -> None:
    for day in ("2026-01-30", "2026-02-02", "2026-02-03"):
        published(query, day)
    restated(query, "2026-02-02")
    first = get(client, "/timed/snapshot/dates?limit=2")[1]
    assert [(one["date"], one["restated"]) for one in first["items"]] == [("2026-02-03", 0), ("2026-02-02", 1)]
    rest = get(client, f"/timed/snapshot/dates?limit=2&cursor={first['next_cursor']}")[1]
    assert ([one["date"] for one in rest["items"]], rest["has_more"]) == (["2026-01-30"], False)
    (one,) = get(client, "/timed/snapshot/restatements?date=2026-02-02")[1]["items"]
    assert (one["name"], one["old_num"], one["new_num"], one["difference"], one["version"]) == (
        "Equity",
        "1.5",
        "2.25",
        "0.75",
        2,
    )
    assert one["late_actions"] == [{"action_id": "late"}]
    assert get(client, "/timed/snapshot/restatements?date=2026-02-03")[1]["items"] == []


@pytest.mark.usefixtures("booked")
def test_series_and_extremes_are_numbers_as_text(client: FlaskClient, query: Query) -> None:
    published(query, "2026-02-03")
    query(
        "insert into metrics.metrics_series_points (date, kpi, t, v, src) values"
        " ('2026-02-03', 'Equity', '2026-02-03 14:31Z', 100000.50, 'live') returning id"
    )
    query(
        "insert into metrics.metrics_extremes_items (date, kpi, side, rank, trade_id, symbol, contract_name, metric_raw,"
        " percent_change, mid_ts, item_json) values ('2026-02-03', 'Equity', 'hi', 1, 101, 'ZZTA', 'ZZTA', 10.50, 2.25,"
        " '2026-02-03 20:59Z', '{}') returning id"
    )
    series = get(client, "/timed/snapshot/series?kpi=Equity&date=2026-02-03")[1]
    assert series["points"] == [{"ts": 1770129060000, "at": "2026-02-03T14:31:00.000Z", "value": "100000.5", "source": "live"}]
    assert get(client, "/timed/snapshot/series?kpi=Win%20rate")[1]["points"] == []
    assert get(client, "/timed/snapshot/series?kpi=Nothing")[1]["error"]["code"] == "no_kpi"
    (one,) = get(client, "/timed/snapshot/extremes?kpi=Equity&side=hi")[1]["items"]
    assert (one["trade_id"], one["metric_raw"], one["change_percent"], one["mid_at"], one["bid_price"]) == (
        101, "10.5", "2.25", "2026-02-03T20:59:00.000Z", None,
    )  # fmt: skip
    assert get(client, "/timed/snapshot/extremes?side=lo")[1]["items"] == []


@pytest.mark.usefixtures("booked")
def test_a_day_of_books_that_a_key_does_not_see_is_not_shown(client: FlaskClient, query: Query) -> None:
    published(query, "2026-02-03")
    restated(query, "2026-02-03")
    assert get(client, "/timed/snapshot", BROKER_KEY)[1]["snapshot"] is None
    assert get(client, "/timed/snapshot/dates", BROKER_KEY)[1]["items"] == []
    assert get(client, "/timed/snapshot/restatements", BROKER_KEY)[1]["items"] == []
    for path in ("?date=2026-02-03", "/series?kpi=Equity", "/extremes"):
        assert get(client, f"/timed/snapshot{path}", BROKER_KEY)[0] == 404
    assert [get(client, f"/timed/snapshot{path}", None)[0] for path in PATHS] == [401] * 5


def restated(query: Query, day: str) -> None:
    """A second version that changed a figure."""
    query(
        "insert into metrics.snapshot_versions (date, version, updated_at, stage, kpi_version, content_sha256, counts, forced,"
        " late_actions, document, request_id, recorded_at) values (:day::date, 2, :day::date + time '22:00', 'final', 1,"
        " repeat('cd', 32), '{}', '{}', '[{\"action_id\": \"late\"}]', '{}', 'r', :day::date + time '22:00') returning version",
        day=day,
    )
    query(
        "insert into metrics.restatements (date, version, subject, name, old_text, new_text, old_num, new_num, recorded_at)"
        " values (:day::date, 2, 'kpi', 'Equity', '1.50', '2.25', 1.5, 2.25, :day::date + time '22:00') returning version",
        day=day,
    )
