"""The message and schedule process of the local cloud: Pub/Sub, Scheduler, jobs, identity tokens, the desk clock on one port.

``python -m infra.local.server --home DIR --wiring FILE --port N``. State lives under ``DIR`` (``pubsub.sqlite``, ``keys/``,
``clock.json``). SIGTERM and SIGINT end it in order: no new delivery, a short grace for those in flight, a last commit. It may
be killed at any moment instead: what it acknowledged is on disk.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path

from aiohttp import web

from infra.local.cloud_api import CloudApi
from infra.local.deskclock import DeskClockFile
from infra.local.jobs import Jobs
from infra.local.message_store import MessageStore
from infra.local.pubsub import PubSub
from infra.local.push import Pusher
from infra.local.scheduler import Scheduler
from infra.local.tokens import Tokens
from infra.local.wiring import Wiring, read

STOP_GRACE_SECONDS = 2.0
BACKLOG = 512


async def serve(home: Path, wiring: Wiring, port: int, stop: asyncio.Event) -> None:
    """Serve until ``stop`` is set."""
    clock = DeskClockFile(home / "clock.json")
    tokens = Tokens(home / "keys")
    store, pusher = MessageStore(home / "pubsub.sqlite"), Pusher()
    await store.open()
    pubsub = PubSub(wiring, store, pusher, tokens, clock)
    scheduler = Scheduler(
        wiring.jobs, store=store, pusher=pusher, tokens=tokens, clock=clock, floor_seconds=wiring.retry_floor_seconds
    )
    jobs = Jobs(wiring.cloud_jobs, tokens)
    runner = web.AppRunner(CloudApi(pubsub, scheduler, jobs, tokens, clock).app(), access_log=None, shutdown_timeout=1)
    await runner.setup()
    # whoever reaches the port must find every subscription and job: both are there before it listens
    await pubsub.start()
    await scheduler.start()
    await web.TCPSite(runner, "127.0.0.1", port, backlog=BACKLOG).start()
    print(f"local cloud on 127.0.0.1:{port}", flush=True)
    await stop.wait()
    await asyncio.gather(pubsub.stop(STOP_GRACE_SECONDS), scheduler.stop(STOP_GRACE_SECONDS), jobs.stop())
    await runner.cleanup()
    await store.close()
    await pusher.close()


async def _main(arguments: argparse.Namespace) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    await serve(arguments.home, read(arguments.wiring), arguments.port, stop)


def main(argv: list[str] | None = None) -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="infra.local.server", description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--wiring", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    logging.basicConfig(stream=sys.stdout, level=logging.WARNING, format="%(levelname)s %(name)s %(message)s")
    asyncio.run(_main(parser.parse_args(argv)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
