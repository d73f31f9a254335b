"""The invented trading day that the demo plays: thirty tickers that do not exist, one receipt a minute each.

Every ticker walks by itself, seeded by (seed, date, ticker): stretches of drift with noise, pullbacks inside them and
now and then a turn. Scores are smoothed returns, triggers stand where the smoothed returns turn, and stop, targets
and phase hang on the price as in ``receipts.py``. Nothing here knows the strategy; what it makes of the day is its own doing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from infra.local.receipts import (
    FLAGS,
    LEVELS,
    SCRIPT_VERSION,
    Cycle,
    Document,
    cents,
    derived,
    seed_of,
)

SECTORS = (
    "Electronic Technology",
    "Technology Services",
    "Health Technology",
    "Finance",
    "Energy Minerals",
    "Retail Trade",
    "Producer Manufacturing",
    "Consumer Durables",
    "Industrial Services",
    "Transportation",
)
TICKERS = (
    "ZALT ZBRK ZCOR ZDYN ZELM ZFRO ZGAL ZHUX ZIVO ZJAX ZKEL ZLOM ZMIR ZNOV ZOPT "
    "ZPYR ZQUA ZRIV ZSOL ZTYR ZUMB ZVEX ZWIN ZXEN ZYAR ZZAM ZABO ZBEC ZCYG ZDEL"
).split()

WARM_UP_MINUTES = 60
SLOW, FAST = Decimal(1) / 45, Decimal(1) / 10
SLOW_SCALE, FAST_SCALE = Decimal(12), Decimal(6)
SCORE_MAX = Decimal(50)
BASIS_POINT = Decimal("0.0001")
PULLBACK_BELOW = Decimal(3)
CALM_PERCENT, WILD_PERCENT = 2, 6
WILD_EVERY = 3
PHASE_RANGES = 3
WAKING_MINUTES_MIN, WAKING_MINUTES_MAX = 60, 380


@dataclass(slots=True)
class Walk:
    """One ticker's day as it unfolds; ``step`` moves it on by a minute."""

    ticker: str
    day: date
    random: Random
    sector: str = ""
    previous_close: Decimal = Decimal(0)
    price: Decimal = Decimal(0)
    slow: Decimal = Decimal(0)
    fast: Decimal = Decimal(0)
    bias: int = 1
    range_percent: int = CALM_PERCENT
    asleep_minutes: int = 0
    drift: int = 0
    minutes_left: int = 0
    squeezed: int = 0
    reason: str = "EMA_CROSS"
    cycle: Cycle | None = None
    cycles: int = 0
    state: str = ""

    @classmethod
    def begin(cls, ticker: str, number: int, day: date, seed: str) -> Walk:
        """A ticker before its opening bell: the drift of the first stretch is already in its scores."""
        random = Random(seed_of(seed, day.isoformat(), ticker))
        close = Decimal(random.randint(1_800, 38_000)) / 100
        walk = cls(
            ticker=ticker, day=day, random=random, sector=SECTORS[number % len(SECTORS)], previous_close=close, price=close
        )
        walk.bias = 1 if number % 5 < 3 else -1
        walk.range_percent = WILD_PERCENT if number % WILD_EVERY == 0 else CALM_PERCENT
        walk.asleep_minutes = random.randint(WAKING_MINUTES_MIN, WAKING_MINUTES_MAX) if number % 6 else 0
        walk._turn()
        for _ in range(WARM_UP_MINUTES):
            walk._smooth(walk._return())
        return walk

    def _turn(self) -> None:
        """Begin a new stretch: first asleep, then mostly with the ticker's bias; minutes and tenths of a basis point."""
        if self.asleep_minutes:
            self.drift, self.minutes_left, self.asleep_minutes = self.random.randint(-3, 3), self.asleep_minutes, 0
            return
        side = self.bias if self.random.random() < 0.68 else -self.bias
        lively = 2 if self.range_percent == WILD_PERCENT else 1
        self.drift = side * lively * self.random.randint(8, 34)
        self.minutes_left = self.random.randint(25, 110)

    def _return(self) -> Decimal:
        """The minute's return in basis points: drift plus a bell of three uniform draws."""
        noise = sum(self.random.randint(-30, 30) for _ in range(3))
        return Decimal(self.drift + noise) / 10

    def _smooth(self, change: Decimal) -> None:
        self.slow += (change - self.slow) * SLOW
        self.fast += (change - self.fast) * FAST

    def step(self, opened_ts: int) -> Document:
        """Walk one minute and return the receipt of the bar that opened at ``opened_ts`` (ms)."""
        if self.minutes_left == 0:
            self._turn()
        self.minutes_left -= 1
        change = self._return()
        self._smooth(change)
        self.price *= 1 + change * BASIS_POINT
        htf, ltf = score(self.slow * SLOW_SCALE), score(self.fast * FAST_SCALE)
        side = 1 if htf >= 0 else -1
        momentum = side * ltf > PULLBACK_BELOW
        flags = self._flags(side, momentum, htf, ltf)
        is_first = self._trigger(side, opened_ts, flags)
        self.state = state_name(side, momentum)
        return self._receipt(opened_ts, htf, ltf, flags, is_first=is_first)

    def _flags(self, side: int, momentum: bool, htf: Decimal, ltf: Decimal) -> dict[str, bool]:
        released = momentum and self.squeezed >= 3
        self.squeezed = 0 if momentum else self.squeezed + 1
        flags = dict.fromkeys(FLAGS, False)
        flags["sq30_on"] = self.squeezed >= 3
        flags["sq30_release"] = released
        flags["momentum_elite"] = abs(htf) >= 34 and side * ltf >= 14
        flags["buyable_dip_1h_13_48"] = not momentum and -6 <= side * ltf <= 0 and abs(htf) >= 18
        flags["st_flip_10m"] = self.random.random() < 0.05
        flags["ema_cross_3m_13_48"] = self.random.random() < 0.04
        return flags

    def _trigger(self, side: int, opened_ts: int, flags: dict[str, bool]) -> bool:
        """Start a new cycle where the higher time frame turned or a squeeze was released; True on its first bar."""
        turned = self.cycle is None or self.cycle.key[2] != side
        if not (turned or flags["sq30_release"]):
            return False
        self.reason = "EMA_CROSS_1H_13_48" if turned else "SQUEEZE_RELEASE"
        flags["ema_cross_1h_13_48"] = turned
        self.cycles += 1
        key = (self.day.isoformat(), self.reason, side)
        self.cycle = Cycle(key=key, started_ts=opened_ts, anchor=cents(self.price), range_percent=self.range_percent)
        return True

    def _receipt(self, opened_ts: int, htf: Decimal, ltf: Decimal, flags: dict[str, bool], *, is_first: bool) -> Document:
        assert self.cycle is not None
        price, side = cents(self.price), self.cycle.key[2]
        daily_range = self.previous_close * self.range_percent * PHASE_RANGES / 100
        phase = cents(min(Decimal(1), abs(price - self.previous_close) / daily_range))
        span = LEVELS[-1] * self.cycle.atr
        completion = cents(min(Decimal(1), max(Decimal(0), side * (price - self.cycle.anchor) / span)))
        point: dict[str, Any] = {
            "ticker": self.ticker,
            "ts": opened_ts,
            "price": price,
            "htf_score": htf,
            "ltf_score": ltf,
            "completion": completion,
            "phase_pct": phase,
            "state": self.state,
            "trigger_reason": self.reason,
        }
        change = price - self.previous_close
        return (
            {"script_version": SCRIPT_VERSION, "tf_hint": "1", "sector": self.sector, "industry": self.sector}
            | point
            | derived(self.cycle, point, is_first=is_first)
            | {
                "prev_close": self.previous_close,
                "day_change": change,
                "day_change_pct": cents(100 * change / self.previous_close),
                "flags": flags,
                "generated": ["everything"],
            }
            | self._surroundings(price, side)
        )

    def _surroundings(self, price: Decimal, side: int) -> Document:
        """Clouds, stacks and the rest of what the script sends along."""
        near, far = (
            self.previous_close * (1 - self.bias * Decimal("0.01")),
            self.previous_close * (1 - self.bias * Decimal("0.03")),
        )
        short = 1 if self.fast >= 0 else -1
        stacks = {"W": 2 * self.bias, "D": 3 * self.bias, "4H": 2 * side, "1H": side, "30": short, "10": short}
        return {
            "daily_ema_cloud": band(near * Decimal("0.997"), near * Decimal("1.003"), price),
            "fourh_ema_cloud": band(near, self.previous_close, price),
            "ichimoku_d": cloud(near, price),
            "ichimoku_w": cloud(far, price),
            "rsi": {"value": cents(50 + 4 * self.slow), "divergence": {"type": "none", "strength": 0}},
            "tf_tech": {name: {"ema": {"stack": stack}} for name, stack in stacks.items()},
            "td_sequential": {"boost": 0},
        }


def score(value: Decimal) -> Decimal:
    """A time frame score: two decimals within -50..50."""
    return cents(max(-SCORE_MAX, min(SCORE_MAX, value)))


def state_name(side: int, momentum: bool) -> str:
    """The script's name for direction and stage."""
    word = "BULL" if side > 0 else "BEAR"
    return f"HTF_{word}_LTF_{word if momentum else 'PULLBACK'}"


def band(lower: Decimal, upper: Decimal, price: Decimal) -> Document:
    """A price band and where the price stands to it."""
    low, high = cents(min(lower, upper)), cents(max(lower, upper))
    position = "above" if price > high else "below" if price < low else "inside"
    return {"upper": high, "lower": low, "price": price, "position": position}


def cloud(middle: Decimal, price: Decimal) -> Document:
    """An Ichimoku cloud around ``middle``."""
    edges = band(middle * Decimal("0.995"), middle * Decimal("1.005"), price)
    return {
        "tenkan": cents(middle * Decimal("1.004")),
        "kijun": cents(middle),
        "span_a": edges["upper"],
        "span_b": edges["lower"],
        "price": price,
        "position": edges["position"],
    }


def names_of(tickers: int) -> list[str]:
    """The invented names of that many tickers."""
    return [TICKERS[n] if n < len(TICKERS) else f"ZZ{n:04d}" for n in range(tickers)]


def invented_day(opened_at: datetime, minutes: int, *, tickers: int = 30, seed: str = "fillbook") -> Iterator[list[Document]]:
    """Yield, minute by minute from the session's opening, the receipts of all tickers for the bar that just closed."""
    day = opened_at.date()
    walks = [Walk.begin(name, number, day, seed) for number, name in enumerate(names_of(tickers))]
    for minute in range(minutes):
        opened_ts = int((opened_at + timedelta(minutes=minute)).timestamp() * 1000)
        yield [walk.step(opened_ts) for walk in walks]
