"""Operator verbs of the ledger: ``python3 infra/dev.py op ledger VERB …`` (as ``desk_operator``; ``--help`` of each verb).

    audit [--book B] [--json] [--store]       the sixteen invariants; exit 0 clean, 20 + the lowest that failed
    verify [--book B | --pack FILE]           the hash chain; exit 1 and the first rows that are not what they were
    rebuild --check | --write [--accept]      fold the journal again; exit 1 where it differs (--write: maintenance role)
    show --book B [--instrument I] [--as-of T] [--known-as-of K] [--json]   the book at T, as it was known at K
    export --book B --format F --out DIR      csv, beancount or an evidence pack; [--as-of T] [--known-as-of K]
    methods --book B [--instrument I]         the same journal under all five lot methods, side by side
    fill, bust, split                         what an operator enters: a fact, the end of one, a split
    anchor [--book B]                         store and announce the chain's end for today
    reconcile --book B --statement FILE.json [--json]    a broker's statement; exit 0 agrees, 4 disagrees, 3 proves nothing
    breaks [--book B] [--all] [--json]        differences to the brokers, with cause and age
    note --book B --break ID --note TEXT      a note on a break

Exit 2 is wrong usage or a refusal, 3 a database that could not be asked; a pack is verified without one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from fillbook.ledger import audit, bookstore, breakverbs, export, operator, pack, rebuild, standing, verification
from fillbook.ledger.comparison import MethodResult, compare_methods
from fillbook.ledger.model import LotMethod
from fillbook.ledger.moment import moment
from fillbook.ledger.walk import Horizon
from fillbook.ledger.words import EFFECTS, INVARIANTS
from fillbook.money import plain
from fillbook.runtime import logs
from fillbook.runtime.clock import clock_for
from fillbook.runtime.config import DatabaseConfig
from fillbook.runtime.db import Database
from fillbook.runtime.errors import Rejected
from fillbook.runtime.sql import encode
from fillbook.runtime.verbs import USAGE, ended, said

CLEAN, DIFFERS = 0, 1
STATEMENT_SECONDS_MAX = 300

Verb = Callable[[Database, argparse.Namespace, datetime], int]


@logs.quiet()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    options = _parser().parse_args(arguments)
    if options.verb == "verify" and options.pack is not None:
        return _verify_pack(options.pack)
    return ended(lambda: _answered(options, DatabaseConfig.from_environment()), refused=USAGE)


def _answered(options: argparse.Namespace, config: DatabaseConfig) -> int:
    db = Database.open(config, application_name="op ledger", pool_size=1, statement_timeout_seconds=STATEMENT_SECONDS_MAX)
    try:
        return _VERBS[options.verb](db, options, clock_for(config).now())
    finally:
        db.close()


def _books(db: Database, options: argparse.Namespace) -> list[str]:
    if options.book is not None:
        return [options.book]
    with db.transaction(read_only=True) as tx:
        return bookstore.book_ids(tx)


def _audit(db: Database, options: argparse.Namespace, now: datetime) -> int:
    worst = CLEAN
    for book_id in _books(db, options):
        result = audit.audit(db, book_id, now)
        if options.store:
            audit.keep(db, result)
        if options.json:
            print(encode(result.document()))
        else:
            print(f"{book_id}: {'clean' if not result.exit else f'exit {result.exit}'} at seq {result.seq}")
            for finding in result.findings:
                print(f"  {finding.invariant:>2} {INVARIANTS[finding.invariant]}: {finding.ids}: {finding.detail}")
            for kind, ids, detail in result.warnings:
                print(f"   ! {kind}: {ids}: {detail}")
        if result.exit and (worst == CLEAN or result.exit < worst):
            worst = result.exit
    return worst


def _verify(db: Database, options: argparse.Namespace, _: datetime) -> int:
    worst = CLEAN
    for book_id in _books(db, options):
        findings = verification.verify(db, book_id)
        print(f"{book_id}: {findings[0] if findings else 'whole'}")
        for finding in findings[1:]:
            print(f"  {finding}")
        worst = max(worst, DIFFERS if findings else CLEAN)
    return worst


def _verify_pack(path: Path) -> int:
    try:
        proof = pack.prove(path)
    except Rejected as error:
        return said(f"refused: {error}", USAGE)
    print(f"{proof.book_id}: {proof.findings[0] if proof.findings else 'whole'}")
    for finding in proof.findings[1:]:
        print(f"  {finding}")
    print(f"  seq {proof.seq}, chain {proof.chain_head}, state {proof.state_hash}, {proof.anchors} anchors")
    return DIFFERS if proof.findings else CLEAN


def _export(db: Database, options: argparse.Namespace, _: datetime) -> int:
    ends = {name: None if text is None else operator.instant_of(text, name) for name, text in _horizon(options).items()}
    try:
        done = export.export(db, options.book, options.format, options.out, Horizon(**ends))
    except OSError as error:
        return said(f"refused: cannot write: {error.strerror}", USAGE)
    for file in done.files:
        print(f"{file.path}: {file.size} bytes, sha256 {file.sha256}")
    for position_id, instrument, reason in done.left_out:
        print(f"  left out: position {position_id} of {instrument}: {reason}")
    return CLEAN


def _horizon(options: argparse.Namespace) -> dict[str, str | None]:
    return {"as_of": options.as_of, "known_as_of": options.known_as_of}


def _rebuild(db: Database, options: argparse.Namespace, _: datetime) -> int:
    worst = CLEAN
    for book_id in _books(db, options):
        result = rebuild.write(db, book_id, accept=options.accept) if options.write else rebuild.check(db, book_id)
        word = "equal" if result.is_equal else "accepted" if options.write else "differs"
        print(f"{book_id}: {word}, {result.rows} rows, state {result.state_hash}, chain {result.chain_head}")
        for difference in result.differences:
            print(f"  {difference.table} {difference.row}: {', '.join(difference.columns)}")
        worst = max(worst, CLEAN if result.is_equal or options.write else DIFFERS)
    return worst


def _show(db: Database, options: argparse.Namespace, now: datetime) -> int:
    given = {name: operator.optional_instant(getattr(options, name), name) for name in ("as_of", "known_as_of")}
    found = standing.book_as_of(db, options.book, moment(now=now, **given), options.instrument)
    print(encode(standing.document(found)) if options.json else "\n".join(standing.lines(found)))
    return CLEAN


def _methods(db: Database, options: argparse.Namespace, _: datetime) -> int:
    for method, result in compare_methods(db, options.book, options.instrument).items():
        print(_method_line(method, result))
    return CLEAN


def _method_line(method: LotMethod, result: MethodResult | None) -> str:
    if result is None:
        return f"{method:<9} n/a (no picks)"
    lots = ", ".join(f"{plain(quantity)} {name} @ {plain(price)}" for name, quantity, price in result.open_lots)
    unmarked = f" (no mark: {', '.join(result.unmarked)})" if result.unmarked else ""
    parked = f"; parked {result.parked}" if result.parked else ""
    realized, unrealized = _amounts(result.realized), _amounts(result.unrealized)
    return f"{method:<9} realized {realized}; unrealized {unrealized}{unmarked}; lots {lots or 'none'}{parked}"


def _amounts(amounts: Mapping[str, object]) -> str:
    texts = [f"{'unknown' if amount is None else format(amount, 'f')} {currency}" for currency, amount in sorted(amounts.items())]
    return ", ".join(texts) or "0"


def _enter(db: Database, options: argparse.Namespace, now: datetime) -> int:
    outcome = operator.enter(db, options.book, operator.fill_of(vars(options), now), now)
    print(encode(outcome))
    return CLEAN


def _bust(db: Database, options: argparse.Namespace, now: datetime) -> int:
    print(encode(operator.bust(db, options.book, options.fill, now, by=options.by, reason=options.reason)))
    return CLEAN


def _split(db: Database, options: argparse.Namespace, now: datetime) -> int:
    changed = operator.split(db, operator.split_of(vars(options), now), now)
    print("entered" if changed and not options.void else "undone" if changed else "nothing to change")
    return CLEAN


def _anchor(db: Database, options: argparse.Namespace, now: datetime) -> int:
    for book_id in _books(db, options):
        print(f"{book_id}: {'anchored' if audit.anchor(db, book_id, now) else 'has the anchor of today'}")
    return CLEAN


def _about_breaks(db: Database, options: argparse.Namespace, now: datetime) -> int:
    code, lines = breakverbs.VERBS[options.verb](db, options, now)
    print("\n".join(lines))
    return code


_VERBS: Mapping[str, Verb] = {
    "audit": _audit,
    "verify": _verify,
    "rebuild": _rebuild,
    "show": _show,
    "export": _export,
    "methods": _methods,
    "fill": _enter,
    "bust": _bust,
    "split": _split,
    "anchor": _anchor,
    **dict.fromkeys(breakverbs.VERBS, _about_breaks),
}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="op ledger", description="prove, rebuild, compare and correct books")
    verbs = parser.add_subparsers(dest="verb", required=True)
    proof = verbs.add_parser("audit", help="the sixteen invariants")
    proof.add_argument("--json", action="store_true", help="one JSON document per book")
    proof.add_argument("--store", action="store_true", help="keep the result, announce a failure, anchor")
    again = verbs.add_parser("rebuild", help="fold the journal again")
    way = again.add_mutually_exclusive_group(required=True)
    way.add_argument("--check", action="store_true", help="compare with what is stored; write nothing")
    way.add_argument("--write", action="store_true", help="replace history and projections (role ledger_maintenance)")
    again.add_argument("--accept", action="store_true", help="with --write: commit even if a hash is another one")
    chain = verbs.add_parser("verify", help="the hash chain")
    chain.add_argument("--pack", type=Path, metavar="FILE", help="an evidence pack instead of the database")
    for verb in (proof, again, chain, verbs.add_parser("anchor", help="today's end")):
        verb.add_argument("--book", help="one book; all when left out")
    shown = verbs.add_parser("show", help="open positions, lots and totals at any moment, as they were known at any later one")
    shown.add_argument("--book", required=True)
    shown.add_argument("--instrument", help="its positions alone, closed ones too")
    shown.add_argument("--as-of", metavar="T", help="executed by then: ISO with a zone; default: as of K")
    shown.add_argument("--known-as-of", metavar="K", help="recorded by then; default: now")
    shown.add_argument("--json", action="store_true", help="one JSON document")
    out = verbs.add_parser("export", help="csv, beancount text or an evidence pack")
    out.add_argument("--book", required=True)
    out.add_argument("--format", required=True, choices=tuple(export.FORMS))
    out.add_argument("--out", required=True, type=Path, metavar="DIR")
    out.add_argument("--as-of", metavar="T", help="leave out what was executed later")
    out.add_argument("--known-as-of", metavar="K", help="leave out what was recorded later")
    compared = verbs.add_parser("methods", help="one journal under all five lot methods")
    compared.add_argument("--book", required=True)
    compared.add_argument("--instrument")
    _fill_arguments(verbs.add_parser("fill", help="enter a fact (a missing opening, a correction)"))
    ended = verbs.add_parser("bust", help="a fact that did not happen")
    ended.add_argument("--book", required=True)
    ended.add_argument("--fill", required=True, metavar="FILL_ID")
    ended.add_argument("--by", required=True)
    ended.add_argument("--reason", required=True, help="a slug, e.g. operator_correction")
    cut = verbs.add_parser("split", help="enter or undo a split")
    for name in ("book", "instrument", "ratio", "effective", "reason", "by"):
        cut.add_argument(f"--{name}", required=True)
    cut.add_argument("--void", action="store_true", help="undo it")
    breakverbs.add_verbs(verbs)
    return parser


def _fill_arguments(parser: argparse.ArgumentParser) -> None:
    for name in ("book", "ticket", "by", "instrument", "side", "quantity", "price", "executed-at"):
        parser.add_argument(f"--{name}", required=True)
    for name in ("ticker", "contract-name", "multiplier", "currency", "fx-rate", "fees", "fees-currency", "fees-rate"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--revision", type=int, default=1, help="2, 3, … corrects an earlier ticket")
    parser.add_argument("--effect", choices=EFFECTS, default="auto")
    parser.add_argument("--direction", choices=("LONG", "SHORT"), help="hedging books need it")
    parser.add_argument("--lot-ref")
    parser.add_argument("--cash-style", choices=("full", "margin"), default="full")
    parser.add_argument("--session-date", help="the venue's day; default: the New York trading day")
    parser.add_argument("--venue-order", default="")
    parser.add_argument("--reason", default="operator_entry", help="a slug, e.g. opening_balance")


if __name__ == "__main__":
    sys.exit(main())
