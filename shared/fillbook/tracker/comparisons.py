"""Where two runs part, or a run and the live book: the last stored comparison, and the trades of both sides beside each other.

Totals, counts and first differences are those that were stored when the two were compared; trades are read from both books as
they are now, within what was compared: the sessions of the run, its ticker, its script version. Source: replay.md 8.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, cast

from fillbook import money
from fillbook.calendar import NEW_YORK, calendar
from fillbook.outbox.model import derived_id
from fillbook.runtime.db import Database
from fillbook.runtime.deskkeys import DeskKey
from fillbook.runtime.errors import Rejected
from fillbook.signal.rules import RULES, sentence_of
from fillbook.tracker import filters, store
from fillbook.tracker.model import refused, single, whole
from fillbook.tracker.parameter import Parameter, names
from fillbook.tracker.replays import NAME_LENGTH_MAX, QUERIES, at_of, known, pair
from fillbook.tracker.replays_model import ComparisonAnswer
from fillbook.tracker.route import Given, Route, Source, Weight
from fillbook.tracker.wire import answer, instants, text
from fillbook.values import frozen

Document = dict[str, Any]
Actions = list[store.Row]
LIVE = "live"
LIMIT_DEFAULT, LIMIT_MAX = 200, 1_000
DIVERGENCES_MAX = 200
ACTIONS_MAX = 20_000
BUCKET = timedelta(minutes=5)
COUNTED = ("decided", "entries", "adds", "trims", "exits")
FIELDS = ("action_type", "quantity", "price", "realized_pnl")
_RUN = {"type": "string", "minLength": 1, "maxLength": NAME_LENGTH_MAX, "examples": ["live", "tt-2026-02-12"]}
PARAMETERS = (
    Parameter(name="left", schema=_RUN, purpose="A run's id or name, or `live`.", is_required=True),
    Parameter(name="right", schema=_RUN, purpose="The other one.", is_required=True),
    Parameter(name="date", schema={"type": "string", "format": "date"}, purpose="The comparison of this session alone."),
    Parameter(
        name="limit",
        schema={"type": "integer", "minimum": 1, "maximum": LIMIT_MAX, "default": LIMIT_DEFAULT},
        purpose="How many trades at most, those that differ first.",
    ),
)


@frozen
class Side:
    """One side: what it is called, its book, its run (None: the live book)."""

    label: str
    book_id: str
    run: store.Row | None


def comparison(db: Database, key: DeskKey, given: Given, now: datetime) -> ComparisonAnswer:
    """The last stored comparison of two sides.

    Raises ``Rejected``: ``run_unknown``, ``book_unknown`` and ``not_compared``, all 404.
    """
    one = single(given, names(PARAMETERS))
    limit = whole(one.get("limit", str(LIMIT_DEFAULT)), "limit", LIMIT_MAX)
    day = filters.day(one["date"], "date") if "date" in one else None
    with store.look(db, key, ()) as seen:
        left, right = (_side(seen, key, one.get(name), name) for name in ("left", "right"))
        if left.run is None and right.run is None:
            raise refused("right")
        stored = _stored(seen, left, right, day)
        rows = _actions(seen, left, right, day)
    is_turned = stored["a"] != left.label
    pairs = _pairs(rows[:ACTIONS_MAX], left.book_id, right.book_id)
    differences = stored["divergences"] or []
    shown = [_divergence(row, is_turned=is_turned) for row in differences[:DIVERGENCES_MAX]]
    sides = [_told(side, stored["totals"]["b" if (side is left) is is_turned else "a"]) for side in (left, right)]
    counts = stored["positions"]
    found = answer(
        now,
        stored["recorded_at"],
        {},
        comparison_id=str(stored["comparison_id"]),
        **instants("compared", stored["recorded_at"]),
        date=None if day is None else day.isoformat(),
        identical=stored["identical"],
        left=sides[0],
        right=sides[1],
        difference=_difference(sides[0]["totals"], sides[1]["totals"]),
        positions={
            "equal": counts["equal"],
            "left_only": counts["right_only" if is_turned else "left_only"],
            "right_only": counts["left_only" if is_turned else "right_only"],
            "different": counts["different"],
        },
        tickers=stored["tickers"],
        divergent=stored["divergent"],
        first_divergence=shown[0] if shown else None,
        divergences=shown,
        has_more_divergences=len(differences) > len(shown),
        trades=pairs[:limit],
        has_more=len(pairs) > limit or len(rows) > ACTIONS_MAX,
    )
    return cast("ComparisonAnswer", found)


def _side(seen: store.Seen, key: DeskKey, name: str | None, field: str) -> Side:
    if name is None:
        raise refused(field)
    if name == LIVE:
        if not key.sees(LIVE):
            raise Rejected("book_unknown", "no such book for this key", field=field, status=404)
        return Side(label=LIVE, book_id=LIVE, run=None)
    row = known(seen.tx, key, name, field)
    return Side(label=str(row["run_id"]), book_id=row["book_id"], run=row)


def _stored(seen: store.Seen, left: Side, right: Side, day: date | None) -> store.Row:
    """What was found last; its id says of which days, where one is asked for."""
    labels = (left.label, right.label)
    ids = None if day is None else [derived_id("comparison", *pair, f"{day}/{day}") for pair in (labels, labels[::-1])]
    rows = seen.tx.query(QUERIES["comparison"], left=left.label, right=right.label, ids=ids)
    if not rows:
        raise Rejected("not_compared", "these two were not compared", status=404)
    return rows[0]


def _actions(seen: store.Seen, left: Side, right: Side, day: date | None) -> Actions:
    runs = [side.run for side in (left, right) if side.run is not None]
    stretches = [stretch for stretch in _stretches(runs, day) if stretch[0] < stretch[1]]
    return seen.tx.query(
        QUERIES["compared_actions"],
        books=[left.book_id, right.book_id],
        starts=[begin for begin, _ in stretches],
        ends=[end for _, end in stretches],
        ticker=next((run["ticker"] for run in runs if run["ticker"] is not None), None),
        script_version=runs[0]["script_version"],
        limit=ACTIONS_MAX + 1,
    )


def _stretches(runs: Sequence[store.Row], day: date | None) -> list[tuple[datetime, datetime]]:
    """The stretches that were compared: the sessions of the runs, or one; of an unfinished run as far as it is."""
    exchange = calendar()
    first = day or min(run["date_from"] for run in runs)
    last = day or max(run["date_to"] for run in runs)
    ends = [at_of(run["last_bucket"]) + BUCKET for run in runs if run["status"] != "done" and run["last_bucket"] is not None]
    until = min(ends, default=None)
    found = []
    for session in exchange.sessions(first, last):
        if runs[0]["session"] == "regular":
            begin, end = session.open_at, session.close_at
        else:
            after_previous = exchange.previous_session(session.date).date + timedelta(days=1)
            begin, end = (datetime.combine(at, time(), NEW_YORK) for at in (after_previous, session.date + timedelta(days=1)))
        found.append((begin, end if until is None else min(end, until)))
    return found


def _pairs(rows: Actions, left_book: str, right_book: str) -> list[Document]:
    """Positions of both sides, joined by the action that opened them; those that differ first, then in their order."""
    sides: dict[Any, dict[str, Actions]] = {}
    for row in rows:
        sides.setdefault(row["first_action_id"], {}).setdefault(row["book_id"], []).append(row)
    pairs = [_pair(both.get(left_book, []), both.get(right_book, [])) for both in sides.values()]
    return sorted(pairs, key=lambda one: one["status"] == "equal")


def _pair(left: Actions, right: Actions) -> Document:
    some = left or right
    difference = _first_difference(left, right)
    return {
        "ticker": some[0]["ticker"],
        "direction": some[0]["direction"],
        "currency": some[0]["currency"],
        "status": _status(left, right, difference),
        "left": _trade(left),
        "right": _trade(right),
        "first_difference": difference,
    }


def _status(left: Actions, right: Actions, difference: Document | None) -> str:
    if not left or not right:
        return "left_only" if left else "right_only"
    return "equal" if difference is None else "different"


def _trade(actions: Actions) -> Document | None:
    if not actions:
        return None
    realized = [row["realized_pnl"] for row in actions if row["action_type"] in ("TRIM", "EXIT")]
    return {
        "position_id": str(actions[0]["position_id"]),
        "action_count": len(actions),
        **instants("entry", actions[0]["ts"]),
        "realized_pnl": text(money.total(realized)),
    }


def _first_difference(left: Actions, right: Actions) -> Document | None:
    """The first place in the order of both where they do not agree; a side without that action has null."""
    for number in range(max(len(left), len(right))):
        one, other = (side[number] if number < len(side) else None for side in (left, right))
        if one is None or other is None or one["action_id"] != other["action_id"]:
            row = min((row for row in (one, other) if row is not None), key=lambda row: (row["ts"], str(row["action_id"])))
            told = [row["action_type"] if mine is row else None for mine in (one, other)]
            return _at(row, "action", told[0], told[1])
        for name in FIELDS:
            if one[name] != other[name]:
                return _at(one, name, _word(one[name]), _word(other[name]))
    return None


def _at(row: store.Row, field: str, left: str | None, right: str | None) -> Document:
    return {**instants("", row["ts"]), "action_id": str(row["action_id"]), "field": field, "left": left, "right": right}


def _word(value: Any) -> str | None:
    return text(value) if isinstance(value, Decimal) else value


def _told(side: Side, totals: Mapping[str, Any]) -> Document:
    realized = totals["realized_pnl"]
    return {
        "label": side.label,
        "book_id": side.book_id,
        **{name: None if side.run is None else side.run[name] for name in ("name", "profile", "status")},
        "totals": {
            **{name: totals[name] for name in COUNTED},
            "realized_pnl": None if realized is None else text(Decimal(realized)),
        },
    }


def _difference(left: Mapping[str, Any], right: Mapping[str, Any]) -> Document:
    """Right less left."""
    one, other = left["realized_pnl"], right["realized_pnl"]
    return {
        **{name: right[name] - left[name] for name in COUNTED},
        "realized_pnl": None if one is None or other is None else text(Decimal(other) - Decimal(one)),
    }


def _divergence(row: Mapping[str, Any], *, is_turned: bool) -> Document:
    """The first difference of a ticker; values and sentences change their places where the sides did."""
    ts = datetime.fromisoformat(row["ts"])
    detail, rule = dict(row["detail"] or {}), row["rule"]
    values, limits = (list(detail.get(name) or (None, None)) for name in ("values", "limits"))
    has_words = rule in RULES and "values" in detail and "limits" in detail
    sides = [
        {"value": value, "rule_text": sentence_of(rule, values[place], limits[place]) if has_words else None}
        for place, value in enumerate((row["value_a"], row["value_b"]))
    ]
    if is_turned:
        sides.reverse()
        detail |= {name: both[::-1] for name, both in (("values", values), ("limits", limits)) if name in detail}
    milliseconds = round(ts.timestamp() * 1000)
    return {
        "ticker": row["ticker"],
        **pair("bucket", milliseconds - milliseconds % 300_000),
        **instants("", ts),
        "receipt_id": row["receipt_id"],
        "field": row["field"],
        "cause": row["cause"],
        "rule": rule,
        "left": sides[0],
        "right": sides[1],
        "detail": detail,
        "is_outcome": not detail.get("figuresOnly", False),
        "later_count": row["later_count"],
    }


ROUTES: tuple[Route, ...] = (
    Route(
        path="/timed/replay/compare",
        purpose="Where two runs part, or a run and the live book, as it was found last.",
        use_case=comparison,
        answer=ComparisonAnswer,
        parameters=PARAMETERS,
        weight=Weight.FIGURES,
        sources=frozenset({Source.REPLAY, Source.LEDGER, Source.SIGNAL}),
    ),
)
