"""The operator verbs of room replay: run a stored day again, and see where two runs part. They speak HTTP to ``replay_worker``.

python3 infra/dev.py op replay run [--date DATE] [--ticker TICKER] [--bucket MS] [--clean-slate] [--delay-ms MS] [--limit N]
                                   [--run NAME] [--profile PROFILE] [--session regular|all] [--script-version V|*]
                                   [--job] [--resume] [--dry-run] [--compare PROFILE] [--target live] [--url URL]
                                   run a day (today in New York, else the last session) bucket by bucket, in a book of its own
                                   --compare PROFILE: run it under that profile too and say where the two part
python3 infra/dev.py op replay compare A B [--date DATE] [--json] [--url URL]
                                   A and B are run ids or names, or live; the first difference of each ticker, with its cause
python3 infra/dev.py op replay pin|unpin RUN [--url URL]
                                   keep a run and its book: it makes no room for others and cannot be deleted; unpin ends that

Settings: REPLAY_WORKER_URL (or --url) and FILLBOOK_DESK_KEY, a desk key with scope admin; the running local desk brings its own.
DATE, TICKER, BUCKET, CLEAN_SLATE and DELAY_MS stand for the options of these names.
Exit: 0 done, 1 failed, 2 usage, 3 a comparison found a difference, 130 interrupted (the line to go on with is printed).
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, Final, TextIO

from fillbook.calendar import calendar
from fillbook.replay.client import Client, Ended, Wish
from fillbook.replay.function_calls import ReplayClientConfig, ReplayFunction
from fillbook.replay.showing import comparison_lines
from fillbook.runtime import clock, logs
from fillbook.runtime.config import ConfigError
from fillbook.runtime.errors import FillbookError
from fillbook.runtime.verbs import USAGE, said

DONE, FAILED, DIFFERENT, INTERRUPTED = 0, 1, 3, 130
_SCOPE: Final = {
    "date": "date",
    "ticker": "ticker",
    "run": "run",
    "profile": "profile",
    "session": "session",
    "script_version": "scriptVersion",
}


class Terminal:
    """Lines on a stream; on a terminal the last one is drawn anew."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._drawn = 0

    def line(self, text: str) -> None:
        """Print a line that stays, below what was drawn."""
        self._stream.write(("\n" if self._drawn else "") + text + "\n")
        self._stream.flush()
        self._drawn = 0

    def redraw(self, text: str) -> None:
        """Replace what was drawn last; a stream that is no terminal gets a line each time."""
        if not self._stream.isatty():
            self.line(text)
            return
        self._stream.write("\r" + text + " " * max(0, self._drawn - len(text)))
        self._stream.flush()
        self._drawn = len(text)


Verb = Callable[[Client, argparse.Namespace, Terminal], int]


@logs.quiet()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    try:
        config = ReplayClientConfig.from_environment()
    except ConfigError as error:
        return said(f"not configured: {error}", USAGE)
    asked = _parser(config).parse_args(arguments)
    screen = Terminal(sys.stdout)
    url = asked.url or config.replay_worker_url
    if url is None or config.fillbook_desk_key is None:
        return said("not configured: REPLAY_WORKER_URL (or --url) and FILLBOOK_DESK_KEY are needed", USAGE)
    verb: Verb = asked.verb
    try:
        return verb(Client(ReplayFunction(url, config.fillbook_desk_key), screen, clock), asked, screen)
    except KeyboardInterrupt:
        if asked.verb is _run:
            screen.line(f"interrupted; go on with: {resume_line(asked)}")
        return INTERRUPTED
    except FillbookError as error:
        screen.line(f"{error.reason}" + (f": {error.detail}" if error.detail else ""))
        return FAILED


# --- verbs ------------------------------------------------------------------------------------------------------------


def _run(client: Client, asked: argparse.Namespace, screen: Terminal) -> int:
    plan = _planned(client, asked, screen)
    wish = _wish(asked)
    client.show_plan(plan)
    if asked.dry_run:
        seconds = f", about {plan['seconds']} s" if "seconds" in plan else ""
        screen.line(f"{plan['rows']:,} rows in {len(plan['buckets'])} buckets{seconds}; nothing was written")
        return DONE
    if asked.target == "live":
        confirmed = _confirmed(plan)
        if confirmed is None:
            return USAGE
        screen.line(client.catch_up(_wish(asked, target=confirmed)).line)
        return DONE
    ended = _ended(client, wish, plan, asked, screen)
    if asked.compare is None:
        return DONE
    screen.line(f"again under {asked.compare}")
    other = _wish(asked, profile=asked.compare)
    second = _ended(client, other, client.plan(other), asked, screen)
    return _compared(client, ended.run_id, second.run_id, None, screen)


def _planned(client: Client, asked: argparse.Namespace, screen: Terminal) -> Any:
    """The plan. Where no day was named and today is no session, or nothing of it is stored yet, the last session is meant."""
    if asked.date is not None:
        return client.plan(_wish(asked))
    said = "nothing is stored of today; the last session"
    try:
        plan = client.plan(_wish(asked))
        if plan["rows"] or asked.target == "live":
            return plan
    except FillbookError as error:
        if error.reason != "no_session":
            raise
        said = "today is no session; the last one"
    asked.date = calendar().last_finished(clock.SystemClock().now()).date.isoformat()
    screen.line(f"{said} was {asked.date}")
    return client.plan(_wish(asked))


def _ended(client: Client, wish: Wish, plan: Any, asked: argparse.Namespace, screen: Terminal) -> Ended:
    ended = client.job(wish) if asked.job else client.walk(wish, plan)
    screen.line(ended.line)
    return ended


def _compare(client: Client, asked: argparse.Namespace, screen: Terminal) -> int:
    if asked.json:
        found, divergences = client.compare(asked.a, asked.b, asked.date)
        print(json.dumps({**found, "divergences": divergences}, indent=2))
        return DONE if found["identical"] else DIFFERENT
    return _compared(client, asked.a, asked.b, asked.date, screen)


def _pin(client: Client, asked: argparse.Namespace, screen: Terminal) -> int:
    run_id = client.pin(asked.run, pinned=asked.pinned)
    screen.line(f"run {run_id} is kept" if asked.pinned else f"run {run_id} goes with its age again")
    return DONE


def _compared(client: Client, a: str, b: str, day: str | None, screen: Terminal) -> int:
    found, divergences = client.compare(a, b, day)
    for line in comparison_lines(found, divergences):
        screen.line(line)
    return DONE if found["identical"] else DIFFERENT


def _confirmed(plan: Any) -> dict[str, str] | None:
    """What the target live asks for: the text, typed by a person on a terminal; ``None`` without one."""
    if not sys.stdin.isatty():
        print("the target live is confirmed on a terminal", file=sys.stderr)
        return None
    print(f"{plan['rows']:,} rows that live did not decide; type  {plan['confirm']}  to have it decide them")
    return {"target": "live", "confirm": sys.stdin.readline().rstrip("\n"), "plan": plan["planToken"]}


def resume_line(asked: argparse.Namespace) -> str:
    """The command that goes on where a run stands; a clean slate was made already."""
    words = ["python3", "infra/dev.py", "op", "replay", "run"]
    for name in (*_SCOPE, "bucket", "delay_ms", "limit", "compare", "url"):
        value = getattr(asked, name)
        if value not in (None, 0):
            words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join([*words, *(["--job"] if asked.job else []), "--resume"])


def _wish(asked: argparse.Namespace, *, profile: str | None = None, target: dict[str, str] | None = None) -> Wish:
    """The options as parameters; another profile is another run, whose own name would be the first one's."""
    scope = {wire: getattr(asked, name) for name, wire in _SCOPE.items() if getattr(asked, name) is not None}
    if profile is not None:
        scope["profile"] = profile
        if "run" in scope:
            scope["run"] = f"{scope['run'][:33]}-other"
    return Wish(
        scope=scope,
        bucket=asked.bucket,
        clean_slate=asked.clean_slate,
        resume=asked.resume,
        delay_seconds=asked.delay_ms / 1000,
        limit=asked.limit,
        target=target if target is not None else {"target": "live"} if asked.target == "live" else None,
    )


# --- arguments --------------------------------------------------------------------------------------------------------


def _parser(config: ReplayClientConfig) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="op replay", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    run = verbs.add_parser("run", help="run a stored day again")
    run.set_defaults(verb=_run)
    run.add_argument("--date", type=_day, default=config.date, help="session date (today in New York, else the last session)")
    run.add_argument("--ticker", default=config.ticker, help="one ticker (all)")
    run.add_argument("--bucket", type=int, default=config.bucket, metavar="MS", help="this bucket alone, its start in ms")
    run.add_argument("--clean-slate", action="store_true", default=config.clean_slate, help="remove what the run has of it first")
    run.add_argument("--delay-ms", type=_whole, default=config.delay_ms, metavar="MS", help="wait between two calls")
    run.add_argument("--limit", type=_whole, metavar="N", help="rows a call, at most 2,000")
    run.add_argument("--run", metavar="NAME", help="a name or id of the run (derived from its scope)")
    run.add_argument("--profile", help="strategy profile (tt-2026-02)")
    run.add_argument("--session", choices=("regular", "all"), help="which hours (regular)")
    run.add_argument("--script-version", metavar="V", help="of the sender, * for any (2.5.0)")
    run.add_argument("--job", action="store_true", help="let the function's job do it")
    run.add_argument("--resume", action="store_true", help="go on where the run stands")
    run.add_argument("--dry-run", action="store_true", help="show the plan; nothing is written")
    run.add_argument("--compare", metavar="PROFILE", help="run it under this profile too, and compare")
    run.add_argument("--target", choices=("run", "live"), default="run", help="live: decide what live missed in an outage")
    run.add_argument("--url", help="address of replay_worker")
    compare = verbs.add_parser("compare", help="say where two runs part")
    compare.set_defaults(verb=_compare)
    compare.add_argument("a")
    compare.add_argument("b")
    compare.add_argument("--date", type=_day, help="one session date of them")
    compare.add_argument("--json", action="store_true", help="the documents themselves")
    compare.add_argument("--url", help="address of replay_worker")
    for word, pinned, told in (("pin", True, "keep a run and its book"), ("unpin", False, "let a run go with its age again")):
        pin = verbs.add_parser(word, help=told)
        pin.set_defaults(verb=_pin, pinned=pinned)
        pin.add_argument("run", metavar="RUN", help="its id or name")
        pin.add_argument("--url", help="address of replay_worker")
    return parser


def _day(text: str) -> str:
    return date.fromisoformat(text).isoformat()


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(text)
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
