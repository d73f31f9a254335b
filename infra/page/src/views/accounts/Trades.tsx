// Trades as the brokers told of them: a row opens to its executions or deals, those that count and those that were replaced.

import { useState } from "preact/hooks";
import { Empty, Loaded, Money, More, Pill, Qty, Rows, Segments, Signed, Skeleton, When, usePages, usePolled, type Column } from "../kit";
import { Notes } from "./Notes";
import type { Account, Deal, Execution, LinkedTrade, Listed, NumberedTrade } from "./types";
import { spaced } from "./words";

interface Given {
  account: Account | null;
  platform: "ibkr" | "mt5";
  symbol: string;
  isAdmin: boolean;
  onPlatform: (platform: string) => void;
  onSymbol: (symbol: string) => void;
}

/** Trades of one account or of a platform, newest first. */
export function Trades({ account, platform, symbol, isAdmin, onPlatform, onSymbol }: Given) {
  const asked = account === null ? platform : account.platform === "MT5" ? "mt5" : "ibkr";
  const params = { platform: asked, account_id: account?.account_id ?? null, symbol: symbol === "" ? null : symbol, limit: "50" };
  return (
    <>
      <div class="toolbar">
        {account === null && <Segments label="Platform" options={[["ibkr", "IBKR"], ["mt5", "MT5"]]} chosen={asked} onChoose={onPlatform} />}
        <form class="inline" onSubmit={(event) => { event.preventDefault(); onSymbol(new FormData(event.currentTarget).get("symbol") as string); }}>
          <label>Symbol <input name="symbol" data-filter type="search" maxLength={64} autocomplete="off" spellcheck={false} defaultValue={symbol} key={symbol} /></label>
          <button type="submit">Show</button>
        </form>
      </div>
      {asked === "ibkr" ? <Numbered params={params} isAdmin={isAdmin} /> : <Linked params={params} isAdmin={isAdmin} />}
    </>
  );
}

type Params = Record<string, string | null>;

function opener(opened: string | null, setOpened: (key: string | null) => void, key: string, words: preact.ComponentChildren) {
  return (
    <button type="button" class="opener" aria-expanded={opened === key} onClick={() => setOpened(opened === key ? null : key)}>{words}</button>
  );
}

function Numbered({ params, isAdmin }: { params: Params; isAdmin: boolean }) {
  const found = usePages<NumberedTrade, Listed<NumberedTrade>>("/api/v1/trades", params, 30);
  const [opened, setOpened] = useState<string | null>(null);
  const columns: Column<NumberedTrade>[] = [
    { label: "Trade", kind: "head", cell: (one) => opener(opened, setOpened, one.trade_id, <>{one.symbol} <small>{one.sec_type}</small></>) },
    { label: "Executed", cell: (one) => <When ts={one.last_executed_ts} date /> },
    { label: "Side", cell: (one) => one.side ?? "—" },
    { label: "Quantity", kind: "number", cell: (one) => <Qty text={one.total_quantity} /> },
    { label: "Average price", kind: "number", cell: (one) => <Money text={one.avg_price} /> },
    { label: "Value", kind: "number", cell: (one) => <Money text={one.total_value} currency={one.currency} /> },
    { label: "Commission", kind: "number", tone: (one) => (one.missing_commission_count > 0 ? "warn" : undefined), cell: commission },
    { label: "Status", cell: (one) => spaced(one.status) + (one.merged_into === null ? "" : ", merged") },
    { label: "Executions", kind: "number", cell: (one) => `${one.canonical_count} of ${one.execution_count} count` },
    { label: "Held together by", cell: (one) => `${spaced(one.match_kind)}, ${one.confidence}` },
    { label: "Notes", kind: "words", cell: (one) => <Words of={one} /> },
  ];
  return (
    <Loaded of={found} what="broker trades" skeleton={<Skeleton kind="rows" />}>
      {() =>
        found.items.length === 0 ? (
          <Empty title="No broker trade" hint="Trades stand here as soon as a run brought executions that fit the filter." />
        ) : (
          <>
            <Rows caption="Broker trades, newest first" columns={columns} rows={found.items} keyOf={(one) => one.trade_id} opened={opened}
              detail={(one) => <><Executions tradeId={one.trade_id} /><Notes of={one} isAdmin={isAdmin} onStored={found.refresh} /></>} />
            <More of={found} />
          </>
        )
      }
    </Loaded>
  );
}

function commission(one: NumberedTrade) {
  if (one.commission === null) return one.missing_commission_count > 0 ? `${one.missing_commission_count} missing` : "—";
  return <><Money text={one.commission} currency={one.commission_currency} />{one.missing_commission_count > 0 && ` (${one.missing_commission_count} missing)`}</>;
}

function Words({ of }: { of: { notes?: string | null; tags?: string[]; strategy?: string | null } }) {
  const tags = of.tags ?? [];
  if (!of.notes && tags.length === 0 && !of.strategy) return <>—</>;
  return <>{of.strategy && <b>{of.strategy} </b>}{tags.map((tag) => <span key={tag} class="tag">{tag}</span>)} {of.notes}</>;
}

function Executions({ tradeId }: { tradeId: string }) {
  const found = usePolled<{ items: Execution[]; has_more: boolean }>(`/api/v1/trades/${tradeId}/executions`, {}, 30);
  return (
    <Loaded of={found} what="executions" skeleton={<Skeleton kind="lines" />}>
      {(answer) => {
        const heirs = new Map(answer.items.filter((one) => one.supersedes_execution_id !== null).map((one) => [one.supersedes_execution_id, one]));
        return <Rows caption="Executions of the trade, in their order" columns={executionColumns(heirs)} rows={answer.items} keyOf={(one) => one.execution_id} />;
      }}
    </Loaded>
  );
}

function executionColumns(heirs: ReadonlyMap<string | null, Execution>): Column<Execution>[] {
  return [
    { label: "Execution", kind: "head", cell: (one) => <code>{one.ib_exec_id}</code> },
    { label: "Counts", cell: (one) => <Standing of={one} heir={heirs.get(one.execution_id)} /> },
    { label: "Executed", cell: (one) => <When ts={one.executed_ts} date /> },
    { label: "Side", cell: (one) => one.side ?? "—" },
    { label: "Quantity", kind: "number", cell: (one) => <Qty text={one.quantity} /> },
    { label: "Price", kind: "number", cell: (one) => <Money text={one.price} currency={one.currency} /> },
    { label: "Commission", kind: "number", cell: (one) => <Money text={one.commission} currency={one.commission_currency} /> },
    { label: "Exchange", cell: (one) => one.exchange ?? "—" },
    { label: "Told by", cell: (one) => one.sources.join(", ") },
  ];
}

function Standing({ of, heir }: { of: Execution; heir: Execution | undefined }) {
  if (of.is_canonical) return <Pill tone="good">canonical</Pill>;
  return <Pill tone="quiet">{heir === undefined ? spaced(of.state) : `${spaced(of.state)} by ${heir.ib_exec_id}`}</Pill>;
}

function Linked({ params, isAdmin }: { params: Params; isAdmin: boolean }) {
  const found = usePages<LinkedTrade, Listed<LinkedTrade>>("/api/v1/trades", params, 30);
  const [opened, setOpened] = useState<string | null>(null);
  const columns: Column<LinkedTrade>[] = [
    { label: "Trade", kind: "head", cell: (one) => opener(opened, setOpened, one.trade_id, <>{one.symbol} <small>{one.type}</small></>) },
    { label: "Opened", cell: (one) => <When ts={one.open_ts} date /> },
    { label: "Closed", cell: (one) => <When ts={one.close_ts} date /> },
    { label: "Status", cell: (one) => spaced(one.status) + (one.entry_complete ? "" : ", entry incomplete") },
    { label: "Volume", kind: "number", cell: (one) => <Qty text={one.volume} /> },
    { label: "Open price", kind: "number", cell: (one) => <Money text={one.open_price} /> },
    { label: "Close price", kind: "number", cell: (one) => <Money text={one.close_price} /> },
    { label: "Net P&L", kind: "number", cell: (one) => <Signed text={one.net_pnl} currency={one.currency} /> },
    { label: "Ledger", cell: (one) => spaced(one.ledger_state) },
    { label: "Notes", kind: "words", cell: (one) => <Words of={one} /> },
  ];
  return (
    <Loaded of={found} what="trades of linked accounts" skeleton={<Skeleton kind="rows" />}>
      {() =>
        found.items.length === 0 ? (
          <Empty title="No trade" hint="Trades of linked accounts stand here after the first sync that brought any." />
        ) : (
          <>
            <Rows caption="Trades of linked accounts, newest first" columns={columns} rows={found.items} keyOf={(one) => one.trade_id} opened={opened}
              detail={(one) => <><Deals tradeId={one.trade_id} currency={one.currency} /><Notes of={one} isAdmin={isAdmin} onStored={found.refresh} /></>} />
            <More of={found} />
          </>
        )
      }
    </Loaded>
  );
}

function Deals({ tradeId, currency }: { tradeId: string; currency: string | null }) {
  const found = usePolled<{ trade: { deals: Deal[]; has_more_deals: boolean } }>(`/api/v1/trades/${tradeId}`, {}, 30);
  const columns: Column<Deal>[] = [
    { label: "Deal", kind: "head", cell: (one) => <code>{one.deal_ticket}</code> },
    { label: "Server time", cell: (one) => one.server_time?.slice(0, 19).replace("T", " ") ?? "—" },
    { label: "Effect", cell: (one) => spaced(one.effect) + (one.is_certain ? "" : " (not certain)") },
    { label: "Volume", kind: "number", cell: (one) => <Qty text={one.volume} /> },
    { label: "Price", kind: "number", cell: (one) => <Money text={one.price} /> },
    { label: "Commission", kind: "number", cell: (one) => <Money text={one.commission} /> },
    { label: "Swap", kind: "number", cell: (one) => <Money text={one.swap} /> },
    { label: "Net", kind: "number", cell: (one) => <Signed text={one.net} currency={currency} /> },
    { label: "Comment", kind: "words", cell: (one) => one.comment || "—" },
  ];
  return (
    <Loaded of={found} what="deals" skeleton={<Skeleton kind="lines" />}>
      {(answer) =>
        answer.trade.deals.length === 0 ? (
          <p class="hint">No deal of this trade is read yet; it is known from the account's open positions alone.</p>
        ) : (
          <Rows caption="Deals of the trade, in their order" columns={columns} rows={answer.trade.deals} keyOf={(one) => one.deal_ticket + one.effect} />
        )
      }
    </Loaded>
  );
}
