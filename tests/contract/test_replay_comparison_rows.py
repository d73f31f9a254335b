"""Rows of comparisons against the record set and the value that read them: a misspelt key would become NULL."""

from __future__ import annotations

import json
import re

from fillbook.replay import comparisonstore
from fillbook.replay.comparisonstore import QUERIES
from fillbook.replay.model import Cause, Divergence
from fillbook.runtime.sql import Statement


def record_set(statement: Statement) -> set[str]:
    """The columns of a statement's record set."""
    [found] = re.findall(r"jsonb_to_recordset\([^)]*\) as r\((.*?)\)", " ".join(statement.numbered.split()))
    return {part.split()[0] for part in found.split(", ")}


def test_a_divergence_is_written_with_every_column() -> None:
    one = Divergence(ticker="ZZTA", ts=1, receipt_id=None, field="lane", value_a="a", value_b="b", cause=Cause.CODE)
    assert set(comparisonstore._divergence_row(one)) == record_set(QUERIES["divergences_kept"])


def test_a_page_of_a_log_has_the_fields_of_a_line() -> None:
    text = " ".join(QUERIES["log_page"].numbered.split())
    for name in comparisonstore.Line._fields:
        assert re.search(rf"(as {name}\b|\bd\.{name}\b)", text), json.dumps(name)
