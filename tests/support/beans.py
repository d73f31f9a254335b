"""Beancount itself, as bean-check runs it: a text is loaded with every validation, and its balances are asked for."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from beancount import loader
from beancount.core import data, inventory
from beancount.ops import validation


def check(path: Path) -> list[Any]:
    """The entries of a file that bean-check accepts; its objections are the assertion's message."""
    return _accepted(loader.load_file(str(path), extra_validations=validation.HARDCORE_VALIDATIONS))


def check_text(text: str) -> list[Any]:
    """The same of a text."""
    return _accepted(loader.load_string(text, extra_validations=validation.HARDCORE_VALIDATIONS))


def _accepted(loaded: tuple[list[Any], list[Any], Any]) -> list[Any]:
    entries, errors, _ = loaded
    objections = [f"{error.source.get('lineno')}: {error.message}" for error in errors]
    assert objections == [], objections
    return entries


def balances(entries: list[Any]) -> dict[str, inventory.Inventory]:
    """What stands in every account at the end."""
    found: dict[str, inventory.Inventory] = {}
    for entry in entries:
        if isinstance(entry, data.Transaction):
            for posting in entry.postings:
                found.setdefault(posting.account, inventory.Inventory()).add_position(posting)
    return found


def amounts(entries: list[Any], account: str) -> dict[str, Decimal]:
    """Currency -> amount of an account that holds money; nothing where it holds none."""
    held = balances(entries).get(account, inventory.Inventory())
    return {position.units.currency: position.units.number for position in held if position.units.number}


def lots(entries: list[Any], account: str) -> dict[str, tuple[Decimal, Decimal]]:
    """Label -> (signed units, their cost) of the lots of an account."""
    held = balances(entries).get(account, inventory.Inventory())
    return {
        position.cost.label: (position.units.number, position.units.number * position.cost.number)
        for position in held
        if position.units.number
    }
