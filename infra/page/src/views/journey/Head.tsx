// How the position stands: the figures of its card, and those that do not fit there.
import type { JSX } from "preact";
import type { ComponentChildren } from "preact";
import type { Trade } from "../../api/types.ts";
import { BookName } from "../BookName.tsx";
import { DayChange } from "../DayChange.tsx";
import { percent } from "../../lib/decimal.ts";
import { Age } from "../../parts/Age.tsx";
import { Badge } from "../../parts/Badge.tsx";
import { Money } from "../../parts/Money.tsx";
import { Percent } from "../../parts/Percent.tsx";
import { Pill } from "../../parts/Pill.tsx";
import { Price } from "../../parts/Price.tsx";
import { ProgressBar } from "../../parts/ProgressBar.tsx";
import { Qty } from "../../parts/Qty.tsx";
import { When } from "../../parts/When.tsx";
import { titled } from "../../parts/words.ts";

const TINTS = { up: "is-up", down: "is-down", flat: "", unknown: "" } as const;

export function Head({ trade }: { trade: Trade }): JSX.Element {
  const isOpen = trade.status === "OPEN";
  return (
    <header class={`journey-head ${isOpen ? TINTS[trade.day_direction] : ""}`}>
      <div class="journey-title">
        <h1>{trade.ticker}</h1>
        <Pill>{trade.direction}</Pill>
        <Standing trade={trade} />
      </div>
      <p class="hint">
        {trade.contract_name !== trade.ticker && <>{trade.contract_name} · </>}
        book <BookName id={trade.book_id} /> · opened <When ts={trade.first_entry_ts} date /> · {isOpen ? "last execution" : "closed"} <When ts={trade.last_action_ts} date /> · {trade.action_count} {trade.action_count === 1 ? "execution" : "executions"}
      </p>
      <dl class="journey-facts">
        {isOpen && <Fact name="Unrealized P&L"><Money value={trade.unrealized_pnl} currency={trade.currency} pnl missing="no price" /></Fact>}
        <Fact name="Realized P&L"><Money value={trade.realized_pnl} currency={trade.currency} pnl /></Fact>
        <Fact name="Return"><Percent value={trade.return_percent} signed /></Fact>
        <Fact name="Quantity"><Qty value={trade.total_qty} /><small> of <Qty value={trade.opened_qty} /></small></Fact>
        <Fact name={isOpen ? "VWAP" : "Entry VWAP"}><Price value={trade.entry_price} /></Fact>
        <Fact name="Price"><Price value={trade.current_price} /> <PriceNote trade={trade} /></Fact>
        <Fact name="Day change"><DayChange percent={trade.day_change_percent} /></Fact>
        <Fact name="Cost basis"><Money value={trade.cost_basis} currency={trade.currency} /></Fact>
        <Fact name="Fees"><Money value={trade.fees} currency={trade.currency} /></Fact>
      </dl>
      <p class="journey-trimmed">{trade.trimmed_percent === null ? "trimmed part unknown" : `${percent(trade.trimmed_percent, { least: 0 })} trimmed`}</p>
      <ProgressBar value={trade.trimmed_percent} word="trimmed" />
    </header>
  );
}

function Fact({ name, children }: { name: string; children: ComponentChildren }): JSX.Element {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Standing({ trade }: { trade: Trade }): JSX.Element {
  const tone = trade.outcome === "WIN" ? "gain" : trade.outcome === "LOSS" ? "loss" : "plain";
  return (
    <>
      {trade.status === "OPEN" ? <Badge tone="info">OPEN</Badge> : <Badge tone={tone}>{trade.outcome ?? "CLOSED"}</Badge>}
      {trade.lane !== null && <Badge>{titled(trade.lane)}</Badge>}
      {trade.is_defend === true && <Badge tone="warning">Defend</Badge>}
      {trade.is_corrected === true && <Badge tone="warning">corrected</Badge>}
    </>
  );
}

function PriceNote({ trade }: { trade: Trade }): JSX.Element {
  if (trade.price_state === "missing") return <Badge tone="warning">no price</Badge>;
  return (
    <small>
      <Age ts={trade.price_ts} />
      {trade.status === "OPEN" && trade.price_state === "stale" && <> <Badge tone="warning">stale</Badge></>}
    </small>
  );
}
