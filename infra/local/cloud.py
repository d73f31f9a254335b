"""The verb ``run``: starts the desk for a person, plays the demo day, prints where to look, and stops on Ctrl-C.

``run`` keeps the desk up after the demo day; ``run --once`` ends after it, with status 0 only when the day is proven, and one
JSON summary as the last line; ``run --no-demo`` waits for the user's own webhooks on the wall clock.
Settings of the manifest that stand in the caller's environment win over the local ones (INGEST_TOKENS, the webhooks of a
real Discord); FILLBOOK_DATABASE_URL points the desk at another server, FILLBOOK_HOME at another state folder.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from infra.cost import kept
from infra.door.page import PageNotBuilt
from infra.local.console import Console
from infra.local.control import ControlError
from infra.local.desk import LocalCloud
from infra.local.home import ROOT, AlreadyRunning
from infra.local.meter import Meter
from infra.local.plan import DISCORD_WEBHOOKS
from infra.local.postgres import PostgresError
from infra.local.readiness import StartFailed
from infra.local.snapshot_targets import real_d1
from infra.manifest import DATABASE_ENV, LOCAL_ENV, OIDC_ENV, Manifest, load

PAGE = "trade_tracker"
SETTLE_SECONDS = 60
"""How often what the desk uses is added to its day."""
NOT_FROM_OUTSIDE = frozenset({*DATABASE_ENV, *LOCAL_ENV, *OIDC_ENV, "FILLBOOK_ENV", "FILLBOOK_PROJECT"})


def run(argv: list[str]) -> int:
    """Run the desk; the exit status."""
    parser = argparse.ArgumentParser(prog="infra/dev.py run", description="the whole desk on this machine")
    parser.add_argument("--once", action="store_true", help="play the demo day, print one JSON summary, stop")
    parser.add_argument("--no-demo", action="store_true", help="play nothing; wait for your own webhooks on the wall clock")
    parser.add_argument("--port", type=int, help="port of the Trade Tracker page (default: 8080 while it is free)")
    options = parser.parse_args(argv)
    if options.once and options.no_demo:
        parser.error("--once plays the demo day; --no-demo does not")
    console = Console()
    try:
        overrides = from_outside(load(), os.environ)
        if not overrides.keys().isdisjoint(DISCORD_WEBHOOKS) and not options.no_demo:
            parser.error("the demo day runs on a fast clock and would break a real Discord's limits: use --no-demo")
        with _stoppable():
            return _run(options, overrides, console)
    except (AlreadyRunning, PageNotBuilt, StartFailed, PostgresError, OSError) as error:
        console.failure(str(error))
        return 1
    except KeyboardInterrupt:
        return 130


def from_outside(manifest: Manifest, environ: Mapping[str, str]) -> dict[str, str]:
    """The manifest's settings that the caller's environment gives; a real webhook brings the real Discord, a real D1 its API."""
    names = {name for function in manifest.functions.values() for name in function.settings} - NOT_FROM_OUTSIDE
    found = {name: environ[name] for name in sorted(names) if environ.get(name)}
    webhooks = {name: found[name] for name in DISCORD_WEBHOOKS if name in found}
    if webhooks:
        # One webhook is enough to begin with: it takes the other channels' messages too.
        first = webhooks.get("DISCORD_EXECUTIONS_WEBHOOK") or next(iter(webhooks.values()))
        found = {"DISCORD_API_BASE": _real_discord(manifest), **dict.fromkeys(DISCORD_WEBHOOKS, first), **found}
        found.setdefault("DISCORD_READ_TOKEN", "")
    return {**real_d1(found), **found}


def _real_discord(manifest: Manifest) -> str:
    return next(entry.env["DISCORD_API_BASE"] or "" for entry in manifest.functions.values() if "DISCORD_API_BASE" in entry.env)


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM is Ctrl-C; SIGHUP (a closed terminal) too."""

    def stop(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(options: argparse.Namespace, overrides: Mapping[str, str], console: Console) -> int:
    console.title("Fillbook: the desk on this machine")
    cloud = LocalCloud(
        Path(os.environ.get("FILLBOOK_HOME", ROOT / ".fillbook")),
        ports={PAGE: options.port} if options.port else {},
        database_url=os.environ.get("FILLBOOK_DATABASE_URL") or None,
        overrides=overrides,
        tell=console.step,
    )
    status, last_line = 0, ""
    meter: Meter | None = None
    try:
        cloud.start()
        meter = Meter(cloud)
        console.step("ready", "")
        if options.no_demo:
            cloud.clock.realtime()
            if overrides.keys().isdisjoint(DISCORD_WEBHOOKS):  # a real Discord hears nothing of invented accounts
                _link(cloud, console)
        else:
            status, last_line = _demo(cloud, console)
            _settle(cloud, meter)  # the day that was played, before the clock leaves it
            if not options.once:
                cloud.clock.realtime()  # the user's own webhooks come now
        _show(cloud, console)
        if not options.once:
            _wait(cloud, console, meter)
    except KeyboardInterrupt:
        if options.once:
            status = 130
        console.line()
    finally:
        if meter is not None and not options.once:
            _settle(cloud, meter)
        _stop(cloud, console)
    if options.once and last_line:
        console.line(last_line)
    return status


def links(cloud: LocalCloud) -> dict[str, str]:
    """Where to look."""
    place = cloud.place
    found = {"Trade Tracker": place.urls[PAGE]} if PAGE in place.urls else {}
    found |= {"Discord inbox": place.discord_url + "/"}
    if "signal_ingest" in place.urls:
        found |= {"webhook": f"{place.urls['signal_ingest']}/timed/ingest/{cloud.secrets['ingest_token']}"}
    if "snapshot_api" in place.urls:
        found |= {"published day": f"{place.urls['snapshot_api']}/v1/trades/latest", "metrics key": cloud.secrets["metrics_key"]}
    return found | {"desk key": cloud.secrets["desk_key"], "control panel": place.control_url + "/_control"}


def _demo(cloud: LocalCloud, console: Console) -> tuple[int, str]:
    from infra.local import demo  # the calendar and the generators, which --no-demo never needs

    desk, environment = demo.desk_of(cloud)
    summary = demo.play_day(desk, environment, out=sys.stdout)
    console.line(demo.told(summary, {}))
    return (0 if summary.is_proven else 1), json.dumps(summary.document())


def _link(cloud: LocalCloud, console: Console) -> None:
    """The demo fleet of MT5 accounts, which the schedule reads from now on."""
    from infra.local import mt5_desk

    if mt5_desk.has_fleet(cloud.operator_environment):
        now = datetime.now(UTC)
        count = mt5_desk.link_fleet(cloud.operator_environment, now=now, since=now.date())
        console.step("mt5", f"{count} demo accounts linked")


def _show(cloud: LocalCloud, console: Console) -> None:
    console.line()
    console.links(links(cloud))
    if "account_sync" in cloud.functions:
        from infra.local import mt5_desk

        console.line("\nSync all MT5 accounts now:")
        console.line(mt5_desk.curl(cloud.operator_environment))


def _wait(cloud: LocalCloud, console: Console, meter: Meter) -> None:
    console.line("\nRunning. Ctrl-C stops everything; the data stays.")
    while cloud.keeper is not None:
        time.sleep(SETTLE_SECONDS)
        _settle(cloud, meter)


def _settle(cloud: LocalCloud, meter: Meter) -> None:
    """Bring the day's counts up to date; a desk goes on without."""
    with contextlib.suppress(OSError):
        kept.settle(cloud, meter)


def _stop(cloud: LocalCloud, console: Console) -> None:
    """Stop whatever was started; a second Ctrl-C changes nothing, since stopping is bounded."""
    if not cloud.is_started:
        return
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    console.line("Stopping …")
    pushed = _pushed(cloud)
    console.processes(cloud.stop(), pushed)


def _pushed(cloud: LocalCloud) -> dict[str, int]:
    """Pushes by function, as far as the message process still knows."""
    found: dict[str, int] = {}
    with contextlib.suppress(ControlError, RuntimeError):
        figures = cloud.control.pubsub()["subscriptions"]
        for one in cloud.manifest.subscriptions:
            found[one.function] = found.get(one.function, 0) + int(figures[one.name]["pushed"])
    return found
