"""Guards of completeness: a good day is not replaced by an empty, torn or older one unless a person says so, by name.

Pure: the last good publications come in as a ``History``. *Good* is a publication that reached a target and was not refused; of
each the guards need counts, KPI names and what was missing, so that is all a publication keeps for them (``remembered``).
Source: snapshot specification, 4.4.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from fillbook.snapshot.document import counts
from fillbook.snapshot.model import FAULTS, Counts, Guard, Snapshot, Source, Stage
from fillbook.snapshot.texts import instant, written
from fillbook.values import frozen

NULLS_MORE: Final = 3
KNOWN_MIN: Final = 3
MEDIAN_MIN: Final = 20
SAME_DAY_PERCENT: Final = 50
FIRST_PERCENT: Final = 30
MINUTE: Final = timedelta(minutes=1)
OPEN: Final = "Open positions"


@frozen
class Published:
    """What the guards remember of a good publication.

    ``missing`` has the reason (None: not known) of each KPI without a number; ``minutes``: session minutes its series covered.
    """

    date: date
    stage: Stage
    updated_at: datetime
    counts: Counts
    kpis: tuple[str, ...]
    missing: Mapping[str, str | None]
    minutes: int


@frozen
class History:
    """The last good publications that the guards need.

    ``last``: of this date. ``previous``: of the previous session at the same stage. ``recent``: of up to five sessions before
    this date at the same stage, the last of each. ``expected``: the catalog's names where the views are ours, else empty.
    """

    last: Published | None = None
    previous: Published | None = None
    recent: tuple[Published, ...] = ()
    expected: tuple[str, ...] = ()


def remembered(snapshot: Snapshot, source: Source) -> Published:
    """What to keep of a publication for the guards of later ones."""
    return Published(
        date=snapshot.date,
        stage=source.day.stage,
        updated_at=snapshot.updated_at,
        counts=counts(snapshot),
        kpis=tuple(one.kpi for one in snapshot.rows),
        missing={one.kpi: one.missing_reason for one in snapshot.rows if one.value_num is None},
        minutes=_minutes(source),
    )


def _minutes(source: Source) -> int:
    return max(0, (source.day.valuation_at - source.day.session_open) // MINUTE)


def to_json(published: Published) -> dict[str, Any]:
    """A ``Published`` as JSON values, to be kept with its publication."""
    held = published.counts
    return {
        "date": published.date.isoformat(),
        "stage": published.stage.value,
        "updated_at": written(published.updated_at),
        "counts": {"kpis": held.kpis, "series": held.series, "extremes": held.extremes, "assets": held.assets},
        "kpis": list(published.kpis),
        "missing": dict(published.missing),
        "minutes": published.minutes,
    }


def from_json(kept: Mapping[str, Any]) -> Published:
    """The ``Published`` that was kept."""
    return Published(
        date=date.fromisoformat(kept["date"]),
        stage=Stage(kept["stage"]),
        updated_at=instant(kept["updated_at"]),
        counts=Counts(**kept["counts"]),
        kpis=tuple(kept["kpis"]),
        missing=dict(kept["missing"]),
        minutes=kept["minutes"],
    )


def guarded(snapshot: Snapshot, source: Source, history: History) -> tuple[tuple[Guard, str], ...]:
    """Every reason to refuse the day, with its guard; whoever forces a guard leaves its reasons out."""
    found = [(guard, why) for guard, check in _GUARDS for why in check(snapshot, source, history)]
    return tuple(found)


# --- the guards -------------------------------------------------------------------------------------------------------


def _empty_view(snapshot: Snapshot, source: Source, _: History) -> Iterator[str]:
    if not snapshot.rows:
        yield "the KPI view has no row"
    elif all(one.value_num is None for one in snapshot.rows):
        yield "no KPI has a number"
    stage = source.day.stage
    if not snapshot.points and stage is not Stage.PREMARKET:
        yield f"no series has a point, {stage}"
    if stage is Stage.PREMARKET and not (snapshot.points or snapshot.extremes or snapshot.assets):
        yield "nothing of the day is there before its open"
    if not snapshot.assets and _open_positions(snapshot, source) > 0:
        yield "the portfolio is empty while positions are open"
    if not snapshot.extremes and _was_open_or_traded(snapshot, source):
        yield "no extremes although a position was open or traded"


def _open_positions(snapshot: Snapshot, source: Source) -> Decimal:
    """The greatest count of open positions that anything of the day states."""
    stated = [Decimal(source.watermark.open_positions)] if source.watermark is not None else []
    stated += [one.value_num for one in snapshot.rows if one.kpi == OPEN and one.value_num is not None]
    return max(stated, default=Decimal(0))


def _was_open_or_traded(snapshot: Snapshot, source: Source) -> bool:
    mark = source.watermark
    return bool(snapshot.assets) or _open_positions(snapshot, source) > 0 or (mark is not None and mark.actions > 0)


def _missing_kpi(snapshot: Snapshot, source: Source, history: History) -> Iterator[str]:
    expected = [*history.expected, *(source.values or ())]
    if not expected and history.last is not None:
        expected = list(history.last.kpis)
    elif not expected:
        before = max((history.previous, *history.recent), key=_date_of)
        expected = list(before.kpis) if before is not None else []
    there = {one.kpi for one in snapshot.rows}
    absent = [name for name in dict.fromkeys(expected) if name not in there]
    if absent:
        yield f"no row for {', '.join(absent)}"


def _date_of(published: Published | None) -> date:
    return date.min if published is None else published.date


def _null_rise(snapshot: Snapshot, source: Source, history: History) -> Iterator[str]:
    before = history.last or history.previous
    if before is None:
        return
    missing = remembered(snapshot, source).missing
    is_told = None not in (*missing.values(), *before.missing.values())
    now, then = (_faults(one) if is_told else set(one) for one in (missing, before.missing))
    if len(now) - len(then) >= NULLS_MORE:
        new = sorted(now - then)
        yield f"{len(now)} KPIs are missing for a fault, {len(then)} on {before.date.isoformat()}; new: {', '.join(new)}"


def _faults(missing: Mapping[str, str | None]) -> set[str]:
    """KPIs missing for a fault; where reasons are not known on either side, whatever is missing counts on both."""
    return {name for name, reason in missing.items() if reason in FAULTS}


def _sharp_fall(snapshot: Snapshot, source: Source, history: History) -> Iterator[str]:
    now = remembered(snapshot, source)
    parts = ("kpis", "series") if source.watermark is not None else ("kpis", "series", "extremes", "assets")
    for part in parts:
        count = getattr(now.counts, part)
        if history.last is not None:
            before = getattr(history.last.counts, part)
            if count * 100 < before * SAME_DAY_PERCENT:
                yield f"{part}: {count}, {before} in the last publication of this date"
            continue
        known = [_expected(one, part, now.minutes) for one in history.recent]
        usual = _median(known) if len(known) >= KNOWN_MIN else 0
        if usual >= MEDIAN_MIN and count * 100 < usual * FIRST_PERCENT:
            yield f"{part}: {count}, {usual} in the middle of the last {len(known)} sessions"


def _median(counts_known: Sequence[int]) -> int:
    in_order = sorted(counts_known)
    return (in_order[(len(in_order) - 1) // 2] + in_order[len(in_order) // 2]) // 2


def _expected(before: Published, part: str, minutes: int) -> int:
    """A part's count of an earlier session; that of points as if it had covered as many minutes of its session as this one."""
    count: int = getattr(before.counts, part)
    return count * minutes // before.minutes if part == "series" and before.minutes else count


def _older(snapshot: Snapshot, _: Source, history: History) -> Iterator[str]:
    last = history.last
    if last is not None and snapshot.updated_at < last.updated_at:
        yield f"updated at {written(snapshot.updated_at)}, the last publication at {written(last.updated_at)}"


_GUARDS: Final = (
    (Guard.EMPTY_VIEW, _empty_view),
    (Guard.MISSING_KPI, _missing_kpi),
    (Guard.NULL_RISE, _null_rise),
    (Guard.SHARP_FALL, _sharp_fall),
    (Guard.OLDER, _older),
)
