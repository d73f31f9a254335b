"""Every kind of fault that a chaos day knows: which check of the specification it serves, and when on a day it can strike.

A kind is ``family.name``; the family says who carries it out (``strike.py``). The knobs of the stand-ins are kinds as they
are: one that a stand-in learns is drawn here without a further word. Source: specs/reliability.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from infra.local import discord_faults, flex_faults

BARS, BROKER, EVENING, PUBLISHING, KEEPING, PARITY = "bars", "broker", "evening", "publishing", "keeping", "parity"
"""Groups of moments: receipts are sent, the broker is asked, after the close, a day is published, audited, decided again."""
ANY: Final = (BARS, BROKER, EVENING)
Options = Mapping[str, tuple[Any, ...]]
WAITS: Final = (0, 15, 40, 90, 200, 450)
"""Milliseconds after which something is struck while a moment's work is under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of fault. ``checks``: numbers of the specification; ``at``: groups of moments; ``options``: choices to draw from.

    ``is_slow``: it costs seconds of real time, so it comes once before all others come again.
    """

    name: str
    checks: tuple[int, ...]
    at: tuple[str, ...]
    options: Options = field(default_factory=dict)
    is_slow: bool = False

    @property
    def family(self) -> str:
        """Who carries it out."""
        return self.name.partition(".")[0]


_VICTIMS: Final[Mapping[str, tuple[tuple[int, ...], tuple[str, ...]]]] = {
    "signal_ingest": ((1, 4), (BARS,)),
    "signal_worker": ((1, 5), (BARS,)),
    "outbox_relay": ((1, 4), ANY),
    "discord_notifier": ((3,), ANY),
    "execution_sync": ((1, 19), (BARS, BROKER)),
    "account_sync": ((1, 19, 20), ANY),
    "account_sync_shard": ((1, 19, 20), ANY),
    "desk_keeper": ((31,), (KEEPING,)),
    "replay_worker": ((24,), (PARITY,)),
    "snapshot_publisher": ((32,), (PUBLISHING,)),
    "snapshot_api": ((32,), (PUBLISHING,)),
    "trade_tracker": ((1,), ANY),
    "pubsub": ((4,), ANY),
    "discord": ((15,), ANY),
    "tws": ((17,), (BARS, BROKER)),
    "flex": ((17,), (BARS, BROKER)),
    "mt5": ((20,), ANY),
    "d1": ((32,), (PUBLISHING,)),
    "postgres": ((2,), ANY),
}
_DATABASE: Final[Mapping[str, tuple[tuple[int, ...], Options]]] = {
    "restart": ((2, 12), {}),
    "away": ((12,), {"milliseconds": (300, 700, 1200)}),
    "read_only": ((12,), {"milliseconds": (300, 700, 1200)}),
    "cut": ((12,), {}),
    "crowded": ((12,), {"milliseconds": (300, 700, 1200)}),
    "locked": ((13, 7), {"milliseconds": (200, 500, 900)}),
}
_WIRE: Final[Mapping[str, tuple[tuple[int, ...], Options]]] = {
    "duplicate": ((4,), {"duplicate": (2, 3, 5), "count": (10, 20, 40)}),
    "at_once": ((5,), {"duplicate": (8, 16, 32), "at_once": (1,), "count": (2, 4)}),
    "drop_ack": ((4,), {"drop_ack": (0.3, 0.7, 1), "count": (2, 5, 10)}),
    "reorder": ((6,), {"reorder": (1,), "count": (10, 30)}),
    "delay": ((6, 7), {"delay_seconds": (0.05, 0.2), "count": (3, 8)}),
    "refuse": ((12,), {"refuse": (1,), "count": (1, 3, 6)}),
    "lose_answer": ((4,), {"lose_answer": (1,), "count": (1, 3)}),
    "hang": ((12,), {"hang_seconds": (0.2, 0.6), "count": (1, 2)}),
}
_SENDER: Final[Mapping[str, tuple[tuple[int, ...], Options]]] = {
    "repeat": ((4,), {"times": (1, 2, 5)}),
    "together": ((5,), {"times": (8, 16, 32)}),
    "reversed": ((6,), {}),
    "stale": ((18, 6), {}),
    "other_content": ((8,), {"ticker": (0, 1, 2, 3, 4)}),
    "hostile": ((25, 26), {"body": tuple(range(12))}),
    "stranger": ((27,), {"how": ("none", "wrong", "altered")}),
}
_MESSAGE: Final[Mapping[str, tuple[tuple[int, ...], Options]]] = {
    "poison": ((29,), {"topic": ("signals", "events"), "body": tuple(range(6))}),
    "forged": ((27, 29), {"how": ("expired", "audience", "altered")}),
}
_OLD_DAY: Final[Options] = {"version": tuple(range(12)), "time": ("its own", "changed")}
"""Which of the published versions comes again, counted from the first, and under which time."""
_TWS: Final[Mapping[str, tuple[Mapping[str, Any], bool]]] = {
    "no_end": ({"has_end": (False,)}, True),
    "silent": ({"is_silent": (True,)}, True),
    "mute": ({"is_mute_after_connect": (True,)}, True),
    "drop": ({"drop_after": (0, 1, 3)}, False),
    "busy": ({"busy_client_ids": ((11, 12, 13),)}, False),
    "busy_one": ({"busy_client_ids": ((11,), (11, 12))}, False),
    "lost": ({"outage_at": (1, 2), "outage_count": (99,)}, True),
    "lost_and_back": ({"outage_at": (1, 2), "outage_code": (1101, 1102), "outage_count": (1,)}, False),
    "refused": ({"error_code": (321, 162)}, False),
    "pieces": ({"piece_bytes": (1, 3, 7)}, False),
    "fees_early": ({"commissions": ("early",)}, False),
    "fees_late": ({"commissions": ("late",)}, False),
    "fees_twice": ({"commissions": ("twice",)}, False),
    "fees_never": ({"commissions": ("never",)}, False),
    "doubled": ({"duplicate_at": (1,)}, False),
}
_FLEX_CODES: Final = (1001, 1009, 1018, 1019, 1020, 1021)
"""Codes that pass; one that says the token or the query is wrong stops the account until a person has looked."""
_MT5: Final[Mapping[str, tuple[Options, bool]]] = {
    "hang": ({}, True),
    "drip": ({"interval": (0.5,)}, True),
    "reset": ({}, False),
    "status": ({"code": (500, 502, 503, 429, 404)}, False),
    "auth_failed": ({"inline": (True, False)}, False),
    "page_fails": ({"n": (1, 2)}, False),
    "garbage": ({"kind": ("html", "truncated", "nan", "empty")}, False),
    "latency": ({"ms": (50, 200), "jitter": (20,)}, False),
    "wrong_login": ({"login": (99,)}, False),
    "page_drift": ({"how": ("total", "order")}, False),
    "duplicate_rows": ({"counted": (True, False)}, False),
    "incomplete": ({"part": ("positions", "history", "all")}, False),
    "stale": ({"age": (60, 400), "declared": (True, False)}, False),
    "error_as_empty": ({"what": ("positions", "history"), "lies": (True, False)}, False),
    "late_history": ({"seconds": (120, 600)}, False),
    "shape": ({"variant": ("null_list", "unknown_root")}, False),
    "health": ({"status": ("unhealthy", "degraded")}, False),
}
_TARGET: Final[Mapping[str, Options]] = {
    "status": {"status": (429, 500, 503)},
    "reset_before": {},
    "reset_after": {},
    "failure": {},
    "not_json": {},
    "stop": {"n": (1, 3, 9), "rollback": (True, False)},
    "forget": {},
}
_SLOW_DISCORD: Final = ("network.hang", "network.hang_after_accept", "network.drip")
_DISCORD_CHECKS: Final = {"rate_limit": (14,), "server_error": (15,), "network": (15,), "body": (15,), "state": (16,)}
_DISCORD_OPTIONS: Final[Mapping[str, Options]] = {
    "network.huge": {"bytes": (5_000_000, 50_000_000)},
    "network.refuse": {"seconds": (20, 90)},
}


def _kinds() -> Iterator[Kind]:
    wait = {"wait_ms": WAITS}
    for name, (checks, at) in _VICTIMS.items():
        yield Kind(name=f"kill.{name}", checks=checks, at=at, options=wait)
    for name, (checks, options) in _DATABASE.items():
        yield Kind(name=f"database.{name}", checks=checks, at=ANY, options={**wait, **options})
    for name, (checks, options) in _WIRE.items():
        yield Kind(name=f"wire.{name}", checks=checks, at=ANY, options=options)
    for name, (checks, options) in _SENDER.items():
        yield Kind(name=f"sender.{name}", checks=checks, at=(BARS,), options=options)
    for name, (checks, options) in _MESSAGE.items():
        yield Kind(name=f"message.{name}", checks=checks, at=ANY, options=options)
    yield Kind(name="message.old_day", checks=(29,), at=(EVENING, KEEPING, PARITY), options=_OLD_DAY)
    yield from _discord()
    for name, (options, is_slow) in _TWS.items():
        yield Kind(name=f"tws.{name}", checks=(17, 20), at=(BARS, BROKER), options=options, is_slow=is_slow)
    for name in flex_faults.KNOBS:
        if name != "drip":  # the adapter's whole patience of three minutes; tested in its room
            yield Kind(name=f"flex.{name}", checks=(17,), at=(BARS, BROKER), options=_flex_options(name))
    for name, (options, is_slow) in _MT5.items():
        rule = {"account": (0, 1), **options}
        yield Kind(
            name=f"mt5.{name}", checks=(19, 20) if name.startswith("page") else (20,), at=ANY, options=rule, is_slow=is_slow
        )
    for name, options in _TARGET.items():
        yield Kind(name=f"d1.{name}", checks=(32,), at=(PUBLISHING,), options=options)
    yield Kind(name="clock.back", checks=(21,), at=ANY, options={"seconds": (2, 60, 600)})
    yield Kind(name="clock.ahead", checks=(21,), at=ANY, options={"seconds": (2, 60, 600)})
    yield Kind(name="book.corrected", checks=(9,), at=(BARS,), options={"fill": tuple(range(12)), "cents": (-7, 3, 12)})
    yield Kind(name="book.busted", checks=(9,), at=(BARS, BROKER), options={"trip": tuple(range(4))})
    yield Kind(name="book.again", checks=(9,), at=(BARS, BROKER), options={"fill": tuple(range(8)), "cents": (-7, 3, 12)})
    yield Kind(name="book.late", checks=(18,), at=(BARS,), options={"fill": tuple(range(12))})
    yield Kind(name="person.deleted", checks=(3, 15), at=ANY, options={"message": tuple(range(20))})
    yield Kind(name="person.edited", checks=(3, 15), at=ANY, options={"message": tuple(range(20))})
    yield Kind(name="person.doubled", checks=(3, 15), at=ANY, options={"message": tuple(range(20))})


def _discord() -> Iterator[Kind]:
    for knob in discord_faults.KNOBS:
        yield Kind(
            name=f"discord.{knob}",
            checks=_DISCORD_CHECKS[knob.partition(".")[0]],
            at=ANY,
            options={"route": ("create", "any"), "skip": (0, 1), **_DISCORD_OPTIONS.get(knob, {})},
            is_slow=knob in _SLOW_DISCORD,
        )


def _flex_options(name: str) -> Options:
    more: dict[str, Options] = {
        "code": {"code": _FLEX_CODES},
        "truncate": {"at": (120, 900, 2000)},
        "cut": {"at": (120, 900)},
        "flood": {"bytes": (3_000_000,)},
        "hang": {"seconds": (1, 3)},
        "foreign_url": {"url": ("https://example.invalid/",), "step": ("send",)},
        "redirect": {"url": ("https://example.invalid/",)},
    }
    return {"step": ("send", "fetch"), **more.get(name, {})}


KINDS: Final[Mapping[str, Kind]] = {kind.name: kind for kind in _kinds()}


def families() -> str:
    """The table of all kinds by family, as the document has it."""
    lines = ["| family | checks | kinds |", "|---|---|---|"]
    for family in dict.fromkeys(kind.family for kind in KINDS.values()):
        kinds = [kind for kind in KINDS.values() if kind.family == family]
        checks = ", ".join(map(str, sorted({check for kind in kinds for check in kind.checks})))
        names = " ".join(f"`{kind.name.partition('.')[2]}`" for kind in kinds)
        lines.append(f"| {family} | {checks} | {names} |")
    return "\n".join(lines) + "\n"
