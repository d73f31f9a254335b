"""The only module that speaks to an MT5 service: its addresses, headers and questions, in two languages.

One object serves all threads of a process. It stores nothing and decides nothing: calls are bounded and repeated by
``mt5_calls``, what came is read by ``contract_v1`` and ``contract_v0``. Neither a key nor anything the service wrote leaves in an
error. Source: sections 3.1 to 3.3 of the specification.
"""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final, TypeVar

from pydantic import SecretStr

from fillbook.mt5 import contract, contract_v0, contract_v1, faults, reading, told
from fillbook.mt5.contract import Asked
from fillbook.mt5.faults import CallFailed, ContractError, Fault, Retries
from fillbook.mt5.known import Told
from fillbook.mt5.model import (
    DealPage,
    Health,
    Instance,
    ServiceFailure,
    Snapshot,
    StepFailure,
    SymbolFacts,
    Target,
    Window,
)
from fillbook.mt5.mt5_calls import CONNECT_SECONDS, REQUEST_SECONDS, Answer, Calls, Hooks, address
from fillbook.mt5.words import PAGE_ROWS_MAX, SYMBOLS_MAX, Code, ContractKind, HealthStatus, Step
from fillbook.runtime import clock
from fillbook.runtime.clock import Clock
from fillbook.values import frozen

T = TypeVar("T")

USER_AGENT: Final = "Fillbook/0.1 (+https://fillbook.example)"
PAUSE_SECONDS_UNSAID: Final = 5.0
"""How long a 429 that names no pause asks for."""
HISTORY_BEGINS: Final = date(2015, 1, 1)
"""Nothing is asked for from before (the end of every backfill)."""
MARGIN: Final = timedelta(hours=24)
"""The three-endpoint service takes UTC dates: a day on both sides covers every server clock."""
NOT_FOUND: Final = 404
UNAVAILABLE: Final = 503

_BOTH: Final = (Step.INFO, Step.POSITIONS)
_ACCOUNT_ID: Final = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._~:@-]{1,128}")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@frozen
class Keys:
    """The API keys: ``api_key`` for every instance that has none of its own in ``by_instance``."""

    api_key: SecretStr
    by_instance: Mapping[str, SecretStr] = field(default_factory=dict)

    def of(self, instance_key: str) -> SecretStr:
        """The key for an instance."""
        return self.by_instance.get(instance_key, self.api_key)


class Mt5Service:
    """MT5 services in both languages: ``ReadsAccount``, ``ReadsHealth``, ``ReadsSymbols``. Safe to share between threads."""

    def __init__(
        self,
        keys: Keys,
        *,
        now: Clock,
        bearer: Callable[[], Mapping[str, str]] | None = None,
        hooks: Hooks | None = None,
        request_seconds: float = REQUEST_SECONDS,
        connect_seconds: float = CONNECT_SECONDS,
        retries_max: int = 1,
    ) -> None:
        """``bearer``: the ``Authorization`` header of our identity, where the service wants one beside the key."""
        self._keys = keys
        self._clock = now
        self._bearer = bearer
        self._hooks = hooks or Hooks()
        self._calls = Calls(self._hooks, request_seconds=request_seconds, connect_seconds=connect_seconds)
        self._retries_max = retries_max
        self._settling = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._kinds: dict[str, ContractKind] = {}

    # --- what the room asks -------------------------------------------------------------------------------------------

    def health(self, instance: Instance, *, deadline: float) -> Health:
        """An instance about itself; settles ``auto``: v1 if it answers on /v1/health, the three-endpoint service on 404."""
        found, _ = self._calls.tried((Step.INFO,), self._retries(None), deadline, lambda: self._health(instance, deadline))
        self._kinds[instance.instance_key] = found.contract
        return found

    def snapshot(self, target: Target, *, deadline: float, retries: Retries | None = None) -> Snapshot:
        """Info and positions. v1 tells both of one login, the other service in two calls, of which the first may end it."""
        left = self._retries(retries)
        try:
            if self._kind(target.instance, deadline) is ContractKind.V1:
                return self._snapshot_v1(target, deadline, left)
            return self._snapshot_v0(target, deadline, left)
        except ServiceFailure as error:
            if error.failure.code is Code.IDENTITY_MISMATCH:
                raise
            return _both(error.failure)

    def deals(
        self,
        target: Target,
        wanted: Window | int,
        *,
        cursor: str | None = None,
        limit: int = PAGE_ROWS_MAX,
        deadline: float,
        retries: Retries | None = None,
        known: Told | None = None,
    ) -> DealPage:
        """One page of a window, or of one position's whole life. The three-endpoint service's rows are always read."""
        rows_max = min(limit, PAGE_ROWS_MAX)
        kind = self._kind(target.instance, deadline, Step.HISTORY)

        def once() -> DealPage:
            if kind is ContractKind.V1:
                return self._deals_v1(target, wanted, cursor, rows_max, deadline, known)
            return self._deals_v0(target, wanted, cursor, rows_max, deadline)

        page, attempts = self._calls.tried((Step.HISTORY,), self._retries(retries), deadline, once)
        return replace(contract.only(page, wanted), attempts=attempts)

    def symbols(self, target: Target, names: Sequence[str], *, deadline: float) -> tuple[SymbolFacts, ...]:
        """Facts of at most 50 symbols; the three-endpoint service knows none."""
        if len(names) > SYMBOLS_MAX:
            raise ValueError(f"more than {SYMBOLS_MAX} symbols")
        if not names or self._kind(target.instance, deadline, Step.HISTORY) is not ContractKind.V1:
            return ()

        def once() -> tuple[SymbolFacts, ...]:
            body = self._get_of(target, "v1/accounts/{}/symbols", {"names": ",".join(names)}, deadline)
            head, facts = contract_v1.read_symbols(body)
            contract.check_identity(head, target)
            return tuple(fact for fact in facts if fact.symbol in names)

        return self._calls.tried((Step.HISTORY,), self._retries(None), deadline, once)[0]

    # --- contract mt5/1 -----------------------------------------------------------------------------------------------

    def _snapshot_v1(self, target: Target, deadline: float, left: Retries) -> Snapshot:
        def once() -> Snapshot:
            snapshot = contract_v1.read_snapshot(self._get_of(target, "v1/accounts/{}/snapshot", {}, deadline))
            assert snapshot.head is not None
            contract.check_identity(snapshot.head, target)
            return snapshot

        snapshot, attempts = self._calls.tried(_BOTH, left, deadline, once)
        parts = [part for part in (snapshot.info, snapshot.positions) if isinstance(part, StepFailure)]
        missing = [part for part in parts if part.code in faults.RETRIED]
        if missing and self._calls.waits([part.step for part in missing], faults.of_failure(missing[0]), left, deadline):
            attempts += 1
            try:
                snapshot = once()
            except CallFailed as error:  # what the first answer brought still holds
                if error.fault.code is Code.IDENTITY_MISMATCH:
                    raise faults.failed(Step.INFO, error.fault, attempts) from None
        return Snapshot(
            head=snapshot.head,
            info=_counted(snapshot.info, attempts),
            positions=_counted(snapshot.positions, attempts),
            attempts=attempts,
        )

    def _deals_v1(
        self, target: Target, wanted: Window | int, cursor: str | None, limit: int, deadline: float, known: Told | None
    ) -> DealPage:
        params: dict[str, Any] = {"limit": limit} if cursor is None else {"limit": limit, "cursor": cursor}
        if isinstance(wanted, int):
            params["position_id"], known = wanted, None
        else:
            params |= {"from_msc": wanted.from_msc, "to_msc": wanted.to_msc}
            known = known if known is not None and told.is_within(known, wanted) else None
        body = self._get_of(target, "v1/accounts/{}/deals", params, deadline)
        page = contract_v1.read_deals(body, is_first=cursor is None, known=known)
        contract.check_identity(page.head, target)
        return page

    # --- the three-endpoint service -----------------------------------------------------------------------------------

    def _snapshot_v0(self, target: Target, deadline: float, left: Retries) -> Snapshot:
        info, tried = self._step(Step.INFO, target, "info", contract_v0.read_info, deadline, left)
        if isinstance(info, StepFailure) and info.code in faults.FINAL:
            return _both(info)
        positions, tried_too = self._step(Step.POSITIONS, target, "positions", contract_v0.read_positions, deadline, left)
        heads = [answer.head for answer in (info, positions) if not isinstance(answer, StepFailure)]
        if not isinstance(info, StepFailure) and not isinstance(positions, StepFailure):
            try:
                contract_v0.check_count(info, positions)
            except ContractError as error:
                positions = faults.failure(Step.POSITIONS, error.fault, tried_too)
        return Snapshot(
            head=min(heads, key=lambda head: head.as_of - timedelta(milliseconds=head.cache_age_ms), default=None),
            info=info if isinstance(info, StepFailure) else info.info,
            positions=positions if isinstance(positions, StepFailure) else positions.positions,
            attempts=max(tried, tried_too),
        )

    def _step(
        self, step: Step, target: Target, name: str, read: Callable[[bytes, Asked], T], deadline: float, left: Retries
    ) -> tuple[T | StepFailure, int]:
        """One of the two calls of a snapshot: an answer or its failure; another account's raises."""

        def once() -> T:
            asked = self._asked(target)
            answer: Any = read(self._get_of(target, f"api/mt5/account/{{}}/{name}", {}, deadline), asked)
            contract.check_identity(answer.head, target)
            return answer  # type: ignore[no-any-return]

        try:
            return self._calls.tried((step,), left, deadline, once)
        except ServiceFailure as error:
            if error.failure.code is Code.IDENTITY_MISMATCH:
                raise
            return error.failure, error.failure.attempts

    def _deals_v0(self, target: Target, wanted: Window | int, cursor: str | None, limit: int, deadline: float) -> DealPage:
        offset, total = contract_v0.place_of(cursor)
        asked = self._asked(target)
        params = {**_dates(wanted, asked.at), "limit": limit, "offset": offset}
        body = self._get_of(target, "api/mt5/account/{}/history", params, deadline)
        page = contract_v0.read_history(body, asked, limit=limit, offset=offset, total_before=total)
        contract.check_identity(page.head, target)
        return page

    def _asked(self, target: Target) -> Asked:
        return Asked(at=self._clock.now(), rule=target.rule, epoch_clock=target.instance.epoch_clock)

    # --- which language -----------------------------------------------------------------------------------------------

    def _kind(self, instance: Instance, deadline: float, step: Step = Step.INFO) -> ContractKind:
        """The language of an instance; where nobody has asked yet, one thread does."""
        if instance.contract is not ContractKind.AUTO:
            return instance.contract
        with self._settling:
            lock = self._locks.setdefault(instance.instance_key, threading.Lock())
        if not lock.acquire(timeout=max(0.0, deadline - clock.monotonic())):
            raise faults.failed(step, Fault(code=Code.TIMEOUT, where="no time left"))
        try:
            known = self._kinds.get(instance.instance_key)
            return self.health(instance, deadline=deadline).contract if known is None else known
        except ServiceFailure as error:
            raise ServiceFailure(replace(error.failure, step=step)) from None
        finally:
            lock.release()

    def _health(self, instance: Instance, deadline: float) -> Health:
        if instance.contract is not ContractKind.V0:
            answer = self._call(instance, "v1/health", {}, None, deadline)
            if instance.contract is ContractKind.V1 or answer.status != NOT_FOUND:
                return self._read_health(instance, answer, contract_v1.read_health)
        return self._read_health(instance, self._call(instance, "health", {}, None, deadline), contract_v0.read_health)

    def _read_health(self, instance: Instance, answer: Answer, read: Callable[[bytes], Health]) -> Health:
        """A 503 may be the body of an instance that says it is unhealthy."""
        if answer.status == UNAVAILABLE:
            try:
                health = read(answer.body)
            except CallFailed:
                pass
            else:
                if health.status is HealthStatus.UNHEALTHY:
                    return health
        return read(self._checked(instance, answer))

    # --- calls --------------------------------------------------------------------------------------------------------

    def _retries(self, retries: Retries | None) -> Retries:
        return Retries(self._retries_max) if retries is None else retries

    def _get_of(self, target: Target, path: str, params: Mapping[str, Any], deadline: float) -> bytes:
        account = target.service_account_id
        if _ACCOUNT_ID.fullmatch(account) is None:
            raise CallFailed(Fault(code=Code.INVALID_REQUEST, where="service account id"))
        answer = self._call(target.instance, path.format(account), params, account, deadline)
        return self._checked(target.instance, answer)

    def _checked(self, instance: Instance, answer: Answer) -> bytes:
        """The body of a 200; anything else is a fault."""
        if answer.status == faults.STATUS_OK:
            return answer.body
        try:
            document = reading.parse(answer.body)
        except ContractError:
            document = None
        fault = faults.of_answer(answer.status, document, retry_after=answer.retry_after, now=self._clock.now())
        if answer.status == faults.TOO_MANY_REQUESTS and not fault.is_broker:
            pause = fault.retry_after_seconds
            self._hooks.after_429(instance.instance_key, PAUSE_SECONDS_UNSAID if pause is None else float(pause))
        raise CallFailed(fault)

    def _call(self, instance: Instance, path: str, params: Mapping[str, Any], scope: str | None, deadline: float) -> Answer:
        url = f"{address(instance.base_url)}/{path}"
        self._hooks.before_call(instance.instance_key)
        return self._calls.get(url, params, lambda: self._headers(instance, scope), deadline)

    def _headers(self, instance: Instance, scope: str | None) -> dict[str, str]:
        return {
            "Accept": "application/json",
            "User-Agent": USER_AGENT,
            "X-API-Key": self._keys.of(instance.instance_key).get_secret_value(),
            "X-Request-Id": uuid.uuid4().hex,
            **({} if scope is None else {"X-Account-Scope": scope}),
            **({} if self._bearer is None else self._bearer()),
        }


def _both(failure: StepFailure) -> Snapshot:
    """A failure of one call that stands for both steps."""
    return Snapshot(
        head=None,
        info=replace(failure, step=Step.INFO),
        positions=replace(failure, step=Step.POSITIONS),
        attempts=failure.attempts,
    )


def _counted(part: T | StepFailure, attempts: int) -> T | StepFailure:
    return replace(part, attempts=attempts) if isinstance(part, StepFailure) else part


def _dates(wanted: Window | int, now: datetime) -> dict[str, str]:
    """UTC dates, both inclusive or not, that surely hold what is wanted: a day more on either side."""
    if isinstance(wanted, int):
        begins, ends = datetime.combine(HISTORY_BEGINS, time(), UTC), now + 2 * MARGIN
    else:
        begins, ends = (_EPOCH + timedelta(milliseconds=msc) for msc in (wanted.from_msc, wanted.to_msc))
    first, last = begins - MARGIN, ends + MARGIN + timedelta(days=1)  # a date is midnight: rounded up
    return {"from_date": f"{first:%Y-%m-%d}", "to_date": f"{last:%Y-%m-%d}"}
