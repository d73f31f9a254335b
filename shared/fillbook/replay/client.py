"""The client's loop: plan, walk bucket by bucket, or start a job and wait; the same ending in the same words.

It speaks to the function alone and keeps no state: where a run stands is the run's business, so that a loop that was killed
goes on with ``--resume`` and ends with the same hash. What is asked again: 503 and lost connections, five times after 1 to 16
seconds; ``run_busy`` after as long as the answer says. Every other refusal ends the run. Source: replay.md 10.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Final, Protocol

from fillbook.replay.showing import Standing, bar, end_line, gap_lines
from fillbook.runtime.errors import Conflict, Unavailable
from fillbook.values import frozen

TRIES_MAX: Final = 5
BUSY_TRIES_MAX: Final = 30
BUSY_SECONDS_MAX: Final = 90
LIMIT: Final = 2_000
POLL_SECONDS: Final = 1
INGEST: Final = "/timed/admin/replay-ingest"
RUNS: Final = "/timed/admin/replay-runs"
COMPARE: Final = "/timed/admin/replay-compare"
_IN_VAIN: Final = ("failed", "cancelled")
_ENDED: Final = ("done", "paused", *_IN_VAIN)

Document = Mapping[str, Any]


class Busy(Conflict):
    """Another writer holds the run; ``retry_after_seconds`` as the answer said."""

    def __init__(self, retry_after_seconds: int) -> None:
        super().__init__("run_busy", "another writer holds the run")
        self.retry_after_seconds = retry_after_seconds


class Server(Protocol):
    """The function. Raises ``Busy``, ``Unavailable`` (503, lost connection), ``Rejected`` and ``Conflict`` with its slug."""

    def get(self, path: str, **parameters: str) -> Document:
        """Ask."""
        ...

    def post(self, path: str, document: Document) -> Document:
        """Tell."""
        ...


class Screen(Protocol):
    """Where lines go; ``redraw`` replaces the last one where that is possible and else prints it."""

    def line(self, text: str) -> None:
        """Print a line that stays."""
        ...

    def redraw(self, text: str) -> None:
        """Show how far it is."""
        ...


class Time(Protocol):
    """Real time."""

    def monotonic(self) -> float:
        """Seconds that only grow."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


@frozen
class Wish:
    """What is to be run. ``scope`` are parameters of the route under their wire names, those alone that were given."""

    scope: Mapping[str, str]
    bucket: int | None = None
    clean_slate: bool = False
    resume: bool = False
    delay_seconds: float = 0
    limit: int | None = None
    target: Mapping[str, str] | None = None


@frozen
class Ended:
    """What a run came to."""

    run_id: str
    rows: int
    created: int
    purged: int
    seconds: float
    result_hash: str | None

    @property
    def line(self) -> str:
        """The one line at the end."""
        rate = round(self.rows / self.seconds) if self.seconds > 0 else 0
        return end_line(self.rows, self.created, self.purged, round(self.seconds), rate, self.result_hash, self.run_id)


class Client:
    """One person's session with the function."""

    def __init__(self, server: Server, screen: Screen, time: Time) -> None:
        self._server = server
        self._screen = screen
        self._time = time

    def plan(self, wish: Wish) -> Document:
        """What would be run, with the gap report; nothing is written."""
        asked: dict[str, Any] = {**wish.scope, "dryRun": 1}
        if wish.clean_slate:
            asked["cleanSlate"] = 1
        if wish.bucket is not None:
            asked["bucket"] = wish.bucket
        if wish.target is not None:
            asked["target"] = wish.target["target"]
        return self._patiently(lambda: self._server.post(INGEST, asked))

    def show_plan(self, plan: Document) -> None:
        """The gap report of a plan, where it has one, and what a clean slate would remove."""
        for line in gap_lines(plan["gaps"]) if "gaps" in plan else ():
            self._screen.line(line)
        purge = plan.get("purge")
        if purge:
            self._screen.line("a clean slate removes " + ", ".join(f"{count:,} {name}" for name, count in purge.items()))

    def walk(self, wish: Wish, plan: Document) -> Ended:
        """Run bucket by bucket and say how far it is after each."""
        begun = self._time.monotonic()
        rows_of = {one["bucket"]: one["rows"] for one in plan["buckets"]}
        rows = created = purged = 0
        answer: Document = {}
        for answer in self._answers(wish, next(iter(rows_of), None)):
            rows += answer["rowsProcessed"]
            created += answer["tradesCreated"]
            purged += answer["tradesPurged"]
            if not answer["hasMoreInBucket"]:
                rows_of = {bucket: count for bucket, count in rows_of.items() if bucket > (answer["bucketProcessed"] or 0)}
                seconds = self._time.monotonic() - begun
                self._screen.redraw(bar(_standing(answer, rows, created, seconds, sum(rows_of.values()))))
        return Ended(
            run_id=answer["runId"],
            rows=rows,
            created=created,
            purged=purged,
            seconds=self._time.monotonic() - begun,
            result_hash=answer["resultHash"],
        )

    def job(self, wish: Wish) -> Ended:
        """Have a task of the function's job run the day, and look how far it is; a day that goes on ends paused."""
        begun = self._time.monotonic()
        asked: dict[str, Any] = {**wish.scope, **({"cleanSlate": 1} if wish.clean_slate else {})}
        run_id = str(self._patiently(lambda: self._server.post(RUNS, asked))["runs"][0])
        while True:
            run = self._patiently(lambda: self._server.get(f"{RUNS}/{run_id}"))
            seconds = self._time.monotonic() - begun
            self._screen.redraw(bar(_standing_of_run(run, seconds)))
            if run["status"] in _ENDED:
                break
            self._time.sleep(POLL_SECONDS)
        if run["status"] in _IN_VAIN:
            raise Conflict(str(run.get("error") or run["status"]), f"run {run_id}")
        return Ended(
            run_id=run_id,
            rows=run["rows"],
            created=run["tradesCreated"],
            purged=run["tradesPurged"],
            seconds=seconds,
            result_hash=run["resultHash"],
        )

    def catch_up(self, wish: Wish) -> Ended:
        """Have live decide what it missed; ``wish.target`` holds the typed text and the plan's token."""
        begun = self._time.monotonic()
        while True:
            answer = self._patiently(partial(self._server.post, INGEST, {**wish.scope, **(wish.target or {})}))
            self._screen.redraw(bar(_standing(answer, answer["rowsProcessed"], answer["tradesCreated"], 0, 0)))
            if not answer["hasMore"]:
                break
        run = self._patiently(lambda: self._server.get(f"{RUNS}/{answer['runId']}"))
        return Ended(
            run_id=answer["runId"],
            rows=run["rows"],
            created=run["tradesCreated"],
            purged=0,
            seconds=self._time.monotonic() - begun,
            result_hash=answer["resultHash"],
        )

    def compare(self, a: str, b: str, date: str | None) -> tuple[Document, list[Document]]:
        """Compare two runs; the result and the differences of its first page."""
        asked = {"a": a, "b": b} | ({} if date is None else {"date": date})
        found = self._patiently(lambda: self._server.post(COMPARE, asked))
        if found["identical"]:
            return found, []
        run = found["a"] if found["a"] != "live" else found["b"]
        page = self._patiently(lambda: self._server.get(f"{RUNS}/{run}/divergences"))
        return found, list(page["divergences"])

    def pin(self, run: str, *, pinned: bool) -> str:
        """Keep a run whatever its age, or no longer; returns its id."""
        word = "pin" if pinned else "unpin"
        return str(self._patiently(lambda: self._server.post(f"{RUNS}/{run}/{word}", {}))["runId"])

    def _answers(self, wish: Wish, first: int | None) -> Iterator[Document]:
        """The calls of a run, one after the other; where it stands comes from the answers alone."""
        scope: dict[str, Any] = {**wish.scope, "limit": wish.limit or LIMIT, "after": ""}
        bucket = wish.bucket if wish.bucket is not None else None if wish.resume else first
        once = {"cleanSlate": 1} if wish.clean_slate and not wish.resume else {}
        while True:
            asked = {**scope, **once} if bucket is None else {**scope, **once, "bucket": bucket}
            answer = self._patiently(partial(self._server.post, INGEST, asked))
            yield answer
            once = {}
            if answer["hasMoreInBucket"]:
                bucket, scope["after"] = answer["bucketProcessed"], answer["after"]
            elif answer["nextBucket"] is None or wish.bucket is not None:
                return
            else:
                bucket, scope["after"] = answer["nextBucket"], ""
            if wish.delay_seconds:
                self._time.sleep(wish.delay_seconds)

    def _patiently(self, ask: Callable[[], Document]) -> Document:
        """Ask again where asking again helps."""
        tries = busy = 0
        while True:
            try:
                return ask()
            except Busy as error:
                busy += 1
                if busy == BUSY_TRIES_MAX:
                    raise
                self._screen.line(f"another writer holds the run, again in {error.retry_after_seconds} s")
                self._time.sleep(min(error.retry_after_seconds, BUSY_SECONDS_MAX))
            except Unavailable as error:
                if tries == TRIES_MAX:
                    raise
                self._screen.line(f"{error.reason}, again in {2**tries} s")
                self._time.sleep(2**tries)
                tries += 1


def _standing(answer: Document, rows: int, trades: int, seconds: float, rows_left: int) -> Standing:
    rate = rows / seconds if seconds > 0 else 0
    return Standing(
        done=answer["bucketsDone"],
        total=answer["bucketsTotal"],
        bucket=answer["bucketProcessed"],
        rows=rows,
        trades=trades,
        rate=round(rate),
        left_seconds=round(rows_left / rate) if rate else None,
    )


def _standing_of_run(run: Document, seconds: float) -> Standing:
    done, total = run["bucketsDone"], run["bucketsTotal"]
    return Standing(
        done=done,
        total=total,
        bucket=run["bucket"],
        rows=run["rows"],
        trades=run["tradesCreated"],
        rate=round(run["rows"] / seconds) if seconds > 0 else 0,
        left_seconds=round(seconds * (total - done) / done) if done else None,
    )
