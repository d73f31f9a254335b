"""What is fuzzed: each parser of foreign bytes as one function from bytes to a word that says what became of them.

A word is a refusal's reason or that something was read; whatever else a parser does – another exception, an answer that does not
read as itself again, a refusal nobody knows – is a finding. The functions are handed any bytes whatever: they are what
``infra/dev.py fuzz`` drives, and what every kept case runs through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from tests.fuzz import answers, messages, requests, statements
from tests.support.receipts import text_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Parser:
    """One of them. ``check`` says what became of bytes; ``modules`` are those whose lines it is to reach.

    ``words`` are what its language is made of: bytes that chance alone would take long to find.
    """

    purpose: str
    check: Callable[[bytes], str]
    seeds: Callable[[], Iterable[bytes]]
    modules: tuple[str, ...]
    words: tuple[bytes, ...]


_JSON: Final = tuple(
    b'{ } [ ] , : " null true false 0 -1 1e400 1e9999999999999999999 NaN -Infinity 0.1 \\u0000 \\ud800 "" {} []'.split()
)
_TIMES: Final = (
    b'"0001-01-01T00:00:00+14:00"',
    b'"9999-12-31T23:59:59-14:00"',
    b'"2026-02-03T15:16:00Z"',
    b'"2026-02-03"',
    b'"00000000-0000-4000-8000-000000000000"',
)


def _names(*texts: str) -> tuple[bytes, ...]:
    return tuple(f'"{name}"'.encode() for text in texts for name in text.split())


PARSERS: Final[dict[str, Parser]] = {
    "webhook": Parser(
        purpose="the chart's body: text, JSON with its repairs, fields, canonical form, decision input",
        check=requests.webhook,
        seeds=lambda: [text_of("R").encode(), text_of("Q").encode(), *requests.WEBHOOK_SEEDS],
        modules=(
            "signal.document",
            "signal.payload",
            "signal.fields",
            "signal.receipt",
            "signal.decode",
            "signal.decision_input",
        ),
        words=(*_JSON, *_names("ticker ts price time_close tp_levels flags tf_tech ema stack state phase_zone sl tp token")),
    ),
    "bodies": Parser(
        purpose="what people, schedules and other functions ask for: every small JSON body that a route takes",
        check=requests.bodies,
        seeds=lambda: requests.BODY_SEEDS,
        modules=(
            "runtime.bodies",
            "replay.asked",
            "replay.cursors",
            "snapshot.asked",
            "mt5.asked",
            "ibkr.payloads",
            "tracker.remarks",
        ),
        words=(*_JSON, *_TIMES, *_names(*requests.BODY_NAMES)),
    ),
    "snapshot": Parser(
        purpose="a published day, in its own and in foreign spellings, to a snapshot or the list of what is wrong with it",
        check=requests.snapshot,
        seeds=requests.snapshot_seeds,
        modules=(
            "snapshot.jsontext",
            "snapshot.normalizer",
            "snapshot.overlay",
            "snapshot.reading",
            "snapshot.numbers",
            "snapshot.texts",
        ),
        words=(*_JSON, *_TIMES, *_names(*requests.SNAPSHOT_NAMES)),
    ),
    "flex": Parser(
        purpose="the Flex web service's answers: status, statement in two passes, rows to sightings and refusals",
        check=statements.flex,
        seeds=statements.seeds,
        modules=("ibkr.flex", "ibkr.flex_statement", "ibkr.flex_row", "ibkr.intake", "ibkr.fields", "ibkr.times", "ibkr.execid"),
        words=statements.WORDS,
    ),
    "push": Parser(
        purpose="the push envelope, and what every consumer makes of the message in it, up to the document it would store",
        check=messages.push,
        seeds=messages.seeds,
        modules=(
            "runtime.pubsub",
            "notify.envelope",
            "notify.intake",
            "notify.execution",
            "notify.ops",
            "notify.facts",
            "ibkr.orders",
        ),
        words=(*_JSON, *_TIMES, *_names(*messages.NAMES)),
    ),
    "mt5": Parser(
        purpose="the answers of an MT5 service in both of its languages: health, info, positions, deals, symbols, faults",
        check=answers.mt5,
        seeds=answers.seeds,
        modules=(
            "mt5.contract",
            "mt5.contract_v0",
            "mt5.contract_v1",
            "mt5.reading",
            "mt5.deal_rows",
            "mt5.faults",
            "mt5.server_time",
        ),
        words=(*_JSON, *_TIMES, *_names(*answers.NAMES)),
    ),
}
