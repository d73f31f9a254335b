"""The pure work of an account's closing: answers and what stands around them become rows, and what is still to be read.

    merge deals -> prove the money, withdraw what is gone -> derive trades of touched positions, refresh the open ones
    -> movements of cash -> gaps -> the new state

Source: mt5 specification, 2, 5 and 7.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from datetime import datetime
from operator import attrgetter
from typing import Final

from fillbook.mt5 import gaps, history
from fillbook.mt5.cash import cash_operation
from fillbook.mt5.clocks import ServerClock, rule_of
from fillbook.mt5.deals import Stored, effect_of, is_odd, standing
from fillbook.mt5.heard import Answers, Needs, Read
from fillbook.mt5.model import (
    AccountState,
    CashOperation,
    Deal,
    DealVersion,
    ServerRule,
    SymbolFacts,
    Trade,
)
from fillbook.mt5.proving import Proven, asked_floor, prove
from fillbook.mt5.records import CashAsked, Gap, Loaded, Wanted
from fillbook.mt5.revisions import content_hash, last_rows, merge
from fillbook.mt5.symbols import normalized
from fillbook.mt5.trades import Derived, derive, paired_trade, to_read
from fillbook.mt5.windows import AHEAD_MSC, HOUR_MSC
from fillbook.mt5.words import POSITION_READS_MAX, CashResult, Step, TradeStatus
from fillbook.values import frozen

_SHORT_MSC: Final = AHEAD_MSC + 24 * HOUR_MSC
"""A window shorter than this was read with the short overlap; it says nothing about the size of the long one."""


@frozen
class Settled:
    """What follows from the answers, before the ledger has had its say.

    ``stored``: every loaded deal as it stands now, by ticket. ``touched``: positions whose deals changed. ``trades``: every
    derived row, changed or not. ``odd``: new deals that no reference describes. ``stale``: positions whose close is long pending.
    """

    clock: ServerClock
    versions: tuple[DealVersion, ...]
    stored: Mapping[int, Stored]
    touched: frozenset[int]
    derived: tuple[Derived, ...]
    trades: tuple[Trade, ...]
    removed: tuple[tuple[int, int], ...]
    operations: tuple[CashOperation, ...]
    operations_removed: tuple[int, ...]
    proven: Proven
    gaps_opened: tuple[Gap, ...]
    gaps_closed: tuple[Gap, ...]
    symbols: Mapping[str, SymbolFacts]
    learned: tuple[SymbolFacts, ...]
    state: AccountState
    needs: Needs
    odd: tuple[Deal, ...]
    stale: tuple[int, ...]


def told(heard: Answers) -> Mapping[int, tuple[int, bytes]]:
    """Position and content of every deal that came, by ticket; of one that came twice the last row counts.

    Nothing where the past was read: what is stored there is needed, for the opening balance.
    """
    if heard.chunks:
        return {}
    return {ticket: (deal.position_id, content_hash(deal)) for ticket, deal in last_rows(heard.deals).items()}


def wanted(
    heard: Answers,
    positions: Iterable[int] = (),
    more_spans_msc: Iterable[int] = (),
    told: Mapping[int, tuple[int, bytes]] | None = None,
) -> Wanted:
    """What is to be loaded. ``positions``: besides those of the answers; ``more_spans_msc``: server times known by now;
    ``told``: deals of the answers of which nothing is needed but what is stored otherwise.
    """
    told = told or {}
    deals = heard.deals
    tickets = {deal.deal_ticket for deal in deals}
    for read in heard.reads:
        if not read.is_paired:
            tickets |= read.tickets
    held = () if heard.positions is None else heard.positions
    times = {deal.time_msc for deal in deals} | set(more_spans_msc)
    ids = {deal.position_id for deal in deals if deal.deal_ticket not in told}
    ids |= {each.position_id for each in held} | {pair.ticket for pair in heard.paired}
    clock = ServerClock(_rule(heard))
    return Wanted(
        tickets=sorted(tickets - told.keys()),
        told=told,
        position_ids=sorted(ids | set(positions)),
        symbols=sorted({deal.symbol for deal in deals if deal.symbol} | {each.symbol for each in held} | heard.asked),
        windows=[read.window for read in heard.reads if read.is_whole_here],
        spans=clock.repeated_spans(times),
        cash=_cash_asked(heard),
    )


def _cash_asked(heard: Answers) -> CashAsked | None:
    read = heard.history
    if heard.is_kept or heard.info is None or heard.at_msc is None or read is None or heard.is_paired:
        return None
    if not heard.has_history or not read.reading.is_whole:
        return None
    return CashAsked(at_msc=heard.at_msc, floor_msc=asked_floor(heard.claimed.state, heard))


def _rule(heard: Answers) -> ServerRule:
    return heard.claimed.rule if heard.head is None else rule_of(heard.claimed, heard.head)


def settle(loaded: Loaded, heard: Answers, rule: ServerRule, now: datetime, *, again: bool, also: Iterable[int] = ()) -> Settled:
    """Everything that follows. ``again``: also ask for lives and symbols that were asked for in vain before; ``also``: positions
    that are to be told although nothing of theirs changed.
    """
    clock = ServerClock(rule, {**loaded.clocks, **{deal.deal_ticket: deal.time_msc for deal in heard.deals}})
    before = standing(loaded.deals)
    merged = merge(before, (deal for deal in heard.deals if deal.deal_ticket not in loaded.same), now)
    proven = prove(loaded, heard, before, merged.versions, now)
    versions = (*merged.versions, *proven.withdrawn)
    stored = standing((*loaded.deals, *versions))
    touched = merged.positions | {one.deal.position_id for one in proven.withdrawn if one.deal.position_id}
    derived = _derived(loaded, heard, stored, touched.union(also), clock)
    changed_gaps = gaps.changes(loaded, heard, proven, derived, now)
    known, learned = symbols(loaded, heard)
    operations, removed = _cash(loaded, versions, stored, clock)
    settled = Settled(
        clock=clock,
        versions=versions,
        stored=stored,
        touched=frozenset(touched),
        derived=derived,
        trades=tuple(trade for one in derived for trade in one.trades),
        removed=tuple((one.position_id, episode) for one in derived for episode in one.gone),
        operations=operations,
        operations_removed=removed,
        proven=proven,
        gaps_opened=changed_gaps.opened,
        gaps_closed=changed_gaps.closed,
        symbols=known,
        learned=learned,
        state=proven.state,
        needs=_needs(loaded, heard, derived, again=again),
        odd=tuple(one.deal for one in versions if one.revision == 1 and is_odd(one.deal)),
        stale=tuple(one.position_id for one in derived if one.is_stale),
    )
    return replace(settled, state=_state(loaded, heard, settled, now))


# --- trades -----------------------------------------------------------------------------------------------------------


def _derived(
    loaded: Loaded, heard: Answers, stored: Mapping[int, Stored], touched: Iterable[int], clock: ServerClock
) -> tuple[Derived, ...]:
    """Touched positions, and with a complete snapshot every one that it shows or that is not closed."""
    rows: dict[int, list[Trade]] = {}
    for trade in loaded.trades:
        rows.setdefault(trade.position_id, []).append(trade)
    pairs = {pair.ticket: pair for pair in heard.paired}
    view = heard.view
    ids = set(touched)
    if view is not None:
        ids |= view.positions.keys()
        ids |= {trade.position_id for trade in loaded.trades if trade.status is not TradeStatus.CLOSED}
    deals: dict[int, list[Stored]] = {}
    for one in stored.values():
        if one.deal.position_id in ids:
            deals.setdefault(one.deal.position_id, []).append(one)
    account = loaded.account
    digits = account.currency_digits
    if heard.info is not None and heard.info.currency_digits is not None:
        digits = heard.info.currency_digits
    found = [
        Derived(position_id=ticket, trades=(paired_trade(account.account_id, pair, clock),))
        for ticket, pair in sorted(pairs.items())
    ]
    found.extend(
        derive(account.account_id, one, deals.get(one, ()), rows.get(one, ()), view, clock, digits)
        for one in sorted(ids - pairs.keys())
    )
    return tuple(found)


def changed(before: Iterable[Trade], after: Iterable[Trade]) -> tuple[Trade, ...]:
    """The rows that say something new; that a later snapshot says the same is nothing new."""
    known = {(row.position_id, row.episode): row for row in before}
    return tuple(row for row in after if not _is_same(known.get((row.position_id, row.episode)), row))


_SAID: Final = attrgetter(*(each.name for each in fields(Trade) if each.name != "snapshot_msc"))


def _is_same(known: Trade | None, row: Trade) -> bool:
    return known is not None and bool(_SAID(row) == _SAID(known))


# --- cash, symbols ----------------------------------------------------------------------------------------------------


def _cash(
    loaded: Loaded, versions: Iterable[DealVersion], stored: Mapping[int, Stored], clock: ServerClock
) -> tuple[tuple[CashOperation, ...], tuple[int, ...]]:
    """Movements that are new or other than before, and tickets that are none any more."""
    made: list[CashOperation] = []
    gone: list[int] = []
    for ticket in sorted({version.deal.deal_ticket for version in versions}):
        one = cash_operation(loaded.account.account_id, stored[ticket], clock)
        if one is not None:
            made.append(one)
        elif stored[ticket].revision > 1:
            gone.append(ticket)
    return tuple(made), tuple(gone)


def symbols(loaded: Loaded, heard: Answers) -> tuple[Mapping[str, SymbolFacts], tuple[SymbolFacts, ...]]:
    """What is known of symbols now, and what of it is new; one the service does not know is noted, so that it is asked rarely."""
    known: dict[str, SymbolFacts] = dict(loaded.symbols)
    learned: list[SymbolFacts] = []
    told = {fact.symbol: fact for fact in heard.facts}
    for name in sorted(heard.asked):
        fact = told.get(name)
        if fact is None and name not in known:
            fact = SymbolFacts(
                server=loaded.account.server,
                symbol=name,
                symbol_norm=normalized(name),
                contract_size=None,
                digits=None,
                currency_profit=None,
            )
        if fact is not None:
            known[name] = _filled(fact, known.get(name))
            learned.append(known[name])
    return known, tuple(learned)


def _filled(fact: SymbolFacts, known: SymbolFacts | None) -> SymbolFacts:
    """What was known stays where the service does not say."""
    if known is None:
        return fact
    names = ("contract_size", "digits", "currency_profit")
    return replace(fact, **{name: getattr(known, name) for name in names if getattr(fact, name) is None})


def _needs(loaded: Loaded, heard: Answers, derived: Iterable[Derived], *, again: bool) -> Needs:
    """Lives are asked for where windows came too; symbols of services that tell their clock, the others know none."""
    positions: tuple[int, ...] = ()
    if heard.has_history and not heard.is_paired and heard.view is not None:
        positions = tuple(one for one in to_read(derived, POSITION_READS_MAX, again=again) if one not in heard.lives)
    names: set[str] = set()
    if heard.has_told_clock:
        names = {deal.symbol for deal in heard.deals if effect_of(deal).name != "CASH" and deal.symbol}
        names |= {each.symbol for each in heard.positions or ()}
        names = {name for name in names if _is_asked(loaded.symbols.get(name), again=again)}
    return Needs(positions=positions, symbols=tuple(sorted(names - heard.asked)))


def _is_asked(known: SymbolFacts | None, *, again: bool) -> bool:
    if known is None:
        return True
    return again and (known.contract_size is None or known.currency_profit is None)


# --- state ------------------------------------------------------------------------------------------------------------


def open_gaps(loaded: Loaded, settled: Settled) -> tuple[Gap, ...]:
    """The gaps that stay open after this run, oldest first."""
    return gaps.left_open(loaded, settled.gaps_opened, settled.gaps_closed)


def _state(loaded: Loaded, heard: Answers, settled: Settled, now: datetime) -> AccountState:
    """The state that history, money and trades leave: watermark, place in a window, last deal, whether anything is open."""
    proven = settled.proven
    state = _placed(settled.state, heard.history, has_failed=Step.HISTORY in heard.failures)
    held = [gap for gap in open_gaps(loaded, settled) if gaps.holds_watermark(gap, loaded.state.history_floor_msc)]
    if heard.history is not None and heard.has_history and not heard.is_kept:
        check = proven.check
        if proven.explained and check is not None:
            check = replace(check, result=CashResult.GAP)
        oldest = history.Gap(opened_at=held[0].opened_at) if held else None
        proof = history.Proof(reading=heard.history.reading, check=check, gap=oldest)
        state = replace(state, history_until_msc=history.watermark(loaded.state, proof, now))
        if state.history_until_msc is not None and state.history_floor_msc is not None:
            state = replace(state, history_floor_msc=min(state.history_floor_msc, state.history_until_msc))
    times = [settled.clock(one.deal.time_msc, one.deal.deal_ticket) for one in settled.versions if one.deal.position_id]
    known = [] if state.last_deal_at is None else [state.last_deal_at]
    return replace(
        state,
        last_deal_at=max((*times, *known), default=None),
        has_open_positions=_has_open(loaded, settled),
        state_digest=None,
        told=state.told if heard.history is None else heard.history.told,
    )


def _has_open(loaded: Loaded, settled: Settled) -> bool:
    rows = {(row.position_id, row.episode): row for row in (*loaded.trades, *settled.trades)}
    for key in settled.removed:
        rows.pop(key, None)
    return any(row.status is not TradeStatus.CLOSED for row in rows.values())


def _placed(state: AccountState, read: Read | None, *, has_failed: bool) -> AccountState:
    """Where the next run goes on. Without a cursor the window that is noted says that it took more than one page."""
    if read is None:
        return state
    window, reading = read.window, read.reading
    if read.is_resumable:
        return replace(state, page_from_msc=window.from_msc, page_to_msc=window.to_msc, page_cursor=reading.cursor)
    is_short = reading.is_whole and window.to_msc - window.from_msc < _SHORT_MSC
    if has_failed or (is_short and state.page_cursor is None):
        return state
    is_large = reading.is_whole and (reading.count > 1 or reading.is_resumed)
    return replace(
        state,
        page_from_msc=window.from_msc if is_large else None,
        page_to_msc=window.to_msc if is_large else None,
        page_cursor=None,
    )
