"""What a booking could cost at best, step by step: what each layer adds to a bare insert.

Three works, each a transaction of two messages and one durable commit through the same client as a booking:
``two messages`` reads nothing and writes one row; ``rows alone`` writes the rows of a booking into the same tables, with
their indexes, checks and foreign keys, from rows that lie ready as typed values in the server: no document, no rule, no
hash; ``documents ready`` sends what a booking sends, ``ledger.load`` and the document of ``ledger.apply``, computed
beforehand. What a booking takes beyond the last is the rules in Python.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from fillbook.ledger import service
from fillbook.ledger.chain import genesis
from fillbook.ledger.intake import check_fill
from fillbook.ledger.journal import classify
from fillbook.ledger.memory import MemoryBook
from fillbook.ledger.model import Book, BookHead, Fill
from fillbook.ledger.rebuild import step
from fillbook.ledger.sealing import apply_document
from fillbook.ledger.store import load_call
from fillbook.outbox.service import event_rows
from fillbook.runtime.db import Call, Database
from fillbook.runtime.sql import statement
from tests.bench.processor import running_seconds

ROWS_BOOK, DOCUMENTS_BOOK = "ibkr:rows", "ibkr:documents"
INSTRUMENT = "LIMIT"
NUMBERS = itertools.count(1)

STAGE = f"""
insert into bench.steps
select :step, f, a,
       array(select c from ledger.closings c where c.book_id = 'live' and c.action_id = a.action_id order by c.ordinal), p,
       array(select l from ledger.lots l where l.book_id = 'live' and l.position_id = p.position_id order by l.opened_at), e
  from ledger.fills f
  join ledger.execution_actions a on a.book_id = f.book_id and a.fill_id = f.fill_id
  join ledger.positions p on p.book_id = a.book_id and p.position_id = a.position_id
  join outbox.events e on e.aggregate_key = 'live/{INSTRUMENT}' and e.aggregate_version = a.seq
 where f.book_id = 'live' and f.instrument = '{INSTRUMENT}' order by f.seq desc limit 1
"""
SETUP = (
    "create function bench.nothing(d jsonb) returns jsonb language sql volatile as $$ select '1'::jsonb $$",
    """create table bench.steps (step integer primary key, f ledger.fills, a ledger.execution_actions, c ledger.closings[],
                              p ledger.positions, l ledger.lots[], e outbox.events)""",
    """create function bench.id(kind text, number bigint) returns uuid language sql immutable as
       $$ select md5(kind || number)::uuid $$""",
    # {number, steps}: the rows of the number-th booking, each life of a position with ids of its own
    f"""create function bench.rows(d jsonb) returns jsonb language plpgsql volatile
       set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    number constant bigint := (d->>'number')::bigint;
    life constant bigint := number / (d->>'steps')::bigint;
    s bench.steps;
    f ledger.fills; a ledger.execution_actions; p ledger.positions; e outbox.events; l ledger.lots; c ledger.closings;
begin
    select * into s from bench.steps x where x.step = number % (d->>'steps')::bigint;
    f := s.f; a := s.a; p := s.p; e := s.e;
    update ledger.books b set seq = 2 * number + 2, chain_head = a.row_hash, last_recorded_at = a.recorded_at
     where b.book_id = '{ROWS_BOOK}';
    f.book_id := '{ROWS_BOOK}'; f.fill_id := bench.id('fill', number); f.seq := 2 * number + 1;
    insert into ledger.fills values (f.*);
    p.book_id := f.book_id; p.position_id := bench.id('position', life); p.instrument := 'L' || life;
    if p.action_count = 1 then
        insert into ledger.positions values (p.*);
    else
        update ledger.positions x set status = p.status, quantity_open = p.quantity_open, quantity_opened = p.quantity_opened,
               quantity_closed = p.quantity_closed, closed_at = p.closed_at, vwap = p.vwap, cost_basis = p.cost_basis,
               last_action_at = p.last_action_at, action_count = p.action_count, updated_seq = f.seq
         where x.book_id = p.book_id and x.position_id = p.position_id;
    end if;
    for turn in 1 .. cardinality(s.l) loop
        l := s.l[turn];
        if l.fill_id = (s.f).fill_id then
            l.book_id := p.book_id; l.position_id := p.position_id; l.lot_id := bench.id('lot', life * 10 + turn);
            insert into ledger.lots values (l.*);
        elsif exists (select from unnest(s.c) as x where x.lot_id = l.lot_id) then
            update ledger.lots x set status = l.status, quantity_open = l.quantity_open, value_open = l.value_open,
                   basis_open = l.basis_open, fees_base_open = l.fees_base_open
             where x.book_id = p.book_id and x.lot_id = bench.id('lot', life * 10 + turn);
        end if;
    end loop;
    a.book_id := p.book_id; a.action_id := bench.id('action', number); a.fill_id := f.fill_id; a.fill_seq := f.seq;
    a.position_id := p.position_id; a.instrument := p.instrument; a.seq := f.seq + 1;
    insert into ledger.execution_actions values (a.*);
    foreach c in array s.c loop
        for turn in 1 .. cardinality(s.l) loop
            if (s.l[turn]).lot_id = c.lot_id then
                c.book_id := p.book_id; c.action_id := a.action_id; c.lot_id := bench.id('lot', life * 10 + turn);
                insert into ledger.closings values (c.*);
                exit;
            end if;
        end loop;
    end loop;
    insert into outbox.events (event_id, event_type, schema_version, book_id, aggregate_key, aggregate_version, partition_no,
                               topic, payload, traceparent, occurred_at, recorded_at, available_at)
    values (bench.id('event', number), e.event_type, e.schema_version, p.book_id, e.aggregate_key, a.seq, e.partition_no, e.topic,
            e.payload, e.traceparent, e.occurred_at, e.recorded_at, e.available_at);
    return '1'::jsonb;
end $$""",
)

MakeFill = Callable[[str, int], Fill]
Work = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one transaction took, in ms: by the clock, and in processor time of the client and of its server process."""

    clock: float
    client: float
    server: float


def measure(db: Database, work: Work, count: int) -> Cost:
    """Run ``work`` ``count`` times; ``db`` has one connection, so that one server process did it all."""
    with db.transaction() as tx:
        (row,) = tx.query(statement("select pg_backend_pid() as pid"))
    before = (time.perf_counter(), time.process_time(), running_seconds(row["pid"]))
    for _ in range(count):
        work()
    after = (time.perf_counter(), time.process_time(), running_seconds(row["pid"]))
    clock, client, server = ((late - early) / count * 1000 for early, late in zip(before, after, strict=True))
    return Cost(clock=clock, client=client, server=server)


def prepare(db: Database, book_one: Callable[[int], None], steps: int, now: datetime) -> None:
    """Open the books of the limits, book one life of a position in the live book and keep the rows of each step."""
    with db.transaction() as tx:
        for text in SETUP:
            tx.execute(statement(text))
        for name in (ROWS_BOOK, DOCUMENTS_BOOK):
            service.open_book(tx, Book(book_id=name), now)
    for number in range(steps):
        book_one(number)
        with db.transaction() as tx:
            tx.execute(statement(STAGE), step=number)


def two_messages(db: Database) -> Work:
    """Read nothing and commit one row: what two messages and a commit cost."""

    def work() -> None:
        with db.transaction() as tx:
            tx.call(Call("bench.nothing", {}))
            tx.send(Call("bench.insert", {"n": -next(NUMBERS), "note": "x" * 100}))

    return work


def rows_alone(db: Database, steps: int) -> Work:
    """Commit the rows of one booking, which lie ready in the server."""
    numbers = itertools.count()

    def work() -> None:
        with db.transaction() as tx:
            tx.call(Call("bench.nothing", {}))
            tx.send(Call("bench.rows", {"number": next(numbers), "steps": steps}))

    return work


def documents_ready(db: Database, make_fill: MakeFill, now: datetime, count: int) -> Work:
    """Load and apply one of ``count`` bookings that are computed here, beforehand, in the order of the book's chain."""
    book = Book(book_id=DOCUMENTS_BOOK)
    memory = MemoryBook(BookHead(book=book, seq=0, chain_head=genesis(book.book_id), last_recorded_at=now))
    ready = iter([_document(memory, make_fill(INSTRUMENT, number), now) for number in range(count)])

    def work() -> None:
        load, apply = next(ready)
        with db.transaction() as tx:
            tx.call(load)
            tx.send(apply)

    return work


def _document(memory: MemoryBook, fill: Fill, now: datetime) -> tuple[Call, Call]:
    checked = check_fill(fill, memory.head.book)
    _, changes = classify({checked.fill_id: ()}, [checked], now)
    sealed = step(memory, [change.after for change in changes.values()], [], now, announce=True)
    document = apply_document(sealed) | {"events": event_rows(sealed.events)}
    load = load_call(DOCUMENTS_BOOK, [checked.instrument], book_row=True, fill_keys=[checked.fill_id])
    return load, Call("ledger.apply", document)
