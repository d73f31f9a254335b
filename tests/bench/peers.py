"""Peers of the rebuild: beancount and RP2 load and book the same history, each in a process of its own.

A peer lives in an environment of its own under ``.fillbook``, made once; what cannot be made is ``None`` and told as absent.
Timed is the peer's own work, from its input to booked lots, without starting Python or importing it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from fillbook.ledger.model import Fill, Side
from tests.bench.report import RESULTS

PEERS = RESULTS.parent / "peers"
VERSIONS = {"beancount": "beancount==3.2.3", "rp2": "rp2==1.7.2"}

PEAK = """
from pathlib import Path
def peak_mb():
    # of this program alone: the maximum that getrusage tells begins with its parent's
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
"""
BEANCOUNT = """
import json, sys, time
from decimal import Decimal
from beancount import loader
from beancount.core import data
started, spent = time.perf_counter(), time.process_time()
entries, errors, _ = loader.load_file(sys.argv[1])
seconds, cpu = time.perf_counter() - started, time.process_time() - spent
# what it fills in itself it rounds to the cents around it, so the lots it took are added up instead
realized = sum((p.units.number * (p.cost.number if p.cost else 1) for e in entries if isinstance(e, data.Transaction)
                and e.postings[-1].account == "Income:Realized" for p in e.postings[:-1]), Decimal(0))
print(json.dumps({"seconds": seconds, "cpu": cpu, "realized": str(realized), "errors": len(errors),
                  "mb": peak_mb()}))
"""

RP2 = """
import json, sys, time
from pathlib import Path
from prezzemolo.avl_tree import AVLTree
from rp2.accounting_engine import AccountingEngine
from rp2.configuration import Configuration, MIN_DATE, MAX_DATE
from rp2.in_transaction import InTransaction
from rp2.input_data import InputData
from rp2.out_transaction import OutTransaction
from rp2.plugin.accounting_method.fifo import AccountingMethod
from rp2.plugin.country.us import US
from rp2.rp2_decimal import RP2Decimal, ZERO
from rp2.tax_engine import compute_tax
from rp2.transaction_set import TransactionSet
configuration = Configuration(sys.argv[2], US())
tree = AVLTree()
tree.insert_node(MIN_DATE.year, AccountingMethod())
started, spent = time.perf_counter(), time.process_time()
sets = {}
for number, line in enumerate(Path(sys.argv[1]).read_text().splitlines(), 1):
    asset, side, at, quantity, price, fees = line.split(",")
    if asset not in sets:
        sets[asset] = [TransactionSet(configuration, kind, asset, MIN_DATE, MAX_DATE) for kind in ("IN", "OUT", "INTRA")]
    common = {"configuration": configuration, "timestamp": at, "asset": asset, "exchange": "X", "holder": "H",
              "spot_price": RP2Decimal(price), "row": number}
    if side == "BUY":
        bought = InTransaction(transaction_type="BUY", crypto_in=RP2Decimal(quantity), fiat_fee=RP2Decimal(fees), **common)
        sets[asset][0].add_entry(bought)
    else:
        net = RP2Decimal(quantity) * RP2Decimal(price) - RP2Decimal(fees)
        sold = OutTransaction(transaction_type="SELL", crypto_out_no_fee=RP2Decimal(quantity), crypto_fee=ZERO,
                              fiat_out_no_fee=net, **common)
        sets[asset][1].add_entry(sold)
realized = ZERO
for asset, (bought, sold, moved) in sets.items():
    computed = compute_tax(configuration, AccountingEngine(tree), InputData(asset, bought, sold, moved))
    realized += sum((entry.fiat_gain for entry in computed.gain_loss_set), ZERO)
seconds, cpu = time.perf_counter() - started, time.process_time() - spent
print(json.dumps({"seconds": seconds, "cpu": cpu, "realized": str(realized), "errors": 0,
                  "mb": peak_mb()}))
"""

_RP2_COLUMNS = {
    "in_header": "timestamp asset exchange holder transaction_type spot_price crypto_in fiat_fee fiat_in_no_fee "
    "fiat_in_with_fee crypto_fee notes unique_id",
    "out_header": "timestamp asset exchange holder transaction_type spot_price crypto_out_no_fee crypto_fee notes unique_id",
    "intra_header": "timestamp asset from_exchange from_holder to_exchange to_holder spot_price crypto_sent crypto_received "
    "notes unique_id",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A peer that is there: what to run, once per round."""

    name: str
    command: tuple[str, ...]

    def run(self) -> dict[str, Any]:
        """Its seconds, realized total, number of errors, peak memory in MB."""
        environment = {**os.environ, "BEANCOUNT_DISABLE_LOAD_CACHE": "1"}
        done = subprocess.run(self.command, capture_output=True, text=True, env=environment, cwd=PEERS, check=False)
        if done.returncode:
            raise RuntimeError(f"{self.name}: {done.stderr[-500:]}")
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found


def python_of(name: str, version: str) -> Path | None:
    """The Python of a peer's own environment, made when it is not there yet; None when it cannot be made."""
    folder = PEERS / name
    python = folder / "bin" / "python"
    if (folder / "ready").exists():
        return python
    uv = [sys.executable, "-m", "uv"]
    for command in (
        [*uv, "venv", "-q", "--clear", str(folder)],
        [*uv, "pip", "install", "-q", "--compile-bytecode", "--python", str(python), version],
    ):
        if subprocess.run(command, capture_output=True, check=False).returncode:
            return None
    (folder / "ready").touch()
    return python


def peers(fills: Sequence[Fill]) -> dict[str, Peer | None]:
    """Every peer with its input written; None for one that is absent."""
    PEERS.mkdir(parents=True, exist_ok=True)
    found: dict[str, Peer | None] = dict.fromkeys(VERSIONS)
    for name, script, write in (("beancount", BEANCOUNT, _beancount), ("rp2", RP2, _rp2)):
        python = python_of(name, VERSIONS[name])
        if python is not None:
            arguments = write(PEERS, fills)
            found[name] = Peer(name=name, command=(str(python), "-c", PEAK + script, *arguments))
    return found


def _beancount(folder: Path, fills: Sequence[Fill]) -> list[str]:
    """A ledger of the same fills: openings at total cost, closings by FIFO, the realized amount its own to find."""
    lines = ['2020-01-01 open Assets:Held "FIFO"', "2020-01-01 open Assets:Cash", "2020-01-01 open Income:Realized"]
    for number, fill in enumerate(fills):
        # lots of one day have no order in beancount: a thousand days per thousand fills of an instrument
        day = (fill.executed_at + timedelta(days=number // 10)).date()
        value, fees = fill.quantity * fill.price, fill.fees or Decimal(0)
        lines.append(f'{day} * "{fill.ticker}"')
        if fill.side is Side.BUY:
            lines.append(f"  Assets:Held  {fill.quantity} {fill.ticker} {{{{{value + fees} USD}}}}")
            lines.append(f"  Assets:Cash  {-value - fees} USD")
        else:
            lines.append(f"  Assets:Held  {-fill.quantity} {fill.ticker} {{}}")
            lines.append(f"  Assets:Cash  {value - fees} USD")
            lines.append("  Income:Realized")
    path = folder / "history.beancount"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [str(path)]


def _rp2(folder: Path, fills: Sequence[Fill]) -> list[str]:
    lines = [
        f"{fill.ticker},{fill.side},{fill.executed_at.isoformat()},{fill.quantity},{fill.price},{fill.fees}" for fill in fills
    ]
    history, settings = folder / "history.csv", folder / "rp2.ini"
    history.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assets = ", ".join(sorted({fill.ticker for fill in fills}))
    sections = "\n".join(
        "\n".join([f"[{name}]", *(f"{column} = {place}" for place, column in enumerate(columns.split()))])
        for name, columns in _RP2_COLUMNS.items()
    )
    settings.write_text(f"[general]\nassets = {assets}\nexchanges = X\nholders = H\n{sections}\n", encoding="utf-8")
    return [str(history), str(settings)]
