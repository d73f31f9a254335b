"""The row of a publication has exactly the columns that the statement reads and the table has: a misspelt one would be NULL."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

from fillbook.runtime.sql import load_queries
from fillbook.snapshot.asked import Trigger, asked
from fillbook.snapshot.model import Status
from fillbook.snapshot.outcomes import DayResult, Target
from fillbook.snapshot.publications import SENDING, SENT, Publication, publication_row

NOW = datetime(2026, 2, 11, 21, 30, tzinfo=UTC)
TEXT = load_queries("fillbook.snapshot", "publications.sql")["record"].text
NEVER_WRITTEN = {Status.CLOSED, Status.DUPLICATE, Status.DRY_RUN, Status.BAD_REQUEST, Status.CONFIGURATION}
NEVER_WRITTEN |= {Status.SOURCE_UNAVAILABLE, Status.PARTIAL, Status.NOT_STARTED}


def row() -> dict[str, Any]:
    call = asked({}, scheduled_at=None, actor="somebody", now=NOW)
    return publication_row(
        Publication(run_id="r", asked=call, started_at=NOW, finished_at=NOW),
        DayResult(date=date(2026, 2, 11), status=Status.PUBLISHED),
        "published",
    )


def test_a_row_is_written_as_it_is_read() -> None:
    found = re.search(r"jsonb_to_record\(:row::jsonb\) as r\(([^()]*)\)", TEXT)
    assert found is not None
    assert {column.split()[0] for column in found[1].split(",")} == set(row())


def test_a_row_has_every_column_of_the_table_but_its_number(query: Callable[..., list[dict[str, Any]]]) -> None:
    columns = query("select column_name from information_schema.columns where table_name = 'publications'")
    assert {column["column_name"] for column in columns} == {*row(), "seq"}


def test_the_words_of_a_row_are_those_of_the_code(query: Callable[..., list[dict[str, Any]]]) -> None:
    rules = {
        one["conname"]: set(re.findall(r"'([a-z_0-9]+)'::text", one["rule"]))
        for one in query(
            "select conname, pg_get_constraintdef(oid) as rule from pg_constraint"
            " where conrelid = 'metrics.publications'::regclass and contype = 'c'"
        )
    }
    assert rules["publications_status"] == {status.value for status in Status if status not in NEVER_WRITTEN} | {SENDING}
    assert rules["publications_trigger"] == {trigger.value for trigger in Trigger}
    assert rules["publications_target"] == {target.value for target in Target}
    assert set(SENT) <= rules["publications_status"]
