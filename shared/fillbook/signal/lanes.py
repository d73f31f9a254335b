"""Decide: one receipt, one state, one profile, one answer.

``decide`` looks at one ticker only, so tickers run in parallel; what depends on the whole book is asked by ``admit``; and
``conclude`` turns what was really booked into the lane that may be shown. **Law: enter_now, trim and exit are shown only
when the action they name is booked in the same transaction.** Same arguments, same result, byte for byte: no clock, no I/O,
no randomness, and one decimal context.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import localcontext
from typing import NamedTuple

from fillbook.money import CONTEXT
from fillbook.signal import definitions as define
from fillbook.signal.discovery import discover
from fillbook.signal.explain import inputs_of, kept
from fillbook.signal.gate import evaluate, find_path, is_tradable
from fillbook.signal.management import Case, case_of, manage
from fillbook.signal.memory import after_bookings, guard_price, reconciled, show
from fillbook.signal.model import (
    ENTER,
    EXIT,
    LONG,
    Admission,
    Block,
    Booked,
    Check,
    Decision,
    Desk,
    Facts,
    Intent,
    Plan,
    PositionFacts,
    Receipt,
    StopMove,
    TickerState,
    new,
)
from fillbook.signal.plan import TRAILING_RULES, in_todays_units, make_plan, tighten
from fillbook.signal.profile import Profile
from fillbook.signal.reading import Reading, is_complete, read
from fillbook.signal.sessions import is_open
from fillbook.signal.verdict import Entry, Verdict


class Draft(NamedTuple):
    """A decision before its bookings: everything ``conclude`` continues from. ``state`` is as before the receipt."""

    receipt: Receipt
    state: TickerState
    reading: Reading | None
    entry: Entry | None
    case: Case | None
    verdict: Verdict
    config: Profile


def decide(receipt: Receipt, state: TickerState, config: Profile) -> Decision:
    """Decide one receipt. A decision with intents shows what is wished; ``conclude`` makes it true."""
    with localcontext(CONTEXT):
        state = reconciled(state, receipt.ts)
        jump = guard_price(state, receipt.price, config.price_guard)
        if jump is not None:
            return _unconfirmed(receipt, state, jump, config)
        held = None if state.position is None else in_todays_units(state.position)
        reading = entry = None
        if is_complete(receipt):
            reading = read(receipt, state.market, None if held is None else held.plan, config)
            path, checks = find_path(reading, receipt, config)
            entry = new(Entry, (path, checks, evaluate(reading, receipt, state.desk, config)))
        case = None
        if held is None:
            verdict = discover(receipt, reading, entry, state.desk, config)
        else:
            case = case_of(receipt, reading, entry, held, state.desk, config)
            verdict = manage(case)
        draft = new(Draft, (receipt, state, reading, entry, case, verdict, config))
        return _finished(draft, verdict, (), ()) if not verdict.intents else _wished(draft)


def conclude(decision: Decision, admissions: Sequence[Admission], booked: Sequence[Booked]) -> Decision:
    """The decision after its bookings: refused entries fall to the next lane, memory holds what was booked, stops tighten.

    ``admissions`` answer the decision's intents, ``booked`` the granted ones, both matched by ordinal. A decision without
    intents, or one already concluded, is returned as it is.
    """
    draft = decision.context
    if draft is None:
        return decision
    with localcontext(CONTEXT):
        return _finished(draft, _settled(draft, admissions, booked), admissions, booked)


def might_ask(receipt: Receipt, config: Profile) -> bool:
    """Whether this receipt could lead to an enter or add intent, from the receipt alone; never falsely ``False``.

    These are the gate rules that no memory can change; score, completion and timing depend on what was seen before.
    """
    if not is_complete(receipt) or receipt.sl is None or receipt.phase_pct is None:
        return False
    assert receipt.state is not None
    assert receipt.htf_score is not None
    assert receipt.ltf_score is not None
    long = define.side_of(receipt.state) == LONG
    entry = config.entry
    tp_max = receipt.target_high if long else receipt.target_low
    with localcontext(CONTEXT):
        rr = define.reward_risk(long, receipt.price, receipt.sl, tp_max, entry.rr.cap)
        return (
            rr is not None
            and rr >= min(entry.rr.base, entry.rr.boosted, entry.rr.elite)
            and receipt.phase_pct <= max(entry.phase.base, entry.phase.boosted, entry.phase.elite)
            and define.in_corridor(long, receipt.htf_score, receipt.ltf_score, config.corridor)
            and is_open(config.session.entries, receipt.ts, config.trading)
            and is_tradable(receipt.ticker, config)
        )


def _settled(draft: Draft, admissions: Sequence[Admission], booked: Sequence[Booked]) -> Verdict:
    """The verdict that what was booked allows to show."""
    verdict = draft.verdict
    done = {item.ordinal for item in booked}
    refusals = tuple(block for admission in admissions for block in admission.refusals)
    kinds = {intent.kind for intent in verdict.intents if intent.ordinal in done}
    if len(done) == len(verdict.intents):
        return verdict
    if EXIT in kinds:
        # A flip whose entry was refused: the exit stands alone.
        return verdict._replace(lane="exit", blocks=(*verdict.blocks, *refusals))
    refusals = refusals or _not_booked(verdict)
    if draft.case is not None:
        return manage(draft.case, refused=verdict, refusals=refusals)
    return discover(draft.receipt, draft.reading, draft.entry, draft.state.desk, draft.config, refusals)


def _not_booked(verdict: Verdict) -> tuple[Block, ...]:
    """An intent that was granted and yet not booked is a refusal too, or the law would be broken."""
    return (Block("L0", "limit", verdict.rule, True),)


def _unconfirmed(receipt: Receipt, state: TickerState, jump: Check, config: Profile) -> Decision:
    """P0: lane kept, no rule runs, the last price stays; the price waits for a second print."""
    shown, badges = state.shown, ("price_unconfirmed",)
    after = state._replace(version=state.version + 1, last_ts=receipt.ts, price_pending=receipt.price, badges=badges)
    lane = shown.lane or "watch"
    return Decision(
        receipt_id=receipt.receipt_id,
        ticker=receipt.ticker,
        ts=receipt.ts,
        version=after.version,
        lane=lane,
        computed_lane=lane,
        previous_lane=shown.lane,
        rule="P0",
        reason=shown.reason,
        badges=badges,
        side=None if state.position is None else state.position.side,
        score=None,
        path=None,
        blocks=(),
        intents=(),
        stop_move=None,
        inputs={"price": receipt.price, "last_price": state.last_price},
        compared=(jump,),
        account=None,
        action_ids=(),
        mark=None,
        profile=config.version,
        config_digest=config.digest,
        state=after,
    )


def _wished(draft: Draft) -> Decision:
    """The decision as it will be if everything is granted and booked; its state is still the old one."""
    verdict, state = draft.verdict, draft.state
    return _decision(draft, verdict, verdict.lane, state, None, verdict.checks, None, (), draft)


def _finished(draft: Draft, verdict: Verdict, admissions: Sequence[Admission], booked: Sequence[Booked]) -> Decision:
    """Next state, stop move and shown lane after what was booked."""
    receipt, state, config = draft.receipt, draft.state, draft.config
    done = _done(draft.verdict.intents, booked) if booked else []
    desk = state.desk
    if desk.pending_exits or verdict.pending:
        desk = desk._replace(pending_exits=verdict.pending)
    position = state.position
    move: StopMove | None = None
    stop_checks: tuple[Check, ...] = ()
    if done:
        plan = next((_plan_of(draft, intent) for intent, _ in done if intent.kind == ENTER), None)
        position, desk = after_bookings(position, desk, receipt.ts, done, plan)
    if position is not None and draft.case is not None and not any(intent.kind == ENTER for intent, _ in done):
        # A position opened by this very receipt keeps the stop of its plan: it has no progress of its own yet.
        move, stop_checks = tighten(receipt, position, draft.case.progress, desk.last_stop_ts, config)
        position, desk = _moved(position, desk, move)
    shown = show(state.shown, verdict.lane, verdict.reason, receipt.ts, position is not None, config.hysteresis.receipts)
    after = new(
        TickerState,
        (
            state.version + 1,
            receipt.ts,
            receipt.price,
            None,
            verdict.badges,
            shown,
            state.market if draft.reading is None else draft.reading.market,
            desk,
            position,
        ),
    )
    checks, account = verdict.checks, None
    for admission in admissions:
        checks += admission.checks
        account = account or admission.facts
    if move is not None:
        checks += stop_checks
    lane = shown.lane or verdict.lane
    return _decision(draft, verdict, lane, after, move, checks, account, tuple([item.action_id for _, item in done]))


def _done(intents: Sequence[Intent], booked: Sequence[Booked]) -> list[tuple[Intent, Booked]]:
    """What was booked beside what was wished, in the order of the ordinals."""
    by_ordinal = {intent.ordinal: intent for intent in intents}
    return [(by_ordinal[item.ordinal], item) for item in sorted(booked, key=_ordinal)]


def _plan_of(draft: Draft, intent: Intent) -> Plan:
    """The plan an ENTRY freezes; made only now, because most wishes on a full book are refused."""
    reading = draft.reading
    assert reading is not None
    assert reading.tp_max is not None
    assert intent.rr is not None
    assert intent.confidence is not None
    return make_plan(
        draft.receipt,
        side=intent.side,
        tp_max=reading.tp_max,
        cycle=intent.cycle_key or "",
        score=reading.score,
        rr=intent.rr,
        confidence=intent.confidence,
        config=draft.config,
    )


def _ordinal(booked: Booked) -> int:
    return booked.ordinal


def _moved(position: PositionFacts, desk: Desk, move: StopMove | None) -> tuple[PositionFacts, Desk]:
    if move is None:
        return position, desk
    if move.rule in TRAILING_RULES:
        desk = desk._replace(last_stop_ts=move.ts)
    return replace(position, stop=move.stored_stop), desk


def _decision(
    draft: Draft,
    verdict: Verdict,
    lane: str,
    state: TickerState,
    move: StopMove | None,
    checks: tuple[Check, ...],
    account: Facts | None,
    action_ids: tuple[str, ...],
    context: Draft | None = None,
) -> Decision:
    receipt, reading, config = draft.receipt, draft.reading, draft.config
    # While something is held the board names the held side, whatever side this receipt speaks for.
    position = state.position or (draft.state.position if reading is None else None)
    side = position.side if position is not None else None if reading is None else reading.side
    return new(
        Decision,
        (
            receipt.receipt_id,
            receipt.ticker,
            receipt.ts,
            state.version,
            lane,
            verdict.lane,
            draft.state.shown.lane,
            verdict.rule,
            verdict.reason,
            verdict.badges,
            side,
            None if reading is None else reading.score,
            verdict.path,
            verdict.blocks,
            # What was wished stays on record also when it was refused: then all that was compared is worth keeping.
            draft.verdict.intents,
            move,
            inputs_of(receipt, reading, draft.case),
            kept(checks, verdict.check, verdict.blocks, whole=bool(draft.verdict.intents)),
            account,
            action_ids,
            receipt.price,
            config.version,
            config.digest,
            state,
            context,
        ),
    )
