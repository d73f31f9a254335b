"""What readers may ask of the function, and what they are shown or told."""

from __future__ import annotations

import gzip
import json
from datetime import timedelta

import pytest

from fillbook.runtime.db import Database
from tests.support.snapshot_api import DAY, NOW, PATH, TOKEN, Api, code, day_document, put

BEFORE = "2026-02-10"


@pytest.fixture
def stored(receiver: Database) -> Database:
    """Two days, the later one in its second version."""
    put(receiver, day_document(BEFORE, number=7))
    put(receiver, day_document(number=1))
    put(receiver, day_document(number=2, updated_at="2026-02-11T21:10:00.000Z", headline="second"))
    return receiver


@pytest.mark.usefixtures("stored")
def test_the_latest_day_is_the_published_document_with_our_additions(api: Api) -> None:
    latest = api.read("/v1/trades/latest")
    assert list(latest)[:2] == ["date", "version"]
    assert {name: latest[name] for name in ("date", "version", "updated_at", "headline", "stage", "kpi_version")} == {
        "date": DAY,
        "version": 2,
        "updated_at": "2026-02-11T21:10:00.000Z",
        "headline": "second",
        "stage": "final",
        "kpi_version": 1,
    }
    assert latest["rows"][0] == {
        "kpi": "Daily PnL",
        "value": "$2.00",
        "value_num": 2,
        "kind": "currency",
        "unit": "USD",
        "sort_order": 10,
    }
    assert latest["overlay"]["portfolioAssets"][0] == {"trade_id": 102, "symbol": "AAPL", "contract_name": "AAPL"}
    assert api.read("/v1/trades/latest", date=BEFORE)["rows"][0]["value_num"] == 7
    first = api.read("/v1/trades/latest", date=DAY, version=1)
    assert (first["version"], first["rows"][0]["value_num"], first["headline"]) == (1, 1, "Fillbook metrics for 2026-02-11")
    assert code(api.get(f"/v1/trades/latest?date={DAY}&version=3")) == (404, "no_snapshot")


@pytest.mark.usefixtures("stored")
def test_a_day_says_what_it_holds_and_how_it_came_to_be(api: Api) -> None:
    daily = api.read("/v1/metrics/daily", date=DAY)
    assert (daily["version"], daily["headline"], daily["stage"]) == (2, "second", "final")
    assert daily["counts"] == {"kpis": 3, "series": 3, "extremes": 2, "assets": 2}
    versions = api.read("/v1/metrics/versions", date=DAY)["items"]
    assert [(one["version"], one["updated_at"], one["forced"]) for one in versions] == [
        (1, "2026-02-11T21:00:04.512Z", []),
        (2, "2026-02-11T21:10:00.000Z", []),
    ]
    restated = api.read("/v1/metrics/restatements", date=DAY)["items"]
    assert [(one["version"], one["subject"], one["name"], one["difference"]) for one in restated] == [
        (2, "kpi", "Daily PnL", 1),
        (2, "kpi", "P&L", 1),
        *((2, "part", part, 0) for part in ("assets", "extremes", "kpis", "series")),
    ]
    standing = api.client.get(f"{PATH}?date={DAY}", headers={"X-Internal-Token": TOKEN}).get_json()
    assert standing == {name: daily[name] for name in ("date", "version", "updated_at")} | {
        "content_sha256": versions[1]["content_sha256"],
        "counts": daily["counts"],
    }


@pytest.mark.usefixtures("stored")
def test_days_are_listed_latest_first_and_page_by_page(api: Api) -> None:
    first = api.read("/v1/trades/dates", limit=1)
    assert first["items"] == [
        {"date": DAY, "updated_at": "2026-02-11T21:10:00.000Z", "headline": "second", "json": f"/v1/trades/latest?date={DAY}"}
    ]
    second = api.read("/v1/trades/dates", limit=1, cursor=first["next_cursor"])
    assert ([one["date"] for one in second["items"]], second["next_cursor"]) == ([BEFORE], None)
    assert api.read("/v1/metrics/dates")["items"][1] == {
        "date": BEFORE,
        "stage": "final",
        "version": 1,
        "updated_at": "2026-02-10T21:00:04.512Z",
    }
    assert api.get(second["items"][0]["json"]).status_code == 200


@pytest.mark.usefixtures("stored")
def test_a_figure_is_shown_through_the_days_whatever_it_is_called(api: Api) -> None:
    history = api.read("/v1/metrics/kpi-history", kpi="P&L")
    assert [(one["date"], one["value_num"], one["version"]) for one in history["items"]] == [(BEFORE, 7, 1), (DAY, 2, 2)]
    assert [one["date"] for one in api.read("/v1/metrics/kpi-history", kpi="P&L", limit=1)["items"]] == [DAY]
    assert api.read("/v1/metrics/kpi-history", kpi="P&L", limit=1)["has_more"] is True
    assert api.read("/v1/metrics/kpi-history", kpi="P&L", from_="2026-03-01")["items"] == []
    kpis = api.read("/v1/metrics/kpis", date=DAY)["items"]
    assert [one["kpi"] for one in kpis] == ["Daily PnL", "P&L", "Win rate"]
    assert kpis[2] == {
        "kpi": "Win rate",
        "value_text": "—",
        "value_num": None,
        "value_kind": "percent",
        "unit": None,
        "sort_order": 30,
        "missing_reason": "none_closed",
    }


@pytest.mark.usefixtures("stored")
def test_the_ends_of_a_figure_are_its_own_and_never_those_of_another(api: Api) -> None:
    both = api.read("/v1/metrics/extremes", kpi="Daily PnL", date=DAY)["items"]
    assert [(one["side"], one["rank"], one["trade_id"], one["qty"]) for one in both] == [("hi", 1, 101, 2), ("lo", 1, 202, 2)]
    assert both[0]["item"]["contract_name"] == "AAPL"
    assert len(api.read("/v1/metrics/extremes", kpi="Daily PnL", side="lo")["items"]) == 1
    assert api.read("/v1/metrics/extremes", kpi="P&L")["items"] == []
    assets = api.read("/v1/metrics/portfolio-assets", symbol="MSFT")["items"]
    assert assets == [{"trade_id": 300, "symbol": "MSFT", "contract_name": "MSFT 2"}]


def test_before_anything_is_published_a_day_is_not_there_and_lists_are_empty(api: Api) -> None:
    assert code(api.get("/v1/trades/latest")) == (404, "no_snapshot")
    assert api.read("/v1/trades/dates") == {"next_cursor": None, "items": []}
    assert code(api.get("/v1/metrics/kpi-history?kpi=P%26L")) == (404, "no_kpi")
    assert api.read("/v1/metrics/freshness")["latest"] is None


@pytest.mark.usefixtures("stored")
def test_a_series_without_a_point_and_without_a_row_is_known_by_its_name(api: Api) -> None:
    empty = day_document("2026-02-12")
    empty["overlay"]["seriesByKpi"]["Alone"] = []
    api.at(NOW + timedelta(days=1))
    assert api.post(empty).status_code == 200
    assert api.read("/v1/metrics/series", kpi="Alone", date="2026-02-12")["points"] == []


@pytest.mark.usefixtures("stored")
def test_a_tag_names_day_version_content_and_question(api: Api) -> None:
    tag = api.get(f"/v1/metrics/kpis?date={DAY}").headers["ETag"].strip('"')
    content = api.read("/v1/metrics/versions", date=DAY)["items"][1]["content_sha256"]
    assert tag.startswith(f"{DAY}-2-{content[:16]}-")
    others = {api.get(f"/v1/metrics/portfolio-assets?limit={limit}").headers["ETag"] for limit in (1, 2, 200)}
    assert len(others) == 3


@pytest.mark.usefixtures("stored")
def test_a_settled_day_may_be_kept_some_minutes_and_a_head_has_no_body(api: Api) -> None:
    api.at(NOW + timedelta(days=7))
    assert api.get(f"/v1/metrics/daily?date={DAY}").headers["Cache-Control"] == "private, no-cache"
    assert api.get(f"/v1/metrics/daily?date={BEFORE}").headers["Cache-Control"] == "private, max-age=300"
    head = api.get(f"/v1/metrics/daily?date={DAY}", method="HEAD")
    assert (head.status_code, head.get_data()) == (200, b"")
    assert head.headers["ETag"] == api.get(f"/v1/metrics/daily?date={DAY}").headers["ETag"]


@pytest.mark.usefixtures("stored")
def test_what_is_long_is_compressed_for_whoever_takes_it(api: Api) -> None:
    long = api.get("/v1/trades/latest", Accept_Encoding="gzip, deflate")
    assert long.headers["Content-Encoding"] == "gzip"
    assert json.loads(gzip.decompress(long.get_data())) == api.read("/v1/trades/latest")
    for accepted in ("identity", "gzip;q=0", "br"):
        assert "Content-Encoding" not in api.get("/v1/trades/latest", Accept_Encoding=accepted).headers
    assert "Content-Encoding" not in api.get("/v1/metrics/daily", Accept_Encoding="gzip").headers, "below 1,024 bytes"


def test_assets_versions_and_restatements_are_paged_by_their_keys(api: Api) -> None:
    for number in range(1, 4):
        api.post(day_document(number=number, updated_at=f"2026-02-11T21:0{number}:00.000Z"))
    for path, known in (
        ("/v1/metrics/portfolio-assets", lambda item: (item["trade_id"], item["contract_name"])),
        ("/v1/metrics/versions", lambda item: item["version"]),
        ("/v1/metrics/restatements", lambda item: (item["version"], item["subject"], item["name"])),
    ):
        whole = [known(item) for item in api.read(path)["items"]]
        seen, cursor = [], ""
        while cursor is not None:
            page = api.read(path, limit=1, **({"cursor": cursor} if cursor else {}))
            seen += [known(item) for item in page["items"]]
            cursor = page["next_cursor"]
        assert seen == whole == sorted(whole)
        assert len(whole) >= 2
