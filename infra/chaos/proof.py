"""What must hold at the end of every day and of the run, whatever went wrong: each claim by name, with what was found.

Audit, messages against executions, books against brokers, the day decided again against the day that was, and every receipt that
was acknowledged. A figure that is compared is read from both sides; nothing is taken from what the run remembers of its own doing
but the ids that the door gave out.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final

from fillbook.ledger import audit
from fillbook.notify.judging import UNDER_WAY
from fillbook.runtime.sql import encode, statement
from infra.chaos import person
from infra.chaos.days import begins_at, moments
from infra.chaos.heal import REST_SECONDS, end_leases
from infra.chaos.stage import Answer, Stage, asked
from infra.local import flex_book, mt5_truth
from infra.local.plan import FLEX_ACCOUNT, TWS_ACCOUNT
from infra.local.walking import NeverSo

FOOTER: Final = re.compile(r"action_id ([0-9a-f-]{36})")
PROOF_TICKS_MAX: Final = 60
PARITY_TRIES_MAX: Final = 20
EXAMPLES_MAX: Final = 5
ENDED: Final = ("decided", "late", "stale", "conflict")
"""What may become of a receipt; each has its row."""

# what the run came to, without what depends on when and how often it was written or told
CONTENT: Final[Mapping[str, str]] = {
    "receipts": "select receipt_id, ticker, ts, result from signal.v_receipts order by ticker, ts, receipt_id",
    "decisions": """select book_id, ticker, ts, receipt_id, lane, computed_lane, rule, action_ids from signal.v_decisions
                     where book_id = 'live' order by ticker, ts""",
    "lanes": "select ticker, lane, reason, score, last_price, last_ts from signal.v_board where book_id = 'live' order by ticker",
    "actions": """select book_id, action_id, position_id, action_type::text, ticker, direction::text, executed_at, quantity,
                         price, value, fees, realized_pnl, position_quantity_after, position_vwap_after, reason, origin
                    from ledger.v_actions where book_id not like 'replay:%' order by book_id, action_id""",
    "closings": """select book_id, action_id, lot_id, quantity, lot_price, realized_pnl from ledger.v_closings
                    where book_id not like 'replay:%' order by book_id, action_id, lot_id""",
    "lots": """select book_id, lot_id, position_id, quantity, quantity_open, price, cost_basis, status::text
                 from ledger.v_lots where book_id not like 'replay:%' order by book_id, lot_id""",
    "positions": """select book_id, position_id, symbol, direction::text, status::text, quantity_open, quantity_opened,
                           cost_basis, realized_pnl
                      from ledger.v_positions where book_id not like 'replay:%' order by book_id, position_id""",
    "executions": """select account_id, ib_exec_id, state, exec_revision, executed_at, side, quantity, price, commission
                       from ibkr.trade_executions order by account_id, ib_exec_id""",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One thing that must hold: ``problems`` is empty where it does; ``figures`` are what was counted."""

    name: str
    problems: tuple[str, ...]
    figures: Mapping[str, int]


class Prover:
    """Looks at one stage."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage

    def day(self, day: date, now: datetime) -> tuple[Claim, ...]:
        """Every claim at the end of a session; ``now``: the desk's instant."""
        self._reconcile()
        return (
            self._audit(now),
            self._messages(),
            self._receipts(),
            self._gateway(day),
            self._statements(day),
            self._linked(day),
            self._parity(day),
            self._published(day),
            self._nothing_open(),
        )

    # --- the ledger ---

    def _audit(self, now: datetime) -> Claim:
        problems: list[str] = []
        books = self._stage.rows("select book_id from ledger.v_books order by book_id")
        for row in books:
            found = self._stage.patiently(partial(audit.audit, self._stage.cloud.database, row["book_id"], now))
            problems += [f"{row['book_id']}: invariant {one.invariant}: {one.detail}" for one in found.findings]
        return _claim("audit clean", problems, books=len(books))

    def _receipts(self) -> Claim:
        rows = self._stage.rows("select receipt_id::text as id, result from signal.v_receipts")
        stored = {row["id"]: row["result"] for row in rows}
        problems = [f"acknowledged and not stored: {one}" for one in sorted(self._stage.acknowledged - stored.keys())]
        problems += [f"{one} is {stored[one]}" for one in sorted(stored) if stored[one] not in ENDED]
        problems += [f"stored and never acknowledged: {one}" for one in sorted(stored.keys() - self._stage.acknowledged)]
        twice = Counter(row["id"] for row in rows)
        problems += [f"stored {number} times: {one}" for one, number in twice.items() if number > 1]
        return _claim("nothing lost of what was acknowledged", problems, receipts=len(rows), **Counter(stored.values()))

    # --- Discord ---

    def _reconcile(self) -> None:
        """One pass of the proof of all that was booked, as often asked for as it takes to come to its end."""
        self._stage.tick(UNDER_WAY.total_seconds() + 1)
        self._stage.run_job("discord-reconcile-daily")
        under_way = "select count(*) as n from notify.v_reconcile_runs where status in ('queued', 'running')"
        for _ in range(PROOF_TICKS_MAX):
            if self._stage.number(under_way) == 0:
                return
            self._stage.rest(REST_SECONDS)
            end_leases(self._stage)
            self._stage.tick(60)
        raise NeverSo("the proof of Discord's messages does not end")

    def _messages(self) -> Claim:
        booked = "select action_id::text as id from ledger.v_actions where book_id not like 'replay:%' and origin = 'live'"
        undone = "select distinct action_id::text as id from ledger.execution_actions where state = 'VOID'"
        current = {row["id"] for row in self._stage.rows(booked)}
        void = {row["id"] for row in self._stage.rows(undone)} - current
        messages = self._stage.discord("messages?webhook=executions") or []
        texts = (embed.get("footer", {}).get("text", "") for message in messages for embed in message["embeds"])
        told = Counter(found[1] for text in texts if (found := FOOTER.match(text)))
        problems = [f"booked and not told: {one}" for one in sorted(current - told.keys())]
        problems += [f"told and not booked: {one}" for one in sorted(told.keys() - current - void)]
        problems += [f"told {number} times: {one}" for one, number in sorted(told.items()) if number > 1]
        return _claim(
            "messages = executions", problems, executions=len(current), messages=sum(told.values()), void=len(void & told.keys())
        )

    # --- the brokers ---

    def _gateway(self, day: date) -> Claim:
        """Executions of the gateway's account, once each, as they were told last, and what it holds."""
        night = next(moment.at for moment in moments(day) if moment.name == "night")
        found = self._executions(TWS_ACCOUNT, day, day)
        problems = _differences(Counter(map(_execution, self._stage.gateway.expected(night))), found)
        _, frames = self._stage.gateway.book(self._stage.cloud.clock.now())
        held = {frame[4]: Decimal(frame[-2]) for frame in frames}
        problems += self._positions(TWS_ACCOUNT, held)
        return _claim("the gateway's account is in its book", problems, executions=found.total(), held=len(held))

    def _statements(self, day: date) -> Claim:
        """Executions of the statements' account from the season's first day on, once each, but for what was taken back."""
        first = self._stage.first
        days = (first + timedelta(days=offset) for offset in range((day - first).days + 1))
        found = self._executions(FLEX_ACCOUNT, first, day)
        problems = _differences(Counter(map(_execution, self._stage.statements.expected(days))), found)
        problems += self._positions(FLEX_ACCOUNT, {flex_book.HELD[0]: Decimal(flex_book.HELD[2])})
        return _claim("the statements' account is in its book", problems, executions=found.total())

    def _executions(self, account: str, first: date, last: date) -> Counter[str]:
        text = """select meta ->> 'ib_exec_id' as id, quantity, price from ledger.v_actions
                   where book_id = :book and reason = 'broker_execution' and session_date between :first and :last"""
        rows = self._stage.rows(text, book=f"ibkr:{account}", first=first, last=last)
        return Counter(_execution((row["id"], row["quantity"], row["price"])) for row in rows)

    def _positions(self, account: str, held: Mapping[str, Decimal]) -> list[str]:
        text = (
            "select symbol, sum(quantity_open) as n from ledger.v_positions where book_id = :book and status = 'OPEN' group by 1"
        )
        booked = {row["symbol"]: row["n"] for row in self._stage.rows(text, book=f"ibkr:{account}")}
        return [
            f"{account} holds {held.get(name, 0)} of {name}, its book {booked.get(name, 0)}"
            for name in sorted(held.keys() | booked.keys())
            if held.get(name, 0) != booked.get(name, 0)
        ]

    def _linked(self, day: date) -> Claim:
        """Trades of the MT5 accounts are the broker's, and the ledger values them as it does.

        Accounts trade at night too: what was opened or closed since the morning's look at them is the next day's.
        """
        problems: list[str] = []
        trades, begun, until = 0, begins_at(self._stage.first), moments(day)[-1].at
        for name, account_id in sorted(self._stage.mt5.items()):
            truth = self._stage.broker(f"truth/{name}")
            if truth is None:
                return _claim("MT5 accounts are in their books", ["the service does not answer"])
            rows = self._stage.rows("select * from mt5.trades where account_id = :id::uuid", id=account_id)
            found = {(row["position_id"], row["episode"]): row for row in rows}
            told = {(one["position_id"], one["episode"]): one for one in truth["trades"]}
            ours = {
                key for key, one in told.items() if begun <= _instant(one, "open_time") and _instant(one, "last_time") < until
            }
            trades += len(found)
            problems += [f"{name}: trade {key} is missing" for key in sorted(ours - found.keys())]
            problems += [f"{name}: trade {key} is not the broker's" for key in sorted(found.keys() - told.keys())]
            for key in sorted(ours & found.keys()):
                problems += [f"{name}: trade {key}: {line}" for line in mt5_truth.differences(found[key], told[key])]
        differ = "select count(*) as n from mt5.ledger_differences where not_comparable is null"
        if number := self._stage.number(differ):
            problems.append(f"{number} trades are valued otherwise by the ledger")
        return _claim("MT5 accounts are in their books", problems, trades=trades)

    # --- the day again ---

    def _parity(self, day: date) -> Claim:
        """The day decided again from what live saw: equal to the last digit."""
        key = {"Authorization": f"Bearer {self._stage.cloud.secrets['desk_key']}"}
        url = f"{self._stage.cloud.url('replay_worker')}/timed/admin/replay-parity"
        answer = Answer(0)
        for _ in range(PARITY_TRIES_MAX):
            answer = asked(url, json.dumps({"date": day.isoformat()}).encode(), key)
            if answer.status == 200:
                (found,) = answer.document["days"]
                problems = [] if found["identical"] else [f"live and replay part: {found['first']}"]
                return _claim("decided again, the day is the same", problems, days=1)
        return _claim("decided again, the day is the same", [f"the replay answered {answer.status} {answer.body[:300]!r}"])

    def _published(self, day: date) -> Claim:
        """The day stands published as final; what happened since its publication is published now."""
        status = person.publish(self._stage.cloud, day)
        row = self._stage.rows("select stage, version from metrics.v_daily where date = :day", day=day)
        problems = [] if row and row[0]["stage"] == "final" else [f"{day} stands as {row}: {status}"]
        return _claim("the day is published", problems, version=int(row[0]["version"]) if row else 0)

    def _nothing_open(self) -> Claim:
        """No break, no quarantined row of the broker, no anomaly, no order, no dead letter, no parked fill."""
        open_ends = {
            "break": "select concat_ws(' ', book_id, kind, instrument) as what from ledger.v_breaks where resolved_at is null",
            "quarantined": "select source || ' ' || reason as what from ibkr.quarantine where state = 'open'",
            "anomaly": "select kind || ' ' || subject as what from ibkr.anomalies where closed_at is null",
            "dead letter": "select channel_id || ' ' || subject_key as what from notify.v_messages where state = 'dead'",
            "parked": "select book_id || ' ' || fill_id::text as what from ledger.v_parked_fills",
        }
        problems = [f"{name}: {row['what']}" for name, text in open_ends.items() for row in self._stage.rows(text)]
        return _claim("nothing is open", problems)

    # --- the run ---

    def content(self) -> dict[str, str]:
        """A digest of each part of what the season came to."""

        def read() -> dict[str, list[dict[str, Any]]]:
            with self._stage.cloud.database.transaction(read_only=True, isolation="repeatable read") as tx:
                return {name: tx.query(statement(text)) for name, text in CONTENT.items()}

        found = self._stage.patiently(read)
        return {name: f"{len(rows)} {hashlib.sha256(encode(rows).encode()).hexdigest()}" for name, rows in found.items()}


def _claim(name: str, problems: list[str], **figures: int) -> Claim:
    return Claim(name=name, problems=tuple(problems), figures=figures)


def _execution(told: tuple[str, Decimal, Decimal]) -> str:
    name, quantity, price = told
    return f"{name} of {quantity.normalize():f} at {price.normalize():f}"


def _differences(wanted: Counter[str], found: Counter[str]) -> list[str]:
    def lines() -> Iterator[str]:
        for name in sorted(wanted.keys() | found.keys()):
            if wanted[name] != found[name]:
                yield f"{name} stands {found[name]} times, not {wanted[name]}"

    return list(lines())


def _instant(told: Mapping[str, Any], name: str) -> datetime:
    return datetime.fromisoformat(told[name])
