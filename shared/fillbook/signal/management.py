"""Lanes of a ticker with an open position: M1..M11, first match wins (specification 3.4).

A rule that holds but may not act yet (session, age, cooldown, first of two receipts) becomes a block, and the next rules
decide the lane. An incomplete receipt still runs what a price alone can decide; a position the plan table does not know
runs only what needs no plan. Stops act in any session, targets only in the regular one: thin prints at dawn are no fills.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final, NamedTuple

from fillbook.signal import definitions as define
from fillbook.signal.gate import COOLDOWN_RULE
from fillbook.signal.model import LONG, Block, Check, Desk, Plan, PositionFacts, Receipt
from fillbook.signal.plan import trim_quantity
from fillbook.signal.profile import Profile
from fillbook.signal.reading import Reading
from fillbook.signal.scale_in import add_checks
from fillbook.signal.sessions import MINUTE_MS, is_open, phase
from fillbook.signal.verdict import Entry, Verdict, add, enter, failed, freed_by, leave, trim

OVEREXTENDED: Final = Decimal("0.95")


class Case(NamedTuple):
    """One receipt against one position. ``held`` is in today's units; ``adverse`` is % against the anchor."""

    receipt: Receipt
    reading: Reading | None
    entry: Entry | None
    held: PositionFacts
    plan: Plan | None
    long: bool
    age_ms: int
    pnl: Decimal
    progress: Decimal | None
    adverse: Decimal
    warnings: tuple[str, ...]
    desk: Desk
    config: Profile


class Step(NamedTuple):
    """One rule's outcome: what it compared; a verdict when it acts, a block when it holds but may not."""

    checks: tuple[Check, ...]
    hit: Verdict | None = None
    blocks: tuple[Block, ...] = ()
    pending: tuple[str, int, int] | None = None


def manage(case: Case, *, refused: Verdict | None = None, refusals: tuple[Block, ...] = ()) -> Verdict:
    """The verdict for an open position.

    After a refusal, ``refused`` is the verdict that could not be booked: only rules that ask for nothing run then, and what
    it had found out (blocks, exits that wait) stays.
    """
    checks: list[Check] = list(refused.checks) if refused is not None else []
    blocks: list[Block] = [*refused.blocks, *refusals] if refused is not None else []
    pending = list(refused.pending) if refused is not None else []
    for rule, step_of in _RULES:
        if (case.plan is None and rule not in _WITHOUT_PLAN) or (case.reading is None and rule not in _WITHOUT_READING):
            continue
        if refused is not None and rule not in _PASSIVE:
            continue
        step = step_of(case)
        checks += step.checks
        blocks += step.blocks
        if step.pending is not None:
            pending.append(step.pending)
        if step.hit is not None:
            break
    else:
        raise AssertionError("M11 always matches")
    badges = (*step.hit.badges, *(("exit_pending",) if pending else ()), *(("no_plan",) if case.plan is None else ()))
    if refused is None and case.entry is not None:
        checks += (*case.entry.paths, *case.entry.gate)
    return step.hit._replace(blocks=tuple(blocks), badges=badges, checks=tuple(checks), pending=tuple(pending))


def case_of(
    receipt: Receipt, reading: Reading | None, entry: Entry | None, held: PositionFacts, desk: Desk, config: Profile
) -> Case:
    """Measure the position once for all rules."""
    plan, long, price = held.plan, held.side == LONG, receipt.price
    progress = None if plan is None else define.completion_of(long, price, plan.anchor, plan.tp_max, receipt.completion)
    adverse = define.ZERO if plan is None else define.adverse_pct(long, plan.anchor, price)
    case = Case(
        receipt=receipt,
        reading=reading,
        entry=entry,
        held=held,
        plan=plan,
        long=long,
        age_ms=receipt.ts - held.first_entry_ts,
        pnl=define.gain_pct(long, held.vwap, price),
        progress=progress,
        adverse=adverse,
        warnings=(),
        desk=desk,
        config=config,
    )
    return case if reading is None or plan is None else case._replace(warnings=_warnings(case, reading))


def _warnings(case: Case, reading: Reading) -> tuple[str, ...]:
    """Warnings W in the order of the specification; the first one names the lane's reason."""
    receipt, config, rules = case.receipt, case.config, case.config.exit
    htf, ltf = receipt.htf_score, receipt.ltf_score
    assert htf is not None
    assert ltf is not None
    outside = not define.in_corridor(case.long, htf, ltf, config.corridor)
    loss = -case.pnl
    found = {
        "behind_anchor": case.adverse >= rules.warn_behind_pct,
        "daily_regime_break": define.daily_regime_against(case.long, receipt),
        "ichimoku_regime_break": define.ichimoku_against(case.long, receipt),
        "late_cycle": reading.late and not reading.elite,
        "overextended": case.progress is not None and case.progress >= OVEREXTENDED,
        "left_corridor": outside and case.adverse > 0,
        "adverse_warning": rules.warn_adverse_pct <= loss < rules.max_adverse_pct,
    }
    return tuple(name for name, holds in found.items() if holds)


def _m1(case: Case) -> Step:
    stop = case.held.stop
    assert stop is not None
    holds = define.is_beyond_stop(case.long, case.receipt.price, stop)
    check = Check("M1", case.receipt.price, "<=" if case.long else ">=", stop, holds)
    return _leave(case, check, "sl_breached", _window(case, "M1", case.config.session.stop_hits))


def _m2(case: Case) -> Step:
    limit = -case.config.exit.max_adverse_pct
    check = Check("M2", case.pnl, "<=", limit, case.pnl <= limit)
    return _leave(case, check, "max_loss", _window(case, "M2", case.config.session.stop_hits))


def _m3(case: Case) -> Step:
    runner = _plan(case).tiers[2].price
    check = _target("M3", case, runner)
    return _leave(case, check, "tp_full", _window(case, "M3", case.config.session.target_hits))


def _m4(case: Case) -> Step:
    rules = case.config.exit
    limit = rules.anchor_breach_pct
    if rules.corridor_adverse_pct is not None and "left_corridor" in case.warnings:
        limit = min(limit, rules.corridor_adverse_pct)
    check = Check("M4", case.adverse, ">=", limit, case.adverse >= limit)
    if not check.holds:
        return Step((check,))
    early = _too_early(case, "M4")
    if early is not None:
        return Step((check,), blocks=(early,))
    return _confirmed(case, check) or _leave(case, check, "invalidated", None)


def _m5(case: Case) -> Step:
    """Flip: the other side has a path and passes the gate; the cooldown is not counted, or no flip could ever follow an entry."""
    entry, reading = case.entry, case.reading
    assert entry is not None
    assert reading is not None
    if reading.side == case.held.side:
        return Step((Check("M5", reading.side, "!=", case.held.side, False),))
    refused = [check.rule for check in entry.gate if not check.holds and check.rule != COOLDOWN_RULE]
    check = Check("M5", entry.path, "gate_holds", tuple(refused), entry.path is not None and not refused)
    if not check.holds:
        return Step((check,))
    early = _too_early(case, "M5")
    if early is not None:
        return Step((check,), blocks=(early,))
    waiting = _confirmed(case, check)
    if waiting is not None:
        return waiting
    out = leave(case.receipt, case.held, "M5")
    into = enter(case.receipt, reading, entry, ordinal=2, freed=freed_by(case.receipt, case.held))
    return Step((check,), Verdict("M5", "enter_now", "flip", check, path=entry.path, intents=(out, into)))


def _m6(case: Case) -> Step:
    tiers = _plan(case).tiers
    taken, price = case.held.tiers_taken, case.receipt.price
    reached = max((number for number in (1, 2) if define.is_through(case.long, price, tiers[number - 1].price)), default=0)
    check = _target("M6", case, tiers[max(reached, min(taken + 1, 2)) - 1].price)
    if reached <= taken:
        return Step((check._replace(holds=False),))
    blocked = _window(case, "M6", case.config.session.target_hits) or _trim_cooldown(case)
    return Step((check,), blocks=(blocked,)) if blocked is not None else _trim(case, check, "tp_hit", reached)


def _m7(case: Case) -> Step:
    """Near the first target. A target already reached is M6's, even while M6 has to wait."""
    rules, plan, receipt = case.config.trim, _plan(case), case.receipt
    trim_at = plan.tiers[0].price
    if case.held.tiers_taken or define.is_through(case.long, receipt.price, trim_at):
        return Step((Check("M7", case.held.tiers_taken, "target_ahead", True, False),))
    way = trim_at - plan.entry if case.long else plan.entry - trim_at
    done = receipt.price - plan.entry if case.long else plan.entry - receipt.price
    progress = case.progress
    near = [
        Check("M7", done, ">=", rules.near * way, done >= rules.near * way),
        Check("M7", progress, ">=", rules.completion, progress is not None and progress >= rules.completion),
        Check("M7", receipt.phase_pct, ">=", rules.phase_with_warning, _late_warning(case)),
    ]
    check = next((check for check in near if check.holds), near[0])
    if not check.holds:
        return Step((check,))
    if rules.require_profit and case.pnl <= 0:
        return Step((Check("M7", case.pnl, ">", define.ZERO, False),))
    blocked = _window(case, "M7", case.config.session.signal_exits) or _age(case, "M7", rules.min_age_min)
    return Step((check,), blocks=(blocked,)) if blocked is not None else _trim(case, check, "near_tp", 1)


def _m8(case: Case) -> Step:
    check = Check("M8", case.warnings[0] if case.warnings else None, "warning", True, bool(case.warnings))
    if not check.holds:
        return Step((check,))
    return Step((check,), Verdict("M8", "hold", case.warnings[0], check, badges=("defend",)))


def _m9(case: Case) -> Step:
    """Scale-in. Its failures are blocks only once path and gate hold (A1): before, nothing wanted to add; the trace has them."""
    entry, reading = case.entry, case.reading
    assert entry is not None
    assert reading is not None
    if reading.side != case.held.side:
        return Step(())
    checks = add_checks(case.receipt, entry, case.held, _plan(case), case.config)
    check = Check("M9", entry.path, "all_hold", True, all(check.holds for check in checks))
    if not check.holds:
        blocks = failed(checks, "add") if checks[0].holds else ()
        return Step((*checks, check), blocks=blocks)
    intent = add(case.receipt, reading, entry, case.held, case.config)
    return Step((*checks, check), Verdict("M9", "enter_now", "scale_in", check, path=entry.path, intents=(intent,)))


def _m10(case: Case) -> Step:
    limit = case.config.just_entered_min
    check = Check("M10", case.age_ms // MINUTE_MS, "<", limit, case.age_ms < limit * MINUTE_MS)
    return Step((check,), Verdict("M10", "just_entered", "age", check) if check.holds else None)


def _m11(_: Case) -> Step:
    return Step((_HOLD,), Verdict("M11", "hold", "default", _HOLD))


def _leave(case: Case, check: Check, reason: str, blocked: Block | None) -> Step:
    if not check.holds:
        return Step((check,))
    if blocked is not None:
        return Step((check,), blocks=(blocked,))
    return Step((check,), Verdict(check.rule, "exit", reason, check, intents=(leave(case.receipt, case.held, check.rule),)))


def _trim(case: Case, check: Check, reason: str, tiers: int) -> Step:
    quantity = trim_quantity(case.held, tiers, case.config)
    if quantity <= 0:
        step = case.config.instruments.quantity_step
        return Step((check,), blocks=(Block(check.rule, "too_small", quantity, step),))
    intent = trim(case.receipt, case.held, check.rule, tiers=tiers, quantity=quantity)
    return Step((check,), Verdict(check.rule, "trim", reason, check, intents=(intent,)))


def _target(rule: str, case: Case, target: Decimal) -> Check:
    holds = define.is_through(case.long, case.receipt.price, target)
    return Check(rule, case.receipt.price, ">=" if case.long else "<=", target, holds)


def _late_warning(case: Case) -> bool:
    matured = case.receipt.phase_pct
    return matured is not None and matured >= case.config.trim.phase_with_warning and bool(case.warnings)


def _window(case: Case, rule: str, window: str) -> Block | None:
    if is_open(window, case.receipt.ts, case.config.trading):
        return None
    return Block(rule, "session", phase(case.receipt.ts, case.config.trading), window)


def _age(case: Case, rule: str, minutes: int) -> Block | None:
    return None if case.age_ms >= minutes * MINUTE_MS else Block(rule, "age", case.age_ms // MINUTE_MS, minutes)


def _too_early(case: Case, rule: str) -> Block | None:
    return _window(case, rule, case.config.session.signal_exits) or _age(case, rule, case.config.exit.min_age_min)


def _trim_cooldown(case: Case) -> Block | None:
    last, minutes = case.desk.last_trim_ts, case.config.trim.cooldown_min
    if last is None or case.receipt.ts - last >= minutes * MINUTE_MS:
        return None
    return Block("M6", "cooldown", (case.receipt.ts - last) // MINUTE_MS, minutes)


def _confirmed(case: Case, check: Check) -> Step | None:
    """``None`` once the rule held on enough receipts running; else the step that waits. Only an allowed rule is counted."""
    rule, needed = check.rule, case.config.exit.confirm_receipts
    _, count, since = next((item for item in case.desk.pending_exits if item[0] == rule), (rule, 0, case.receipt.ts))
    if count + 1 >= needed:
        return None
    return Step((check,), blocks=(Block(rule, "confirm", count + 1, needed),), pending=(rule, count + 1, since))


def _plan(case: Case) -> Plan:
    assert case.plan is not None
    return case.plan


_HOLD: Final = Check("M11", None, "otherwise", None, True)
_RULES: Final[tuple[tuple[str, Callable[[Case], Step]], ...]] = tuple(
    (f"M{number}", step) for number, step in enumerate((_m1, _m2, _m3, _m4, _m5, _m6, _m7, _m8, _m9, _m10, _m11), start=1)
)
_WITHOUT_READING: Final = frozenset({"M1", "M2", "M3", "M6", "M10", "M11"})
_WITHOUT_PLAN: Final = frozenset({"M2", "M10", "M11"})
_PASSIVE: Final = frozenset({"M8", "M10", "M11"})
