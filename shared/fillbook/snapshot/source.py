"""Where a day's figures come from: six views, checked before they are believed, refreshed as one, read in one snapshot.

The four views that are published may be somebody else's: their names are configured, so they are checked letter by letter,
quoted where they are used, and their columns are looked at before anything else happens. Our own have two companions that carry
exact numbers and what they were computed from. Nothing is computed here: the figures are SQL (migration 0024), this module
hands them over as rows. Source: snapshot specification, 2.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any, Final

from fillbook.runtime.db import Database, Tx
from fillbook.runtime.errors import Rejected
from fillbook.runtime.sql import Statement, encode, load_queries, statement
from fillbook.snapshot.days import BACKFILL_DAYS_MAX
from fillbook.snapshot.model import Problem, Source, Watermark, WorkDay
from fillbook.values import frozen

QUERIES: Final = load_queries("fillbook.snapshot", "source.sql")
NAME_FORM: Final = re.compile(r"[a-z_][a-z0-9_]{0,62}\.[a-z_][a-z0-9_]{0,62}")
REFRESH_SECONDS: Final = 120
"""What a refresh may take: ``refresh`` wants a ``Database`` opened with this ``statement_timeout_seconds``."""
REFRESH_TRIES: Final = 4
REFRESH_TURN: Final = 7_305_811_246_113_924
"""The advisory lock of those who refresh; any constant of ours."""

# --- names and columns ------------------------------------------------------------------------------------------------


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


class ViewContract(Rejected):
    """Views that cannot be read as they are: everything that is wrong with all of them, status ``view_contract``."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("view_contract", "; ".join(f"{one.path} {one.message}" for one in problems), status=500)
        self.problems = tuple(problems)


def check_views(db: Database, names: ViewNames) -> None:
    """Look at every view's existence, kind, state, grant and columns (2.5); raises ``ViewContract`` with all problems at once."""
    raise NotImplementedError


# --- the work list ----------------------------------------------------------------------------------------------------


def put_days(db: Database, days: Sequence[WorkDay], *, backfill: Sequence[WorkDay] = (), run_id: str | None = None) -> None:
    """Make the work list: ``days`` (``days.standing(now)``) stay, ``backfill`` (≤ 31 more, of ``run_id``) are there until they go.

    What is neither standing nor another living run's backfill leaves the list, so a run takes its own days away by putting
    the standing ones with its ``run_id`` again; those of a run that died leave after a quarter of an hour.
    """
    raise NotImplementedError


def put_equity(tx: Tx, day: date, *, equity: Decimal, daily_return: Decimal | None, content_sha256: str) -> None:
    """Keep a final day's equity (currency) and daily return (percent points) for drawdown and Sharpe ratio; the last one counts."""
    raise NotImplementedError


# --- refresh and read -------------------------------------------------------------------------------------------------


def refresh(db: Database) -> None:
    """Refresh all six of our views to one state of the ledger; waits for a refresh that is under way.

    ``db`` is opened with ``statement_timeout_seconds=REFRESH_SECONDS``. Raises ``Unavailable`` when the race was lost four times.
    """
    raise NotImplementedError


def read(db: Database, names: ViewNames, day: WorkDay) -> Source:
    """Read a day in one REPEATABLE READ READ ONLY transaction: four selects, six where the views are ours.

    ``Source.day`` has the ``as_of`` and ``valuation_at`` that the views were refreshed with, where they say so.
    """
    raise NotImplementedError
