"""What the client of a replay prints: bar, gap report, end of a run, where two runs part. Text in, text out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from fillbook.calendar import NEW_YORK
from fillbook.replay.buckets import MINUTE_MS
from fillbook.signal.receipt import instant
from fillbook.values import frozen

BAR_WIDTH: Final = 20
NAMED_MAX: Final = 12  # tickers of a gap report, differences of a comparison
RANGES_MAX: Final = 4
VALUE_MAX: Final = 60
SAY_MAX: Final = 110
_COUNTS: Final = (
    ("decided", "decided"),
    ("entries", "entries"),
    ("adds", "adds"),
    ("trims", "trims"),
    ("exits", "exits"),
    ("realizedPnl", "realized P&L"),
)
_POSITIONS: Final = (("equal", "equal"), ("different", "different"), ("leftOnly", "only in A"), ("rightOnly", "only in B"))
_CAUSES: Final[Mapping[str, str]] = {
    "input": "a receipt is on one side only, or is another one",
    "start": "the states differ before the ticker's first receipt",
    "config": "the profiles differ",
    "facts": "the accounts differ",
    "code": "same values and limits, other outcome",
}


@frozen
class Standing:
    """How far a run is: buckets done of all, the last bucket handled, rows and trades, rows a second, seconds left if known."""

    done: int
    total: int
    bucket: int | None
    rows: int
    trades: int
    rate: int
    left_seconds: int | None


def bar(standing: Standing) -> str:
    """One line: ``[##########----------] 39/78 12:40 New York  rows 30,810  trades 14  5,120/s  left 0:06``."""
    total = max(standing.total, 1)
    filled = min(BAR_WIDTH, BAR_WIDTH * standing.done // total)
    at = "" if standing.bucket is None else f" {clock(standing.bucket)} New York"
    left = "" if standing.left_seconds is None else f"  left {minutes(standing.left_seconds)}"
    return (
        f"[{'#' * filled}{'-' * (BAR_WIDTH - filled)}] {standing.done}/{standing.total}{at}  rows {standing.rows:,}"
        f"  trades {standing.trades:,}  {standing.rate:,}/s{left}"
    )


def clock(ts: int) -> str:
    """The wall clock in New York."""
    return instant(ts).astimezone(NEW_YORK).strftime("%H:%M")


def minutes(seconds: int) -> str:
    """``0:06``, ``12:40``."""
    return f"{seconds // 60}:{seconds % 60:02d}"


def gap_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The gap report: one line a day, then what is missing, by ticker."""
    for day in report["days"]:
        share = _percent(day["minutesPresent"], day["minutesExpected"])
        yield (
            f"{day['date']}  {day['grade']}: {day['minutesPresent']:,} of {day['minutesExpected']:,} ticker-minutes ({share}),"
            f" buckets {day['bucketsPresent']}/{day['bucketsExpected']}, tickers {day['tickersSeen']}"
        )
        if day["unseen"]:
            yield f"  not seen: {_named(day['unseen'])}"
        unseen = set(day["unseen"])
        gappy = [one for one in day["tickers"] if one["missing"] and one["ticker"] not in unseen]
        for one in gappy[:NAMED_MAX]:
            yield f"  {one['ticker']}: nothing in {_ranges(one['missing'])}"
        if len(gappy) > NAMED_MAX:
            yield f"  and {len(gappy) - NAMED_MAX} more tickers with empty buckets"
        aside = {name: rows for name, rows in day["byResult"].items() if name != "decided"}
        if aside or day["quarantined"]:
            parts = [f"{rows:,} {name}" for name, rows in aside.items()]
            yield "  of live's receipts: " + ", ".join([*parts, f"{day['quarantined']:,} quarantined"])


def end_line(rows: int, created: int, purged: int, seconds: int, rate: int, result_hash: str | None, run_id: str) -> str:
    """The one line at the end of a run."""
    return (
        f"rows {rows:,}  trades created {created:,}  purged {purged:,}  {minutes(seconds)}  {rate:,} rows/s"
        f"  hash {result_hash or '–'}  run {run_id}"
    )


def comparison_lines(found: Mapping[str, Any], divergences: list[Mapping[str, Any]]) -> Iterator[str]:
    """Totals of both sides, positions, and where they part: the first difference whole, the others in a line each."""
    a, b = found["totals"]["a"], found["totals"]["b"]
    yield f"A {found['a']}"
    yield f"B {found['b']}"
    for name, words in _COUNTS:
        mark = "" if a[name] == b[name] else "  *"
        yield f"  {words:<13}{_text(a[name]):>14}{_text(b[name]):>14}{mark}"
    counts = found["positions"]
    yield "  positions    " + ", ".join(f"{counts[name]:,} {words}" for name, words in _POSITIONS)
    if found["identical"]:
        yield "identical"
        return
    yield f"{found['divergent']:,} of {found['tickers']:,} tickers differ"
    for place, one in enumerate(divergences[:NAMED_MAX]):
        yield from _divergence(one) if place == 0 else [_short(one)]
    if found["divergent"] > NAMED_MAX:
        yield f"  and {found['divergent'] - NAMED_MAX:,} more"


def _divergence(one: Mapping[str, Any]) -> Iterator[str]:
    at = instant(one["ts"]).astimezone(NEW_YORK)
    yield f"first difference: {one['ticker']} {at:%Y-%m-%d %H:%M} New York, bucket {one['bucket']}, receipt {one['receiptId']}"
    yield f"  {one['field']}: A {_value(one['a'])}   B {_value(one['b'])}"
    rule = "" if one["rule"] is None else f", rule {one['rule']}"
    yield f"  cause {one['cause']} ({_CAUSES.get(one['cause'], '')}){rule}"
    for side, sentence in zip("AB", one["says"], strict=False):
        if sentence:
            yield f"    {side}: {sentence[:SAY_MAX]}"
    detail = one["detail"]
    if detail.get("key"):
        pair = detail.get("keys", {}).get(detail["key"])
        yield f"    profile key {detail['key']}" + ("" if pair is None else f": A {_value(pair[0])}   B {_value(pair[1])}")
    taken = detail.get("taken")
    if taken:
        before = f"{taken['actionType']} of {taken['ticker']} at {clock(taken['ts'])}"
        yield f"    before it: {before} ({taken['side']}), {taken['actionId']}"
    yield f"  {one['laterCount']:,} later differences of {one['ticker']} follow from it"


def _short(one: Mapping[str, Any]) -> str:
    rule = one["rule"] or "–"
    key = one["detail"].get("key") or ""
    return f"  {one['ticker']:<8}{clock(one['ts'])}  {one['field']:<14}{one['cause']:<8}{rule:<6}{key}".rstrip()


def _percent(part: int, whole: int) -> str:
    return f"{part * 1000 // whole / 10:.1f} %" if whole else "nothing expected"


def _named(names: list[str]) -> str:
    more = len(names) - NAMED_MAX
    return ", ".join(names[:NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


def _ranges(ranges: list[list[int]]) -> str:
    shown = [f"{clock(first)}-{clock(last + 5 * MINUTE_MS)}" for first, last in ranges[:RANGES_MAX]]
    more = len(ranges) - RANGES_MAX
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def _text(value: Any) -> str:
    return "unknown" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _value(value: Any) -> str:
    if isinstance(value, list):
        value = ", ".join(_value(item) for item in value) or "none"
    return ("nothing" if value is None else str(value))[:VALUE_MAX]
