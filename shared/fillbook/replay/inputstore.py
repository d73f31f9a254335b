"""Stored receipts as a replay reads them: what the rules read of each, in the order of a run, bodies only where they must.

One statement reads place and decision input of a page, straight down the index that has the run's order. A row that another
schema version wrote is decoded from its body, a few at a time. Source: replay.md 3, decision 0036.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from itertools import islice
from typing import Any, Final, cast

from fillbook.replay.buckets import bucket_of
from fillbook.replay.cursors import Cursor, instant_of
from fillbook.replay.model import Inputs, Scope
from fillbook.replay.store import QUERIES
from fillbook.replay.walk import Arrival
from fillbook.runtime.db import Tx
from fillbook.signal.decision_input import OtherVersion, receipt_from_decision_input
from fillbook.signal.explain import facts_from
from fillbook.signal.model import Facts, Receipt
from fillbook.signal.profile import Profile, ProfileError, load
from fillbook.signal.receipt import from_canonical, instant, milliseconds
from fillbook.values import frozen

BODY_BYTES_MAX: Final = 131_072  # receipts_payload_size
UNDECIDED: Final = "undecided"  # stale ones that live never decided: what a catch-up takes


@frozen
class Window:
    """Which receipts: those of a stretch ``since <= ts < until`` (ms, on bucket edges) that belong to a scope."""

    since: int
    until: int
    ticker: str | None
    script_version: str
    inputs: str

    def params(self) -> dict[str, Any]:
        """As the statements name them."""
        return {
            "since": instant(self.since),
            "until": instant(self.until),
            "ticker": self.ticker,
            "script_version": self.script_version,
            "inputs": self.inputs,
        }


def window(scope: Scope, inputs: Inputs | str, since: int, until: int) -> Window:
    """The receipts of a scope in a stretch."""
    return Window(since=since, until=until, ticker=scope.ticker, script_version=scope.script_version, inputs=str(inputs))


def places(tx: Tx, wanted: Window, after: Cursor, rows_max: int) -> list[Cursor]:
    """The next places after a cursor, in the order of a run."""
    rows = tx.query(QUERIES["input_keys"], **_after(wanted, after), rows_max=rows_max)
    return [
        Cursor(
            ts=milliseconds(row["ts"]),
            ticker=row["ticker"],
            received_at=row["received_at"],
            receipt_id=str(row["receipt_id"]),
        )
        for row in rows
    ]


def arrivals(tx: Tx, wanted: Window, after: Cursor, rows_max: int, *, body_bytes_max: int) -> list[Arrival]:
    """What the rules read of the next receipts after a cursor, in the order of a run.

    Place and decision input stand in one row and are read together; bodies only of rows that another schema version wrote.
    """
    found: list[Arrival | None] = []
    bodies: dict[str, tuple[int, str, int]] = {}
    rows = tx.texts(QUERIES["inputs_next"], **_after(wanted, after), rows_max=rows_max)
    for receipt_id, ticker, ts_text, received, payload_hash, decision_input in cast("list[list[str]]", rows):
        ts = _milliseconds(ts_text)
        try:
            receipt = receipt_from_decision_input(
                decision_input, receipt_id=receipt_id, payload_hash=payload_hash, ticker=ticker, ts=ts
            )
            found.append(Arrival(receipt, received))
        except OtherVersion:
            bodies[receipt_id] = (len(found), received, ts)
            found.append(None)
    for few in _batches(bodies, max(1, body_bytes_max // BODY_BYTES_MAX)):
        stamps = [bodies[receipt_id][2] for receipt_id in few]
        for row in tx.query(QUERIES["input_bodies"], ids=few, since=instant(min(stamps)), until=instant(max(stamps))):
            place, received, _ = bodies[str(row["receipt_id"])]
            found[place] = Arrival(from_canonical(row["payload"].encode()), received)
    return [arrival for arrival in found if arrival is not None]


def _after(wanted: Window, after: Cursor) -> dict[str, Any]:
    """A window from a place on, as the statements name it; it begins at the place's bucket, where the index is entered."""
    return {
        **wanted.params(),
        "since": instant(max(wanted.since, bucket_of(after.ts))),
        "bucket": instant(bucket_of(after.ts)),
        "ts": instant(after.ts),
        "ticker_after": after.ticker,
        "received_at": after.received_at,
        "receipt_id": after.receipt_id,
    }


@lru_cache(maxsize=4096)
def _milliseconds(text: str) -> int:
    """A ``ts`` as the database writes it; hundreds of tickers share each minute."""
    return milliseconds(instant_of(text))


def buckets(tx: Tx, wanted: Window) -> dict[int, tuple[int, str]]:
    """Rows and input digest of every bucket that holds any."""
    return {row["bucket"]: (row["rows"], row["digest"]) for row in tx.query(QUERIES["input_buckets"], **wanted.params())}


def recorded_facts(tx: Tx, wanted: Sequence[Receipt]) -> dict[str, Facts]:
    """What live's limits saw on these receipts, as far as they asked."""
    rows = tx.query(QUERIES["recorded_facts"], **_named(wanted)) if wanted else []
    return {str(row["receipt_id"]): facts_from(json.loads(row["account"], parse_float=Decimal)) for row in rows}


def recorded_profiles(tx: Tx, wanted: Sequence[Receipt]) -> dict[str, Profile]:
    """The profile live decided each of these receipts under, as far as the shipped one of that name is still the same."""
    rows = tx.query(QUERIES["recorded_profiles"], **_named(wanted)) if wanted else []
    found = {(row["profile"], row["config_digest"]): _shipped(row["profile"], row["config_digest"]) for row in rows}
    profiles = {str(row["receipt_id"]): found[row["profile"], row["config_digest"]] for row in rows}
    return {receipt_id: profile for receipt_id, profile in profiles.items() if profile is not None}


def _shipped(name: str, digest: str) -> Profile | None:
    try:
        profile = load(name)
    except ProfileError:
        return None
    return profile if profile.digest == digest else None


def acting_receipts(tx: Tx, book_id: str, since: int, ticker: str | None) -> set[str]:
    """Receipts of a book from an instant on that led to actions."""
    rows = tx.query(QUERIES["acting_receipts"], book_id=book_id, since=instant(since), ticker=ticker)
    return {str(row["receipt_id"]) for row in rows}


def actions_by_place(tx: Tx, book_id: str) -> dict[str, tuple[int, str]]:
    """Receipt id -> (ts, ticker) of everything a book acted on, in the order of a run."""
    rows = tx.query(QUERIES["actions_by_place"], book_id=book_id)
    return {str(row["receipt_id"]): (milliseconds(row["ts"]), row["ticker"]) for row in rows}


def sectors(tx: Tx, book_id: str) -> dict[str, str | None]:
    """The sector of every position a book ever planned."""
    return {row["position_id"]: row["sector"] for row in tx.query(QUERIES["sectors_of"], book_id=book_id)}


def prices(tx: Tx, book_id: str, ticker: str) -> list[tuple[int, Decimal]]:
    """Confirmed prices of one ticker in a book, in order."""
    rows = tx.query(QUERIES["prices_of"], book_id=book_id, ticker=ticker)
    return [(milliseconds(row["ts"]), Decimal(row["price"])) for row in rows]


def decided(tx: Tx, book_id: str, since: int, ticker: str | None) -> int:
    """How many receipts a book decided from an instant on."""
    return int(tx.query(QUERIES["decided_count"], book_id=book_id, since=instant(since), ticker=ticker)[0]["n"])


def live_states(tx: Tx, day: date) -> list[Mapping[str, Any]]:
    """``ticker``, ``state`` and ``plan`` (JSON values) of every ticker as live had them before a session date."""
    return [
        {"ticker": row["ticker"], "state": _json(row["state"]), "plan": _json(row["plan"])}
        for row in tx.query(QUERIES["live_states"], day=day)
    ]


def live_fill_ids(tx: Tx, day: date) -> list[str]:
    """Fills of the live positions that were open when a session date began, in booking order."""
    return list(dict.fromkeys(str(row["fill_id"]) for row in tx.query(QUERIES["live_fills"], day=day)))


def live_start_cash(tx: Tx, day: date, carried: Sequence[str]) -> Decimal | None:
    """Live equity before a session date less what the carried fills realize; ``None`` when there is no live book."""
    rows = tx.query(QUERIES["live_equity"], day=day)
    if not rows:
        return None
    equity: Decimal = rows[0]["equity"]
    realized: Decimal = tx.query(QUERIES["realized_by"], ids=list(carried))[0]["realized"]
    return equity - realized


def live_last_recorded(tx: Tx) -> datetime | None:
    """When live last decided a receipt."""
    at: datetime | None = tx.query(QUERIES["live_last_decision"])[0]["at"]
    return at


def entries_of(tx: Tx, book_id: str, fill_ids: Sequence[str]) -> int:
    """How many positions a book opened with these fills."""
    return int(tx.query(QUERIES["entries_of"], book_id=book_id, ids=list(fill_ids))[0]["n"])


def _named(wanted: Sequence[Receipt]) -> dict[str, Any]:
    """Ids with the stretch they lie in, so that only the partitions concerned are looked at."""
    stamps = [receipt.ts for receipt in wanted]
    ids = [receipt.receipt_id for receipt in wanted]
    return {"ids": ids, "since": instant(min(stamps)), "until": instant(max(stamps))}


def _batches(rows: Iterable[str], size: int) -> Iterable[list[str]]:
    left = iter(rows)
    while batch := list(islice(left, size)):
        yield batch


def _json(text: str | None) -> Any:
    return None if text is None else json.loads(text, parse_float=Decimal)
