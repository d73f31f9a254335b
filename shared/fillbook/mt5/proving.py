"""What an account's answers prove of its history: the money adds up or does not, deals that are gone, how deep it is read.

Everything here works on what is stored and what came, together; nothing is written. A deal that complete reads no longer hold is
first a suspicion. Where the money adds up without it, the gap is its alone: it is waited for, not read for, and after a day and
three reads the deal is withdrawn. Source: mt5 specification, 5 and 7.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal, localcontext

from fillbook.money import CONTEXT, ZERO
from fillbook.mt5 import cash, windows
from fillbook.mt5.cash import NEAR_MSC, CashCheck, Sums, is_credit
from fillbook.mt5.deals import Stored, money_of, standing
from fillbook.mt5.heard import Answers, Read
from fillbook.mt5.history import CashStep, Gap, after_check
from fillbook.mt5.model import AccountState, Deal, DealVersion
from fillbook.mt5.records import CashCheckRow, CashFound, Loaded
from fillbook.mt5.revisions import Missed, is_gone, missed, withdraw
from fillbook.mt5.words import BackfillState, CashBucket, CashResult, CashState, DealType, GapCause
from fillbook.values import frozen


@frozen
class Proven:
    """What is known of an account's money and past after an answer.

    ``check`` None: it could not be made. ``check_row``: to be stored, None where it says what the last one said. ``missed`` None:
    no complete read. ``explained``: the gap is that of deals which are missing. ``state``: the state with floor, backfill, cash.
    """

    check: CashCheck | None
    check_row: CashCheckRow | None
    step: CashStep | None
    withdrawn: tuple[DealVersion, ...]
    missed: tuple[Missed, ...] | None
    explained: bool
    state: AccountState


def prove(loaded: Loaded, heard: Answers, before: Mapping[int, Stored], versions: Iterable[DealVersion], now: datetime) -> Proven:
    """Check the money, follow missing deals, deepen the past. ``versions``: what the answers add to ``before``."""
    fresh = {one.deal.deal_ticket: one for one in standing(versions).values()}
    after = {**before, **fresh}
    state = _deepened(_with_floor(loaded.state, heard), loaded, heard, after)
    if heard.info is None or heard.history is None or not heard.has_history or not heard.history.reading.is_whole:
        return _unchecked(state)
    if heard.is_paired:
        return _unavailable(loaded, heard, state, now)
    ledger = _Ledger(loaded, heard, state, before, fresh)
    absent = _missed(loaded, heard, after, now)
    checked = ledger.checked(())
    withdrawn: tuple[DealVersion, ...] = ()
    explained = False
    if absent:
        gone = [one for one in absent.values() if is_gone(one, now) and one.deal_ticket in after]
        if gone and ledger.checked(after[one.deal_ticket] for one in gone).result is CashResult.OK:
            withdrawn = tuple(withdraw(after[one.deal_ticket], now) for one in gone)
            checked = ledger.checked(after[one.deal_ticket] for one in gone)
            absent = {ticket: one for ticket, one in absent.items() if one not in gone}
        elif checked.result is CashResult.GAP:
            explained = ledger.checked(after[ticket] for ticket in absent if ticket in after).result is CashResult.OK
    step = CashStep(cash_state=CashState.GAP, cash_gap_runs=1) if explained else after_check(state, checked, _cash_gap(loaded))
    if step.reanchors:
        checked = ledger.reanchored(checked)
    return Proven(
        check=checked,
        check_row=_row(checked, heard.info.balance, loaded.last_check, now),
        step=step,
        withdrawn=withdrawn,
        missed=None if absent is None else tuple(absent.values()),
        explained=explained,
        state=_judged(state, checked, step),
    )


def _unchecked(state: AccountState) -> Proven:
    return Proven(check=None, check_row=None, step=None, withdrawn=(), missed=None, explained=False, state=state)


def _unavailable(loaded: Loaded, heard: Answers, state: AccountState, now: datetime) -> Proven:
    """A service that tells trades instead of deals: nothing can be added up."""
    assert heard.info is not None
    checked = CashCheck(result=CashResult.UNAVAILABLE)
    step = after_check(state, checked, _cash_gap(loaded))
    return replace(
        _unchecked(replace(state, cash_state=step.cash_state, cash_gap_runs=0)),
        check=checked,
        check_row=_row(checked, heard.info.balance, loaded.last_check, now),
        step=step,
    )


def _judged(state: AccountState, checked: CashCheck, step: CashStep) -> AccountState:
    """The state after a check; at inception nothing older can exist."""
    judged = replace(
        state,
        cash_state=step.cash_state,
        cash_gap_runs=step.cash_gap_runs,
        opening_balance=checked.opening_balance,
        opening_proven=checked.opening_proven,
    )
    is_done = checked.opening_proven and state.history_floor_msc is not None
    return replace(judged, backfill_state=BackfillState.DONE) if is_done else judged


# --- the floor --------------------------------------------------------------------------------------------------------


def _with_floor(state: AccountState, heard: Answers) -> AccountState:
    """The first window that is whole is where stored history begins."""
    if state.history_floor_msc is None and heard.has_history and heard.history is not None and heard.history.reading.is_whole:
        state = replace(state, history_floor_msc=heard.history.window.from_msc)
    return replace(state, backfill_state=windows.backfill_state(state, heard.claimed.account.backfill_target))


def _deepened(state: AccountState, loaded: Loaded, heard: Answers, after: Mapping[int, Stored]) -> AccountState:
    """The floor comes down chunk by chunk, and the opening balance with it."""
    for chunk in heard.chunks:
        if state.history_floor_msc != chunk.window.to_msc:
            break  # another run was here meanwhile
        older = _between(loaded, chunk, after)
        opening = state.opening_balance
        deeper = windows.deepened(
            state, chunk.window, len(chunk.tickets), heard.claimed.account.backfill_target, is_inception=False
        )
        state = replace(
            state,
            history_floor_msc=deeper.history_floor_msc,
            empty_chunks=deeper.empty_chunks,
            backfill_state=deeper.backfill_state,
            opening_balance=None if opening is None else cash.lowered(opening, older, loaded.rule.bonus_bucket),
        )
    is_refused = heard.refused is not None and heard.refused.to_msc == state.history_floor_msc
    return replace(state, backfill_state=BackfillState.BLOCKED) if is_refused else state


def _between(loaded: Loaded, chunk: Read, after: Mapping[int, Stored]) -> tuple[Stored, ...]:
    """All that is stored between a new floor and the old one: what the chunk told and what it did not."""
    window = chunk.window
    tickets = {*chunk.tickets, *loaded.missing}
    return tuple(
        after[ticket]
        for ticket in sorted(tickets)
        if ticket in after and window.from_msc <= after[ticket].deal.time_msc < window.to_msc
    )


# --- the money --------------------------------------------------------------------------------------------------------


class _Ledger:
    """The sums of stored deals with what came put on top, as of the snapshot's moment."""

    def __init__(
        self, loaded: Loaded, heard: Answers, state: AccountState, before: Mapping[int, Stored], fresh: Mapping[int, Stored]
    ) -> None:
        assert heard.info is not None
        assert heard.at_msc is not None
        self._info, self._at = heard.info, heard.at_msc
        self._found = loaded.cash or CashFound(amount=ZERO, bonus=ZERO, credit=ZERO)
        self._bucket, self._state = loaded.rule.bonus_bucket, state
        self._digits = heard.info.currency_digits if heard.info.currency_digits is not None else loaded.account.currency_digits
        self._floor = state.history_floor_msc or 0
        summed_from = asked_floor(loaded.state, heard) or 0
        self._gone = {ticket: before[ticket] for ticket in fresh if ticket in before}
        self._fresh = [one for one in fresh.values() if not one.withdrawn]
        # what is stored below the floor of the sums and above the new one: known with the chunks that brought it down
        self._older = [
            one
            for chunk in heard.chunks
            for one in _between(loaded, chunk, before)
            if one.deal.deal_ticket not in fresh and one.deal.time_msc < summed_from and not one.withdrawn
        ]
        self._summed_from = summed_from

    def checked(self, without: Iterable[Stored]) -> CashCheck:
        """The check, as if some deals did not count."""
        return cash.check(
            self._info.balance,
            self._info.credit,
            self.sums(without),
            opening_balance=self._state.opening_balance,
            opening_proven=self._state.opening_proven,
            currency_digits=self._digits,
        )

    def reanchored(self, checked: CashCheck) -> CashCheck:
        """The check from which the history begins anew."""
        info = self._info
        return cash.reanchored(info.balance, info.credit, self.sums(()), checked, currency_digits=self._digits)

    def sums(self, without: Iterable[Stored]) -> Sums:
        """What the check is made of."""
        out = [one for one in without if not one.withdrawn]
        gone = [one for one in self._gone.values() if not one.withdrawn and one.deal.time_msc >= self._summed_from]
        lost = {one.deal.deal_ticket for one in out}
        near = {one.deal_ticket: (one.time_msc, one.deal_type, one.amount) for one in self._found.near}
        with localcontext(CONTEXT):
            settled = self._found.amount + (ZERO if self._bucket is CashBucket.CREDIT else self._found.bonus)
            credit = self._found.credit + (self._found.bonus if self._bucket is CashBucket.CREDIT else ZERO)
            for sign, deals in ((-1, gone), (1, [*self._fresh, *self._older]), (-1, out)):
                for one in deals:
                    deal = one.deal
                    if deal.time_msc < self._floor or deal.time_msc > self._at + NEAR_MSC:
                        continue
                    if deal.time_msc > self._at - NEAR_MSC:
                        if sign > 0:
                            near[deal.deal_ticket] = (deal.time_msc, deal.deal_type, money_of(deal))
                        else:
                            near.pop(deal.deal_ticket, None)
                    elif is_credit(deal, self._bucket):
                        credit += sign * money_of(deal)
                    else:
                        settled += sign * money_of(deal)
            close = sorted((msc, ticket, kind, amount) for ticket, (msc, kind, amount) in near.items())
            credit += sum((amount for _, _, kind, amount in close if self._is_credit(kind)), ZERO)
        return Sums(
            settled=settled,
            near=tuple(amount for _, _, kind, amount in close if not self._is_credit(kind)),
            credit=credit,
            begins_with_deposit=self._begins_with_deposit(lost),
        )

    def _is_credit(self, kind: int) -> bool:
        return kind == DealType.CREDIT or (kind == DealType.BONUS and self._bucket is CashBucket.CREDIT)

    def _begins_with_deposit(self, lost: set[int]) -> bool:
        """Whether the first deal since the floor is one."""
        seen: list[tuple[int, int, int, Decimal]] = []
        first = self._found.first
        if first is not None and first.deal_ticket not in lost and first.deal_ticket not in self._gone:
            seen.append((first.time_msc, first.deal_ticket, first.deal_type, first.amount))
        seen += [
            _first(one.deal)
            for one in (*self._fresh, *self._older)
            if self._floor <= one.deal.time_msc <= self._at + NEAR_MSC and one.deal.deal_ticket not in lost
        ]
        if not seen:
            return False
        _, _, kind, amount = min(seen)
        return kind == DealType.BALANCE and amount > 0


def _first(deal: Deal) -> tuple[int, int, int, Decimal]:
    return deal.time_msc, deal.deal_ticket, deal.deal_type, money_of(deal)


def asked_floor(state: AccountState, heard: Answers) -> int | None:
    """Where the sums of stored deals begin: at the floor, or where the first window does."""
    if state.history_floor_msc is not None:
        return state.history_floor_msc
    return None if heard.history is None else heard.history.window.from_msc


def _cash_gap(loaded: Loaded) -> Gap | None:
    """The open gap of the money, with what was missing then."""
    rows = [gap for gap in loaded.gaps if gap.cause is GapCause.CASH]
    if not rows:
        return None
    last = loaded.last_check
    amount = last.gap if last is not None and last.result is CashResult.GAP else None
    return Gap(opened_at=min(row.opened_at for row in rows), amount=amount)


def _row(checked: CashCheck, balance: Decimal, last: CashCheckRow | None, now: datetime) -> CashCheckRow | None:
    """What is to be stored of a check. A history that was anchored anew at this balance has said so already."""
    row = CashCheckRow(checked_at=now, balance=balance, expected=checked.expected, gap=checked.gap, result=checked.result)
    if last is None or checked.result not in (CashResult.OK, CashResult.UNAVAILABLE):
        return row
    is_anchored_here = (checked.result, last.result, last.balance) == (CashResult.OK, CashResult.REANCHORED, balance)
    return None if is_anchored_here or replace(row, checked_at=last.checked_at) == last else row


# --- missing deals ----------------------------------------------------------------------------------------------------


def _missed(loaded: Loaded, heard: Answers, after: Mapping[int, Stored], now: datetime) -> dict[int, Missed] | None:
    """Who is missing after the complete reads of this run; None: there was none."""
    complete = [read for read in heard.reads if read.is_whole_here]
    if not complete:
        return None
    tickets = frozenset().union(*(read.tickets for read in complete), (deal.deal_ticket for deal in heard.deals))
    stored = [after[ticket] for ticket in loaded.missing if ticket in after]
    found = {one.deal_ticket: one for one in loaded.missed}
    for read in complete:
        found = missed(stored, tickets, read.window, found, now)
    return found
