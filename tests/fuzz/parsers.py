"""What is fuzzed: each parser of foreign bytes as one function from bytes to a word that says what became of them.

A word is a refusal's reason or that something was read; whatever else a parser does – another exception, an answer that does not
read as itself again, a refusal nobody knows – is a finding. The functions are handed any bytes whatever: they are what
``infra/dev.py fuzz`` drives, and what every kept case runs through. Each is in a module of its own (``chart``, ``statements`` …:
``check``, ``seeds`` and the language's ``NAMES`` or ``WORDS``), imported when it is asked for: a search loads what it searches.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Final

_JSON: Final = tuple(
    b'{ } [ ] , : " null true false 0 -1 1e400 1e9999999999999999999 NaN -Infinity 0.1 \\u0000 \\ud800 "" {} []'.split()
)
_VALUES: Final = (
    b'"0001-01-01T00:00:00+14:00"',
    b'"9999-12-31T23:59:59-14:00"',
    b'"2026-02-03T15:16:00Z"',
    b'"2026-02-03"',
    b'"00000000-0000-4000-8000-000000000000"',
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parser:
    """One of them. ``reads``: the modules of ``fillbook`` whose lines it is to reach."""

    purpose: str
    target: str
    reads: str

    @property
    def check(self) -> Callable[[bytes], str]:
        """What becomes of bytes."""
        return self._module.check  # type: ignore[no-any-return]

    @property
    def seeds(self) -> list[bytes]:
        """What a search begins from."""
        return list(self._module.seeds())

    @property
    def words(self) -> tuple[bytes, ...]:
        """What the language is made of: bytes that chance alone would take long to find."""
        names = getattr(self._module, "NAMES", None)
        if names is None:
            return tuple(self._module.WORDS)
        return (*_JSON, *_VALUES, *(f'"{name}"'.encode() for text in names for name in text.split()))

    @property
    def modules(self) -> list[str]:
        """``reads`` as a list."""
        return self.reads.split()

    @property
    def _module(self) -> ModuleType:
        return importlib.import_module(f"tests.fuzz.{self.target}")


PARSERS: Final[dict[str, Parser]] = {
    "webhook": Parser(
        purpose="the chart's body: text, JSON with its repairs, fields, canonical form, decision input",
        target="chart",
        reads="signal.document signal.payload signal.fields signal.receipt signal.decode signal.decision_input",
    ),
    "flex": Parser(
        purpose="the Flex web service's answers: status, statement in two passes, rows to what is stored of them",
        target="statements",
        reads="ibkr.flex ibkr.flex_statement ibkr.flex_row ibkr.intake ibkr.fields ibkr.times ibkr.execid",
    ),
    "push": Parser(
        purpose="the push envelope, and what every consumer makes of the message in it, up to what it would store",
        target="messages",
        reads="runtime.pubsub notify.envelope notify.intake notify.execution notify.ops notify.facts ibkr.orders",
    ),
    "mt5": Parser(
        purpose="the answers of an MT5 service in both of its languages: health, info, positions, deals, symbols, faults",
        target="answers",
        reads="mt5.contract mt5.contract_v0 mt5.contract_v1 mt5.reading mt5.deal_rows mt5.faults mt5.server_time",
    ),
    "snapshot": Parser(
        purpose="a published day, in its own and in foreign spellings, to a snapshot or the list of what is wrong with it",
        target="days",
        reads="snapshot.jsontext snapshot.normalizer snapshot.overlay snapshot.reading snapshot.numbers snapshot.texts",
    ),
    "bodies": Parser(
        purpose="what people, schedules and other functions ask for: every small JSON body that a route takes",
        target="bodies",
        reads="runtime.bodies replay.asked replay.cursors snapshot.asked mt5.asked ibkr.payloads tracker.remarks",
    ),
}
