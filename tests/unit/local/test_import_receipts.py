"""``import-receipts``: all points of a file or those of some trading days and tickers, each the same receipt either way."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from fillbook.calendar import NEW_YORK
from infra.local import demo
from infra.local.receipts import COLUMNS, Document, labelled, read_points

MINUTES = ("2026-02-05T15:00", "2026-02-06T10:00", "2026-02-06T10:01", "2026-02-07T12:00", "2026-02-09T09:30", "2026-02-10T09:30")
SATURDAY = date(2026, 2, 7)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Two tickers over five days, one of them a Saturday, which belongs to Monday."""
    columns = sorted(COLUMNS)
    rows = [",".join(columns)]
    for number, minute in enumerate(MINUTES):
        at = datetime.fromisoformat(minute).replace(tzinfo=NEW_YORK)
        for ticker in ("ZZTA", "ZZTB"):
            point = dict.fromkeys(("htf_score", "ltf_score", "completion", "phase_pct"), "0.5")
            point |= {"ticker": ticker, "ts": f"{int(at.timestamp()) * 1000}", "ny_date": minute[:10], "price": f"{100 + number}"}
            point |= {"state": "HTF_BULL_LTF_BULL", "trigger_reason": "EMA_CROSS", "active_flags": ""}
            rows.append(",".join(point[name] for name in columns))
    path = tmp_path / "points.csv"
    path.write_text("\n".join(rows) + "\n")
    return path


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Document]:
    """What would be posted to a running desk."""
    posted: list[Document] = []

    def play(_desk: Any, _environment: Any, minutes: Iterable[list[Document]], total: int, _out: Any) -> None:
        posted.extend(receipt for minute in minutes for receipt in minute)
        assert len(posted) == total

    monkeypatch.setattr(demo, "running", lambda _home: ("a desk", {}))
    monkeypatch.setattr(demo, "play", play)
    monkeypatch.setattr(demo, "finish", lambda _summary, _desk: 0)
    return posted


def test_without_a_choice_every_point_is_sent_in_the_order_of_time(file: Path, sent: list[Document]) -> None:
    assert demo.import_receipts([str(file)]) == 0
    assert sent == list(labelled(read_points(file)))


def test_trading_days_and_tickers_choose_points_and_change_none_of_them(file: Path, sent: list[Document]) -> None:
    assert demo.import_receipts([str(file), "--from", "2026-02-06", "--to", "2026-02-09", "--tickers", "ZZTB,ZZTC"]) == 0
    every = [receipt for receipt in labelled(read_points(file)) if receipt["ticker"] == "ZZTB"]
    assert sent == every[1:5]
    assert demo.trading_day_of(sent[2]) == date(2026, 2, 9)
    assert datetime.fromtimestamp(sent[2]["ts"] / 1000, NEW_YORK).date() == SATURDAY


def test_a_choice_that_leaves_nothing_is_said_and_sends_nothing(
    file: Path, sent: list[Document], capsys: pytest.CaptureFixture[str]
) -> None:
    assert demo.import_receipts([str(file), "--from", "2026-03-02"]) == 2
    assert sent == []
    assert capsys.readouterr().err == "points.csv: no such points\n"
