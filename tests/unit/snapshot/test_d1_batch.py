"""A document becomes statements without being written anew, whatever its shape, and a look at D1 is judged strictly."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from fillbook.runtime.sql import load_queries
from fillbook.snapshot import d1_batch, document
from fillbook.snapshot.d1_batch import PARTS, Batch, Day, Look, Seen, TooLarge, Unreadable, check_limits, day_of, judged
from tests.support.snapshot_shapes import snapshot

STATEMENTS = load_queries("fillbook.snapshot", "d1.sql")
SNAPSHOT = snapshot()
BODY = document.encoded(SNAPSHOT)
DAY = day_of(BODY, SNAPSHOT, STATEMENTS)
ROWS, OVERLAY = document.rows_json(SNAPSHOT), document.overlay_json(SNAPSHOT)
TEXTS = {name: json.loads(BODY)[name] for name in ("updated_at", "headline", "summary")}
ARCHIVE = {**TEXTS, "rows_json": ROWS, "overlay_json": OVERLAY}
COUNTS = (len(SNAPSHOT.rows), len(SNAPSHOT.points), len(SNAPSHOT.extremes), len(SNAPSHOT.assets))


def posted(batch: Batch) -> list[tuple[str, list[str]]]:
    found = [(one["sql"], one["params"]) for one in json.loads(batch.body)["batch"]]
    assert len(found) == batch.count
    return found


def test_the_batch_carries_the_published_texts_and_nothing_but_texts() -> None:
    written = posted(DAY.whole())
    assert written[0][1] == [SNAPSHOT.date.isoformat(), *TEXTS.values(), ROWS, OVERLAY]
    overlay = json.loads(OVERLAY)
    wanted = [json.loads(ROWS), overlay["seriesByKpi"], overlay["extremes"]["byKpi"], overlay["portfolioAssets"]]
    assert [json.loads(params[2]) for _, params in written[5:]] == wanted
    assert all(params[2] in BODY.decode() for _, params in written[5:])
    assert (len(written), DAY.read.count, tuple(DAY.counts.values())) == (9, 5, COUNTS)
    assert [params for _, params in posted(DAY.read)] == [[SNAPSHOT.date.isoformat()]] * 5


def test_every_statement_after_the_archives_depends_on_what_the_archive_says() -> None:
    condition = "(select updated_at from metrics_daily where date = ?1) = ?2"
    assert all(sql.endswith(condition) for sql, _ in posted(DAY.whole())[1:])


def test_white_space_and_the_order_of_keys_do_not_matter() -> None:
    loose = json.dumps(dict(reversed(json.loads(BODY).items())), indent=1, ensure_ascii=False).encode()
    spaced = day_of(loose, SNAPSHOT, STATEMENTS)
    for (sql, params), (same_sql, same) in zip(posted(spaced.whole())[5:], posted(DAY.whole())[5:], strict=True):
        assert (sql, json.loads(params[2])) == (same_sql, json.loads(same[2]))


@pytest.mark.parametrize("part_max", [60, 150, 400])
def test_a_split_part_holds_every_item_once_in_order_and_never_more_than_a_part(
    monkeypatch: pytest.MonkeyPatch, part_max: int
) -> None:
    monkeypatch.setattr(d1_batch, "PART_BYTES_MAX", part_max)
    names = {"a": ["x", "é☃"], 'q"': [], "b": [f"item {number}" for number in range(60)], "c": ["long" * 120]}
    nested = {name: {"hi": items, "lo": items[:1]} for name, items in names.items()}
    for depth, part in enumerate((names["b"], names, nested)):
        texts = list(d1_batch._split(json.dumps(part, ensure_ascii=False, separators=(",", ":")), depth))
        parts = [leaves(json.loads(text)) for text in texts]
        assert len(parts) > 1
        assert [leaf for one in parts for leaf in one] == leaves(part)
        for text, found in zip(texts, parts, strict=True):
            assert len(text.encode()) <= part_max or len(found) == 1, "an item alone may be longer"


def leaves(part: Any, names: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], str]]:
    if isinstance(part, dict):
        return [leaf for name, inner in part.items() for leaf in leaves(inner, (*names, name))]
    return [(names, item) for item in part]


@pytest.mark.parametrize(
    "body", [b"[]", b"{}", BODY.replace(b"2026-02-11", b"2026-02-12"), BODY.replace(b".512Z", b"Z"), BODY[:-9]]
)
def test_bytes_that_are_not_the_snapshots_are_a_bug(body: bytes) -> None:
    with pytest.raises((ValueError, KeyError, IndexError)):
        day_of(body, SNAPSHOT, STATEMENTS)


def test_the_limits_are_held_at_their_edge() -> None:
    check_limits([("x" * 100_000, ("y" * 1_999_999, "z"))], [("", ("",) * 100)])
    for wrong in (("x" * 100_001, ()), ("", ("",) * 101), ("", ("é" * 1_000_000, "z"))):
        with pytest.raises(TooLarge):
            check_limits([wrong])


# --- what a look shows ----------------------------------------------------------------------------------------------------


def look(archive: Mapping[str, Any] | None, counts: Sequence[tuple[object, object]] = tuple((n, n) for n in COUNTS)) -> Look:
    tables = [[{"stored": stored, "same": same}] for stored, same in counts]
    return judged(DAY, [[] if archive is None else [archive], *tables])


def seen(archive: Mapping[str, Any] | None) -> Seen:
    return look(archive).seen


def test_the_day_is_there_when_archive_and_tables_say_it() -> None:
    assert seen(ARCHIVE) is Seen.SAME
    assert seen(None) is Seen.OTHER


@pytest.mark.parametrize("name", ARCHIVE)
def test_another_archive_is_another_day_and_one_of_our_time_is_ours_in_parts(name: str) -> None:
    assert seen({**ARCHIVE, name: ARCHIVE[name] + " "}) is (Seen.OTHER if name == "updated_at" else Seen.TORN)


@pytest.mark.parametrize("table", range(4))
@pytest.mark.parametrize("off", [(1, 0), (-1, -1), (0, -1), (1, 1)])
def test_a_table_with_more_or_fewer_or_other_rows_is_named(table: int, off: tuple[int, int]) -> None:
    counts = [(count, count) for count in COUNTS]
    counts[table] = (COUNTS[table] + off[0], COUNTS[table] + off[1])
    name = tuple(PARTS)[table]
    assert look(ARCHIVE, counts) == Look(seen=Seen.TORN, detail=f"{name} differ", tables=(name,))


def test_only_a_time_in_our_form_can_be_newer() -> None:
    assert seen({**ARCHIVE, "updated_at": "2026-02-11T21:00:04.513Z"}) is Seen.NEWER
    assert seen({**ARCHIVE, "updated_at": "2026-02-11T21:00:04.511Z"}) is Seen.OTHER
    assert seen({**ARCHIVE, "updated_at": "2026-02-12"}) is Seen.OTHER


@pytest.mark.parametrize(
    "results",
    [
        [],
        [[ARCHIVE, ARCHIVE], *[[{"stored": n, "same": n}] for n in COUNTS]],
        [[{"updated_at": TEXTS["updated_at"]}], [], [], [], []],
        [[ARCHIVE], [], [], [], []],
        [[ARCHIVE], *[[{"stored": n}] for n in COUNTS]],
        [[{**ARCHIVE, "rows_json": None}], *[[{"stored": n, "same": n}] for n in COUNTS]],
    ],
)
def test_an_answer_of_another_shape_shows_nothing(results: list[list[dict[str, Any]]]) -> None:
    with pytest.raises(Unreadable):
        judged(DAY, results)


def test_days_of_equal_content_make_equal_batches() -> None:
    again: Day = day_of(BODY, replace(SNAPSHOT), STATEMENTS)
    assert (again.whole(), again.read, again.digests) == (DAY.whole(), DAY.read, DAY.digests)


def test_what_differs_is_written_table_by_table_after_the_archive() -> None:
    whole, rest = posted(DAY.whole()), posted(DAY.rest(("points", "assets")))
    assert rest == [whole[0], whole[2], whole[6], whole[4], whole[8]]
    assert sorted(posted(DAY.rest(tuple(PARTS)))) == sorted(whole)
