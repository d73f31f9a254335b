// Trades of IBKR with their executions: all that the broker told of, canonical or superseded.
import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { useRows } from "../../lib/list.ts";
import { usePolled } from "../../lib/poll.ts";
import { column, heading, numeric } from "../../parts/columns.ts";
import { Empty } from "../../parts/Empty.tsx";
import { Loaded } from "../../parts/Loaded.tsx";
import { Money } from "../../parts/Money.tsx";
import { More } from "../../parts/More.tsx";
import { Opener } from "../../parts/Opener.tsx";
import { Pill } from "../../parts/Pill.tsx";
import { Price } from "../../parts/Price.tsx";
import { Qty } from "../../parts/Qty.tsx";
import { Skeleton } from "../../parts/Skeleton.tsx";
import { Table, type Column } from "../../parts/Table.tsx";
import { When } from "../../parts/When.tsx";
import { Notes, Words } from "./Notes.tsx";
import type { TradesGiven } from "./Trades.tsx";
import type { BrokerExecutions, Execution, NumberedTrade, TradesOf } from "./types.ts";
import { spaced } from "./words.ts";

export function NumberedTrades({ params, isAdmin }: TradesGiven): JSX.Element {
  const found = useRows<NumberedTrade, TradesOf<NumberedTrade>>({ path: "/api/v1/trades", params, step: 50, most: 500, rows: ({ items }) => items });
  const [opened, setOpened] = useState<string | null>(null);
  const turn = (id: string): void => setOpened(opened === id ? null : id);
  const detail = (one: NumberedTrade): JSX.Element | null =>
    opened !== one.trade_id ? null : (
      <div class="stack">
        <Executions tradeId={one.trade_id} />
        <Notes of={one} isAdmin={isAdmin} onStored={found.refresh} />
      </div>
    );
  return (
    <Loaded of={found} skeleton={<Skeleton kind="table" rows={8} />}>
      {() =>
        found.rows.length === 0 ? (
          <Empty title="No broker trade">Trades stand here as soon as a run brought executions that fit the filter.</Empty>
        ) : (
          <>
            <Table caption="Broker trades, newest first" columns={columns(opened, turn)} rows={found.rows} rowKey={(one) => one.trade_id} detail={detail} />
            <More of={found} />
          </>
        )
      }
    </Loaded>
  );
}

function columns(opened: string | null, turn: (id: string) => void): Column<NumberedTrade>[] {
  return [
    heading("Trade", (one) => <Opener isOpen={opened === one.trade_id} turn={() => turn(one.trade_id)}>{one.symbol ?? "no symbol"} <small class="hint">{one.sec_type}</small></Opener>),
    column("Last executed", (one) => <When ts={one.last_executed_ts} date />),
    column("Side", (one) => one.side ?? "—"),
    numeric("Quantity", (one) => <Qty value={one.total_quantity} />),
    numeric("Average price", (one) => <Price value={one.avg_price} />),
    numeric("Value", (one) => <Money value={one.total_value} currency={one.currency} />),
    numeric("Commission", (one) => <Commission of={one} />),
    column("Status", (one) => spaced(one.status) + (one.merged_into === null ? "" : ", merged")),
    numeric("Executions", (one) => <span title="those that count, of all that were told">{one.canonical_count} of {one.execution_count}</span>),
    column("Held together by", (one) => `${spaced(one.match_kind)}, ${one.confidence}`),
    column("Notes", (one) => <Words of={one} />),
  ];
}

function Commission({ of }: { of: NumberedTrade }): JSX.Element {
  const missing = of.missing_commission_count > 0 ? `${of.missing_commission_count} missing` : "";
  if (of.commission === null) return <span class={missing === "" ? "unknown" : "late"}>{missing || "—"}</span>;
  return <span><Money value={of.commission} currency={of.commission_currency} />{missing !== "" && <small class="late"> {missing}</small>}</span>;
}

function Executions({ tradeId }: { tradeId: string }): JSX.Element {
  const found = usePolled<BrokerExecutions>(`/api/v1/trades/${tradeId}/executions`);
  return (
    <Loaded of={found} skeleton={<Skeleton rows={2} />}>
      {({ items, has_more }) => (
        <>
          <Table caption="Executions of the trade, in their order" showCaption columns={executionColumns(items)} rows={items} rowKey={(one) => one.execution_id} rowClass={(one) => (one.is_canonical ? "" : "superseded")} />
          {has_more && <p class="hint">Only the first {items.length} are listed.</p>}
        </>
      )}
    </Loaded>
  );
}

function executionColumns(items: readonly Execution[]): Column<Execution>[] {
  const heirs = new Map(items.map((one) => [one.supersedes_execution_id, one.ib_exec_id]));
  return [
    heading("Execution", (one) => <span class="mono">{one.ib_exec_id}</span>),
    column("Counts", (one) => <Standing of={one} heir={heirs.get(one.execution_id)} />),
    column("Executed", (one) => <When ts={one.executed_ts} date />),
    column("Side", (one) => one.side ?? "—"),
    numeric("Quantity", (one) => <Qty value={one.quantity} />),
    numeric("Price", (one) => <Price value={one.price} />),
    numeric("Commission", (one) => <Money value={one.commission} currency={one.commission_currency} missing="no report yet" />),
    column("Exchange", (one) => one.exchange ?? "—"),
    column("Told by", (one) => one.sources.join(", ")),
  ];
}

function Standing({ of, heir }: { of: Execution; heir: string | undefined }): JSX.Element {
  if (of.is_canonical) return <Pill tone="gain">canonical</Pill>;
  return <span><Pill>{of.state}</Pill>{heir !== undefined && <small class="hint"> by <span class="mono">{heir}</span></small>}</span>;
}
