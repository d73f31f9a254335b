"""What an execution id says about itself: its base, its revision, the family and the combo it belongs to.

The broker writes four dotted parts, the last a revision that counts corrections; inner fills of a combo leg carry a fifth
part behind it. Everything else (other shapes, ``tx:…``, ``trade:…``) is its own base and cannot be corrected by a later
id. Part 3 is a slot and proves nothing: a lone stock fill may carry 02. Parsing never raises. Source: ibkr.md 4.
"""

from __future__ import annotations

import re
from typing import Final

from fillbook.ibkr.model import ExecIdentity
from fillbook.ibkr.words import IdKind

_FOUR: Final = re.compile(r"([^.\s]+\.[^.\s]+)\.([^.\s]+)\.([0-9]{1,9})")
_FIVE: Final = re.compile(r"([^.\s]+\.[^.\s]+)\.([^.\s]+)\.([0-9]{1,9})\.([0-9]+)")
UNUSABLE: Final = frozenset({"", "N/A", "n/a", "--", "-"})
_OWN_PREFIXES: Final = ("tx:", "trade:")


def parse(ib_exec_id: str) -> ExecIdentity:
    """Return what the id says; a shape that is not known makes an id without revisions, never an error."""
    if not ib_exec_id.startswith(_OWN_PREFIXES):
        four = _FOUR.fullmatch(ib_exec_id)
        if four is not None:
            family = f"{four[1]}.{four[2]}"
            return _identity(ib_exec_id, family, int(four[3]), family, four[1])
        five = _FIVE.fullmatch(ib_exec_id)
        if five is not None:
            family = f"{five[1]}.{five[2]}"
            return _identity(ib_exec_id, f"{family}#{five[4]}", int(five[3]), family, five[1], has_fifth_part=True)
    return ExecIdentity(
        ib_exec_id=ib_exec_id,
        exec_id_base=ib_exec_id,
        exec_revision=0,
        settled_key=ib_exec_id,
        combo_key=None,
        is_correctable=False,
        has_fifth_part=False,
    )


def ingest_key(exec_id: str, transaction_id: int | None, trade_id: int | None) -> tuple[str, IdKind] | None:
    """Return the key of a row and what it was made of: execution id, else transaction id, else trade id; None: no identity."""
    text = exec_id.strip()
    if text not in UNUSABLE:
        return text, IdKind.BROKER
    if transaction_id is not None:
        return f"tx:{transaction_id}", IdKind.TRANSACTION
    if trade_id is not None:
        return f"trade:{trade_id}", IdKind.TRADE
    return None


def venue_order(exec_id_base: str) -> str:
    """Text that sorts fills of one instant: the base, with the digits of our own ids padded to 20."""
    prefix, colon, digits = exec_id_base.partition(":")
    if colon and digits.isascii() and digits.isdigit() and f"{prefix}:" in _OWN_PREFIXES:
        return f"{prefix}:{digits:0>20}"
    return exec_id_base


def _identity(
    text: str, base: str, revision: int, settled_key: str, combo_key: str, *, has_fifth_part: bool = False
) -> ExecIdentity:
    return ExecIdentity(
        ib_exec_id=text,
        exec_id_base=base,
        exec_revision=revision,
        settled_key=settled_key,
        combo_key=combo_key,
        is_correctable=True,
        has_fifth_part=has_fifth_part,
    )
