// Trades of linked MT5 accounts with the deals behind them.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { useRows } from "../../lib/list.ts";
import { usePolled } from "../../lib/poll.ts";
import { column, heading, numeric } from "../../parts/columns.ts";
import { Empty } from "../../parts/Empty.tsx";
import { Label } from "../../parts/Label.tsx";
import { Loaded } from "../../parts/Loaded.tsx";
import { Money } from "../../parts/Money.tsx";
import { More } from "../../parts/More.tsx";
import { Opener } from "../../parts/Opener.tsx";
import { Price } from "../../parts/Price.tsx";
import { Qty } from "../../parts/Qty.tsx";
import { Skeleton } from "../../parts/Skeleton.tsx";
import { Table, type Column } from "../../parts/Table.tsx";
import { When } from "../../parts/When.tsx";
import { Notes, Words } from "./Notes.tsx";
import type { TradesGiven } from "./Trades.tsx";
import type { Deal, LinkedTrade, LinkedTradeWhole, TradesOf } from "./types.ts";
import { spaced } from "./words.ts";

export function LinkedTrades({ params, isAdmin }: TradesGiven): JSX.Element {
  const found = useRows<LinkedTrade, TradesOf<LinkedTrade>>({ path: "/api/v1/trades", params, step: 50, most: 500, rows: ({ items }) => items });
  const [opened, setOpened] = useState<string | null>(null);
  const turn = (id: string): void => setOpened(opened === id ? null : id);
  const detail = (one: LinkedTrade): JSX.Element | null =>
    opened !== one.trade_id ? null : (
      <div class="stack">
        <Deals tradeId={one.trade_id} currency={one.currency} />
        <Notes of={one} isAdmin={isAdmin} onStored={found.refresh} />
      </div>
    );
  return (
    <Loaded of={found} skeleton={<Skeleton kind="table" rows={8} />}>
      {() =>
        found.rows.length === 0 ? (
          <Empty title="No trade">Trades of linked accounts stand here after the first sync that brought one that fits the filter.</Empty>
        ) : (
          <>
            <Table caption="Trades of linked accounts, newest first" columns={columns(opened, turn, params["account_id"] === null)} rows={found.rows} rowKey={(one) => one.trade_id} detail={detail} />
            <More of={found} />
          </>
        )
      }
    </Loaded>
  );
}

function columns(opened: string | null, turn: (id: string) => void, withAccount: boolean): Column<LinkedTrade>[] {
  return [
    heading("Trade", (one) => <Opener isOpen={opened === one.trade_id} turn={() => turn(one.trade_id)}>{one.symbol} <small class="hint">{one.type}</small></Opener>),
    ...(withAccount ? [column<LinkedTrade>("Account", (one) => <Label text={one.label} />)] : []),
    column("Opened", (one) => <When ts={one.open_ts} date />),
    column("Closed", (one) => <When ts={one.close_ts} date />),
    column("Status", (one) => spaced(one.status) + (one.entry_complete ? "" : ", entry incomplete")),
    numeric("Volume", (one) => <Qty value={one.volume} />),
    numeric("Open price", (one) => <Price value={one.open_price} decimals={6} />),
    numeric("Close price", (one) => <Price value={one.close_price} decimals={6} missing="not closed" />),
    numeric("Net P&L", (one) => <Money value={one.net_pnl} currency={one.currency} pnl />),
    column("Ledger", (one) => spaced(one.ledger_state)),
    column("Notes", (one) => <Words of={one} />),
  ];
}

function Deals({ tradeId, currency }: { tradeId: string; currency: string | null }): JSX.Element {
  const found = usePolled<{ trade: LinkedTradeWhole }>(`/api/v1/trades/${tradeId}`);
  return (
    <Loaded of={found} skeleton={<Skeleton rows={2} />}>
      {({ trade }) =>
        trade.deals.length === 0 ? (
          <p class="hint">No deal of this trade is read yet; it is known from the account's open positions alone.</p>
        ) : (
          <Table caption="Deals of the trade, in their order" showCaption columns={dealColumns(currency)} rows={trade.deals} rowKey={(one) => `${one.deal_ticket} ${one.effect}`} />
        )
      }
    </Loaded>
  );
}

function dealColumns(currency: string | null): Column<Deal>[] {
  return [
    heading("Deal", (one) => <span class="mono">{one.deal_ticket}</span>),
    column("Server time", (one) => one.server_time.slice(0, 19).replace("T", " ")),
    column("Effect", (one) => spaced(one.effect) + (one.is_certain ? "" : " (not certain)")),
    numeric("Volume", (one) => <Qty value={one.volume} />),
    numeric("Price", (one) => <Price value={one.price} decimals={6} />),
    numeric("Commission", (one) => <Money value={one.commission} currency={currency} />),
    numeric("Swap", (one) => <Money value={one.swap} currency={currency} />),
    numeric("Net", (one) => <Money value={one.net} currency={currency} pnl />),
    column("Comment", (one) => <span class="words">{one.comment || "—"}</span>),
  ];
}
