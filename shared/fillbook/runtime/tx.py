"""One transaction: documents in, documents out, in as few messages as the work allows.

``begin`` rides with the first message and ``commit`` with the last, so read, decide, write costs two round trips. What
cannot be encoded is refused before a byte leaves. A pooled connection found dead by the first message is replaced once,
because nothing of ours can have been committed on it; a commit is never repeated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from threading import get_ident
from typing import Any, Literal

from fillbook.runtime import rows
from fillbook.runtime.dberrors import READ_ONLY, DatabaseFailed, connection_lost, in_our_words
from fillbook.runtime.pool import Pool
from fillbook.runtime.sql import Statement, call_text, check_text, literal, statement
from fillbook.runtime.wire import FAILED, IDLE, Result, ServerError, Wire, WireBroken, extended_message, query_message
from fillbook.values import frozen

Isolation = Literal["read committed", "repeatable read", "serializable"]
_PLANNED = {True: "set local plan_cache_mode = force_generic_plan", False: "set local plan_cache_mode = auto"}
"""How the server plans from here on: once for all parameters, or each question for its own, which has no name to be kept by."""
_SNAPSHOT = statement("select pg_export_snapshot() as snapshot")
_BESIDE_READIES = 3
"""Of the message of a statement beside a transaction: what opens it, the statement, the commit."""


@frozen(kw_only=False)
class Call:
    """One call of a database function ``schema.name(jsonb)``; the document is serialised by ``sql.encode``."""

    function: str
    document: Mapping[str, Any] | list[Any] | tuple[Any, ...]


class Tx:
    """One transaction on one connection, used by the thread that opened it. Made by ``Database.transaction`` only."""

    __slots__ = (
        "_ahead",
        "_begin",
        "_begun",
        "_finished",
        "_is_spent",
        "_owner",
        "_plans_once",
        "_pool",
        "_queue",
        "_read_only",
        "_reused",
        "_turn",
        "_wire",
    )

    def __init__(self, pool: Pool, begin: tuple[str, ...], *, read_only: bool, turn: int | None = None) -> None:
        self._pool: Pool | None = pool
        self._begin = begin
        self._begun = False
        self._finished = False
        self._queue: list[str] = []
        self._wire: Wire | None = None
        self._reused = False
        self._owner = get_ident()
        self._read_only = read_only
        self._is_spent = False
        self._turn = turn
        self._ahead: bytes | None = None
        self._plans_once = False

    def call(self, *calls: Call) -> tuple[Any, ...]:
        """Run queued sends and ``calls`` in one round trip; return the decoded document of each call.

        Raises ``ConstraintViolated``, ``Contended``, ``Unavailable``, ``DatabaseFailed``; ``Rejected('text_invalid')`` and
        ``TypeError`` before anything is sent.
        """
        if not calls:
            return ()
        texts = [call_text(call.function, call.document) for call in calls]
        results = self._simple(texts)
        return tuple(rows.document(_single(result)) for result in results[-len(calls) :])

    def send(self, *calls: Call) -> None:
        """Queue ``calls``: they ride with the next message or with the commit; their results are ignored."""
        self._check()
        self._queue += [call_text(call.function, call.document) for call in calls]

    def query(self, statement: Statement, **params: object) -> list[dict[str, Any]]:
        """Run one parametrised statement and return its rows as dicts; queued sends go first, in the same round trip."""
        result = self._extended(statement, params)
        return rows.convert(result.names, result.oids, result.columns, len(result.bodies))

    def shown(self, statement: Statement, **params: object) -> list[dict[str, Any]]:
        """As ``query``, for rows that are told and not reckoned with: decimals, ids and instants stay texts (``rows.shown``)."""
        result = self._extended(statement, params)
        return rows.shown(result.names, result.oids, result.columns, len(result.bodies))

    def ahead(self, statement: Statement, **params: object) -> None:
        """Send a statement whose rows are asked for next, by the same question: the server works on it meanwhile.

        Only within a transaction that has begun and has nothing queued; nothing else may be asked before its rows are.
        """
        self._check()
        if not self._begun or self._queue or self._ahead is not None:
            raise RuntimeError("nothing can be asked ahead here")
        self._ahead = extended_message(statement.numbered, statement.values(params))
        try:
            self._lent().send(self._ahead)
        except WireBroken as broken:
            raise connection_lost(broken) from broken

    def texts(self, statement: Statement, **params: object) -> list[tuple[str | None, ...]]:
        """As ``query``, each row as the tuple of the server's own texts: for thousands of rows that are read by position."""
        return self._extended(statement, params).rows

    def execute(self, statement: Statement, **params: object) -> int:
        """Run one parametrised statement and return the number of rows it touched."""
        count = self._extended(statement, params).tag.rpartition(" ")[2]
        return int(count) if count.isdigit() else 0

    def copy_in(self, statement: str, lines: Iterable[str]) -> int:
        """Run ``copy … from stdin`` with text-format ``lines`` (see ``sql.copy_line``); return the rows copied."""
        if not self._begun or self._queue or self._ahead is not None:
            self._simple([])
        wire = self._lent()
        try:
            return wire.copy_in(statement, (check_text(line) for line in lines))
        except ServerError as error:
            raise in_our_words(error, read_only=self._read_only) from error
        except WireBroken as broken:
            raise connection_lost(broken) from broken

    def finish(self, *calls: Call) -> tuple[Any, ...]:
        """Run queued sends and ``calls`` and commit, all in one message; return the documents of ``calls``.

        As the first message of a transaction it is the whole of it. Nothing can follow. Raises as ``call``; a commit whose
        answer was lost is ``Unavailable``.
        """
        texts = [call_text(call.function, call.document) for call in calls]
        results = self._committed(texts)
        return tuple(rows.document(_single(result)) for result in results[len(results) - 1 - len(calls) : -1])

    def _check(self) -> Pool:
        if self._pool is None or self._finished:
            raise RuntimeError("this transaction is over")
        if get_ident() != self._owner:
            raise RuntimeError("a transaction belongs to the thread that opened it")
        return self._pool

    def _lent(self) -> Wire:
        pool = self._check()
        if self._wire is None:
            self._wire, self._reused = pool.borrow()
            if self._turn is not None:
                self._wait_for_turn(self._wire, self._turn)
        return self._wire

    def _wait_for_turn(self, wire: Wire, turn: int) -> None:
        """Take the session's advisory lock in a message of its own: the transaction's snapshot is younger than that."""
        self._reused = False  # a connection in this one's place would not hold the lock
        try:
            wire.exchange(query_message(f"set local lock_timeout = 0; select pg_advisory_lock({turn})"), 1)
        except ServerError as error:
            raise in_our_words(error) from error
        except WireBroken as broken:
            raise connection_lost(broken) from broken

    def _simple(self, texts: list[str]) -> list[Result]:
        """Send begin when due, the queue and ``texts`` as one message; return the results of all its statements."""
        statements = (*self._begin, *self._queue, *texts) if not self._begun else (*self._queue, *texts)
        results = self._exchange(query_message("; ".join(statements)), 1)
        self._queue.clear()
        return results

    def _extended(self, statement: Statement, params: Mapping[str, object]) -> Result:
        values = statement.values(params)
        ahead = (*self._queue,) if self._begun else (*self._begin, *self._queue)
        if statement.is_planned_once != self._plans_once:
            ahead += (_PLANNED[statement.is_planned_once],)
        message = query_message("; ".join(ahead)) if ahead else b""
        readies = 2 if ahead else 1
        if statement.is_planned_once:
            results = self._exchange(message, readies, planned=(statement.numbered, values))
        else:
            results = self._exchange(message + extended_message(statement.numbered, values), readies)
        self._queue.clear()
        self._plans_once = statement.is_planned_once
        return results[-1]

    def _exchange(
        self, message: bytes, readies: int, *, is_final: bool = False, planned: tuple[str, list[str | None]] | None = None
    ) -> list[Result]:
        """Send a message, and after it ``planned``, a text with its values, by the plan that the connection keeps."""
        wire = self._lent()
        ahead, self._ahead = self._ahead, None
        whole = message if planned is None else message + wire.plans.message(*planned)
        try:
            try:
                if ahead is not None and ahead != whole:
                    raise RuntimeError("something else was asked ahead")
                results = wire.exchange(whole, readies) if ahead is None else wire.receive(readies)
            except WireBroken as broken:
                # a pooled connection that died while idle: nothing of ours can have been committed, so ask again, once
                if self._begun or is_final or not self._reused or broken.timed_out:
                    raise
                self._reused = False
                self._wire = None
                self._wire = self._check().replace(wire)
                whole = message if planned is None else message + self._wire.plans.message(*planned)
                results = self._wire.exchange(whole, readies)
        except ServerError as error:
            self._begun = True
            if planned is not None:
                self._lent().plans.forget(planned[0])
            self._is_spent = self._is_spent or (error.sqlstate == READ_ONLY and not self._read_only)
            raise in_our_words(error, read_only=self._read_only) from error
        except WireBroken as broken:
            raise connection_lost(broken) from broken
        self._begun = True
        return results

    def commit(self) -> None:
        """Send queued calls and commit as one message; nothing at all when nothing was ever sent or queued."""
        if not self._finished and (self._begun or self._queue):
            self._committed([])

    def _committed(self, texts: list[str]) -> list[Result]:
        """Send begin when due, the queue, ``texts`` and commit as one message; return the results of all its statements."""
        self._check()
        if self._wire is not None and self._wire.status == FAILED:
            raise DatabaseFailed("25P02", "the transaction had failed before its commit")
        ahead = () if self._begun else self._begin
        results = self._exchange(query_message("; ".join((*ahead, *self._queue, *texts, "commit"))), 1, is_final=True)
        if results[-1].tag != "COMMIT":
            raise DatabaseFailed("25P02", f"commit answered {results[-1].tag}")
        self._finished = True
        return results

    def end(self) -> None:
        """Roll back what is open and return the connection; a broken one is thrown away by the pool."""
        pool, wire = self._pool, self._wire
        self._pool = self._wire = None
        if pool is None or wire is None:
            return
        try:
            if wire.in_step and wire.status != IDLE:
                wire.exchange(query_message("rollback"))
            if wire.in_step and self._turn is not None:
                wire.exchange(query_message(f"select pg_advisory_unlock({self._turn})"))
            if self._is_spent:  # a session keeps what it was told when it began, also when the database takes writes again
                wire.in_step = False
        except (ServerError, WireBroken):
            wire.in_step = False
        finally:
            pool.give_back(wire)


class Beside:
    """One statement on a second connection that sees what a transaction sees: the server works on it while that goes on.

    Begun, asked and ended in one message, so that nothing but its rows is left to be waited for.
    """

    __slots__ = ("_pool", "_wire")

    def __init__(self, pool: Pool, wire: Wire) -> None:
        self._pool, self._wire = pool, wire

    def ask(self, tx: Tx, statement: Statement, values: list[str | None], tenant_id: str | None) -> None:
        """Send it; ``tx`` says what is seen. Raises as ``Tx.query``, ``Unavailable`` also where this connection is lost."""
        (seen,) = tx.query(_SNAPSHOT)
        begin, *settings = begin_texts(read_only=True, isolation="repeatable read", tenant_id=tenant_id)
        opening = "; ".join((begin, f"set transaction snapshot {literal(seen['snapshot'])}", *settings))
        message = query_message(opening) + extended_message(statement.numbered, values) + query_message("commit")
        try:
            self._wire.send(message)
        except WireBroken as broken:
            raise connection_lost(broken) from broken

    def rows(self) -> list[dict[str, Any]]:
        """Its rows, once. Raises as ``Tx.query``."""
        try:
            results = self._wire.receive(_BESIDE_READIES)
        except ServerError as error:
            raise in_our_words(error, read_only=True) from error
        except WireBroken as broken:
            raise connection_lost(broken) from broken
        result = results[-2]  # the last is the commit's
        return rows.convert(result.names, result.oids, result.columns, len(result.bodies))

    def end(self) -> None:
        """Give the connection back; one whose rows nobody took is thrown away by the pool."""
        self._pool.give_back(self._wire)


def _single(result: Result) -> str | None:
    if len(result.bodies) != 1:
        raise DatabaseFailed("21000", f"a database function answers one row, not {len(result.bodies)}")
    return result.columns[0][0]


def begin_texts(read_only: bool, isolation: Isolation, tenant_id: str | None) -> tuple[str, ...]:
    """Return the statements that open a transaction; ``tenant_id`` is transaction-local, for row-level security."""
    text = "begin" if isolation == "read committed" else f"begin isolation level {isolation}"
    if read_only:
        text += " read only"
    if tenant_id is None:
        return (text,)
    return (text, f"set local fillbook.tenant_id = {literal(check_text(tenant_id))}")
