"""What shaping faults do to an answer of the fake MT5 service: to the point of view before, to the document after."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields, replace
from datetime import timedelta
from typing import Any, Final

from infra.local.mt5_answers import View
from infra.local.mt5_faults import HISTORY, Fault
from infra.local.mt5_shapes import MUTATIONS, Document, Shape, mutated

HARMLESS: Final = frozenset({"latency", "one_terminal"})
"""Faults of time alone: the answer is the usual one."""


def seen(view: View, faults: Iterable[Fault]) -> View:
    """Return the point of view that the faults leave."""
    for fault in faults:
        options = fault.options
        if fault.knob == "wrong_login":
            login, server = options["login"], options["named_server"]
            if login is None and server is None:
                login = view.account.login + 1
            view = replace(view, login=int(login or view.login), server=server or view.server)
        elif fault.knob == "stale":
            age = timedelta(seconds=float(options["age"]))
            said = age // timedelta(milliseconds=1) if options["declared"] else 0
            view = replace(view, at=view.at - age, age_ms=said)
        elif fault.knob == "clock_offset":
            view = replace(view, offset_ms=int(float(options["minutes"]) * 60_000))
        elif fault.knob == "shape":
            view = replace(view, shape=_shape(view.shape, options["variant"]))
    return view


def _shape(shape: Shape, variant: Any) -> Shape:
    """Another documented shape is given by its fields; an undocumented one is made of the document later."""
    if isinstance(variant, dict):
        return replace(shape, **variant)
    if variant not in MUTATIONS:
        raise ValueError(
            f"variant is fields of a shape ({', '.join(one.name for one in fields(shape))}) or {', '.join(MUTATIONS)}"
        )
    return shape


def check(fault: Fault) -> None:
    """Raise ``ValueError`` for options that would only fail when the fault strikes."""
    if fault.knob == "shape":
        _shape(Shape(), fault.options["variant"])


def twist(document: Document, endpoint: str, faults: Iterable[Fault], pages: int = 1) -> None:
    """Change a document as the faults want; ``endpoint`` says where its lists are, ``pages`` how many the window has."""
    for fault in faults:
        options = fault.options
        if fault.knob == "incomplete":
            for part in ("info", "positions", "history") if options["part"] == "all" else (options["part"],):
                _cut(document, endpoint, part, _error(options["code"]))
        elif fault.knob == "error_as_empty":
            _empty(document, endpoint, options["what"], None if options["lies"] else _error(options["code"]))
        elif fault.knob == "duplicate_rows":
            _double(document, endpoint, pages if options["counted"] else 0)
        elif fault.knob == "shape" and isinstance(options["variant"], str):
            mutated(document, options["variant"])


def refused(document: Document, endpoint: str, code: str) -> None:
    """Make every part incomplete because the broker refused the login."""
    error = _error(code, "authorization failed")
    for part in ("info", "positions", "history"):
        _cut(document, endpoint, part, error, keep=False)


def _error(code: str, message: str = "not everything could be read") -> Document:
    return {"code": code, "message": message, "retry_after_seconds": None}


def _list(document: Document, endpoint: str, part: str) -> tuple[Document, str] | None:
    """Where a part's rows are: the dict that holds them, and under which name."""
    if part == "positions" and endpoint == "snapshot":
        return document["positions"], "rows"
    if part == "positions" and endpoint == "positions":
        return document, "positions"
    if part == "history" and endpoint in HISTORY:
        return document, "trades" if "trades" in document else "deals"
    return None


def _cut(document: Document, endpoint: str, part: str, error: Document, *, keep: bool = True) -> None:
    """Half of the rows at most, and the answer says that it is not whole."""
    if part == "info" and endpoint == "snapshot":
        document["info"] = {"complete": False, "error": error}
    elif part == "info" and endpoint == "info":
        document.clear()
        document.update({"success": False, "error": error})
    found = _list(document, endpoint, part)
    if found is None:
        return
    holder, name = found
    rows = holder[name]
    _count(document, endpoint, len(rows))
    holder[name] = rows[: len(rows) // 2] if keep else []
    if endpoint in ("snapshot", "deals"):
        holder.update({"complete": False, "error": error})
        if "next_cursor" in holder:
            holder["next_cursor"] = None
    elif not rows or not keep:  # nothing was taken from the list that a counter could miss
        document["success"] = False
        document |= {} if keep else {"error": error}


def _empty(document: Document, endpoint: str, part: str, error: Document | None) -> None:
    """Take all rows away; without an ``error`` counters and completeness agree that there are none."""
    found = _list(document, endpoint, part)
    if found is None:
        return
    holder, name = found
    _count(document, endpoint, 0 if error is None else len(holder[name]), is_forced=error is None)
    holder[name] = []
    if endpoint in ("snapshot", "deals") and error is not None:
        holder.update({"complete": False, "error": error})
    if endpoint == "deals":
        holder["next_cursor"] = None


def _double(document: Document, endpoint: str, more: int) -> None:
    """Tell the first row twice; each page has one of them, so totals that know grow by the number of pages."""
    for part in ("positions", "history"):
        found = _list(document, endpoint, part)
        if found is None or not found[0][found[1]]:
            continue
        holder, name = found
        holder[name] = [holder[name][0], *holder[name]]
        for counter in ("total", "total_positions", "total_trades"):
            if counter in document:
                document[counter] += more


def _count(document: Document, endpoint: str, count: int, *, is_forced: bool = False) -> None:
    """Give a list of the three-endpoint service a counter where its shape has none; ``is_forced`` changes one that is there."""
    names = {"positions": ("total_positions",), "history": ("total", "total_trades"), "deals": ("total",)}.get(endpoint, ())
    present = [name for name in names if name in document]
    if is_forced:
        document.update(dict.fromkeys(present, count))
    elif not present and names:
        document[names[0]] = count
