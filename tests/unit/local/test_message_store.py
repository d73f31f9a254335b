"""The message store's end: what it was told before it was closed is on disk, also when the disk is slow."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

from infra.local.message_store import MessageStore, Row


def test_a_commit_that_has_not_begun_when_the_store_is_closed_is_made_all_the_same(tmp_path: Path) -> None:
    async def write() -> None:
        store = MessageStore(tmp_path / "pubsub.sqlite")
        await store.open()
        number = store.new_id()
        row = Row(id=number, subscription="s", ordering_key="", published_at=0.0, failures=0, body=b"{}")
        await store.add([row])
        disk_answers = threading.Event()
        store._thread.submit(disk_answers.wait)  # what is handed over now waits
        store.failed(number, 1)
        store._wake.set()
        for _ in range(3):
            await asyncio.sleep(0)  # the writer takes the batch
        assert store._batch is None
        asyncio.get_running_loop().call_later(0.05, disk_answers.set)
        await store.close()

    async def read() -> list[int]:
        store = MessageStore(tmp_path / "pubsub.sqlite")
        await store.open()
        found = [row.failures for row in await store.load()]
        await store.close()
        return found

    asyncio.run(write())
    assert asyncio.run(read()) == [1]
