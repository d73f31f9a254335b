"""The same booking as a driver program writes it: one parametrised statement after the other, BEGIN to COMMIT.

The baseline of ``booking``. It writes the rows of the same tables that our booking writes, into a book of its own, and reads
first what anybody must read first. What to write it takes from rows that our booking stored (``life``), so it neither
computes nor checks anything: only its statements are measured, which is in its favour.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

from fillbook.runtime.db import Database, Settings, driver_connection
from fillbook.runtime.sql import statement
from tests.support.servers import database_config

BOOK = "ibkr:classic"
Row = dict[str, Any]
LIVES = itertools.count(1)
LOT_MOVES = ("status", "quantity_open", "value_open", "basis_open", "fees_base_open")
POSITION_KEPT = ("book_id", "position_id")
LAST = "(select * from ledger.execution_actions where book_id = 'live' and instrument = :instrument order by seq desc limit 1)"
ROWS = {
    "fill": "select * from ledger.fills where book_id = 'live' and instrument = :instrument order by seq desc limit 1",
    "action": f"select * from {LAST} a",
    "closings": f"select c.* from ledger.closings c join {LAST} a using (book_id, action_id, version)",
    "position": "select * from ledger.positions where book_id = 'live' and instrument = :instrument",
    "lots": "select l.* from ledger.lots l join ledger.positions p using (book_id, position_id)"
    " where p.book_id = 'live' and p.instrument = :instrument order by l.opened_at",
    "event": f"select e.* from outbox.events e join {LAST} a on e.payload like '%' || a.action_id || '%'"
    " order by e.id desc limit 1",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """The rows that stand after one booking of a position's life: those it wrote, and all lots of the position."""

    fill: Row
    action: Row
    closings: list[Row]
    position: Row
    lots: list[Row]
    event: Row


def life(db: Database, book_one: Callable[[int], None], instrument: str, length: int) -> list[Step]:
    """Book the first ``length`` fills of an instrument in the live book; return the rows after each."""
    steps = []
    for number in range(length):
        book_one(number)
        with db.transaction(read_only=True) as tx:
            found = {name: [dict(row) for row in tx.query(statement(text), instrument=instrument)] for name, text in ROWS.items()}
        found["event"][0].pop("id")  # an identity
        single = {name: found.pop(name)[0] for name in ("fill", "action", "position", "event")}
        steps.append(Step(**single, **found))
    return steps


class Classic:
    """One connection of the driver; each ``book`` books the next step of the next position's life."""

    def __init__(self, url: str, steps: list[Step]) -> None:
        self._connection = driver_connection(database_config(url), Settings(application_name="classic"))
        self._cursor = self._connection.cursor()
        self._work = ((number, step) for number in LIVES for step in steps)
        self._life = 0
        self.statements = self.bookings = 0

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def book(self, _thread: int = 0) -> None:
        """Book one execution; committed when it returns."""
        self._life, step = next(self._work)
        instrument = f"C{self._life}"
        position_id, fill_id = self._own(step.position["position_id"]), self._own(step.fill["fill_id"])
        seq, head = self._read("select seq, chain_head from ledger.books where book_id = %s for update", BOOK)[0]
        self._read("select pg_advisory_xact_lock(hashtextextended(%s, 7))", BOOK + instrument)
        self._read("select version, content_hash from ledger.fills where book_id = %s and fill_id = %s", BOOK, fill_id)
        is_known = self._read(
            "select * from ledger.positions where book_id = %s and instrument = %s and status = 'OPEN' for update",
            BOOK,
            instrument,
        )
        if is_known:
            self._read(
                "select * from ledger.lots where book_id = %s and position_id = %s and quantity_open > 0"
                " order by opened_at, venue_order, fill_id for update",
                BOOK, position_id,
            )  # fmt: skip
        self._read(
            "select * from ledger.execution_actions where book_id = %s and instrument = %s and superseded_at is null"
            " and state = 'BOOKED' order by executed_at desc, venue_order desc, fill_id desc, leg desc limit 1",
            BOOK, instrument,
        )  # fmt: skip
        self._read("select max(effective_at) from ledger.adjustments where book_id = %s and instrument = %s", BOOK, instrument)
        self._read("select count(*) from ledger.parked_fills where book_id = %s and instrument = %s", BOOK, instrument)
        self._write(step, instrument, seq, head, is_known=bool(is_known))
        self._connection.commit()
        self.statements += 2  # BEGIN, which the driver sends by itself, and COMMIT
        self.bookings += 1

    def _write(self, step: Step, instrument: str, seq: int, head: bytes, *, is_known: bool) -> None:
        position_id = self._own(step.position["position_id"])
        links = {"instrument": instrument, "ticker": instrument, "contract_name": instrument}
        first, second = hashlib.sha256(head + b"fill").digest(), hashlib.sha256(head + b"action").digest()
        chain = {"seq": seq + 1, "booking_seq": seq + 1, "prev_hash": head, "row_hash": first}
        self._insert("ledger.fills", step.fill | links | chain)
        if not is_known:
            self._insert("ledger.positions", step.position | links | {"updated_seq": seq + 2})
        opened = {one["lot_id"] for one in step.lots} - {one["lot_id"] for one in step.closings}
        for lot in step.lots:
            if lot["fill_id"] == step.fill["fill_id"]:
                self._insert("ledger.lots", lot)
        chain = {"seq": seq + 2, "booking_seq": seq + 1, "prev_hash": first, "row_hash": second}
        self._insert(
            "ledger.execution_actions",
            step.action | _among(links, step.action) | chain | {"fill_seq": seq + 1, "cause_seq": seq + 1},
        )
        for closing in step.closings:
            self._insert("ledger.closings", closing)
        for lot in step.lots:
            if lot["lot_id"] not in opened:
                self._update("ledger.lots", {name: lot[name] for name in LOT_MOVES}, lot_id=self._own(lot["lot_id"]))
        self._read(
            "select sum(quantity_open), sum(basis_open), count(*) from ledger.lots"
            " where book_id = %s and position_id = %s and quantity_open > 0",
            BOOK, position_id,
        )  # fmt: skip
        if is_known:
            moves = {name: value for name, value in (step.position | links).items() if name not in POSITION_KEPT}
            self._update("ledger.positions", moves | {"updated_seq": seq + 2}, position_id=position_id)
        key = f"{BOOK}/{position_id}"
        partition = hashlib.sha256(key.encode()).digest()[0] % 64
        self._insert(
            "outbox.events", step.event | {"aggregate_key": key, "partition_no": partition, "aggregate_version": seq + 2}
        )
        self._run(
            "update ledger.books set seq = %s, chain_head = %s, last_recorded_at = %s where book_id = %s and seq = %s",
            seq + 2, second, step.fill["recorded_at"], BOOK, seq,
        )  # fmt: skip

    def _own(self, identity: UUID | str) -> UUID:
        """This life's own id in the place of a template's."""
        return uuid5(NAMESPACE_OID, f"{identity}{self._life}")

    def _insert(self, table: str, row: Row) -> None:
        values = {name: self._value(name, value) for name, value in row.items()}
        marks = ", ".join(["%s"] * len(values))
        self._run(f"insert into {table} ({', '.join(values)}) values ({marks})", *values.values())

    def _update(self, table: str, row: Row, **key: UUID) -> None:
        [(name, identity)] = key.items()
        sets = ", ".join(f"{column} = %s" for column in row)
        values = [self._value(column, value) for column, value in row.items()]
        self._run(f"update {table} set {sets} where book_id = %s and {name} = %s", *values, BOOK, identity)

    def _value(self, name: str, value: Any) -> Any:
        if name == "book_id":
            return BOOK
        if isinstance(value, dict | list):
            return json.dumps(value)
        return self._own(value) if name.endswith("_id") and isinstance(value, UUID) else value

    def _read(self, text: str, *values: Any) -> list[Any]:
        self._run(text, *values)
        return list(self._cursor.fetchall())

    def _run(self, text: str, *values: Any) -> None:
        self.statements += 1
        self._cursor.execute(text, values)


def _among(values: Row, row: Row) -> Row:
    return {name: value for name, value in values.items() if name in row}
