"""Laws of pacing: a wait is never read too short, windows are never broken, the order of a position is kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from fillbook.notify.answers import wait_of
from fillbook.notify.limits import Limit, Sent, channel_scope, earliest, remember, webhook_scope
from fillbook.notify.model import ChannelRow, Embed, Operation, Priority, Row, State, SubjectKind
from fillbook.notify.pacing import LADDER, Kind, Pace, Queue, digest_batch, next_try, plan, sendable

NOW = datetime(2026, 2, 3, 15, 0, tzinfo=UTC)
CHANNEL = ChannelRow(
    channel_id="executions", kind="executions", webhook_id="1", thread_id=None, discord_channel_id="2", guild_id=None,
    status="active", status_reason=None, is_digest=False,
)  # fmt: skip
EMBED = Embed(title="t", description="d", color=1, timestamp=NOW, fields=(), footer="f")


def row(number: int, **changes: object) -> Row:
    values: dict[str, object] = {
        "channel_id": "executions", "subject_key": f"live/{UUID(int=number)}", "subject_kind": SubjectKind.EXECUTION,
        "group_key": "p", "priority": Priority.NORMAL, "order_at": NOW, "order_seq": number, "wanted_version": 1,
        "wanted_seq": number, "wanted": EMBED, "wanted_hash": "h", "created_at": NOW, "next_attempt_at": NOW,
        "pending_since": NOW,
    }  # fmt: skip
    return Row(**{**values, **changes})  # type: ignore[arg-type]


FORMS = ("both", "header", "body", "reset", "ms_header", "ms_body", "ms_both", "header_ceiled")


def answer_of(form: str, meant: float) -> tuple[dict[str, str], dict[str, float]]:
    seconds, milliseconds = repr(meant), str(math.ceil(meant * 1000))
    return {
        "both": ({"retry-after": seconds, "x-ratelimit-reset-after": seconds}, {"retry_after": meant}),
        "header": ({"retry-after": seconds}, {}),
        "body": ({}, {"retry_after": meant}),
        "reset": ({"x-ratelimit-reset-after": seconds}, {}),
        "ms_header": ({"retry-after": milliseconds}, {"retry_after": meant}),
        "ms_body": ({"retry-after": str(math.ceil(meant))}, {"retry_after": math.ceil(meant * 1000)}),
        "ms_both": ({"retry-after": milliseconds}, {"retry_after": math.ceil(meant * 1000)}),
        "header_ceiled": ({"retry-after": str(math.ceil(meant))}, {"retry_after": meant}),
    }[form]  # type: ignore[return-value]


@given(st.sampled_from(FORMS), st.floats(0.001, 100_000, allow_nan=False), st.sampled_from(["0.5", None, "3"]))
def test_a_wait_is_never_shorter_than_discord_meant(form: str, meant: float, reset: str | None) -> None:
    headers, body = answer_of(form, meant)
    if reset is not None:
        headers.setdefault("x-ratelimit-reset-after", reset)
    assert wait_of(headers, body) >= timedelta(seconds=meant)


@given(
    st.text(max_size=10),
    st.one_of(st.none(), st.text(max_size=5), st.floats(), st.booleans(), st.lists(st.integers())),
    st.integers(0, 40),
)
def test_any_nonsense_still_gives_a_bounded_wait(header: str, body: object, strikes: int) -> None:
    wait = wait_of({"retry-after": header}, {"retry_after": body}, strikes)
    assert timedelta(0) <= wait <= timedelta(days=366)


@given(st.lists(st.tuples(st.sampled_from(["create", "edit", "delete"]), st.integers(0, 3_000)), max_size=80))
def test_no_two_requests_of_a_channel_break_the_windows(wishes: list[tuple[str, int]]) -> None:
    now, limits, sent = NOW, dict[str, Limit](), list[datetime]()
    for wish, delay in wishes:
        now += timedelta(milliseconds=delay)
        operation = Operation(wish)
        now = earliest(now, limits, CHANNEL, operation, creates_waiting=True)
        assert earliest(now, limits, CHANNEL, operation, creates_waiting=True) == now
        for scope in (webhook_scope(CHANNEL), channel_scope(CHANNEL)):
            limits[scope] = remember(limits.get(scope) or Limit(scope=scope, set_at=now), Sent(at=now, operation=wish))
        sent.append(now)
    for count, seconds in ((5, 2), (30, 60)):
        for first, after in zip(sent, sent[count:], strict=False):
            assert after - first > timedelta(seconds=seconds)


@given(st.integers(1, 7), st.integers(0, 1000))
def test_the_ladder_stays_within_ten_percent_of_its_step(failures: int, dice: int) -> None:
    at = next_try(failures, NOW, dice)
    assert at is not None
    assert LADDER[failures] * 0.9 <= at - NOW <= LADDER[failures] * 1.1
    assert next_try(8, NOW, dice) is None


ROWS = st.lists(
    st.tuples(
        st.sampled_from(["p", "q", "r"]), st.sampled_from(list(Priority)), st.sampled_from([-700, -100, 0, 50]),
        st.sampled_from([State.PENDING, State.AMBIGUOUS]), st.booleans(),
    ),
    max_size=20,
)  # fmt: skip


@given(ROWS, st.randoms(use_true_random=False))
def test_inside_a_position_messages_go_in_booking_order_or_say_that_they_do_not(
    wishes: list[tuple[object, ...]], chance: object
) -> None:
    rows = [
        row(number, group_key=group, priority=priority, next_attempt_at=NOW + timedelta(seconds=int(str(due))), state=state,
            first_failed_at=NOW - timedelta(minutes=11 if is_old else 1) if int(str(due)) > 0 else None)
        for number, (group, priority, due, state, is_old) in enumerate(wishes)
    ]  # fmt: skip
    chance.shuffle(rows)  # type: ignore[attr-defined]
    ready, late = sendable(rows, NOW)
    for group in ("p", "q", "r"):
        mine = [one for one in ready if one.group_key == group]
        assert mine == sorted(mine, key=lambda one: one.order_seq)
        for one in mine:
            earlier = [other for other in rows if other.group_key == group and other.order_seq < one.order_seq]
            unsent = [other for other in earlier if other not in mine]
            assert bool(unsent) == (one.subject_key in late)
            assert all(
                other.first_failed_at is not None and NOW - other.first_failed_at >= timedelta(minutes=10) for other in unsent
            )
    ranks = [
        min(other.priority for other in rows if other.group_key == one.group_key and other.state is State.PENDING)
        for one in ready
    ]
    assert ranks == sorted(ranks)


@given(st.lists(st.tuples(st.integers(0, 5000), st.booleans()), min_size=1, max_size=20))
def test_a_digest_carries_whole_embeds_within_the_limit(sizes: list[tuple[int, bool]]) -> None:
    rows = [row(n, wanted=Embed(title="t", description="d" * size, color=1, timestamp=NOW, fields=(), footer="f"), is_solo=solo)
            for n, (size, solo) in enumerate(sizes)]  # fmt: skip
    batch = digest_batch(rows)
    assert batch == rows[: len(batch)]
    assert 1 <= len(batch) <= 8
    assert len(batch) == 1 or sum(len(one.wanted.description) + 2 for one in batch) <= 5800
    assert len(batch) == 1 or not any(one.is_solo for one in batch)


@given(ROWS, st.dictionaries(st.sampled_from(["global", "webhook:1", "channel:2"]), st.integers(-5, 50)))
def test_a_plan_sends_only_when_every_pause_is_over(wishes: list[tuple[object, ...]], pauses: Mapping[str, int]) -> None:
    rows = tuple(row(n, group_key=w[0], priority=w[1], state=w[3]) for n, w in enumerate(wishes))
    limits = {
        scope: Limit(scope=scope, set_at=NOW, paused_until=NOW + timedelta(seconds=seconds)) for scope, seconds in pauses.items()
    }
    step = plan(NOW, limits, Queue(rows=rows, creates=len(rows)), CHANNEL, Pace(can_look=True))
    if step.kind in (Kind.SEND, Kind.LOOK):
        assert all(seconds <= 0 for seconds in pauses.values())
    if step.kind is Kind.WAIT:
        assert step.until is not None
        assert step.until > NOW
