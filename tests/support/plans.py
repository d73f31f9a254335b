"""What a statement really reads: counted by the server, so that a plan is judged by its rows and not by its name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fillbook.runtime.db import Tx
from fillbook.runtime.sql import Statement, statement


def rows_read(tx: Tx, query: Statement, **params: object) -> int:
    """How many rows the scans under a statement gave or threw away."""
    (row,) = tx.query(statement("explain (analyze, format json, costs off, timing off) " + query.text), **params)
    (told,) = next(iter(row.values()))
    return sum(_read(told["Plan"]))


def _read(node: dict[str, Any]) -> Iterator[int]:
    if "Scan" in node["Node Type"] and "Relation Name" in node:
        yield round((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
    for child in node.get("Plans", ()):
        yield from _read(child)


def blocks_read(tx: Tx, query: Statement, **params: object) -> int:
    """How many blocks a statement touched, those of the functions that it calls among them: an index read in vain counts too."""
    (row,) = tx.query(statement("explain (analyze, buffers, format json, costs off, timing off) " + query.text), **params)
    (told,) = next(iter(row.values()))
    return int(told["Plan"]["Shared Hit Blocks"] + told["Plan"]["Shared Read Blocks"])
