"""Accounts for a crew, claimed in small blocks just ahead of need, so that a worker that dies holds few of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Self

from fillbook.mt5.records import Claimed, Claims, Unclaimed
from fillbook.values import frozen

BLOCK: Final = 10


@frozen
class Ticket:
    """A claimed account as a crew and its breakers look at it."""

    claimed: Claimed

    @property
    def account_id(self) -> str:
        """The account."""
        return self.claimed.account_id

    @property
    def instance_key(self) -> str:
        """The service instance it is asked of."""
        return self.claimed.account.instance_key

    @property
    def server(self) -> str:
        """Its broker's server."""
        return self.claimed.account.server

    @property
    def sync_failure_count(self) -> int:
        """Failures in a row before this run."""
        return self.claimed.account.sync_failure_count


class Supply(Iterator[Ticket]):
    """An iterator of claimed accounts; after it ``unused`` were claimed in vain and ``left`` were never claimed."""

    def __init__(
        self,
        take: Callable[[int], Claims | None],
        ahead: deque[str] | None = None,
        *,
        again: Callable[[list[str]], Claims] | None = None,
        more: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        """``take(count)`` claims up to so many accounts, None when there are no more; ``ahead``: what it takes them from;
        ``again`` claims, once those are drawn and once only, those that somebody was writing at that moment; ``more``: what comes
        after all of them, until nothing does.
        """
        self._take, self._ahead, self._more = take, deque[str]() if ahead is None else ahead, more
        self._again, self._asked_again = again, set[str]()
        self._block: deque[Claimed] = deque()
        self._is_over = False
        self.unclaimed: list[Unclaimed] = []

    @classmethod
    def of(
        cls,
        account_ids: Iterable[str],
        claim: Callable[[list[str]], Claims],
        again: Callable[[list[str]], Claims] | None = None,
        more: Callable[[], Iterable[str]] = tuple,
    ) -> Self:
        """Claim these accounts, in their order, then those that ``more`` brings, until it brings none."""
        ahead = deque(account_ids)

        def take(count: int) -> Claims | None:
            block = [ahead.popleft() for _ in range(min(count, len(ahead)))]
            return claim(block) if block else None

        return cls(take, ahead, again=again, more=more)

    @classmethod
    def held(cls, claimed: Sequence[Claimed]) -> Self:
        """Accounts that are claimed already."""
        waiting = [Claims(claimed=tuple(claimed))]
        return cls(lambda _: waiting.pop() if waiting else None)

    @classmethod
    def due(cls, claim: Callable[[int], Claims]) -> Self:
        """Claim whatever is due until nothing is."""

        def take(count: int) -> Claims | None:
            claims = claim(count)
            return claims if claims.claimed else None

        return cls(take)

    def __next__(self) -> Ticket:
        """Return the next claimed account."""
        while not self._block:
            claims = None if self._is_over else self._claimed()
            if claims is None:
                self._is_over = True
                raise StopIteration
            self._block.extend(claims.claimed)
            self.unclaimed.extend(claims.unclaimed)
        return Ticket(claimed=self._block.popleft())

    def _claimed(self) -> Claims | None:
        claims = self._take(BLOCK)
        if claims is None:
            claims = self._claimed_again()
        if claims is None:
            self._ahead.extend(self._more())
            claims = self._take(BLOCK) if self._ahead else None
        return claims

    def _claimed_again(self) -> Claims | None:
        waiting = [one.account_id for one in self.unclaimed if one.is_being_written and one.account_id not in self._asked_again]
        if self._again is None or not waiting:
            return None
        block = waiting[:BLOCK]
        self._asked_again.update(block)
        claims = self._again(block)
        self.unclaimed = [one for one in self.unclaimed if one.account_id not in block]
        return claims

    @property
    def unused(self) -> tuple[Claimed, ...]:
        """Claimed, but never drawn."""
        return tuple(self._block)

    @property
    def left(self) -> tuple[str, ...]:
        """Accounts that were not drawn, claimed or not."""
        return (*(one.account_id for one in self._block), *self._ahead)
