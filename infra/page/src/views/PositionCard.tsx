// One open position as a card: its ticker's day as ground, its own result in front, how much of it was trimmed on the lower edge.
import type { JSX } from "preact";
import { NONE, percent, type Decimal } from "../lib/decimal.ts";
import { usePrivacy } from "../lib/privacy.ts";
import { Link, navigate } from "../lib/router.tsx";
import { useTick } from "../lib/time.ts";
import type { Trade } from "../api/types.ts";
import { Age } from "../parts/Age.tsx";
import { Badge } from "../parts/Badge.tsx";
import { Money, moneyWords } from "../parts/Money.tsx";
import { Percent } from "../parts/Percent.tsx";
import { Pill } from "../parts/Pill.tsx";
import { Price } from "../parts/Price.tsx";
import { ProgressBar } from "../parts/ProgressBar.tsx";
import { Qty } from "../parts/Qty.tsx";
import { titled } from "../parts/words.ts";

const JUST_OPENED_MS = 30 * 60_000;
const ARROWS: Readonly<Record<Trade["day_direction"], string>> = { up: "▲", down: "▼", flat: "●", unknown: "" };

export function PositionCard({ trade, withBook }: { trade: Trade; withBook: boolean }): JSX.Element {
  const isHidden = usePrivacy();
  const isNew = useTick((now) => now - trade.first_entry_ts < JUST_OPENED_MS);
  const noPrice = trade.price_state === "missing";
  const path = `/app/positions/${trade.position_id}`;
  // the link is stretched over the card; a press on a figure, which keeps its tool tip, is taken as one on the link
  return (
    <div class={`position-card day-${trade.day_direction}`} onClick={(event) => event.button === 0 && !event.defaultPrevented && !(event.ctrlKey || event.metaKey || event.shiftKey) && navigate(path)}>
      <div class="position-head">
        <Link to={path} class="position-ticker" aria-label={cardName(trade, isHidden)}>{trade.ticker}</Link>
        <Pill>{trade.direction}</Pill>
      </div>
      <div class="position-badges">
        {trade.lane !== null && <Badge>{titled(trade.lane)}</Badge>}
        {trade.is_defend === true && <Badge tone="warning">Defend</Badge>}
        {isNew && <Badge tone="info">JUST OPENED</Badge>}
        {trade.is_corrected === true && <Badge tone="warning" title="The broker corrected an execution of this position.">corrected</Badge>}
        {withBook && <Badge>{trade.book_id.split(":")[0]}</Badge>}
      </div>
      <div class="position-result">
        <span class="position-return"><Percent value={trade.return_percent} signed missing={noPrice ? "no price" : "not known"} /></span>
        <Money value={trade.unrealized_pnl} currency={trade.currency} pnl missing={noPrice ? "no price" : "not known"} />
      </div>
      <dl class="position-figures">
        <div><dt>Realized</dt><dd><Money value={trade.realized_pnl} currency={trade.currency} pnl /></dd></div>
        <div><dt>Quantity</dt><dd><Qty value={trade.total_qty} /></dd></div>
        <div><dt>VWAP</dt><dd><Price value={trade.entry_price} missing="not known" /></dd></div>
        <div><dt>Price</dt><dd>{noPrice ? <Badge tone="warning">no price</Badge> : <Price value={trade.current_price} decimals={2} />}</dd></div>
        <div class="position-age"><dt class="visually-hidden">Price age</dt><dd>{!noPrice && <><Age ts={trade.price_ts} />{trade.price_state === "stale" && <Badge tone="warning">stale</Badge>}</>}</dd></div>
        <div><dt>Day</dt><dd><DayChange direction={trade.day_direction} value={trade.day_change_percent} /></dd></div>
      </dl>
      <p class="position-trimmed">{trade.trimmed_percent === null ? `${NONE} trimmed` : `${percent(trade.trimmed_percent, { least: 0 })} trimmed`}</p>
      <ProgressBar class="position-bar" value={trade.trimmed_percent} word="trimmed" />
    </div>
  );
}

// Arrow, sign and figure: the tint behind them is never the only sign.
function DayChange({ direction, value }: { direction: Trade["day_direction"]; value: Decimal | null }): JSX.Element {
  if (value === null || direction === "unknown") return <span class="unknown" title="no price of the session before">unknown</span>;
  const tone = { up: "gain", down: "loss", flat: "flat" }[direction];
  return <span class={`num ${tone}`} title={`${value} %`}><span class="arrow">{ARROWS[direction]} </span>{percent(value, { signed: true })}</span>;
}

function points(value: Decimal | null): string {
  return value === null ? "unknown" : percent(value, { least: 0 }).replace("−", "").replace(" %", " percent");
}

// "AMZN long, up 1.2 percent today, 25 percent trimmed, unrealized plus 123.50 dollars"
export function cardName(trade: Trade, isHidden: boolean): string {
  const day = trade.day_direction === "unknown" || trade.day_change_percent === null ? "day unknown" : trade.day_direction === "flat" ? "flat today" : `${trade.day_direction} ${points(trade.day_change_percent)} today`;
  const unrealized = trade.price_state === "missing" ? "no price" : `unrealized ${moneyWords(trade.unrealized_pnl, trade.currency, isHidden)}`;
  return [`${trade.ticker} ${trade.direction.toLowerCase()}`, day, `${points(trade.trimmed_percent)} trimmed`, unrealized].join(", ");
}
