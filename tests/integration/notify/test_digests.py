"""Digests: more than ten waiting become posts of up to eight whole embeds, until at most three remain (scenarios 24, 25)."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

from tests.support.notify_desk import NotifyDesk, action_id, executed


def many(count: int, *, first: int = 0) -> list[bytes]:
    """Executions of as many positions."""
    return [executed(f"n{number}", position=f"n{number}") for number in range(first, first + count)]


def sizes(desk: NotifyDesk) -> list[int]:
    return [len(post["embeds"]) for post in desk.posts()]


def test_24_ten_waiting_go_one_by_one_and_eleven_as_a_digest_until_three_remain(desk: NotifyDesk) -> None:
    desk.push(*many(10))
    desk.drain(allowance=60)
    assert sizes(desk) == [1] * 10
    desk.clock.step(120)
    desk.push(*many(11, first=10))
    desk.drain(allowance=60)
    assert sizes(desk)[10:] == [8, 1, 1, 1]
    assert desk.rows("select digest from notify.channels where channel_id = 'executions'") == [{"digest": False}]
    assert desk.discord.violations == 0


def test_24_each_action_of_a_digest_is_found_by_its_footer_and_posts_are_two_seconds_apart(desk: NotifyDesk) -> None:
    desk.push(*many(40))
    desk.drain(allowance=120)
    posts = {post["id"]: post for post in desk.posts()}
    rows = desk.rows("select action_id, message_id, embed_index from notify.messages")
    assert len({(row["message_id"], row["embed_index"]) for row in rows}) == 40
    for row in rows:
        embed = posts[row["message_id"]]["embeds"][row["embed_index"]]
        assert embed["footer"]["text"].startswith(f"action_id {row['action_id']} · ")
    assert max(sizes(desk)) == 8
    at = [datetime.fromisoformat(one["at"]) for one in desk.requests("create")]
    assert all(after - before >= timedelta(seconds=2) for before, after in pairwise(at))


def test_25_a_correction_inside_a_digest_is_one_patch_and_the_others_stay_as_they_were(desk: NotifyDesk) -> None:
    desk.push(*many(11))
    desk.drain(allowance=60)
    digest = next(post for post in desk.posts() if len(post["embeds"]) == 8)
    before = [dict(embed) for embed in digest["embeds"]]
    place = desk.message("n5")["embed_index"]
    assert desk.message("n5")["message_id"] == digest["id"]
    desk.clock.step(60)
    corrected = executed("n5", position="n5", event="execution_corrected", version=2, price="99.5", cause="revision",
                         changed=["price"], before={"price": "130"})  # fmt: skip
    desk.tell(corrected, allowance=10)
    (patch,) = desk.requests("edit")
    assert len(patch["body"]["embeds"]) == 8
    assert patch["body"]["allowed_mentions"] == {"parse": []}
    after: list[dict[str, Any]] = next(post for post in desk.posts() if post["id"] == digest["id"])["embeds"]
    assert [embed for index, embed in enumerate(after) if index != place] == [
        embed for index, embed in enumerate(before) if index != place
    ]
    assert after[place]["title"] == "Entered AMD LONG (corrected)"
    assert after[place]["footer"]["text"].startswith(f"action_id {action_id('n5')} · ")
    assert after[place]["footer"]["text"].endswith("v2")
    assert desk.states() == {"posted": 11}


def test_25_two_corrections_of_one_digest_are_told_by_one_patch(desk: NotifyDesk) -> None:
    desk.push(*many(11))
    desk.drain(allowance=60)
    together = [row["subject_key"] for row in desk.rows(
        "select subject_key from notify.messages where message_id in (select message_id from notify.messages "
        "group by message_id having count(*) = 8) order by order_seq limit 2"
    )]  # fmt: skip
    names = [f"n{number}" for number in range(11) if f"live/{action_id(f'n{number}')}" in together]
    desk.clock.step(60)
    desk.push(
        *(executed(name, position=name, event="execution_corrected", version=2, price="99", cause="revision") for name in names)
    )
    desk.drain(allowance=10)
    assert len(desk.requests("edit")) == 1
    assert [desk.message(name)["posted_version"] for name in names] == [2, 2]
