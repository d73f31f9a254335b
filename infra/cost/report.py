"""A bill and the counts behind it, as a document for the page and as tables for a person.

Each figure says whether it was measured or computed. Dollars have four decimals, because a small desk's lines are cents.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final

from fillbook.calendar import calendar
from infra.cost.days import Counts, calls_of, exactly
from infra.cost.growth import Grown
from infra.cost.prices import PriceList
from infra.cost.pricing import Bill, Line
from infra.manifest import Manifest

CENT: Final = Decimal("0.0001")
MEBIBYTE: Final = 1024 * 1024
SHOWN_MIN: Final = Decimal("0.01")


def dollars(amount: Decimal) -> str:
    """Four decimals."""
    return str(amount.quantize(CENT))


def function_rows(counts: Counts, manifest: Manifest) -> list[dict[str, Any]]:
    """What each function used in a day; None: it was not counted."""
    rows = []
    for name in manifest.functions:
        found, calls = counts.get(f"function {name}"), calls_of(counts, name)
        if found is None and not calls:
            continue
        rows.append(
            {
                "function": name,
                "requests": int(sum(one["requests"] for one in calls.values())),
                "failed": int(sum(one["failed"] for one in calls.values())),
                "billed_seconds": str(exactly(sum(one["billed_seconds"] for one in calls.values()))),
                "processor_seconds": None if found is None else str(exactly(found["processor_seconds"])),
                "peak_bytes": None if found is None else int(found["peak_bytes"]),
                "log_bytes": None if found is None else int(found["log_bytes"]),
                "sent_bytes": int(sum(one["bytes_out"] for one in calls.values())),
            }
        )
    return rows


def document(
    kept: Mapping[str, Any], manifest: Manifest, prices: PriceList, bill: Bill, idle: Bill, unknown: Sequence[str]
) -> dict[str, Any]:
    """What ``ops.cost_days`` keeps of a day: its counts by function, and what a month of such days costs by line."""
    counts: Counts = kept["counts"]
    owners = bill.by_owner()
    return {
        "is_simulated": kept["is_simulated"],
        "counted_until": kept["counted_until"],
        "prices": {
            "source": prices.source,
            "as_of": prices.as_of.isoformat(),
            "region": prices.region,
            "currency": prices.currency,
        },
        "functions": [
            row | {"month": dollars(owners[row["function"]]) if row["function"] in owners else None}
            for row in function_rows(counts, manifest)
        ],
        "database": {name: int(value) for name, value in counts["database"].items()} if "database" in counts else None,
        "message_bytes": _message_bytes(counts),
        "lines": [_line(line) for line in bill.lines if line.price is not None],
        "month": dollars(bill.net),
        "idle_month": dollars(idle.net),
        "not_measured": list(unknown),
    }


def _message_bytes(counts: Counts) -> int | None:
    sizes = [found["bytes"] for what, found in counts.items() if what.startswith(("topic ", "subscription "))]
    return int(sum(sizes)) if sizes else None


def _line(line: Line) -> dict[str, Any]:
    assert line.price is not None
    return {
        "owner": line.owner,
        "service": line.price.service,
        "measure": line.measure.value,
        "quantity": str(line.quantity.quantize(CENT)),
        "unit": line.price.unit,
        "gross": dollars(line.gross),
        "net": dollars(line.net),
    }


# -- for a person -----------------------------------------------------------------------------------------------------------


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> Iterator[str]:
    """Columns as wide as what they hold; the first ``left`` of them flush left."""
    widths = [max(len(row[at]) for row in (heads, *rows)) for at in range(len(heads))]
    for row in (heads, *rows):
        cells = [
            cell.ljust(width) if at < left else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  " + "  ".join(cells).rstrip()


def told_of_day(day: str, kept: Mapping[str, Any], manifest: Manifest) -> Iterator[str]:
    """What a day used, by function and beside them."""
    counts: Counts = kept["counts"]
    fast = "its clock ran faster than the wall: schedules skipped slots" if kept["is_simulated"] else "on the wall's clock"
    session = calendar().session(date.fromisoformat(day))
    hours = (
        "no session" if session is None else f"{(session.close_at - session.open_at).total_seconds() / 3600:g} hours of session"
    )
    yield f"What {day} used, as counted here ({hours}; {fast})"
    heads = ("function", "requests", "in work s", "processor s", "peak MiB", "log kB", "sent kB")
    yield from table(
        heads,
        [
            (
                row["function"],
                f"{row['requests']:,}",
                f"{float(row['billed_seconds']):,.1f}",
                _or_unknown(row["processor_seconds"], 1, ".1f"),
                _or_unknown(row["peak_bytes"], MEBIBYTE, ".0f"),
                _or_unknown(row["log_bytes"], 1000, ".1f"),
                f"{row['sent_bytes'] / 1000:,.1f}",
            )
            for row in function_rows(counts, manifest)
        ],
    )
    size, found = _message_bytes(counts), counts.get("database")
    yield f"  messages    {'unknown here' if size is None else f'{size / 1e6:,.2f} MB published and delivered'}"
    if found is None:
        yield "  database    unknown here"
        return
    yield (
        f"  database    {found['rows_written']:,.0f} rows written, {found['rows_read']:,.0f} read, {found['transactions']:,.0f}"
        f" transactions, {found['log_ahead_bytes'] / 1e6:,.1f} MB of log, {found['size_bytes'] / 1e6:,.1f} MB larger"
    )
    yield f"              {_or_unknown(found.get('processor_seconds'), 1, '.1f')} processor seconds"


def _or_unknown(value: Any, unit: float, form: str) -> str:
    return "unknown" if value is None else format(float(value) / unit, "," + form)


def told_of_bill(title: str, bill: Bill, prices: PriceList, day: Bill | None = None) -> Iterator[str]:
    """The bill of a month: line by line, by owner (beside the ``day`` at list prices), and what dominates."""
    yield title
    paid = [(line, line.price) for line in bill.lines if line.price is not None]
    shown = sorted((one for one in paid if one[0].gross >= SHOWN_MIN), key=lambda one: -one[0].net)
    rows = [
        (
            price.service,
            line.measure.value.replace("_", " "),
            line.owner,
            f"{line.quantity:,.0f}" if line.quantity >= 100 else f"{line.quantity:,.2f}",
            f"{line.gross:,.2f}",
            f"{line.net:,.2f}",
        )
        for line, price in shown
    ]
    small = [line for line, _ in paid if 0 < line.gross < SHOWN_MIN]
    if small:
        rest = (sum(line.gross for line in small), sum(line.net for line in small))
        rows.append(("others", f"{len(small)} lines below a cent each", "", "", f"{rest[0]:,.2f}", f"{rest[1]:,.2f}"))
    yield from table(("service", "what", "of", "quantity", "gross", "to pay"), rows, left=3)
    yield ""
    yield from table(("of", "a day, gross", "a month, to pay"), _by_owner(bill, day))
    yield "  by service  " + ", ".join(f"{name} {net:,.2f}" for name, net in bill.by_service().items() if net)
    yield f"  to pay      {bill.net:,.2f} {prices.currency} a month ({bill.gross:,.2f} without free amounts)"
    first = next(iter(bill.by_service().items()), None)
    if first is not None and bill.net:
        yield f"  dominates   {first[0]}: {first[1] / bill.net:.0%}"


def _by_owner(bill: Bill, day: Bill | None) -> list[tuple[str, str, str]]:
    """Each owner's day at list prices, where it was counted, and what it bears of the month."""
    gross: dict[str, Decimal] = {}
    for line in () if day is None else day.lines:
        gross[line.owner] = gross.get(line.owner, Decimal(0)) + line.gross
    return [(name, f"{gross[name]:,.4f}" if name in gross else "–", f"{net:,.2f}") for name, net in bill.by_owner().items()]


def told_of_growth(how: Mapping[str, Mapping[str, Grown]], sizes: Sequence[int], accounts: int) -> Iterator[str]:
    """What a tick of the fleet used at both sizes, and what it would use."""
    few, many = sizes
    yield f"A tick of a fleet: measured with {few:,} and {many:,} accounts, computed for {accounts:,}"
    rows = [
        (
            f"{what.removeprefix('function ')} {name.replace('_', ' ')}",
            f"{one.small:,.2f}",
            f"{one.large:,.2f}",
            "–" if one.exponent is None else f"{one.exponent:.2f}",
            f"{one.projected:,.1f}",
        )
        for what, found in how.items()
        for name, one in found.items()
        if one.large > 0
        and name in ("processor_seconds", "billed_seconds", "requests", "rows_written", "log_ahead_bytes", "bytes")
    ]
    yield from table(("count", f"{few:,}", f"{many:,}", "exponent", f"{accounts:,}, computed"), rows)
