"""The room holds no decision rule of its own: it calls those of signal, and names none of them."""

from __future__ import annotations

import re
from importlib.resources import files

from fillbook.signal.rules import RULES


def test_no_rule_is_named_in_the_room_and_no_comparison_with_one_is_made() -> None:
    named = re.compile(rf"['\"]({'|'.join(map(re.escape, RULES))})['\"]")
    for entry in files("fillbook.replay").iterdir():
        if entry.name.endswith((".py", ".sql")):
            found = named.search(entry.read_text("utf-8"))
            assert found is None, (entry.name, found)


def test_the_room_cannot_tell_anybody_anything() -> None:
    for entry in files("fillbook.replay").iterdir():
        if entry.name.endswith(".py"):
            text = entry.read_text("utf-8")
            assert not re.search(r"fillbook\.(notify|outbox\.relay|runtime\.pubsub)", text), entry.name
