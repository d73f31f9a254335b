"""The stand-ins for the outside that a local desk starts: Discord, the broker, the MT5 service, where days are published.

Discord always runs, the others only where a function speaks to them. Names, ports and commands, nothing more.
"""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

from infra.local import plan, snapshot_targets
from infra.local.snapshot_targets import TARGETS

DISCORD: Final = "discord"
TWS, TWS_CONTROL, FLEX, FLEX_STATEMENTS = "tws", "tws_control", "flex", "flex_statements"
BROKER: Final = "execution_sync"
"""The function that speaks to the fakes of the broker; without it they are not started."""
MT5: Final = "mt5"
MT5_SPEAKERS: Final = frozenset({"account_sync", "account_sync_shard"})
"""The functions that speak to the fake MT5 service; without any of them it is not started."""
PUBLISHER: Final = "snapshot_publisher"
"""The function that publishes days; without it the fake D1 and the lenient receiver are not started."""


def names(functions: Collection[str]) -> tuple[str, ...]:
    """The stand-ins that these functions need, in the order in which they are started."""
    mt5 = () if MT5_SPEAKERS.isdisjoint(functions) else (MT5,)
    targets = TARGETS if PUBLISHER in functions else ()
    return ((TWS, FLEX) if BROKER in functions else ()) + mt5 + targets


def port_names(functions: Collection[str]) -> tuple[str, ...]:
    """What each of them listens on."""
    several = {TWS: (TWS, TWS_CONTROL), FLEX: (FLEX, FLEX_STATEMENTS)}
    return tuple(port for name in names(functions) for port in several.get(name, (name,)))


def commands(
    functions: Collection[str], home: Path, clock: Path, ports: Mapping[str, int], secrets: Mapping[str, str]
) -> Iterator[tuple[str, list[str], Mapping[str, str]]]:
    """Name, command and environment of each: gateway and web service with an account each, the MT5 service with many."""
    asked, hand = names(functions), ["--clock", str(clock)]
    state = ["--port", str(ports[DISCORD]), "--state", str(home / "discord.sqlite"), *hand]
    yield DISCORD, [sys.executable, "infra.local.discord", *state], {}
    at = {name: str(ports[name]) for name in port_names(functions)}
    if MT5 in asked:
        yield MT5, [sys.executable, "infra.local.mt5", "--port", at[MT5], *hand], {"MT5_SERVICE_API_KEY": secrets["mt5_key"]}
    if PUBLISHER in functions:
        yield from snapshot_targets.commands(home, ports, secrets)
    if TWS in asked:
        gateway = ["--port", at[TWS], "--control", at[TWS_CONTROL], "--account", plan.TWS_ACCOUNT, *hand]
        service = ["--port", at[FLEX], "--statement-port", at[FLEX_STATEMENTS], "--account", plan.FLEX_ACCOUNT, *hand]
        yield TWS, [sys.executable, "infra.local.tws", *gateway], {}
        yield FLEX, [sys.executable, "infra.local.flex", *service], {"IBKR_FLEX_TOKEN": secrets["flex_token"]}
