"""What a call of account_sync may ask for, read strictly; cursors come back as they went."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fillbook.mt5 import asked
from fillbook.mt5.asked import Asked, Cursor, Task
from fillbook.mt5.words import SyncType
from fillbook.runtime.errors import Rejected

ACCOUNT = "2f1d1f5e-6d0c-5d53-9a3d-0c8f4d6f1a11"


def read(**document: Any) -> Asked:
    return asked.read(json.dumps(document).encode())


def test_an_empty_body_asks_for_everything_by_hand_and_waits() -> None:
    assert asked.read(b"") == asked.read(b"{}") == Asked()
    assert (Asked().sync_type, Asked().wait, Asked().force) == (SyncType.MANUAL, True, False)


def test_every_key_is_read() -> None:
    assert read(account_id=ACCOUNT.upper(), wait=False, force=True) == Asked(account_id=ACCOUNT, wait=False, force=True)
    assert read(sync_type="scheduled").sync_type is SyncType.SCHEDULED
    assert read(task="maintenance").task is Task.MAINTENANCE
    assert read(account_id=None, cursor=None, sync_type=None) == Asked()


@given(run=st.uuids(), shard_no=st.integers(0, 2**31 - 1), continuation=st.integers(0, 1000))
def test_a_cursor_comes_back_as_it_went(run: Any, shard_no: int, continuation: int) -> None:
    cursor = Cursor(run_id=str(run), shard_no=shard_no, continuation=continuation)
    assert read(cursor=asked.cursor_text(cursor)).cursor == cursor


@given(text=st.text(max_size=40))
def test_any_other_text_is_no_cursor(text: str) -> None:
    with pytest.raises(Rejected, match="value_invalid"):
        read(cursor=text)


@pytest.mark.parametrize(
    "document",
    [
        {"account_id": ACCOUNT, "cursor": asked.cursor_text(Cursor(run_id=ACCOUNT, shard_no=0, continuation=0))},
        {"account_id": ACCOUNT, "sync_type": "scheduled"},
        {"task": "maintenance", "force": True},
    ],
)
def test_keys_that_contradict_each_other_are_refused(document: dict[str, Any]) -> None:
    with pytest.raises(Rejected, match="keys_contradict"):
        read(**document)


@pytest.mark.parametrize("value", ["", "x", 1, True, [], {}, f"{ACCOUNT}0", f"{{{ACCOUNT}}}"])
def test_an_account_is_named_by_its_whole_id_or_not_at_all(value: Any) -> None:
    with pytest.raises(Rejected, match="value_invalid"):
        read(account_id=value)
