"""Reading a message back: an embed becomes the figures it tells, and figures are compared with the ledger's row. Pure.

Numbers are compared as Decimals, instants to the millisecond, words after the same escape and cut that rendering applies.
Notes about the sending (``resent``, ``out of order``) are no content. Parsing what was rendered gives the row again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from fillbook.money import NumberError, parse
from fillbook.notify.execution import Execution
from fillbook.notify.model import Embed
from fillbook.notify.render import Style, render_execution
from fillbook.notify.search import EXECUTION_FOOTER, bare_footer
from fillbook.notify.text import UNKNOWN, unescape
from fillbook.notify.wording import BUSTED_MARK, CORRECTED_MARK, MERGED_MARK
from fillbook.values import frozen

PROVEN_NUMBERS = (
    "quantity",
    "price",
    "value",
    "fees",
    "realized_pnl",
    "position_quantity_after",
    "position_vwap_after",
    "unrealized_pnl_after",
    "position_realized_pnl_after",
)
PROVEN_TEXTS = ("action_type", "ticker", "direction")
MILLISECOND = timedelta(milliseconds=1)
ABSENT = "absent"

_STRUCK = re.compile(r"~~(.*)~~", re.DOTALL)


@frozen
class Difference:
    """One thing that is told otherwise than it is; both sides as text."""

    field: str
    expected: str
    found: str


@frozen
class Told:
    """What an execution's message says: identity from the footer, figures from the fields. Missing figures are absent keys."""

    action_id: UUID
    position_id: UUID
    book_id: str
    version: int
    currency: str | None
    executed_at: datetime | None
    texts: Mapping[str, str]
    numbers: Mapping[str, Decimal | None]
    is_struck: bool

    def differences(self, execution: Execution) -> list[Difference]:
        """Return where this differs from the row; fields the message leaves out by rule are not missed here."""
        found: list[Difference] = []

        def check(field: str, expected: object, told: object) -> None:
            if expected != told:
                found.append(Difference(field=field, expected=str(expected), found=str(told)))

        check("action_id", execution.action_id, self.action_id)
        check("position_id", execution.position_id, self.position_id)
        check("book_id", execution.book_id, self.book_id)
        check("version", execution.version, self.version)
        check("executed_at", execution.executed_at, self.executed_at)
        if self.currency is not None:
            check("currency", execution.currency, self.currency)
        for name in PROVEN_TEXTS:
            check(name, getattr(execution, name), self.texts.get(name, ABSENT))
        for name in PROVEN_NUMBERS:
            if name in self.numbers:
                check(name, getattr(execution, name), self.numbers[name])
        return found


def read_embed(embed: Embed) -> Told:
    """Read an embed of ours; raises ``ValueError`` when its footer does not name an action."""
    footer = EXECUTION_FOOTER.fullmatch(bare_footer(embed.footer))
    if footer is None:
        raise ValueError("the footer names no action")
    values = {item.name: _bare(item.value) for item in embed.fields}
    currencies = {value.rsplit(" ", 1)[1] for name, value in values.items() if name in PROVEN_NUMBERS and " " in value}
    executed_at = values.get("executed_at")
    return Told(
        action_id=UUID(footer["action_id"]),
        position_id=UUID(footer["position_id"]),
        book_id=footer["book_id"],
        version=int(footer["version"]),
        currency=currencies.pop() if len(currencies) == 1 else None,
        executed_at=None if executed_at is None else datetime.fromisoformat(executed_at).astimezone(UTC),
        texts={name: unescape(values[name]) for name in PROVEN_TEXTS if name in values},
        numbers={name: _number(values[name]) for name in PROVEN_NUMBERS if name in values},
        is_struck=embed.title.startswith((BUSTED_MARK, MERGED_MARK)),
    )


def _bare(value: str) -> str:
    struck = _STRUCK.fullmatch(value)
    return struck[1] if struck else value


def _number(text: str) -> Decimal | None:
    bare = text.rsplit(" ", 1)[0] if " " in text else text
    return None if bare == UNKNOWN else parse(bare)


# --- what stands there against what must stand there ------------------------------------------------------------------


def compare(expected: Embed, found: Embed) -> list[Difference]:
    """Return every difference between two embeds: title, description, colour, time, footer without notes, every field.

    Values are compared as what they mean: numbers as Decimals with their unit, instants to the millisecond.
    """
    differences = [
        Difference(field=name, expected=wanted, found=told)
        for name, wanted, told in (
            ("title", expected.title, found.title),
            ("description", expected.description, found.description),
            ("color", f"{expected.color:#08x}", f"{found.color:#08x}"),
            ("footer", bare_footer(expected.footer), bare_footer(found.footer)),
        )
        if wanted != told
    ]
    if abs(expected.timestamp - found.timestamp) >= MILLISECOND:
        differences.append(
            Difference(field="timestamp", expected=expected.timestamp.isoformat(), found=found.timestamp.isoformat())
        )
    wanted_fields = {item.name: item.value for item in expected.fields}
    found_fields = {item.name: item.value for item in found.fields}
    for name in [*wanted_fields, *(name for name in found_fields if name not in wanted_fields)]:
        wanted, told = wanted_fields.get(name, ABSENT), found_fields.get(name, ABSENT)
        if not _means_the_same(name, wanted, told):
            differences.append(Difference(field=name, expected=wanted, found=told))
    return differences


def _means_the_same(name: str, wanted: str, told: str) -> bool:
    if wanted == told:
        return True
    if name == "executed_at":
        try:
            return abs(datetime.fromisoformat(_bare(wanted)) - datetime.fromisoformat(_bare(told))) < MILLISECOND
        except (ValueError, TypeError):
            return False
    if name in PROVEN_NUMBERS and (_bare(wanted) == wanted) == (_bare(told) == told):
        try:
            return _measure(_bare(wanted)) == _measure(_bare(told))
        except NumberError:
            return False
    return False


def _measure(text: str) -> tuple[Decimal | None, str]:
    value, _, unit = text.partition(" ")
    return (None if value == UNKNOWN else parse(value)), unit


def expected_embed(execution: Execution, style: Style, *, was_marked: bool) -> Embed:
    """Return what must stand in the channel for a current row.

    The row alone does not say whether a first version took another action's place under a cause that is marked; there
    the mark that was sent (``was_marked``) is accepted.
    """
    embed = render_execution(execution, style)
    if was_marked and execution.version == 1 and not embed.title.endswith(CORRECTED_MARK):
        return Embed(
            title=embed.title + CORRECTED_MARK,
            description=embed.description,
            color=embed.color,
            timestamp=embed.timestamp,
            fields=embed.fields,
            footer=embed.footer,
        )
    return embed
