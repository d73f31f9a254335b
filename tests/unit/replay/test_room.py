"""The room holds no decision rule of its own: it calls those of signal, and names none of them."""

from __future__ import annotations

import re
import subprocess
import sys
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


def test_without_the_lanes_of_signal_the_room_does_not_even_start() -> None:
    gone = "import sys; sys.modules['fillbook.signal.lanes'] = None; import fillbook.replay.walk"
    ended = subprocess.run([sys.executable, "-c", gone], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "import of fillbook.signal.lanes halted" in ended.stderr
