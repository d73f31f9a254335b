"""The admin API of the fake MT5 service: what tests and the local cloud may do to it from outside. Loopback only.

``POST /_fake/instances`` {name, …} · ``/_fake/servers`` {name, …} · ``/_fake/symbols`` {server, name, …} · ``/_fake/prices``
{server, prices} · ``/_fake/accounts`` {…} or {accounts: […]} · ``/_fake/accounts/{id}`` {shape?, overrides?} ·
``/_fake/accounts/{id}/operations`` {operations: [{kind, …}]} · ``/_fake/fleet`` {seed, count, …} · ``/_fake/fleet/trade``
{accounts?, share?, positions?, seed?} · ``/_fake/faults`` {fault, …} · ``/_fake/clock`` {step_seconds} or {now} ·
``/_fake/cursors`` (all expire) · ``/_fake/reset``. ``GET /_fake/accounts`` · ``/_fake/truth/{id}`` · ``/_fake/calls`` (sums) ·
``/_fake/calls?after=N`` (one by one) · ``/_fake/faults`` · ``/_fake/clock``. ``DELETE /_fake/faults`` · ``/_fake/calls``.
Answers JSON; 400 with ``error`` for what it does not understand.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote

from infra.local.mt5_draft import Given
from infra.local.mt5_faults import KNOBS
from infra.local.mt5_service import Reply

if TYPE_CHECKING:
    from infra.local.mt5 import Mt5Fake

_LOCAL_NAMES: Final = ("127.0.0.1", "localhost")
CALLS_MAX: Final = 10_000
Body = dict[str, Any]


class Admin:
    """Answers ``/_fake``; the caller holds the fake's lock."""

    def __init__(self, fake: Mt5Fake) -> None:
        self._fake = fake
        self._routes: Mapping[tuple[str, str], Callable[[Body], Any]] = {
            ("POST", "instances"): self._instance,
            ("POST", "servers"): lambda body: {"name": fake.add_server(**body).name},
            ("POST", "symbols"): self._symbol,
            ("POST", "prices"): self._prices,
            ("POST", "accounts"): self._accounts,
            ("POST", "fleet"): lambda body: {"accounts": fake.fleet.grow(**body)},
            ("POST", "fleet/trade"): lambda body: {"deals": fake.fleet.trade(**body)},
            ("POST", "faults"): lambda body: fake.fault(str(body.pop("fault", "")), **body).document(),
            ("POST", "clock"): self._clock,
            ("POST", "cursors"): lambda _: fake.expire_cursors(),
            ("POST", "reset"): lambda _: fake.reset(),
            ("GET", "accounts"): lambda _: [_told(one) for one in fake.world.accounts.values()],
            ("GET", "calls"): self._calls,
            ("GET", "faults"): lambda _: {"queued": [rule.document() for rule in fake.faults.rules], "knobs": dict(KNOBS)},
            ("GET", "clock"): lambda _: {"now": fake.clock.now().isoformat()},
            ("DELETE", "faults"): lambda _: fake.clear_faults(),
            ("DELETE", "calls"): lambda _: fake.forget_calls(),
        }

    def reply(self, method: str, target: str, headers: Mapping[str, str], body: bytes, peer: str) -> Reply:
        """Answer one call."""
        # The Host is checked too: a page in a browser may point its own name at this address.
        if peer not in _LOCAL_NAMES or headers.get("host", "").partition(":")[0] not in _LOCAL_NAMES:
            return _reply(403, {"error": "loopback only"})
        path, _, query = target.partition("?")
        try:
            given = json.loads(body or b"{}", parse_float=Decimal)
            if not isinstance(given, dict):
                raise TypeError("the body must be a JSON object")
            answer = self._answer(method, unquote(path.removeprefix("/_fake/")), given | dict(parse_qsl(query)))
        except KeyError as error:
            return _reply(400, {"error": f"missing or unknown: {error.args[0]}"})
        except (TypeError, ValueError) as error:
            return _reply(400, {"error": str(error)})
        return _reply(200, {"ok": True} if answer is None else answer)

    def _answer(self, method: str, what: str, given: Body) -> Any:
        route = self._routes.get((method, what))
        if route is not None:
            return route(given)
        match method, what.split("/"):
            case "GET", ["truth", account_id]:
                return self._fake.truth(account_id)
            case "POST", ["accounts", account_id]:
                return _told(self._fake.change_account(account_id, **given))
            case "POST", ["accounts", account_id, "operations"]:
                return [one.document() for one in self._fake.operate_all(account_id, given["operations"])]
        raise KeyError(what)

    def _instance(self, body: Body) -> Body:
        name = str(body.pop("name"))
        return {"name": name, "base_url": self._fake.add_instance(name, **body)}

    def _symbol(self, body: Body) -> None:
        size = Given(body).number("contract_size")
        self._fake.world.add_symbol(**{**body, "contract_size": size})

    def _prices(self, body: Body) -> None:
        self._fake.set_prices(str(body["server"]), **body["prices"])

    def _accounts(self, body: Body) -> Any:
        added = [self._fake.add_account(**one) for one in body.get("accounts", [body])]
        return [_told(one) for one in added]

    def _clock(self, body: Body) -> Body:
        if "now" in body:
            self._fake.clock.set(datetime.fromisoformat(body["now"]))
        else:
            self._fake.clock.step(float(body["step_seconds"]))
        return {"now": self._fake.clock.now().isoformat()}

    def _calls(self, body: Body) -> Any:
        if "after" not in body:
            return self._fake.summary()
        entries = list(self._fake.world.calls.entries)[int(body["after"]) :]
        return [one.document() for one in entries[:CALLS_MAX]]


def _told(account: Any) -> Body:
    return {
        "id": account.id,
        "login": account.login,
        "server": account.server,
        "instance": account.instance,
        "name": account.name,
    }


def _reply(status: int, answer: Any) -> Reply:
    return Reply(status=status, body=json.dumps(answer, default=str).encode())
