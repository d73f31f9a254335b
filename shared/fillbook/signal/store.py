"""This room's tables as documents: what ``signal.load`` answers, and the rows that ``signal.apply`` writes.

Every row builder names its columns once; a contract test compares them with the record sets of the database functions,
because a misspelt key would silently become NULL. Numbers travel as text and come back as Decimal. Nothing is decided here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from json.encoder import encode_basestring as quote
from typing import Any, Final

from fillbook.money import plain
from fillbook.runtime.db import Call
from fillbook.runtime.sql import Json, encode, instant_text
from fillbook.signal.decision_input import decision_input
from fillbook.signal.explain import account_text, blocks_text, trace_text, value_text
from fillbook.signal.model import Admission, Decision, Intent, Plan, PositionFacts, Receipt, StopMove, TickerState
from fillbook.signal.profile import Profile, RiskSize
from fillbook.signal.receipt import ParsedReceipt, instant, milliseconds
from fillbook.signal.state import plan_from_json, plan_to_json, state_text
from fillbook.values import frozen

Row = dict[str, Any]

DECIDED: Final = "decided"
LATE: Final = "late"
STALE: Final = "stale"
CONFLICT: Final = "conflict"
RESULTS: Final = (DECIDED, LATE, STALE, CONFLICT)


@frozen
class PlanRow:
    """The open plan of a ticker as stored; ``stop`` and all prices in units of the entry."""

    position_id: str
    plan: Plan
    stop: Decimal
    tiers_taken: int
    adds: int
    cycles_used: tuple[str, ...]
    sector: str | None


@frozen
class Surroundings:
    """What the limits ask beyond the ledger's totals: open positions of the sector, the volatility ticker's last price."""

    open_in_sector: int
    vix: Decimal | None
    vix_ts: int | None


@frozen
class Loaded:
    """A locked ticker. ``state`` is the stored JSON (``None``: never decided); ``tickers`` is given only for a new one."""

    is_known: bool
    decided_by: str | None
    tickers: int | None
    state: Mapping[str, Any] | None
    plan: PlanRow | None
    surroundings: Surroundings | None


def load_call(book_id: str, receipt: Receipt, *, facts: Mapping[str, Any] | None = None) -> Call:
    """Lock the ticker's row and read it; ``facts`` is ``facts_document`` when the book will be asked."""
    document = {
        "book_id": book_id,
        "ticker": receipt.ticker,
        "ts": instant(receipt.ts),
        "receipt_id": receipt.receipt_id,
        "facts": facts,
    }
    return Call("signal.load", document)


def vix_ticker_of(profile: Profile) -> str | None:
    """The ticker whose price scales risk, where the profile asks for one."""
    return profile.size.vix.ticker if isinstance(profile.size, RiskSize) else None


def facts_document(book_id: str, sector: str | None, vix_ticker: str | None) -> Row:
    """What ``signal.facts`` needs to know."""
    return {"book_id": book_id, "sector": sector, "vix_ticker": vix_ticker}


def facts_call(document: Mapping[str, Any]) -> Call:
    """Read the surroundings again, under the book's lock."""
    return Call("signal.facts", document)


def loaded_of(document: Mapping[str, Any]) -> Loaded:
    """Read the answer of ``signal.load``."""
    plan, facts = document["plan"], document["facts"]
    return Loaded(
        is_known=document["is_known"],
        decided_by=document["decided_by"],
        tickers=document["tickers"],
        state=document["state"],
        plan=None if plan is None else plan_row(plan),
        surroundings=None if facts is None else surroundings_of(facts),
    )


@frozen
class LoadedTicker:
    """One ticker of a page: its stored version, state (``None``: never decided) and open plan."""

    ticker: str
    version: int
    state: Mapping[str, Any] | None
    plan: PlanRow | None


def page_call(book_id: str, tickers: Iterable[str]) -> Call:
    """Lock and read every ticker of a book, the named ones made where they are new."""
    return Call("signal.load_page", {"book_id": book_id, "tickers": sorted(tickers)})


def page_of(document: Mapping[str, Any]) -> list[LoadedTicker]:
    """Read the answer of ``signal.load_page``."""
    plans = {ticker: plan_row(plan) for ticker, plan in document["plans"] or ()}
    return [
        LoadedTicker(ticker=ticker, version=version, state=state, plan=plans.get(ticker))
        for ticker, version, state in document["states"] or ()
    ]


def surroundings_of(document: Mapping[str, Any]) -> Surroundings:
    """Read the answer of ``signal.facts``."""
    vix, vix_at = document["vix"], document["vix_at"]
    return Surroundings(
        open_in_sector=document["open_in_sector"],
        vix=None if vix is None else Decimal(vix),
        vix_ts=None if vix_at is None else milliseconds(datetime.fromisoformat(vix_at)),
    )


def apply_call(document: Mapping[str, Any]) -> Call:
    """Write a document of row lists."""
    return Call("signal.apply", document)


def plan_row(document: Mapping[str, Any]) -> PlanRow:
    """Read an open plan as ``signal.load`` and the snapshots write it."""
    return PlanRow(
        position_id=document["position_id"],
        plan=plan_from_json(document["plan"]),
        stop=Decimal(document["stop"]),
        tiers_taken=document["tiers_taken"],
        adds=document["adds"],
        cycles_used=tuple(document["cycles_used"]),
        sector=document["sector"],
    )


# --- rows -------------------------------------------------------------------------------------------------------------


def receipt_row(arrived: ParsedReceipt, *, received_at: datetime, now: datetime, result: str) -> Row:
    """One stored receipt with what became of it."""
    receipt = arrived.receipt
    return {
        "receipt_id": receipt.receipt_id,
        "ticker": receipt.ticker,
        "ts": instant(receipt.ts),
        "time_close": None if receipt.time_close is None else instant(receipt.time_close),
        "received_at": received_at,
        "recorded_at": now,
        "payload_hash": receipt.payload_hash,
        "script_version": receipt.script_version,
        "payload": arrived.canonical.decode(),
        "decision_input": decision_input(receipt),
        "repairs": list(arrived.repairs),
        "processed_at": now,
        "result": result,
    }


def seen_row(book_id: str, receipt: Receipt) -> Row:
    """Notes the newest ts of a ticker for a receipt that was stored only."""
    return {"book_id": book_id, "ticker": receipt.ticker, "newest_ts": instant(receipt.ts)}


def state_row(
    book_id: str,
    final: Decision,
    *,
    loaded_version: int,
    day_change: Decimal | None,
    now: datetime,
    memory: str | None = None,
) -> Row:
    """Where the ticker stands after a decision; written only over the version it was computed from.

    ``memory`` is the state's ``memory_text`` where it is known already.
    """
    state = final.state
    return {
        "book_id": book_id,
        "ticker": final.ticker,
        "version": state.version,
        "lane": final.lane,
        "rule": final.rule,
        "reason": final.reason,
        "badges": list(final.badges),
        "blocks": Json(blocks_text(final.blocks)),
        "lane_since": None if state.shown.since is None else instant(state.shown.since),
        "side": final.side,
        "score": final.score,
        "last_price": state.last_price,
        "day_change_percent": day_change,
        "last_ts": instant(final.ts),
        "last_receipt_id": final.receipt_id,
        "state": Json(state_text(state, memory)),
        "updated_at": now,
        "loaded_version": loaded_version,
    }


def snapshot_row(book_id: str, ticker: str, day: date, before: TickerState, plan: PlanRow | None) -> Row:
    """State and open plan as they were before the first decided receipt of a session date; null what there was none of."""
    state = None if before.last_ts is None else Json(state_text(before))
    return {
        "book_id": book_id,
        "session_date": day,
        "ticker": ticker,
        "state": state,
        "plan": None if plan is None else plan_document(plan),
    }


def plan_document(plan: PlanRow) -> Row:
    """An open plan as JSON; ``plan_row`` reads it back."""
    return {
        "position_id": plan.position_id,
        "plan": plan_to_json(plan.plan),
        "stop": plain(plan.stop),
        "tiers_taken": plan.tiers_taken,
        "adds": plan.adds,
        "cycles_used": list(plan.cycles_used),
        "sector": plan.sector,
    }


@lru_cache(maxsize=4096)
def _instant_text(ts: int) -> str:
    """A receipt's ``ts`` as documents write instants; hundreds of tickers share each minute."""
    return instant_text(instant(ts))


@lru_cache(maxsize=16)
def _now_text(now: datetime) -> str:
    """The time of recording; a page has one."""
    return instant_text(now)


def decision_row(book_id: str, final: Decision, blocks: str, admissions: Sequence[Admission], now: datetime) -> Json:
    """One decision with everything that was compared, as the JSON text of its row; ``blocks`` is ``blocks_text`` of it.

    Written at once: a replayed day stores 60,000 of them, and a dict of twenty values costs as much as deciding half a receipt.
    """
    intents = encode(intents_of(final.intents, admissions)) if final.intents else "[]"
    score = "null" if final.score is None else f'"{final.score:f}"'
    badges = value_text(final.badges) if final.badges else "[]"
    action_ids = value_text(final.action_ids) if final.action_ids else "[]"
    account = account_text(final.account)
    return Json(
        f'{{"book_id":{quote(book_id)},"ticker":{quote(final.ticker)},"ts":"{_instant_text(final.ts)}",'
        f'"receipt_id":"{final.receipt_id}","version":{final.version},"lane":"{final.lane}",'
        f'"computed_lane":"{final.computed_lane}","rule":"{final.rule}","reason":{quote(final.reason)},'
        f'"badges":{badges},"side":{value_text(final.side)},"score":{score},"blocks":{blocks},'
        f'"intents":{intents},"account":{account},"trace":{trace_text(final, account)},'
        f'"profile":{quote(final.profile)},"config_digest":"{final.config_digest}","action_ids":{action_ids},'
        f'"recorded_at":"{_now_text(now)}"}}'
    )


def move_row(book_id: str, final: Decision, price: Decimal) -> Row:
    """A move of the shown lane."""
    return {
        "book_id": book_id,
        "ticker": final.ticker,
        "from_lane": final.previous_lane,
        "lane": final.lane,
        "rule": final.rule,
        "reason": final.reason,
        "badges": list(final.badges),
        "blocks": Json(blocks_text(final.blocks)),
        "price": price,
        "score": final.score,
        "entered_at": instant(final.ts),
        "receipt_id": final.receipt_id,
        "action_ids": list(final.action_ids),
    }


def opened_plan_row(book_id: str, ticker: str, position: PositionFacts, plan: Plan, ts: int) -> Row:
    """The plan that an ENTRY froze. Only a page of a replay may fill in ``closed_at``: there it may be closed again already."""
    return {
        "book_id": book_id,
        "position_id": position.position_id,
        "ticker": ticker,
        "side": position.side,
        "plan": plan_to_json(plan),
        "stop": position.stop,
        "tiers_taken": position.tiers_taken,
        "adds": position.adds,
        "cycles_used": list(position.cycles_used),
        "sector": position.sector,
        "opened_at": instant(ts),
        "profile": plan.profile,
        "config_digest": plan.config_digest,
        "closed_at": None,
        "close_reason": None,
    }


def changed_plan_row(book_id: str, position: PositionFacts) -> Row:
    """What may move on an open plan."""
    return {
        "book_id": book_id,
        "position_id": position.position_id,
        "stop": position.stop,
        "tiers_taken": position.tiers_taken,
        "adds": position.adds,
        "cycles_used": list(position.cycles_used),
    }


def plan_changed(stored: PlanRow, position: PositionFacts) -> bool:
    """Whether anything of an open plan moved; most receipts move nothing and write nothing."""
    now = (position.stop, position.tiers_taken, position.adds, position.cycles_used)
    return now != (stored.stop, stored.tiers_taken, stored.adds, stored.cycles_used)


def closed_plan_row(book_id: str, position_id: str, ts: int, reason: str) -> Row:
    """The end of a plan; ``reason`` is a slug (``closed_elsewhere`` when the ledger no longer holds the position)."""
    return {"book_id": book_id, "position_id": position_id, "closed_at": instant(ts), "close_reason": reason}


def stop_row(book_id: str, move: StopMove, receipt_id: str) -> Row:
    """A stop that was tightened, in today's units."""
    return {
        "book_id": book_id,
        "position_id": move.position_id,
        "ts": instant(move.ts),
        "old_stop": move.old_stop,
        "new_stop": move.new_stop,
        "rule": move.rule,
        "receipt_id": receipt_id,
    }


def intents_of(intents: Sequence[Intent], admissions: Sequence[Admission]) -> list[Row]:
    """What was wanted and what of it was granted."""
    answers = {admission.ordinal: admission for admission in admissions}
    return [_intent(intent, answers.get(intent.ordinal)) for intent in intents]


def _intent(intent: Intent, admission: Admission | None) -> Row:
    return {
        "ordinal": intent.ordinal,
        "kind": intent.kind,
        "side": intent.side,
        "rule": intent.rule,
        "reason": intent.reason,
        "price": plain(intent.price),
        "quantity": None if admission is None else _text(admission.quantity),
        "notional": None if admission is None else _text(admission.notional),
        "confidence": _text(intent.confidence),
        "refused_by": [] if admission is None else [block.rule for block in admission.refusals],
    }


def _text(number: Decimal | None) -> str | None:
    return None if number is None else plain(number)
