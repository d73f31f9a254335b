"""The strategy alone: receipts decided a second and core, from parsed receipts in memory to the concluded decision.

Processor time is counted, not the clock: the figure is per core, and other work on the machine is none of its business. A
round is one invented session of thirty tickers, decided in order on one book as live does it, without ledger or database.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from decimal import Decimal

from fillbook.signal.admission import admit
from fillbook.signal.decode import receipt_of
from fillbook.signal.explain import account_text, blocks_text, trace_text
from fillbook.signal.lanes import conclude, decide
from fillbook.signal.model import EMPTY_STATE, Decision, Facts, Receipt, TickerState
from fillbook.signal.profile import load
from infra.local.demo_day import invented_day
from tests.bench.report import Stage, publish
from tests.support.receipts import body

ROUNDS = 7
REPEATS = 2_000
MINUTES = 390
OPENS = datetime(2026, 2, 3, 14, 30, tzinfo=UTC)
MUST, GOAL = 8_000, 20_000
# A full book: every wish is asked and refused, which costs more than a booking saves and keeps the round the same each time.
FULL = Facts(
    equity=Decimal(100_000), buying_power=Decimal(100_000), open_long=0, open_short=0, open_in_sector=0, entries_today=10
)


def run(argv: list[str]) -> int:
    """``bench decide [--runs N]``."""
    rounds = int(argv[argv.index("--runs") + 1]) if "--runs" in argv else ROUNDS
    stage = Stage(name="decide")
    example = receipt_of(body(), receipt_id="R", payload_hash="R")
    session = [receipt_of_day(document) for minute in invented_day(OPENS, MINUTES) for document in minute]
    stage.add("decide, the specification's receipt R", [_one(example) for _ in range(rounds)], "receipts/s a core")
    engine = [session_rate(session) for _ in range(rounds)]
    stage.add("decide + admit + conclude", engine, "receipts/s a core")
    stage.at_least(f"the same / the {MUST:,} it must reach", [rate / MUST for rate in engine], 1.0)
    stage.at_least(f"the same / the {GOAL:,} it should reach", [rate / GOAL for rate in engine], 1.0)
    stage.add(
        "with trace and blocks as JSON text",
        [session_rate(session, is_told=True) for _ in range(rounds)],
        "receipts/s a core",
    )
    stage.note(f"one round: {len(session):,} receipts of an invented session, {REPEATS:,} times R; processor seconds, one core")
    publish(stage)
    return 0


def receipt_of_day(document: dict[str, object]) -> Receipt:
    """A receipt of an invented day; its ids are only names here."""
    name = f"{document['ticker']}@{document['ts']}"
    return receipt_of(document, receipt_id=name, payload_hash=name)


def _one(receipt: Receipt) -> float:
    config = load("tt-2026-02")
    began = time.process_time()
    for _ in range(REPEATS):
        decide(receipt, EMPTY_STATE, config)
    return REPEATS / (time.process_time() - began)


def session_rate(receipts: list[Receipt], *, is_told: bool = False) -> float:
    """Receipts a second of processor time, decided in order on one full book; ``is_told``: with trace and blocks as text."""
    config = load("tt-2026-02")
    states: dict[str, TickerState] = {}
    began = time.process_time()
    for receipt in receipts:
        decision: Decision = decide(receipt, states.get(receipt.ticker, EMPTY_STATE), config)
        if decision.intents:
            decision = conclude(decision, [admit(intent, FULL, config) for intent in decision.intents], [])
        states[receipt.ticker] = decision.state
        if is_told:
            trace_text(decision, account_text(decision.account)), blocks_text(decision.blocks)
    return len(receipts) / (time.process_time() - began)
