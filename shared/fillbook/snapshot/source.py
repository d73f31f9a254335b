"""Where a day's figures come from: six views, checked before they are believed, refreshed as one, read in one snapshot.

The four views that are published may be somebody else's: their names are configured, so they are checked letter by letter,
quoted where they are used, and their columns are looked at before anything else happens. Our own have two companions that carry
exact numbers and what they were computed from. Nothing is computed here: the figures are SQL (migration 0024), this module
hands them over as rows. Source: snapshot specification, 2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, replace
from datetime import date
from decimal import Decimal
from typing import Any, Final

from fillbook.runtime.db import Database, Tx
from fillbook.runtime.errors import Rejected
from fillbook.runtime.sql import Statement, encode, load_queries, statement
from fillbook.snapshot.days import BACKFILL_DAYS_MAX
from fillbook.snapshot.model import EXTREME_NUMBERS, Problem, Source, Watermark, WorkDay
from fillbook.values import frozen

QUERIES: Final = load_queries("fillbook.snapshot", "source.sql")
NAME_FORM: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}\.[a-z_][a-z0-9_]{0,62}")
PARTS: Final = ("kpis", "series", "extremes", "portfolio")
REFRESH_SECONDS: Final = 120
"""What a refresh may take: ``refresh`` wants a ``Database`` opened with this ``statement_timeout_seconds``."""
REFRESH_TRIES: Final = 4
REFRESH_TURN: Final = 7_305_811_246_113_924
"""The advisory lock of those who refresh; any constant of ours."""

# --- names and columns ------------------------------------------------------------------------------------------------

_TEXT: Final = frozenset({"text", "character varying", "character"})
_DAY: Final = frozenset({"date"})
_TIME: Final = frozenset({"timestamp with time zone"})
_NUMBER: Final = frozenset({"numeric", "double precision", "integer", "bigint"})
_ID: Final = frozenset({"integer", "bigint"})
_KINDS: Final = {"r": "table", "p": "table", "v": "view", "m": "materialized view"}

KPI_COLUMNS: Final = {"kpi_name": _TEXT, "display_value": _TEXT, "sort_order": _ID, "report_date": _DAY}
SERIES_COLUMNS: Final = {"kpi_name": _TEXT, "ts": _TIME, "value": _NUMBER, "source": _TEXT, "report_date": _DAY}
EXTREMES_COLUMNS: Final = {
    **dict.fromkeys(("kpi_name", "side"), _TEXT),
    **dict.fromkeys(("rank", "trade_id"), _ID),
    **dict.fromkeys(("symbol", "contract_name"), _TEXT),
    **dict.fromkeys(EXTREME_NUMBERS, _NUMBER),
    "mid_ts": _TIME,
    "report_date": _DAY,
}
PORTFOLIO_COLUMNS: Final = {"trade_id": _ID, "symbol": _TEXT, "contract_name": _TEXT, "report_date": _DAY}
COMPANIONS: Final = (
    (
        "utils_statistics.trades_kpi_values_mv",
        {
            **dict.fromkeys(("kpi_name", "value_kind", "unit", "missing_reason"), _TEXT),
            "value_num": _NUMBER,
            "kpi_version": _ID,
            "report_date": _DAY,
        },
    ),
    (
        "utils_statistics.trades_source_watermark_mv",
        {
            **dict.fromkeys(("as_of", "valuation_at", "last_recorded_at", "last_mark_at", "refreshed_at"), _TIME),
            **dict.fromkeys(("actions", "closings", "open_positions", "after_close"), _ID),
            **dict.fromkeys(("ledger_seq", "excluded"), frozenset({"jsonb"})),
            "stage": _TEXT,
            "start_cash": _NUMBER,
            "report_date": _DAY,
        },
    ),
)


def checked_name(text: str) -> str:
    """Return ``schema.view`` when it is just that in lower case; anything else is a ``ValueError`` (at configuration)."""
    if NAME_FORM.fullmatch(text) is None:
        raise ValueError("a view is named schema.view, in lower case, without quotes")
    return text


@frozen
class ViewNames:
    """The configured views, checked when made (``ValueError``); settings ``MV_KPI_TABLE`` and so on."""

    kpi: str = "utils_statistics.trades_kpi_summary_mv"
    series: str = "utils_statistics.trades_kpi_series_mv"
    extremes: str = "utils_statistics.trades_contract_extremes_by_kpi_mv"
    portfolio: str = "utils_statistics.trades_portfolio_assets_mv"

    def __post_init__(self) -> None:
        for name in (self.kpi, self.series, self.extremes, self.portfolio):
            checked_name(name)

    @property
    def is_ours(self) -> bool:
        """Whether all four are our own views, which have companions and can be refreshed."""
        return self == ViewNames()

    @property
    def required(self) -> tuple[tuple[str, Mapping[str, frozenset[str]]], ...]:
        """Every view that is read, with its columns and the types that each may have."""
        named = ((self.kpi, KPI_COLUMNS), (self.series, SERIES_COLUMNS), (self.extremes, EXTREMES_COLUMNS))
        found = (*named, (self.portfolio, PORTFOLIO_COLUMNS))
        return (*found, *COMPANIONS) if self.is_ours else found

    def put_into(self, asked: Statement) -> Statement:
        """The statement with the configured names, quoted, in the places that stand for them."""
        text = asked.text
        for what in ("kpi", "series", "extremes", "portfolio"):
            text = text.replace(f"views.{what} ", f"{_quoted(getattr(self, what))} ")
        return statement(text, name=asked.name, purpose=asked.purpose)


def _quoted(name: str) -> str:
    schema, view = name.split(".")
    return f'"{schema}"."{view}"'


class ViewContract(Rejected):
    """Views that cannot be read as they are: everything that is wrong with all of them, status ``view_contract``."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("view_contract", "; ".join(f"{one.path} {one.message}" for one in problems), status=500)
        self.problems = tuple(problems)


def check_views(db: Database, names: ViewNames) -> None:
    """Look at every view's existence, kind, state, grant and columns (2.5); raises ``ViewContract`` with all problems at once."""
    required = dict(names.required)
    with db.transaction(read_only=True) as tx:
        seen = {row["name"]: row for row in tx.query(QUERIES["views_seen"], names=list(required))}
    problems = [problem for name, columns in required.items() for problem in _broken(seen[name], columns)]
    if problems:
        raise ViewContract(problems)


def _broken(seen: Mapping[str, Any], columns: Mapping[str, frozenset[str]]) -> Iterator[Problem]:
    """What is wrong with one view; the columns are looked at also where it may not be read yet."""
    name = seen["name"]
    if seen["kind"] is None:
        yield Problem(path=name, code="missing", message="does not exist")
        return
    if seen["kind"] not in _KINDS:
        yield Problem(path=name, code="wrong_kind", message="is no table, view or materialized view")
        return
    if not seen["is_populated"]:
        yield Problem(path=name, code="not_populated", message="was never filled")
    if not seen["is_readable"]:
        yield Problem(path=name, code="no_grant", message="may not be read by this role")
    for column, types in columns.items():
        found = seen["columns"].get(column)
        if found is None:
            yield Problem(path=f"{name}.{column}", code="column_missing", message="does not exist")
        elif found not in types:
            yield Problem(path=f"{name}.{column}", code="wrong_type", message=f"is {found}, not {' or '.join(sorted(types))}")


# --- the work list ----------------------------------------------------------------------------------------------------


def put_days(db: Database, days: Sequence[WorkDay], *, backfill: Sequence[WorkDay] = (), run_id: str | None = None) -> None:
    """Make the work list: ``days`` (``days.standing(now)``) stay, ``backfill`` (≤ 31 more, of ``run_id``) come and go.

    What is neither standing nor another living run's backfill leaves the list, so a run takes its own days away by putting
    the standing ones with its ``run_id`` again; those of a run that died leave after a quarter of an hour.
    """
    if len(backfill) > BACKFILL_DAYS_MAX or (backfill and run_id is None):
        raise ValueError(f"a backfill names its run and at most {BACKFILL_DAYS_MAX} days at a time")
    rows = {day.report_date: _listed(day, run_id) for day in backfill} | {day.report_date: _listed(day, None) for day in days}

    def put(tx: Tx) -> None:
        tx.execute(QUERIES["let_days_go"], days=sorted(rows), run_id=run_id)
        tx.execute(QUERIES["put_days"], days=encode(list(rows.values())))

    db.run(put)


def _listed(day: WorkDay, run_id: str | None) -> dict[str, Any]:
    return {each.name: getattr(day, each.name) for each in fields(WorkDay)} | {"run_id": run_id}


def put_equity(tx: Tx, day: date, *, equity: Decimal, daily_return: Decimal | None, content_sha256: str) -> None:
    """Keep a final day's equity (currency) and daily return (percent points) for drawdown and Sharpe; the last one counts."""
    tx.execute(QUERIES["put_equity"], day=day, equity=equity, daily_return=daily_return, content_sha256=content_sha256)


# --- refresh and read -------------------------------------------------------------------------------------------------


def refresh(db: Database) -> None:
    """Refresh all six of our views to one state of the ledger; waits for a refresh that is under way.

    ``db`` is opened with ``statement_timeout_seconds=REFRESH_SECONDS``. Raises ``Unavailable`` when the race was lost four times.
    """
    db.run(
        lambda tx: tx.query(QUERIES["refresh"]),
        tries=REFRESH_TRIES,
        budget_seconds=REFRESH_TRIES * REFRESH_SECONDS,
        isolation="repeatable read",
        turn=REFRESH_TURN,
    )


def read(db: Database, names: ViewNames, day: WorkDay) -> Source:
    """Read a day in one REPEATABLE READ READ ONLY transaction: four selects, six where the views are ours.

    ``Source.day`` has the ``as_of`` and ``valuation_at`` that the views were refreshed with, where they say so.
    """
    with db.transaction(read_only=True, isolation="repeatable read") as tx:
        parts = [tuple(tx.query(names.put_into(QUERIES[f"read_{what}"]), day=day.report_date)) for what in PARTS]
        values = tx.query(QUERIES["read_values"], day=day.report_date) if names.is_ours else None
        marks = tx.query(QUERIES["read_watermark"], day=day.report_date) if names.is_ours else []
    start_cash = marks[0].pop("start_cash") if marks else None
    watermark = Watermark(**marks[0]) if marks else None
    if watermark is not None:
        day = replace(day, as_of=watermark.as_of, valuation_at=watermark.valuation_at)
    return Source(
        day=day,
        kpis=parts[0],
        series=parts[1],
        extremes=parts[2],
        portfolio=parts[3],
        values=None if values is None else {row["kpi_name"]: row for row in values},
        watermark=watermark,
        start_cash=start_cash,
    )
