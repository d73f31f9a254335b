"""What a statement really reads: counted by the server, so that a plan is judged by its rows and not by its name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fillbook.runtime.db import Tx
from fillbook.runtime.sql import Statement, literal, statement


def rows_read(tx: Tx, query: Statement, **params: object) -> int:
    """How many rows the scans under a statement gave or threw away."""
    return sum(_read(_explained(tx, "analyze, format json, costs off, timing off", query, params)["Plan"]))


def _explained(tx: Tx, manner: str, query: Statement, params: dict[str, object]) -> Any:
    """What the server did; of a statement that is planned once, by the plan that knows no parameters."""
    if not query.is_planned_once:
        (row,) = tx.query(statement(f"explain ({manner}) {query.text}"), **params)
    else:
        values = ["null" if value is None else literal(value) for value in query.values(params)]
        tx.execute(statement("set local plan_cache_mode = force_generic_plan"))
        tx.execute(statement(f"prepare explained as {query.numbered}"))
        (row,) = tx.query(statement(f"explain ({manner}) execute explained({', '.join(values)})"))
        tx.execute(statement("deallocate explained"))
    (told,) = next(iter(row.values()))
    return told


def _read(node: dict[str, Any]) -> Iterator[int]:
    if "Scan" in node["Node Type"] and "Relation Name" in node:
        yield round((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"])
    for child in node.get("Plans", ()):
        yield from _read(child)


def blocks_read(tx: Tx, query: Statement, **params: object) -> int:
    """How many blocks a statement touched, those of the functions that it calls among them: an index read in vain counts too."""
    told = _explained(tx, "analyze, buffers, format json, costs off, timing off", query, params)
    return int(told["Plan"]["Shared Hit Blocks"] + told["Plan"]["Shared Read Blocks"])


def conditions_on(tx: Tx, part: str, query: Statement, **params: object) -> list[str]:
    """What the scans of a statement's named part ask of its rows, a text for each scan; empty where it asks nothing."""
    return list(_conditions(_explained(tx, "format json, costs off", query, params)["Plan"], part))


def _conditions(node: dict[str, Any], part: str) -> Iterator[str]:
    if node.get("CTE Name") == part:
        yield node.get("Filter", "")
    for child in node.get("Plans", ()):
        yield from _conditions(child, part)
