"""Peers of the replay: nautilus_trader and backtesting.py over the same bars, with about as many orders.

They keep everything in memory and store nothing; what is timed is the run alone, without starting Python, importing, reading
bars or making instruments. Each lives in an environment of its own; what cannot be made is told as absent.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tests.bench import peers
from tests.bench.peers import PEAK, PEERS, Peer

VERSIONS = {"nautilus_trader": "nautilus_trader==1.221.0", "backtesting": "backtesting==0.6.6"}
EVERY = 77  # an order each so many bars of a ticker: 790 on the day

NAUTILUS = """
import json, sys, time
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, StrategyConfig
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import Venue
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.strategy import Strategy
every = int(sys.argv[2])
class Walker(Strategy):
    def __init__(self, kinds):
        super().__init__(StrategyConfig())
        self.kinds, self.seen, self.orders = kinds, {}, 0
    def on_start(self):
        for kind in self.kinds:
            self.subscribe_bars(kind)
    def on_bar(self, bar):
        name = bar.bar_type.instrument_id
        count = self.seen[name] = self.seen.get(name, 0) + 1
        if count % every == 0:
            side = OrderSide.BUY if (count // every) % 2 else OrderSide.SELL
            self.submit_order(self.order_factory.market(name, side, Quantity.from_int(10)))
            self.orders += 1
engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(log_level="ERROR"), run_analysis=False))
engine.add_venue(Venue("XNAS"), OmsType.NETTING, AccountType.MARGIN, [Money(10_000_000, USD)])
rows, kinds = [], {}
for line in open(sys.argv[1]):
    ticker, ts, price = line.strip().split(",")
    if ticker not in kinds:
        instrument = TestInstrumentProvider.equity(symbol=ticker, venue="XNAS")
        engine.add_instrument(instrument)
        kinds[ticker] = BarType.from_str(f"{instrument.id}-1-MINUTE-LAST-EXTERNAL")
    p, at = Price.from_str(price), int(ts) * 1_000_000
    rows.append(Bar(kinds[ticker], p, p, p, p, Quantity.from_int(1000), at, at))
engine.add_data(rows)
walker = Walker(list(kinds.values()))
engine.add_strategy(walker)
started, spent = time.perf_counter(), time.process_time()
engine.run()
print(json.dumps({"seconds": time.perf_counter() - started, "cpu": time.process_time() - spent, "orders": walker.orders,
                  "mb": peak_mb()}))
"""

BACKTESTING = """
import json, sys, time, warnings
warnings.filterwarnings("ignore")
import pandas
from backtesting import Backtest, Strategy
every = int(sys.argv[2])
class Walker(Strategy):
    orders = 0
    def init(self):
        self.seen = 0
    def next(self):
        self.seen += 1
        if self.seen % every == 0:
            (self.buy if (self.seen // every) % 2 else self.sell)(size=10)
            Walker.orders += 1
frames = {}
for line in open(sys.argv[1]):
    ticker, ts, price = line.strip().split(",")
    frames.setdefault(ticker, []).append((int(ts), float(price)))
tests = []
for rows in frames.values():
    index = pandas.to_datetime([ts for ts, _ in rows], unit="ms")
    prices = [price for _, price in rows]
    columns = {name: prices for name in ("Open", "High", "Low", "Close")}
    tests.append(Backtest(pandas.DataFrame(columns, index=index), Walker, cash=100_000))
started, spent = time.perf_counter(), time.process_time()
for one in tests:
    one.run()
print(json.dumps({"seconds": time.perf_counter() - started, "cpu": time.process_time() - spent, "orders": Walker.orders,
                  "mb": peak_mb()}))
"""


def replay_peers(bars: Iterable[tuple[str, int, str]]) -> dict[str, Peer | None]:
    """Every peer over these bars (ticker, ts in ms, price), by ticker and ts; None for one that is absent."""
    PEERS.mkdir(parents=True, exist_ok=True)
    path: Path = PEERS / "bars.csv"
    path.write_text("".join(f"{ticker},{ts},{price}\n" for ticker, ts, price in bars), encoding="utf-8")
    found: dict[str, Peer | None] = dict.fromkeys(VERSIONS)
    for name, script in (("nautilus_trader", NAUTILUS), ("backtesting", BACKTESTING)):
        python = peers.python_of(name, VERSIONS[name])
        if python is not None:
            found[name] = Peer(name=name, command=(str(python), "-c", PEAK + script, str(path), str(EVERY)))
    return found
