"""Check 28: what somebody else wrote is text wherever it comes: in a question, a message, an answer, a file, an address."""

from __future__ import annotations

import re
from itertools import cycle
from urllib.parse import urlencode

from fillbook.snapshot import filters
from tests.conftest import OpenDatabase
from tests.integration.reliability.conftest import Query
from tests.support.every_function import Desk, doors, right_headers
from tests.support.notify_desk import executed, open_desk

SQL = ("' or '1'='1", "1; drop table ledger.fills; --", "x') union select usename from pg_user --", "$$; select pg_sleep(9); $$")
WORDS = "<img src=x onerror=alert(1)> @everyone **loud** [here](http://169.254.169.254/latest) `code` ||spoiler||"
ALIVE = re.compile(r"(?<!\\)(?:\\\\)*[*`|<@\[\]]|://")


def test_check_28_sql_in_any_filter_or_cursor_of_published_days_is_a_word_that_nothing_is_called(
    every: Desk, query: Query
) -> None:
    tables = query("select count(*) as n from pg_catalog.pg_tables")
    asked = [(door, name) for door in doors("metrics_key") for name in sorted(filters.ROUTES[door.route.path].known)]
    for (door, name), text in zip(asked, cycle(SQL), strict=False):  # what other readers may ask is asked in check 25
        answer = every.call(door, headers=right_headers(door), query_string=urlencode({name: text}))
        assert answer.status_code in (200, 400, 404), (str(door), name, answer.get_data()[:200])
        assert b"usename" not in answer.get_data()
        assert b"syntax" not in answer.get_data()
    assert query("select count(*) as n from pg_catalog.pg_tables") == tables


def test_check_28_words_of_a_fill_are_told_to_discord_as_letters_and_call_nobody(
    open_database: OpenDatabase,
) -> None:
    with open_desk(open_database("discord_notifier"), open_database()) as desk:
        desk.tell(executed(ticker="**X**", reason=WORDS))
        (message,), requests = desk.posts(), desk.requests("create")
    (embed,) = message["embeds"]
    texts = [embed["title"], embed.get("description", ""), *(part["value"] for part in embed["fields"])]
    assert any("onerror" in text for text in texts), "told, not swallowed"
    assert all(not ALIVE.search(text) for text in texts)
    assert message.get("content", "") == ""
    assert [one["body"]["allowed_mentions"] for one in requests] == [{"parse": []}]
