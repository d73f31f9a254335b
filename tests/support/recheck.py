"""A second opinion on an evidence pack, written from ``infra/docs/evidence.md`` alone: the standard library, nothing of ours.

``python recheck.py PACK`` prints the head of the chain and the realized P&L per currency, or the first row that is wrong.
"""

from __future__ import annotations

import hashlib
import json
import sys
from decimal import Decimal


def canonical(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def recheck(text: str) -> tuple[str, dict[str, Decimal]]:
    """(head of the chain, currency -> realized P&L of the current actions); ``ValueError`` names the first wrong row."""
    pack = json.loads(text)
    column = {table: {name: place for place, name in enumerate(names)} for table, names in pack["columns"].items()}
    rows = sorted(pack["journal"] + pack["actions"], key=lambda row: row["values"][column[row["table"]]["seq"]])
    head = hashlib.sha256(f"fillbook:{pack['book']['book_id']}".encode()).digest()
    heads = {}
    for expected, row in enumerate(rows, 1):
        values = row["values"]
        seq = values[column[row["table"]]["seq"]]
        if seq != expected:
            raise ValueError(f"missing seq {expected}")
        if row["prev_hash"] != head.hex():
            raise ValueError(f"relinked seq {seq}")
        hashed = [*values, row["closings"]] if "closings" in row else values
        head = hashlib.sha256(head + canonical(hashed)).digest()
        if row["row_hash"] != head.hex():
            raise ValueError(f"altered seq {seq}")
        heads[seq] = head.hex()
    if (len(rows), head.hex()) != (pack["seq"], pack["chain_head"]):
        raise ValueError("the chain ends elsewhere")
    for anchor in pack["anchors"]:
        if heads.get(anchor["seq"]) != anchor["chain_head"]:
            raise ValueError(f"relinked: anchor of {anchor['anchored_on']}")
    return head.hex(), realized(pack, column)


def realized(pack: dict, column: dict) -> dict[str, Decimal]:  # type: ignore[type-arg]
    action, closing = column["execution_actions"], column["closings"]
    totals: dict[str, Decimal] = {}
    for row in pack["actions"]:
        values = row["values"]
        parts = [part[closing["realized_pnl"]] for part in row["closings"]]
        if row["superseded_at"] is not None or values[action["state"]] != "BOOKED" or not parts or None in parts:
            continue
        total = sum(map(Decimal, parts))
        if total != Decimal(values[action["realized_pnl"]]):
            raise ValueError(f"realized of seq {values[action['seq']]}")
        currency = values[action["currency"]]
        totals[currency] = totals.get(currency, Decimal(0)) + total
    return totals


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:  # noqa: PTH123 - as a stranger would
        found, amounts = recheck(file.read())
    sys.stdout.write(f"{found} {', '.join(f'{amount} {currency}' for currency, amount in sorted(amounts.items()))}\n")
