"""The shards one worker is at: its message's, and those it took up while places of it were idle.

An account that never answers keeps its place for a minute, and its shard open; it must not keep the other places, nor the other
shards. So shards are taken up one after another into the same window, and each one is over when its own accounts are.
Source: sections 2 and 11 of the specification; decision 0035.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fillbook.mt5.runrecords import Shard

Take = Callable[[], Shard | None]
"""Begins the next queued shard; None: there is none that may be taken."""


def takes_none() -> Shard | None:
    """For a worker that keeps to its own shard."""
    return None


class AtHand:
    """A shard that is being worked. ``begun``: monotonic seconds; ``open``: its accounts that have not ended."""

    __slots__ = ("_accounts", "begun", "open", "shard")

    def __init__(self, shard: Shard, begun: float) -> None:
        self.shard, self.begun = shard, begun
        self._accounts = frozenset(shard.account_ids)
        self.open = set(shard.account_ids)

    def has(self, account_id: str) -> bool:
        """Whether an account is one of its own."""
        return account_id in self._accounts


class Hand:
    """Used by the thread that runs the crew. A shard leaves the hand once: with its last account, or with the rest."""

    def __init__(self, shard: Shard, *, monotonic: Callable[[], float], take: Take = takes_none) -> None:
        """``shard`` was begun by its message."""
        self._monotonic, self._take = monotonic, take
        self.first = AtHand(shard, monotonic())
        self._newest = self.first
        self._at_hand = [self.first]

    def take(self) -> Shard | None:
        """Take the next shard up, all accounts of those before it being drawn; None: there is no more to be had."""
        shard = self._take()
        if shard is not None:
            self._newest = AtHand(shard, self._monotonic())
            self._at_hand.append(self._newest)
        return shard

    def missed(self, account_ids: Iterable[str]) -> None:
        """Accounts of the newest shard are not to be had."""
        self._newest.open.difference_update(account_ids)

    def ended(self, account_id: str) -> None:
        """An account has ended here."""
        for one in self._at_hand:
            one.open.discard(account_id)

    def over(self) -> list[AtHand]:
        """Shards of which no account is open any more leave the hand."""
        found = [one for one in self._at_hand if not one.open]
        if found:
            self._at_hand = [one for one in self._at_hand if one.open]
        return found

    def rest(self) -> list[AtHand]:
        """All others leave it: nothing more is worked."""
        found, self._at_hand = self._at_hand, []
        return found
