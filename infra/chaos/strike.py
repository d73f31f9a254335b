"""Carries out faults: what is put on before a moment's work, what strikes in its middle, what comes after it.

Each family has one function; it returns whether something was struck at once. What only waits for a request to strike (rules of
the stand-ins) is counted when it is taken off again (``heal.py``).
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from pydantic import SecretStr

from fillbook.runtime.sql import encode
from fillbook.snapshot.filters import INTERNAL
from fillbook.snapshot.receiver import signature
from infra.chaos.bars import HOSTILE, DayOfBars, Sender
from infra.chaos.days import Moment, moments
from infra.chaos.gateway import Corrected
from infra.chaos.plan import Fault
from infra.chaos.stage import Stage, asked
from infra.local import plan
from infra.local.control import ControlError
from infra.local.database import DATABASE
from infra.local.desk import POSTGRES, PUBSUB
from infra.local.fakes import FLEX, TWS_CONTROL

BEFORE, AMID, AFTER = "before", "amid", "after"
PHASES: Final[Mapping[str, str]] = {
    **dict.fromkeys(("wire", "discord", "tws", "flex", "mt5", "d1", "book"), BEFORE),
    **dict.fromkeys(("kill", "database"), AMID),
    **dict.fromkeys(("sender", "message", "clock", "person"), AFTER),
}
GATEWAY_RUNS: Final = "select count(*) as n from ibkr.sync_runs where source = 'tws'"
OF_TODAY: Final = """
select m.message_id from notify.v_messages m join ledger.v_actions a on a.book_id = m.book_id and a.action_id = m.action_id
 where m.channel_id = 'executions' and m.state = 'posted' and m.message_id is not null and a.recorded_at >= :begin
 order by a.recorded_at, m.subject_key"""
QUIET_SECONDS: Final = 1.0
OTHERS: Final = "pid <> pg_backend_pid() and datname = current_database() and backend_type = 'client backend'"
FORGED_AT: Final = ("signal_worker", "discord_notifier", "execution_sync", "account_sync_shard")


def phase_of(fault: Fault) -> str:
    """When on its moment a fault is carried out; the later minute first is a way of sending."""
    return BEFORE if fault.kind == "sender.reversed" else PHASES[fault.kind.partition(".")[0]]


class Striker:
    """Strikes one stage on one day."""

    def __init__(self, stage: Stage, sender: Sender, bars: DayOfBars) -> None:
        self._stage, self._sender, self.bars = stage, sender, bars
        self._moment: Moment | None = None
        self.standing: dict[str, list[str]] = {}
        """Rules that wait at a stand-in: its name -> kinds, in their order."""
        self.runs_before = 0
        """Runs of the gateway's source when its knobs were turned."""

    def strike(self, fault: Fault, moment: Moment) -> None:
        """Carry out one fault and count it where it struck at once."""
        self._moment = moment
        family, _, name = fault.kind.partition(".")
        is_struck = _FAMILIES[family](self, name, dict(fault.given))
        self._stage.seen[fault.kind] += bool(is_struck)

    # --- in the middle of the work ---

    def kill(self, name: str, _given: dict[str, Any]) -> bool:
        """Kill -9."""
        self._stage.cloud.kill(name)
        self._stage.killed.append(name)
        self.standing.pop("wire" if name == PUBSUB else name, None)  # what a stand-in was told goes with it, struck or not
        return True

    def database(self, name: str, given: dict[str, Any]) -> bool:
        """What a database may do to those who use it, for a moment of real time."""
        stage, seconds = self._stage, given.get("milliseconds", 0) / 1000
        stage.killed.append(POSTGRES)
        match name:
            case "restart":
                stage.cloud.restart(POSTGRES)
            case "away":
                stage.cloud.kill(POSTGRES, stay_down=True)
                time.sleep(seconds)
                stage.cloud.revive(POSTGRES)
            case "cut":
                stage.execute(f"select pg_terminate_backend(pid) from pg_stat_activity where {OTHERS}")
            case "locked":
                self._locked(seconds)
            case _:
                put_on, take_off = _SWITCHES[name]
                cut = f"select pg_terminate_backend(pid) from pg_stat_activity where {OTHERS} and usename <> 'postgres'"
                stage.execute(put_on, cut)
                time.sleep(seconds)
                stage.execute("set transaction read write", take_off, cut)
        return True

    def _locked(self, seconds: float) -> None:
        from fillbook.runtime.sql import statement

        def hold() -> None:
            with self._stage.cloud.database.transaction() as tx:
                tx.execute(statement("lock table ledger.books in exclusive mode"))
                time.sleep(seconds)

        self._stage.patiently(hold)

    # --- before the work ---

    def wire(self, name: str, given: dict[str, Any]) -> bool:
        """A knob of the message service."""
        try:
            self._stage.cloud.control.faults("*", **given)
        except ControlError:
            return False
        self.standing.setdefault("wire", []).append(f"wire.{name}")
        return False

    def discord(self, knob: str, given: dict[str, Any]) -> bool:
        """A rule of Discord."""
        route = "create" if knob.startswith(("body.", "state.message")) else given.pop("route")
        given.pop("route", None)
        if self._stage.discord("faults", {"fault": knob, "route": route, "count": 1, **given}) is not None:
            self.standing.setdefault("discord", []).append(knob)
        return knob == "network.refuse"

    def tws(self, name: str, given: dict[str, Any]) -> bool:
        """A knob of the gateway, for this moment."""
        self.runs_before = self._stage.number(GATEWAY_RUNS)
        self._stage.control(TWS_CONTROL, "knobs", given)
        self.standing.setdefault("tws", []).append(f"tws.{name}")
        return False

    def flex(self, knob: str, given: dict[str, Any]) -> bool:
        """A rule of the statement service."""
        if knob in ("truncate", "cut", "doctype", "entity_bomb", "flood"):
            given["step"] = "fetch"
        self._stage.control(FLEX, "faults", {"fault": knob, "count": 1, **given})
        self.standing.setdefault("flex", []).append(knob)
        return False

    def mt5(self, knob: str, given: dict[str, Any]) -> bool:
        """A rule of the MT5 service for one account; its health is nobody's account."""
        account = sorted(self._stage.mt5)[given.pop("account")]
        rule = {} if knob == "health" else {"account": account}
        if knob in ("hang", "drip"):
            rule["endpoint"] = "snapshot"
        if self._stage.broker("faults", {"fault": knob, "count": 1, **rule, **given}) is not None:
            self.standing.setdefault("mt5", []).append(knob)
        return False

    def d1(self, kind: str, given: dict[str, Any]) -> bool:
        """Our own API is away when the day is published, and what stands in for it fails too."""
        self._stage.d1("/_fault", {"kind": kind, "count": 1, **given})
        self.standing.setdefault("d1", []).append(kind)
        if "snapshot_api" not in self._stage.killed:
            self._stage.cloud.kill("snapshot_api", stay_down=True)
            self._stage.killed.append("snapshot_api")
        return False

    def book(self, name: str, given: dict[str, Any]) -> bool:
        """A fill of the gateway is corrected from now on, or told late; one of the statements is busted, or booked again."""
        assert self._moment is not None
        stage, day, at = self._stage, self.bars.day, self._moment.at
        is_new = True
        match name:
            case "late":
                stage.gateway.late.add(given["fill"])
            case "corrected":
                stage.gateway.corrections.append(Corrected(fill=given["fill"], cents=given["cents"], at=at))
            case "busted":
                is_new = stage.statements.bust(day, given["trip"], at)
            case _:
                is_new = stage.statements.book_again(day, given["fill"], given["cents"], at)
        stage.statements.tell(stage.cloud)
        return is_new

    # --- after the work ---

    def sender(self, name: str, given: dict[str, Any]) -> bool:
        """What a sender does wrong."""
        assert self._moment is not None
        minutes = self._moment.minutes
        match name:
            case "reversed":
                return True
            case "hostile":
                return self._sender.hostile(given["body"])
            case "stale":
                return self._sender.stale(self.bars, minutes)
            case "other_content":
                return self._sender.other_content(self.bars, minutes, given["ticker"])
            case "stranger":
                return self._sender.stranger(self.bars, minutes, given["how"])
            case _:
                send = self._sender.repeat if name == "repeat" else self._sender.together
                return send(self.bars, minutes, given["times"])

    def message(self, name: str, given: dict[str, Any]) -> bool:
        """A message that nobody can understand, one from somebody who may not push, or a published day that comes again."""
        if name == "old_day":
            return self._old_day(given["version"], is_changed=given["time"] == "changed")
        if name == "poison":
            data = base64.b64encode(HOSTILE[given["body"]]).decode()
            try:
                self._stage.cloud.control.publish(given["topic"], [{"data": data, "attributes": {"from": "chaos"}}])
            except ControlError:
                return False
            return True
        return all(self._forged(function, given["how"]) for function in FORGED_AT)

    def _old_day(self, number: int, *, is_changed: bool) -> bool:
        """Whoever once listened sends what he heard: the bytes with their signature, or the same ones under a later time."""
        stored = self._stage.rows("select document from metrics.snapshot_versions order by recorded_at, date, version")
        if not stored:
            return False
        day = stored[number % len(stored)]["document"]
        heard, secrets = encode(day).encode(), self._stage.cloud.secrets
        later = {**day, "updated_at": self._stage.cloud.clock.now().strftime("%Y-%m-%dT%H:%M:%S.000Z")}
        headers = {
            "X-Internal-Token": secrets["internal_token"],
            "X-Signature": signature(SecretStr(secrets["signing_secret"]), heard),
        }
        sent = encode(later).encode() if is_changed else heard
        answer = asked(f"{self._stage.cloud.url('snapshot_api')}{INTERNAL}", sent, headers)
        if answer.status in (0, 429, 503):
            return False
        if answer.status == 200 and not is_changed and answer.document["unchanged"]:
            return True
        if answer.status != (403 if is_changed else 409):
            raise AssertionError(f"a published day that came again was answered with {answer.status} {answer.body[:200]!r}")
        self._stage.refused[answer.status] += 1
        return True

    def _forged(self, function: str, how: str) -> bool:
        cloud = self._stage.cloud
        audience = plan.audience(cloud.manifest.functions[function])
        email = plan.email(cloud.manifest, cloud.manifest.push_identity)
        try:
            token = cloud.control.token(email, audience if how != "audience" else "https://elsewhere.invalid")
        except ControlError:
            return False
        head, _, signature = token.rpartition(".")
        wrong = {"expired": "a.b.c", "audience": token, "altered": f"{head}.{signature[::-1]}"}[how]
        answer = asked(f"{cloud.url(function)}/", b"{}", {"Authorization": f"Bearer {wrong}"})
        if answer.status in (0, 503):
            return False
        if answer.status not in (401, 403, 404):
            raise AssertionError(f"a forged push was answered with {answer.status} by {function}")
        self._stage.refused[answer.status] += 1
        return True

    def clock(self, name: str, given: dict[str, Any]) -> bool:
        """The clock is wrong for a while; whatever is due by it runs."""
        seconds = given["seconds"] if name == "ahead" else -given["seconds"]
        self._stage.step_clock(seconds)
        self._stage.rest(QUIET_SECONDS)
        self._stage.step_clock(-seconds)
        return True

    def person(self, name: str, given: dict[str, Any]) -> bool:
        """Somebody deletes, edits or doubles a message of this day's: one of yesterday's is nobody's who proves 24 hours.

        The desk knows it already: one that is deleted before its id is learned is searched for through a ladder of nine hours.
        """
        messages = list(
            dict.fromkeys(row["message_id"] for row in self._stage.rows(OF_TODAY, begin=moments(self.bars.day)[0].at))
        )
        if not messages:
            return False
        chosen = messages[-1 - given["message"] % min(len(messages), 20)]
        patch = {"content": "somebody was here"} if name == "edited" else None
        return self._stage.discord("meddle", {"how": name, "message_id": chosen, "patch": patch}) is not None


_SWITCHES: Final[Mapping[str, tuple[str, str]]] = {
    "read_only": (
        f"alter database {DATABASE} set default_transaction_read_only = on",
        f"alter database {DATABASE} reset default_transaction_read_only",
    ),
    "crowded": (f"alter database {DATABASE} connection limit 1", f"alter database {DATABASE} connection limit -1"),
}
_FAMILIES: Final[Mapping[str, Callable[[Striker, str, dict[str, Any]], bool]]] = {
    "kill": Striker.kill,
    "database": Striker.database,
    "wire": Striker.wire,
    "discord": Striker.discord,
    "tws": Striker.tws,
    "flex": Striker.flex,
    "mt5": Striker.mt5,
    "d1": Striker.d1,
    "book": Striker.book,
    "sender": Striker.sender,
    "message": Striker.message,
    "clock": Striker.clock,
    "person": Striker.person,
}
